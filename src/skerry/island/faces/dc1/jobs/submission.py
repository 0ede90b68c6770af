"""What a submission asks for, checked as far as nothing but the request is needed (sections 3.3.1 and 3.3.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.fields import Fields, kind
from skerry.island.faces.dc1.jobs import images
from skerry.island.faces.dc1.jobs.job_rows import RANKS, USUAL_PRIORITY
from skerry.island.faces.dc1.jobs.templates import BUNDLES, TEMPLATES
from skerry.island.provider.params import environment
from skerry.island.provider.task_specs import CONTAINER_TYPE

JOB_TYPES = (
    "image_generation",
    "llm-inference",
    "llm_inference",
    "rendering",
    "training",
    "benchmark",
    "custom_container",
    "vllm_serve",
    "rag-pipeline",
)
GPU_TYPES = ("H200", "H100", "A100", "L40S", "L40", "RTX4090", "RTX4080", "RTX3090", "RTX3080")
USUAL_MAX_SECONDS = 1_800
STANDARD = "standard"
_KNOWN = (
    "job_type",
    "duration_minutes",
    "provider_id",
    "params",
    "priority",
    "gpu_requirements",
    "container_spec",
    "template_id",
    "bundle_id",
    "task_spec",
    "model",
    "pricing_class",
    "prewarm_requested",
    "max_duration_seconds",
    "env_vars",
)
_MODEL = re.compile(r"[\w.\-/:@]+", re.ASCII)
_MODEL_MESSAGE = r"Invalid string: must match pattern /^[\w.\-/:@]+$/"
_LONGEST_MODEL = 256
_WEAK_TOKENS = frozenset({"", "dc1jupyter", "jupyter", "password", "token"})
_LARGEST_ID = 2**31 - 1
_MOST_VRAM_GB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A job that somebody wants, before anybody knows who would carry it out.

    Args:
        job_type: one of `JOB_TYPES`.
        duration_minutes: how long it was said to take; the most that is charged.
        provider_id: who shall carry it out; None for whoever can.
        params: as sent, with what a template adds.
        model: that it names.
        priority: 0 to 10, of which 1 goes first.
        gpu_requirements: as sent, with what a template adds, the type of GPU in its normal form.
        container_spec: as sent; None for the usual one.
        template_id, bundle_id: what it was made from.
        image: of the template.
        task_spec: an object of the renter's own, for job types whose task spec is not made by the network.
        pricing_class: `priority`, `standard` or `economy`.
        prewarm: whether the model shall be there beforehand.
        max_duration_seconds: how long one attempt may take.
        env: for the container.
    """

    job_type: str
    duration_minutes: int | float
    provider_id: int | None = None
    params: Mapping[str, Any]
    model: str | None = None
    priority: int = USUAL_PRIORITY
    gpu_requirements: Mapping[str, Any] | None = None
    container_spec: Mapping[str, Any] | None = None
    template_id: str | None = None
    bundle_id: str | None = None
    image: str | None = None
    task_spec: Mapping[str, Any] | None = None
    pricing_class: str = STANDARD
    prewarm: bool = False
    max_duration_seconds: int = USUAL_MAX_SECONDS
    env: Mapping[str, str] | None = None

    @property
    def min_vram_gb(self) -> float:
        """Memory that a GPU must have, as far as the requirements tell."""
        return float((self.gpu_requirements or {}).get("min_vram_gb") or 0)

    @property
    def gpu_type(self) -> str | None:
        """The type that a GPU must be of, in its normal form."""
        return (self.gpu_requirements or {}).get("gpu_type")

    @property
    def image_override(self) -> Any:
        """The image that a container job names in its parameters."""
        if self.job_type != CONTAINER_TYPE:
            return None
        return next((self.params[name] for name in ("image_override", "imageOverride") if self.params.get(name)), None)


def read(body: Any) -> Submission:
    """A submission, in the order of the network's own checks.

    Raises:
        Fault: the first check that it does not pass, in the network's words.
    """
    fields = Fields(body, nulls=True)
    job_type = fields.text("job_type", most=64, required=False)
    minutes = fields.number("duration_minutes", least=0.1, most=1_440, required=False)
    provider_id = fields.number("provider_id", above=0, most=_LARGEST_ID, whole=True, required=False)
    params = fields.object("params", word="record") or {}
    priority = _priority(fields, body)
    gpu = fields.object("gpu_requirements")
    _check_gpu(fields, gpu)
    container = fields.object("container_spec")
    template_id = fields.text("template_id", most=128, required=False)
    bundle_id = fields.text("bundle_id", most=128, required=False)
    task_spec = fields.object("task_spec", word="record")
    model = _model(fields, fields.text("model", most=_LONGEST_MODEL, required=False))
    pricing_class = fields.text("pricing_class", most=32, required=False)
    prewarm = fields.flag("prewarm_requested")
    longest = fields.number("max_duration_seconds", most=86_400, required=False)
    env = fields.object("env_vars", word="record")
    named = params.get("model")
    if isinstance(named, str) and len(named) > _LONGEST_MODEL:
        fields.wrong("params.model", f"Too big: expected string to have <={_LONGEST_MODEL} characters")
    elif isinstance(named, str) and "\x00" in named:
        fields.wrong("params.model", "Invalid input: string must not contain NUL characters")
    fields.only(_KNOWN)
    fields.check()

    image: str | None = None
    least_vram = 0
    if bundle_id:
        if bundle_id not in BUNDLES:
            raise Fault(404, f"Bundle '{bundle_id}' not found", available_bundles=list(BUNDLES))
        bundle = BUNDLES[bundle_id]
        job_type, least_vram = job_type or bundle["job_type"], bundle["min_vram_gb"]
    if template_id:
        if template_id not in TEMPLATES:
            raise Fault(404, f"Template '{template_id}' not found")
        template = TEMPLATES[template_id]
        job_type, least_vram, image = job_type or template.job_type, template.min_vram_gb, template.image
        params = {**template.params, **{name: value for name, value in params.items() if value is not None}}
        named = params.get("model")
    if not job_type or minutes is None:
        raise Fault(400, "Missing required fields: job_type (or templateId), duration_minutes")
    if job_type not in JOB_TYPES:
        raise Fault(400, f"Invalid job_type. Allowed: {', '.join(JOB_TYPES)}")
    requirements = _requirements(gpu, least_vram)
    _check_notebook(template_id, job_type, params)
    return Submission(
        job_type=job_type,
        duration_minutes=minutes,
        provider_id=None if provider_id is None else int(provider_id),
        params=params,
        model=named if isinstance(named, str) and named else model,
        priority=priority,
        gpu_requirements=requirements,
        container_spec=container,
        template_id=template_id or None,
        bundle_id=bundle_id or None,
        image=image,
        task_spec=task_spec,
        pricing_class=pricing_class if pricing_class in RANKS else STANDARD,
        prewarm=bool(prewarm),
        max_duration_seconds=_limit(longest),
        env=environment(env) if env else None,
    )


def check_image(submission: Submission, is_approved: bool) -> None:
    """Refuse a container job whose image may not be used.

    Args:
        is_approved: whether the image that it names was approved.

    Raises:
        Fault: 400.
    """
    image = submission.image_override
    if image is None:
        return
    if not images.is_reference(image):
        raise Fault(400, "params.image_override: Invalid container image reference")
    if not is_approved:
        told = "params.image_override is not in the approved image registry."
        raise Fault(400, f"{told} Use GET /api/containers/registry for allowed images.", code="IMAGE_NOT_APPROVED")


def components(bundle_id: str) -> list[dict[str, Any]]:
    """What a bundle serves together."""
    found: list[dict[str, Any]] = BUNDLES[bundle_id]["components"]
    return found


def _priority(fields: Fields, body: Any) -> int:
    """A number or its digits; what is no whole number from 0 to 10 counts as the usual priority."""
    given = body.get("priority") if isinstance(body, dict) else None
    if given is None:
        return USUAL_PRIORITY
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        fields.wrong("priority", f"Invalid input: expected string, received {kind(given)}")
        return USUAL_PRIORITY
    if isinstance(given, str):
        if len(given) > 32:
            fields.wrong("priority", "Too big: expected string to have <=32 characters")
        digits = given.strip()
        given = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 4 else -1
    return int(given) if 0 <= given <= 10 and given == int(given) else USUAL_PRIORITY


def _model(fields: Fields, model: str | None) -> str | None:
    if model and not _MODEL.fullmatch(model):
        fields.wrong("model", _MODEL_MESSAGE)
    return model or None


def _check_gpu(fields: Fields, gpu: Mapping[str, Any] | None) -> None:
    inner = Fields(gpu or {}, nulls=True)
    inner.number("min_vram_gb", above=0, most=_MOST_VRAM_GB, required=False)
    inner.text("gpu_type", most=64, required=False)
    for issue in inner.issues:
        fields.wrong(f"gpu_requirements.{issue.field}", issue.message)


def _requirements(gpu: Mapping[str, Any] | None, least_vram_gb: int) -> dict[str, Any] | None:
    """What was asked of the GPU, with what a template asks.

    Raises:
        Fault: 400 for a type of GPU that the network does not know.
    """
    found = {name: value for name, value in (gpu or {}).items() if value is not None}
    asked = found.get("gpu_type")
    if asked:
        normal = re.sub(r"[^A-Z0-9]", "", asked.upper())
        if normal not in GPU_TYPES:
            told = f"Invalid gpu_requirements.gpu_type '{asked}'. Allowed values: {', '.join(GPU_TYPES)}"
            raise Fault(400, told, code="INVALID_GPU_TYPE")
        found["gpu_type"] = normal
    if least_vram_gb and "min_vram_gb" not in found:
        found["min_vram_gb"] = least_vram_gb
    return found if found or gpu is not None else None


def _check_notebook(template_id: str | None, job_type: str, params: Mapping[str, Any]) -> None:
    if template_id != "jupyter-gpu" and not (job_type == "training" and params.get("script_type") == "jupyter"):
        return
    if str(params.get("NOTEBOOK_TOKEN") or "").strip() in _WEAK_TOKENS:
        told = "NOTEBOOK_TOKEN must be a unique, non-default value."
        hint = "Generate a random token (e.g. a UUID) and pass it as params.NOTEBOOK_TOKEN."
        raise Fault(400, f"{told} {hint}", code="WEAK_NOTEBOOK_TOKEN")


def _limit(seconds: int | float | None) -> int:
    """A limit of time counts when it is a whole number of seconds from a minute to an hour."""
    counts = seconds is not None and seconds == int(seconds) and 60 <= seconds <= 3_600
    return int(seconds) if seconds is not None and counts else USUAL_MAX_SECONDS
