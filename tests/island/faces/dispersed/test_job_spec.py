"""A job's body: what is accepted, what is refused and with how many words, what is never shown."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.island.faces.dispersed.errors import Fault
from skerry.island.faces.dispersed.jobs import job_spec
from skerry.island.faces.dispersed.jobs.docker_parameters import MASK
from skerry.island.faces.dispersed.jobs.job_spec import FIELDS, REGION_CODES, JobSpec, merge, parse, payload

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@here"
UUID = "019582a6-27fc-731d-af0a-594f04d6d0d5"
SMALLEST: dict[str, Any] = {
    "task": "BATCH",
    "title": "t",
    "max_timeout_run_ms": 60_000,
    "parameters": {"type": "docker", "parameters": {"image": "library/ubuntu"}},
}


def body(docker: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The smallest job with members changed."""
    made = copy.deepcopy(SMALLEST) | fields
    if docker:
        made["parameters"]["parameters"] |= docker
    return {name: value for name, value in made.items() if value is not ...}


def mistakes(value: Any) -> dict[str, str]:
    """Code by path of everything a body is refused for."""
    with pytest.raises(Fault) as caught:
        parse(value)
    assert (caught.value.status, caught.value.code) == (400, "VALIDATION_ERROR")
    return {".".join(map(str, issue.path)): issue.code for issue in caught.value.details}


def test_defaults() -> None:
    spec = parse(SMALLEST)
    assert (spec.cpu_count, spec.gpu_count, spec.min_ram_gb, spec.min_storage_gb, spec.min_vram_gb) == (0, 0, 0, 0, 0)
    assert (spec.max_timeout_assign_ms, spec.max_timeout_start_ms, spec.max_timeout_run_ms) == (
        300_000,
        300_000,
        60_000,
    )
    assert (spec.max_node_count, spec.max_retry_count, spec.region_codes) == (1, 0, ())
    assert (spec.docker.tag, spec.docker.ports, spec.docker.sshkey) == ("latest", (22,), None)
    assert spec.parameters == SMALLEST["parameters"]


def test_every_field_is_read() -> None:
    docker = {
        "tag": "24.04",
        "host": "registry.test:5000",
        "user": "me",
        "secret": "s3cret",
        "sshkey": KEY,
        "allowed_ips": ["0.0.0.0/0", "203.0.113.7", "2001:db8::/32"],
        "ports": [8000, 22],
        "env": {"A": "1"},
        "volumes": [{"mount": "/data//x", "image": "me/data", "tag": "v1", "user": "u", "secret": "v3cret"}],
    }
    spec = parse(
        body(
            docker,
            task="PERSISTENT",
            max_timeout_run_ms=None,
            description="d",
            cpu_count=2,
            gpu_count=1.0,
            gpu_name="RTX 4090",
            allowed_region_codes=["us-east-1", "us-east-1"],
            unknown={"any": "thing"},
        )
    )
    assert spec.gpu_count == 1
    assert spec.gpu_name == "RTX 4090"
    assert spec.max_timeout_run_ms is None
    assert spec.docker.allowed_ips == ("0.0.0.0/0", "203.0.113.7/32", "2001:db8::/32")
    assert spec.docker.ports == (8000, 22)
    assert spec.docker.volumes[0].mount == "/data/x"
    assert spec.region_codes == ("us-east-1",)
    assert spec.secrets == {"secret": "s3cret", "volumes.0": "v3cret"}
    shown = json.dumps(spec.parameters)
    assert "3cret" not in shown
    assert "3cret" not in repr(spec)
    assert spec.parameters["parameters"]["secret"] == MASK
    assert job_spec.docker_of(spec.parameters) == spec.docker


def test_empty_text_means_none() -> None:
    spec = parse(
        body({"host": "", "user": "", "secret": "", "sshkey": "", "imagesrc": ""}, gpu_name="", gpu_registry_uuid="")
    )
    assert (spec.docker.host, spec.docker.user, spec.docker.sshkey, spec.docker.imagesrc) == ("", "", "", "")
    assert (spec.secrets, spec.gpu_name, spec.gpu_registry_uuid) == ({}, None, None)
    assert spec.parameters["parameters"]["secret"] == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, {"": "invalid_type"}),
        ([], {"": "invalid_type"}),
        (body(task=...), {"task": "invalid_type"}),
        (body(task="batch"), {"task": "invalid_value"}),
        (body(title=""), {"title": "too_small"}),
        (body(title="x" * 256), {"title": "too_big"}),
        (body(cpu_count=-1, gpu_count="1"), {"cpu_count": "too_small", "gpu_count": "invalid_type"}),
        (body(min_ram_gb=True), {"min_ram_gb": "invalid_type"}),
        (body(min_ram_gb=1.5), {"min_ram_gb": "invalid_type"}),
        (body(max_retry_count=2**53), {"max_retry_count": "too_big"}),
        (body(gpu_name="RTX 4090", gpu_registry_uuid=UUID), {"gpu_registry_uuid": "custom"}),
        (body(gpu_registry_uuid="x"), {"gpu_registry_uuid": "invalid_format"}),
        (body(max_timeout_run_ms=...), {"max_timeout_run_ms": "invalid_type"}),
        (body(max_timeout_run_ms=None), {"max_timeout_run_ms": "invalid_type"}),
        (body(max_timeout_run_ms=59_999), {"max_timeout_run_ms": "too_small"}),
        (body(max_timeout_run_ms=2**53 - 1), {"max_timeout_run_ms": "too_big"}),
        (body(task="PERSISTENT"), {"max_timeout_run_ms": "invalid_value"}),
        (body(max_timeout_assign_ms=299_999), {"max_timeout_assign_ms": "too_small"}),
        (body(max_timeout_start_ms=119_999), {"max_timeout_start_ms": "too_small"}),
        (body(max_node_count=0), {"max_node_count": "too_small"}),
        (body(allowed_region_codes=["mars-1"]), {"allowed_region_codes.0": "invalid_value"}),
        (body(parameters=...), {"parameters": "invalid_type", "parameters.type": "invalid_type"}),
        (body(parameters={"type": "vm", "parameters": {"image": "x"}}), {"parameters.type": "invalid_value"}),
        (body({"image": ""}), {"image": "too_small"}),
        (body({"image": "ubuntu:24.04"}), {"image": "invalid_format"}),
        (body({"tag": "a b"}), {"tag": "invalid_format"}),
        (body({"host": "http://x"}), {"host": "invalid_format"}),
        (body({"imagesrc": "file:///etc/passwd"}), {"imagesrc": "invalid_format"}),
        (body({"imagesrc": "https://me:pa55@files.test/x.tar"}), {"imagesrc": "invalid_format"}),
        (body({"imagesrc": "https://files.test:99999/x.tar"}), {"imagesrc": "invalid_format"}),
        (body({"sshkey": "ssh-ed25519 AAAA"}), {"sshkey": "invalid_format"}),
        (body({"sshkey": "\n".join([KEY] * 65)}), {"sshkey": "too_big"}),
        (body({"secret": MASK}), {"secret": "invalid_value"}),
        (body({"ports": [0, 65536]}), {"ports.0": "too_small", "ports.1": "too_big"}),
        (body({"ports": [80, 80]}), {"ports": "custom"}),
        (body({"allowed_ips": ["everybody"]}), {"allowed_ips.0": "invalid_format"}),
        (body({"env": {"A": 1}}), {"env.A": "invalid_type"}),
        (body({"env": {"A-B": ""}}), {"env.A-B": "invalid_format"}),
        (body({"env": {"A": "\x00"}}), {"env.A": "invalid_format"}),
        (body({"env": {"A": "\u00e9" * 65_535}}), {"env.A": "too_big"}),
        (body({"volumes": [{"mount": "../x", "image": "a"}]}), {"volumes.0.mount": "invalid_format"}),
        (
            body({"volumes": [{"mount": "/x", "image": "a"}, {"mount": "/x/", "image": "b"}]}),
            {"volumes": "custom"},
        ),
    ],
)
def test_what_is_refused(value: Any, expected: dict[str, str]) -> None:
    found = mistakes(value)
    short = {path.removeprefix("parameters.parameters."): code for path, code in found.items()}
    if not isinstance(value, dict):
        assert short[""] == expected[""]
        return
    assert expected.items() <= short.items()
    if "parameters" in value and "type" in value["parameters"]:
        assert short == expected


def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes(body({"ports": ["x"]}, task="PERSISTENT", title=3, cpu_count=-1))
    assert set(found) == {"title", "cpu_count", "max_timeout_run_ms", "parameters.parameters.ports.0"}


def test_an_archive_takes_the_place_of_the_image() -> None:
    spec = parse(body({"image": "", "imagesrc": "https://files.test/x.tar"}))
    assert spec.docker.imagesrc == "https://files.test/x.tar"


def test_there_are_36_regions() -> None:
    assert len(set(REGION_CODES)) == len(REGION_CODES) == 36
    assert parse(body(allowed_region_codes=list(REGION_CODES))).region_codes == REGION_CODES


def test_merge_follows_the_rules_of_cook() -> None:
    kept = body(
        {"env": {"A": "1", "B": "2"}, "ports": [22, 80], "tag": "1"}, gpu_name="RTX 4090", gpu_count=1, title="old"
    )
    before = copy.deepcopy(kept)
    merged = merge(
        kept,
        {
            "title": "new",
            "gpu_registry_uuid": UUID,
            "parameters": {"parameters": {"env": {"B": "3", "C": "4"}, "ports": [8000], "secret": "x"}},
            "strange": 1,
        },
    )
    assert kept == before
    spec = parse(merged)
    assert (spec.title, spec.gpu_name, spec.gpu_registry_uuid) == ("new", None, UUID)
    assert spec.docker.env == {"A": "1", "B": "3", "C": "4"}
    assert (spec.docker.ports, spec.docker.tag, spec.secrets) == ((8000,), "1", {"secret": "x"})
    assert "strange" not in merged
    again = merge(merged, {"gpu_name": "RTX 5090"})
    assert parse(again).gpu_registry_uuid is None
    assert merge(kept, None) == kept
    with pytest.raises(Fault):
        merge(kept, [])


def test_a_recipe_keeps_its_secrets_apart() -> None:
    sent = body({"secret": "s", "sshkey": KEY, "volumes": [{"mount": "/v", "image": "a", "secret": "t"}]}, nonsense=1)
    kept, secrets = payload(sent)
    assert "nonsense" not in kept
    assert secrets == {"secret": "s", "volumes.0": "t"}
    assert kept["parameters"]["parameters"]["secret"] == MASK
    assert parse(job_spec.with_secrets(kept, secrets)).secrets == secrets
    assert parse(job_spec.with_secrets(kept, {})).secrets == {}
    shared = json.dumps(job_spec.without_secrets(kept))
    assert MASK not in shared
    assert "ssh-ed25519" not in shared


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"title": "x"},
        {"parameters": {"parameters": {"env": {"A": "1"}}}},
        {"task": "PERSISTENT"},
        {"max_timeout_run_ms": None},
        {"gpu_count": 2, "max_timeout_run_ms": 60_000},
    ],
)
def test_a_recipe_may_leave_things_open(value: dict[str, Any]) -> None:
    kept, _ = payload(value)
    assert set(kept) == set(value)


@pytest.mark.parametrize("value", [[], None, {"cpu_count": -1}, {"parameters": 3}, {"title": ""}])
def test_what_a_recipe_holds_must_be_right(value: Any) -> None:
    with pytest.raises(Fault) as caught:
        payload(value, path=("payload",))
    assert all(issue.path[0] == "payload" for issue in caught.value.details)


# The table of characters is read on first use.
UNHURRIED = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
NEAR = st.sampled_from(
    [
        *("", "x", "docker", "BATCH", "PERSISTENT", "latest", "library/ubuntu", "/mnt", "0.0.0.0/0", "us-east-1"),
        *(KEY, UUID, MASK, "\x00", "\ud800", "https://a.test/x", 0, 1, -1, 22, 60_000, 300_000, 2**53, 2**70, 1e300),
        *(1.0, float("nan"), None, True),
    ]
)
VALUES = NEAR | JSON | st.lists(NEAR, max_size=3) | st.dictionaries(st.text(max_size=3), NEAR, max_size=3)
DOCKER = (*("image", "tag", "host", "user", "secret", "imagesrc", "sshkey", "allowed_ips", "ports", "env"), "volumes")
CONTAINERS = st.dictionaries(st.sampled_from(DOCKER), VALUES, max_size=6)
BODIES = st.builds(
    lambda fields, docker, whole: whole(fields, docker),
    st.dictionaries(st.sampled_from([*FIELDS, "extra"]), VALUES, max_size=6),
    CONTAINERS,
    st.sampled_from(
        [
            lambda fields, docker: {**SMALLEST, **fields},
            lambda fields, docker: {
                **SMALLEST,
                **fields,
                "parameters": {"type": "docker", "parameters": {"image": "a", **docker}},
            },
            lambda fields, docker: {"parameters": {"parameters": docker}, **fields},
        ]
    ),
)


def spec_or_fault(work: Callable[[], JobSpec]) -> JobSpec | Fault:
    """What comes of some work that may refuse, but not break."""
    try:
        return work()
    except Fault as fault:
        return fault


@given(JSON | BODIES)
@UNHURRIED
def test_any_value_is_a_job_or_a_fault(value: Any) -> None:
    spec = spec_or_fault(lambda: parse(value))
    if not isinstance(spec, JobSpec):
        assert spec.details
        return
    assert (spec.max_timeout_run_ms is None) == (spec.task == "PERSISTENT")
    assert not (spec.gpu_name and spec.gpu_registry_uuid)
    # What is stored can be encoded, fits, holds no secret, and says the same when it is read again.
    assert json.loads(json.dumps(spec.parameters).encode()) == spec.parameters
    json.dumps(spec.parameters, ensure_ascii=False).encode()
    assert job_spec.docker_of(spec.parameters) == spec.docker
    for secret in spec.secrets.values():
        assert secret not in [docker.get("secret") for docker in (spec.parameters["parameters"],)]
    millis = spec.max_timeout_assign_ms + spec.max_timeout_start_ms + (spec.max_timeout_run_ms or 0)
    assert (millis + 4_000_000_000_000) * 1000 < 2**63


@given(JSON | BODIES, JSON | BODIES)
@UNHURRIED
def test_any_recipe_and_cook_make_a_job_or_a_fault(value: Any, overrides: Any) -> None:

    def cooked() -> JobSpec:
        kept, secrets = payload(value)
        return parse(merge(job_spec.with_secrets(kept, secrets), overrides))

    spec_or_fault(cooked)
