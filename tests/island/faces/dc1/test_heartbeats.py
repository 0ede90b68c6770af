"""Heartbeats of every form, with whatever in them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.providers import heartbeat_bodies
from skerry.networks.dc1.signing import sign_heartbeat
from tests.island.faces.dc1.hosts import GPU, host, provider_row
from tests.island.faces.dc1.stage import SECRET, Stage

pytestmark = pytest.mark.anyio


async def test_sdk_form(stage: Stage) -> None:
    mine = await host(stage, beats=False)
    spec = {"gpu_model": "RTX 3090", "vram_mib": 24576, "gpu_util_pct": 5, "gpu_temp_c": 40, "cpu_cores": 16}
    body = {"daemon_version": "sdk/0.1.0", "resource_spec": spec}
    answer = await stage.host_as(mine.key, "POST", "/api/providers/heartbeat", body)
    assert answer.status == 200
    assert answer.json["needs_update"] is False
    me = (await mine.get("/api/providers/me"))["provider"]
    assert (me["gpu_model"], me["gpu_vram_mib"], me["daemon_version"]) == ("RTX 3090", 24576, "sdk/0.1.0")
    assert me["resource_spec"] == spec
    answer = await stage.host_as(mine.key, "POST", "/api/providers/heartbeat", {"daemon_version": "sdk/0.1.0"})
    assert answer.status == 200
    # What is not said stays.
    assert (await mine.get("/api/providers/me"))["provider"]["gpu_model"] == "RTX 3090"


async def test_documented_form(stage: Stage) -> None:
    mine = await host(stage, beats=False)
    body = {"gpu_utilization": 12.5, "vram_used_mib": 1024, "temperature_c": 61, "driver_version": "550.54"}
    answer = await stage.host_as(mine.key, "POST", "/api/providers/heartbeat", body)
    assert answer.status == 200
    me = (await mine.get("/api/providers/me"))["provider"]
    assert me["gpu_metrics"] == {"utilization_pct": 12.5, "vram_used_mib": 1024, "temperature_c": 61}


async def test_keys_in_every_place(stage: Stage) -> None:
    mine = await host(stage, beats=False)
    target = "/api/providers/heartbeat"
    assert (await stage.ask("POST", target, {"api_key": mine.key})).status == 200
    assert (await stage.ask("POST", target, {}, headers={"x-provider-key": mine.key})).status == 200
    assert (await stage.ask("POST", target, {}, headers={"authorization": f"Bearer {mine.key}"})).status == 200
    assert (await stage.ask("POST", f"{target}?key={mine.key}", {})).status == 200
    # The body's counts before all others.
    answer = await stage.ask("POST", target, {"api_key": "nope"}, headers={"x-provider-key": mine.key})
    assert answer.status == 401


@pytest.mark.parametrize("wrong", [5, True, [], [{}], 1.5])
async def test_measurements_that_are_no_object(stage: Stage, wrong: Any) -> None:
    mine = await host(stage, beats=False)
    for name in ("gpu_status", "gpu_info"):
        answer = await mine.post("/api/providers/heartbeat", **{name: wrong})
        assert (answer.status, answer.json) == (400, {"error": f"{name} must be an object"})


async def test_status_as_text(stage: Stage) -> None:
    mine = await host(stage, beats=False)
    await mine.beat(gpu_status=json.dumps(GPU))
    assert (await mine.get("/api/providers/status"))["gpu_model"] == GPU["gpu_name"]
    await mine.beat(gpu_status="idle")
    assert (await mine.get("/api/providers/status"))["gpu_model"] == GPU["gpu_name"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gpu_vram_mib", -1),
        ("gpu_vram_mib", 1_048_577),
        ("gpu_vram_mib", 10**300),
        ("gpu_vram_mib", "24564"),
        ("gpu_util_pct", 101),
        ("temp_c", -41),
        ("temp_c", 151),
        ("power_w", 2001),
        ("gpu_count", 0),
        ("gpu_count", 65),
        ("gpu_count", True),
        ("gpu_name", "x" * 201),
        ("gpu_name", "a\x00b"),
        ("driver_version", "x" * 81),
        ("daemon_version", 3),
    ],
)
async def test_values_out_of_range_count_as_not_said(stage: Stage, name: str, value: Any) -> None:
    mine = await host(stage)
    before = await provider_row(stage, mine.id)
    await mine.beat(gpu_status={name: value})
    after = await provider_row(stage, mine.id)
    assert (after.vram_mib, after.gpu_count) == (before.vram_mib, before.gpu_count)
    known = json.loads(after.profile)
    assert known.get(name) == json.loads(before.profile).get(name)


async def test_outdated_daemons(stage: Stage) -> None:
    mine = await host(stage, beats=False)
    for version, outdated in ((None, True), ("3.2.9", True), ("3.3.0", False), ("3.10.0", False), ("4", False)):
        gpu = {**GPU, "daemon_version": version}
        assert (await mine.beat(gpu_status=gpu))["needs_update"] is outdated, version


async def test_restarts_degrade(stage: Stage) -> None:
    mine = await host(stage)
    await mine.beat(container_restart_count=11)
    assert (await mine.get("/api/providers/me"))["provider"]["status"] == "degraded"
    listed = (await stage.ask("GET", "/api/providers/available")).json["providers"][0]
    assert listed["degraded_since"] == "2026-03-22T19:30:00.000Z"
    assert (await stage.ask("GET", "/api/renters/available-providers")).json["total"] == 0
    await mine.beat(container_restart_count=10)
    assert (await mine.get("/api/providers/me"))["provider"]["status"] == "online"


async def test_kinds_of_computing(stage: Stage) -> None:
    mine = await host(stage)
    await mine.beat(resource_spec={"compute_types": ["Training", "LLM"], "other": "render"})
    me = (await mine.get("/api/providers/me"))["provider"]
    assert me["supported_compute_types"] == ["inference", "training"]


async def test_endpoints_are_the_hosts_own(stage: Stage) -> None:
    mine = await host(stage)
    for url, kept in (
        ("http://127.0.0.1:8100/v1", "http://127.0.0.1:8100/v1"),
        ("http://169.254.169.254/latest", "http://127.0.0.1:8100/v1"),
        ("http://10.0.0.1:8000", "http://127.0.0.1:8100/v1"),
        ("file:///etc/passwd", "http://127.0.0.1:8100/v1"),
        ("http://user@127.0.0.1/", "http://127.0.0.1:8100/v1"),
        ("http://127.0.0.1:99999/", "http://127.0.0.1:8100/v1"),
        ("http://[::1", "http://127.0.0.1:8100/v1"),
        ({"a": 1}, "http://127.0.0.1:8100/v1"),
        ("http://localhost:8101/" + "x" * 600, "http://127.0.0.1:8100/v1"),
        ("", None),
    ):
        await mine.beat(vllm_endpoint_url=url)
        assert (await provider_row(stage, mine.id)).endpoint_url == kept
    # Through a proxy every host would seem to be this machine.
    body = {"api_key": mine.key, "vllm_endpoint_url": "http://127.0.0.1:8100/v1"}
    await stage.ask("POST", "/api/providers/heartbeat", body, headers={"x-forwarded-for": "198.51.100.1"})
    assert (await provider_row(stage, mine.id)).endpoint_url is None
    stage.address = "203.0.113.7"
    await mine.beat(vllm_endpoint_url="http://127.0.0.1:8100/v1")
    assert (await provider_row(stage, mine.id)).endpoint_url is None
    await mine.beat(vllm_endpoint_url="http://203.0.113.7:8100/v1")
    assert (await provider_row(stage, mine.id)).endpoint_url == "http://203.0.113.7:8100/v1"


async def test_preloading(stage: Stage) -> None:
    mine = await host(stage)
    order = {"model_name": "Qwen/Qwen2-7B-Instruct"}
    answer = await stage.administer("PATCH", f"/api/admin/providers/{mine.id}/preload-model", order)
    assert answer.json["preload_status"] == "downloading"
    told = (await mine.beat())["preload_model"]
    assert told == {"model_name": "Qwen/Qwen2-7B-Instruct", "status": "downloading"}
    assert (await mine.beat(cached_models=["Qwen/Qwen2-7B-Instruct"]))["preload_model"] is None
    assert (await provider_row(stage, mine.id)).preload_status == "ready"


async def test_uptime_is_of_the_last_hour(stage: Stage) -> None:
    mine = await host(stage)
    for _ in range(59):
        stage.clock.advance(60)
        await mine.beat()
    listed = (await stage.ask("GET", "/api/providers/available")).json["providers"][0]
    assert listed["uptime_pct"] == 100
    me = (await mine.get("/api/providers/me"))["provider"]
    assert me["uptime_percent"] == 100
    stage.clock.advance(30 * 60)
    await mine.beat()
    listed = (await stage.ask("GET", "/api/providers/available")).json["providers"][0]
    assert 50 <= listed["uptime_pct"] < 53


async def test_short_form(stage: Stage) -> None:
    mine = await host(stage, beats=False)
    body = {"gpu_utilization": 10, "vram_used_mb": 1024, "jobs_active": 0}
    answer = await stage.host_as(mine.key, "POST", f"/api/providers/{mine.id}/heartbeat", body)
    expected = {"success": True, "provider_id": mine.id, "status": "online", "timestamp": "2026-03-22T19:30:00.000Z"}
    assert answer.json == expected
    assert (await mine.get("/api/providers/me"))["provider"]["gpu_metrics"]["vram_used_mib"] == 1024


async def _signed(stage: Stage, key: str, signature: str | None) -> int:
    raw = json.dumps({"api_key": key}).encode()
    headers = {"content-type": "application/json"}
    if signature is not None:
        headers["x-dc1-signature"] = signature or sign_heartbeat(SECRET, raw)
    return (await stage.send("POST", "/api/providers/heartbeat", headers, raw)).status


async def test_signatures_count_where_they_must(tmp_path: Path) -> None:
    stage = Stage(tmp_path, dc1={"require_heartbeat_hmac": True})
    await stage.open()
    try:
        mine = await host(stage, beats=False)
        assert await _signed(stage, mine.key, "") == 200
        for wrong in (None, "sha256=" + "0" * 64, "0" * 64, "sha256=é", "md5=1"):
            assert await _signed(stage, mine.key, wrong) == 401
        answer = await mine.post("/api/providers/heartbeat")
        assert answer.json["error"] == "Invalid heartbeat signature"
        assert "detail" in answer.json
    finally:
        await stage.close()


async def test_signatures_are_ignored_elsewhere(stage: Stage) -> None:
    mine = await host(stage, beats=False)
    for signature in (None, "", "sha256=" + "0" * 64):
        assert await _signed(stage, mine.key, signature) == 200


async def test_limit_counts_keys_that_nobody_has(tmp_path: Path) -> None:
    stage = Stage(tmp_path, dc1={"rate_limits": True})
    await stage.open()
    try:
        mine = await host(stage)
        for _ in range(10):
            assert (await stage.ask("POST", "/api/providers/heartbeat", {"api_key": "nope"})).status == 401
        answer = await stage.ask("POST", "/api/providers/heartbeat", {"api_key": "nope"})
        assert (answer.status, answer.json["error"]) == (429, "Rate limit exceeded")
        assert answer.headers["ratelimit-policy"] == "10;w=60"
        await mine.beat()
    finally:
        await stage.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    (
        *("gpu_status", "gpu_info", "gpu_spec", "resource_spec", "provider_ip", "provider_hostname", "peer_id"),
        *("cached_models", "vllm_models", "container_restart_count", "model_cache", "vllm_endpoint_url"),
        *("daemon_version", "gpu_slots", "draining", "gpu_utilization", "vram_used_mib", "temperature_c"),
    )
)
MEMBERS = st.sampled_from(
    (
        *("gpu_name", "gpu_vram_mib", "vram_mb", "gpu_util_pct", "temp_c", "gpu_count", "all_gpus", "index"),
        *("daemon_version", "total", "used_mb", "compute_types", "gpu_model", "vram_mib"),
    )
)
BODY = st.dictionaries(NAMES, JSON | st.dictionaries(MEMBERS, JSON, max_size=6), max_size=8)


@given(body=BODY, short=st.booleans())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_whatever_is_said_can_be_kept(body: dict[str, Any], short: bool) -> None:
    try:
        found = heartbeat_bodies.read_short(body) if short else heartbeat_bodies.read(body, "127.0.0.1")
    except Fault:
        assert any(not isinstance(body.get(name, {}), dict | str | None) for name in ("gpu_status", "gpu_info")) or any(
            isinstance(body.get(name), str) for name in ("gpu_info",)
        )
        return
    assert json.loads(wire.text(found.profile)) == found.profile
    assert found.vram_mib is None or 0 <= found.vram_mib <= 1_048_576 * 32
    assert found.slots is None or 1 <= found.slots <= 64


def test_no_heartbeat_is_a_defect(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    stage = Stage(tmp_path)
    loop.run_until_complete(stage.open())
    try:
        mine = loop.run_until_complete(host(stage))

        @given(body=BODY)
        @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
        def check(body: dict[str, Any]) -> None:
            answer = loop.run_until_complete(
                stage.ask("POST", "/api/providers/heartbeat", {**body, "api_key": mine.key})
            )
            assert answer.status in (200, 400), answer.body
            for target in ("/api/providers/available", "/api/renters/available-providers", "/api/providers/models"):
                assert loop.run_until_complete(stage.ask("GET", target)).status == 200
            for target in ("/api/providers/me", "/api/providers/status", "/api/providers/me/metrics"):
                assert loop.run_until_complete(stage.host_as(mine.key, "GET", target)).status == 200

        check()
    finally:
        loop.run_until_complete(stage.close())
        loop.close()
