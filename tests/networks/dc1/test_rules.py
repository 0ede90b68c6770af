"""Settings, requests, and what is found out about this machine."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.errors import ConfigurationError, InvalidRequestError
from skerry.networks.dc1 import (
    build_resource_spec,
    operations,
)
from skerry.networks.dc1.config import BASE_URL, resolve
from skerry.networks.dc1.host import gpu_of, os_name


def test_arguments_win_over_the_environment() -> None:
    environ = {
        "DCP_RENTER_KEY": " k1 ",
        "API_BASE": "http://127.0.0.1:4242/dc1/",
        "SKERRY_DC1_PROVIDER_KEY": "p1",
        "DC1_ADMIN_TOKEN": "a1",
        "DC1_HMAC_SECRET": "h1",
    }
    config = resolve(environ)
    assert (config.api_key, config.base_url, config.provider_key) == ("k1", "http://127.0.0.1:4242/dc1", "p1")
    assert (config.admin_token, config.hmac_secret, config.retries) == ("a1", "h1", 0)
    given = resolve(environ, api_key="k2", base_url="https://x.test//", retries=2)
    assert (given.api_key, given.base_url, given.policy.attempts) == ("k2", "https://x.test", 3)
    bare = resolve({"DCP_RENTER_KEY": "  "})
    assert (bare.api_key, bare.base_url, bare.provider_key) == (None, BASE_URL, None)
    assert not any(secret in repr(config) for secret in ("k1", "p1", "a1", "h1"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"api_key": ""}, "api_key is required"),
        ({"api_key": "  "}, "api_key is required"),
        ({"provider_key": ""}, "provider_key is required"),
        ({"base_url": ""}, "base_url is required"),
        ({"base_url": "api.dcp.sa"}, "must start with http"),
        ({"base_url": "ftp://x.test"}, "must start with http"),
        ({"base_url": "https://"}, "must start with http"),
        ({"base_url": "http://[::1"}, "must start with http"),
        ({"base_url": "https://x.test?a=1"}, "takes no query"),
        ({"base_url": "https://x.test#a"}, "takes no query"),
        ({"retries": -1}, "count of further tries"),
        ({"retries": True}, "count of further tries"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        resolve({}, **settings)
    assert isinstance(caught.value, ValueError)
    assert caught.value.network == "dc1"


@given(st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1))
def test_an_id_names_nothing_but_itself(job_id: str) -> None:
    url = operations.build(operations.OUTPUT, "https://h.test/p", job_id).url
    inner = url.removeprefix("https://h.test/p/api/jobs/").removesuffix("/output")
    assert "/" not in inner
    assert "?" not in inner
    assert inner not in (".", "..")


def test_models_keep_their_slash() -> None:
    call = operations.build(operations.MODEL_ESTIMATE, "https://h.test", "org/m 1", query={"duration_minutes": None})
    assert call.url == "https://h.test/api/models/org/m%201/deploy/estimate"
    hostile = operations.build(operations.MODEL_ESTIMATE, "https://h.test", "../../x?y", query={"duration_minutes": 30})
    assert hostile.url == "https://h.test/api/models/%2E%2E/%2E%2E/x%3Fy/deploy/estimate?duration_minutes=30"


def test_names_that_cannot_be_sent() -> None:
    with pytest.raises(InvalidRequestError, match="job_id must not be empty"):
        operations.build(operations.OUTPUT, "https://h.test", "")
    for name in (True, None, 1.5):
        with pytest.raises(TypeError, match="text or a number"):
            operations.build(operations.OUTPUT, "https://h.test", name)  # type: ignore[arg-type]
    for path in ("api/x", "/a?b", "/a#b", "/a b", "/\u00e9", "/a/../b"):
        with pytest.raises(InvalidRequestError, match="path must"):
            operations.other("GET", "https://h.test", path)


def test_bodies_are_compact_and_exact() -> None:
    body = {"script": "if a < b and c > d:\n", "prompt": "مرحبا", "amount_sar": Decimal("12.34"), "none": None}
    assert operations.json_body(body) == (
        '{"script":"if a < b and c > d:\\n","prompt":"مرحبا","amount_sar":12.34,"none":null}'.encode()
    )


def test_the_table_knows_what_a_repeat_may_do() -> None:
    rows = operations.ROUTES
    assert rows["provider.claim"].operation.safety == "unsafe"
    assert rows["jobs.create"].operation.safety == "unsafe"
    assert rows["provider.job_result"].operation.safety == "idempotent"
    assert {name for name, row in rows.items() if row.operation.keyed} == {"jobs.create", "jobs.dispatch"}
    assert all(row.operation.method != "POST" or row.operation.safety != "keyed" for row in rows.values())
    assert set(operations.OPERATIONS) == set(rows)


def test_this_machine_as_a_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA Test, 8188, [N/A], 7'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    spec = build_resource_spec()
    assert (spec["gpu_model"], spec["vram_mib"], spec["gpu_util_pct"]) == ("NVIDIA Test", 8188, 7)
    assert "gpu_temp_c" not in spec
    assert spec["cpu_cores"] >= 1
    assert spec["os"] == os_name()
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert "gpu_model" not in build_resource_spec()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert "gpu_model" not in build_resource_spec()


@pytest.mark.parametrize("text", ["", "one", "a, b, c", ", 1, 2, 3", "No devices were found\n"])
def test_a_driver_that_knows_no_gpu(text: str) -> None:
    assert gpu_of(text) == {}
