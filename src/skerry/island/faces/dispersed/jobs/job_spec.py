"""What a job asks for: the body of `POST /v1/jobs` as a checked value, and cook's merge. Pure.

Sections 3.2, 3.4.2 and 5.6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skerry.island.faces.dispersed.errors import Issue, invalid
from skerry.island.faces.dispersed.jobs import docker_parameters
from skerry.island.faces.dispersed.jobs.docker_parameters import Docker, Secrets, is_text
from skerry.island.faces.dispersed.validation import Form, Path, kind_of

BATCH = "BATCH"
PERSISTENT = "PERSISTENT"
TASKS = (BATCH, PERSISTENT)

LEAST_RUN_MS = 60_000
LEAST_ASSIGN_MS = 300_000
LEAST_START_MS = 120_000
LONGEST_MS = 10 * 365 * 86_400_000
"""Ten years: times and amounts that follow from it still fit in 64 bits."""

REGION_CODES = (
    *("ca-central-1", "ca-west-1", "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2"),
    *("eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3"),
    *("ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2"),
    *("ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6"),
    *("ap-southeast-7", "il-central-1", "me-central-1", "me-south-1", "af-south-1", "cn-north-1", "cn-northwest-1"),
)

FIELDS = (
    *("title", "task", "parameters", "description", "cpu_count", "gpu_count", "min_ram_gb", "min_storage_gb"),
    *("min_vram_gb", "gpu_name", "gpu_registry_uuid", "max_timeout_assign_ms", "max_timeout_start_ms"),
    *("max_timeout_run_ms", "max_node_count", "max_retry_count", "allowed_region_codes"),
)
"""Members of a job's body, and of a recipe's payload."""

_INNER = "parameters"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job as it was asked for, every default filled in.

    Args:
        task: `BATCH` or `PERSISTENT`.
        docker: the container.
        parameters: `{"type": "docker", "parameters": {...}}` as submitted, secrets masked.
        secrets: by their places, see `docker_parameters.Secrets`.
        max_timeout_run_ms: milliseconds from RUNNING; None for PERSISTENT.
    """

    task: str
    title: str
    description: str | None
    cpu_count: int
    gpu_count: int
    min_ram_gb: int
    min_storage_gb: int
    min_vram_gb: int
    gpu_name: str | None
    gpu_registry_uuid: str | None
    max_timeout_assign_ms: int
    max_timeout_start_ms: int
    max_timeout_run_ms: int | None
    max_node_count: int
    max_retry_count: int
    region_codes: tuple[str, ...]
    docker: Docker
    parameters: dict[str, Any]
    secrets: Secrets = field(default_factory=dict, repr=False)


def parse(body: Any, *, path: Path = ()) -> JobSpec:
    """A job from a JSON value.

    Args:
        body: any JSON value.
        path: how it is reached from the request's body, for messages.

    Raises:
        Fault: `VALIDATION_ERROR` with one issue per mistake.
    """
    form = Form(body, path)
    secrets: Secrets = {}
    task = form.choice("task", TASKS)
    gpu_name = (form.optional_text("gpu_name", most=255) or "").strip() or None
    gpu_registry_uuid = None if form.members.get("gpu_registry_uuid") == "" else form.optional_uuid("gpu_registry_uuid")
    if gpu_name is not None and form.members.get("gpu_registry_uuid"):
        form.issue("custom", "cannot be given together with gpu_name; choose one", "gpu_registry_uuid")
    docker, parameters = _container(form, secrets)
    spec = JobSpec(
        task=task,
        title=form.text("title", least=1, most=255),
        description=form.optional_text("description"),
        cpu_count=form.integer("cpu_count", default=0),
        gpu_count=form.integer("gpu_count", default=0),
        min_ram_gb=form.integer("min_ram_gb", default=0),
        min_storage_gb=form.integer("min_storage_gb", default=0),
        min_vram_gb=form.integer("min_vram_gb", default=0),
        gpu_name=gpu_name,
        gpu_registry_uuid=gpu_registry_uuid,
        max_timeout_assign_ms=_milliseconds(form, "max_timeout_assign_ms", LEAST_ASSIGN_MS),
        max_timeout_start_ms=_milliseconds(form, "max_timeout_start_ms", LEAST_START_MS),
        max_timeout_run_ms=_run_limit(form, task),
        max_node_count=form.integer("max_node_count", default=1, least=1),
        max_retry_count=form.integer("max_retry_count", default=0),
        region_codes=_regions(form),
        docker=docker,
        parameters=parameters,
        secrets=secrets,
    )
    _check_texts(form)
    form.check()
    return spec


def docker_of(parameters: Mapping[str, Any]) -> Docker:
    """The container of a stored job's `parameters`, which were checked when they came in."""
    form = Form(docker_parameters.with_secrets(parameters[_INNER], {}))
    return docker_parameters.read(form, {})


def payload(body: Any, *, path: Path = ()) -> tuple[dict[str, Any], Secrets]:
    """What a recipe keeps of a job's body, which may be incomplete: known members, secrets masked and apart.

    Args:
        body: any JSON value.
        path: how it is reached from the request's body.

    Raises:
        Fault: `VALIDATION_ERROR`: what is there is wrong; what is missing is not, for cook can bring it.
    """
    Form(body, path).check()
    secrets = parse(_completed(body), path=path).secrets
    kept = {name: body[name] for name in FIELDS if name in body}
    if "parameters" in kept:
        kept["parameters"] = _public(kept["parameters"])
    return kept, secrets


def with_secrets(kept: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """A kept payload with its secrets again, as `merge` and `parse` take it."""
    return _inside(kept, lambda inner: docker_parameters.with_secrets(inner, secrets))


def without_secrets(kept: Mapping[str, Any]) -> dict[str, Any]:
    """A kept payload as others may have it: neither secrets nor an SSH key (section 5.6)."""
    return _inside(kept, docker_parameters.without_secrets)


def merge(kept: Mapping[str, Any], overrides: Any) -> dict[str, Any]:
    """A recipe's payload with what its cook wants otherwise (section 3.4.2); `parse` checks the result.

    Scalars and lists replace, `env` is merged by variable, one GPU selector clears the other.

    Args:
        kept: the payload, with its secrets.
        overrides: the body of cook, None for none.

    Raises:
        Fault: `VALIDATION_ERROR`: the body is no object.
    """
    if overrides is not None and not isinstance(overrides, dict):
        raise invalid([Issue("invalid_type", (), f"must be an object, not {kind_of(overrides)}")])
    given = {name: value for name, value in (overrides or {}).items() if name in FIELDS}
    merged = {**kept, **given}
    for one, other in (("gpu_name", "gpu_registry_uuid"), ("gpu_registry_uuid", "gpu_name")):
        if given.get(one) and not given.get(other):
            merged.pop(other, None)
    if "parameters" in given:
        merged["parameters"] = _merged_parameters(kept.get("parameters"), given["parameters"])
    return merged


def _completed(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body in which what a recipe may leave open is filled in."""
    full: dict[str, Any] = {"title": "-", "task": BATCH, "parameters": {}, **body}
    if "task" not in body and "max_timeout_run_ms" in body and body["max_timeout_run_ms"] is None:
        full["task"] = PERSISTENT
    if full["task"] == BATCH:
        full.setdefault("max_timeout_run_ms", LEAST_RUN_MS)
    if isinstance(full["parameters"], dict):
        outer = full["parameters"] = {"type": "docker", _INNER: {}, **full["parameters"]}
        if isinstance(outer[_INNER], dict):
            outer[_INNER] = {"image": "image", **outer[_INNER]}
    return full


def _inside(kept: Mapping[str, Any], change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """A payload with its container's members changed."""
    outer = kept.get("parameters")
    if not isinstance(outer, dict) or not isinstance(outer.get(_INNER), dict):
        return dict(kept)
    return {**kept, "parameters": {**outer, _INNER: change(outer[_INNER])}}


def _merged_parameters(before: Any, given: Any) -> Any:
    if not isinstance(given, dict) or not isinstance(before, dict):
        return given
    merged = {**before, **given}
    inner, wanted = before.get(_INNER), given.get(_INNER, {})
    if isinstance(inner, dict) and isinstance(wanted, dict):
        docker = {**inner, **wanted}
        if isinstance(inner.get("env"), dict) and isinstance(wanted.get("env"), dict):
            docker["env"] = {**inner["env"], **wanted["env"]}
        merged[_INNER] = docker
    return merged


def _container(form: Form, secrets: Secrets) -> tuple[Docker, dict[str, Any]]:
    outer = form.form("parameters")
    outer.choice("type", ("docker",))
    inner = outer.form(_INNER)
    docker = docker_parameters.read(inner, secrets)
    if outer.issues:
        return docker, {}
    return docker, _public(outer.members)


def _public(parameters: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": "docker"}
    inner = parameters.get(_INNER)
    if isinstance(inner, dict):
        shown[_INNER] = docker_parameters.public(inner)
    return shown


def _milliseconds(form: Form, name: str, least: int) -> int:
    return form.integer(name, default=LEAST_ASSIGN_MS, least=least, most=LONGEST_MS)


def _run_limit(form: Form, task: str) -> int | None:
    if task == BATCH:
        if form.is_null("max_timeout_run_ms"):
            form.issue("invalid_type", "must be an integer for a BATCH job, not null", "max_timeout_run_ms")
            return None
        return form.integer("max_timeout_run_ms", least=LEAST_RUN_MS, most=LONGEST_MS)
    if form.members.get("max_timeout_run_ms") is not None:
        form.issue("invalid_value", "must be null for a PERSISTENT job, which runs until stopped", "max_timeout_run_ms")
    return None


def _regions(form: Form) -> tuple[str, ...]:
    found = form.texts("allowed_region_codes", most=len(REGION_CODES), longest=32)
    for position, code in enumerate(found):
        if code not in REGION_CODES:
            form.issue("invalid_value", "is no region code", "allowed_region_codes", position)
    return tuple(dict.fromkeys(found))


def _check_texts(form: Form) -> None:
    """Refuse text that no database keeps and no program takes, wherever it is."""
    for name in FIELDS:
        waiting: list[tuple[Path, Any]] = [((name,), form.members.get(name))]
        while waiting:
            place, value = waiting.pop()
            if isinstance(value, str) and not is_text(value):
                form.issue("invalid_format", "contains a character that is none", *place)
            elif isinstance(value, dict):
                if not all(is_text(key) for key in value):
                    form.issue("invalid_format", "has a name with a character that is none", *place)
                waiting += [((*place, key), item) for key, item in value.items() if is_text(key)]
            elif isinstance(value, list):
                waiting += [((*place, position), item) for position, item in enumerate(value)]
