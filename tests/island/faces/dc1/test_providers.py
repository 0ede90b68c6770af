"""Provider accounts: made, looked at, paused, brought online and offline."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.island.faces.dc1.hosts import GPU, host, provider_row
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio

NEW = {"name": "GPU Farm", "email": "P1@Example.sa", "gpu_model": "RTX 4090", "os": "Linux"}


async def test_register(stage: Stage) -> None:
    answer = await stage.ask("POST", "/api/providers/register", {**NEW, "resource_spec": {"cpu_cores": 16}})
    assert answer.status == 200
    key = answer.json["api_key"]
    assert key.startswith("dc1-provider-")
    assert answer.json["installer_url"] == f"/api/providers/installer?key={key}&os=Linux"
    row = await provider_row(stage, answer.json["provider_id"])
    assert (row.email, row.os, row.approval) == ("p1@example.sa", "linux", "approved")
    assert key.encode() not in bytes(row.sealed_key)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["name", "email", "gpu_model", "os"]),
        ({**NEW, "name": "x"}, ["name"]),
        ({**NEW, "name": "x" * 101}, ["name"]),
        ({**NEW, "name": "a\x00b"}, ["name"]),
        ({**NEW, "email": "nobody"}, ["email"]),
        ({**NEW, "gpu_model": ""}, ["gpu_model"]),
        ({**NEW, "gpu_model": "x" * 121}, ["gpu_model"]),
        ({**NEW, "os": "beos"}, ["os"]),
        ({**NEW, "os": ["linux"]}, ["os"]),
        ({**NEW, "os": {}}, ["os"]),
        ({**NEW, "resource_spec": 5}, ["resource_spec"]),
        ({**NEW, "resource_spec": "x" * 4097}, ["resource_spec"]),
        ([], ["(root)", "name", "email", "gpu_model", "os"]),
        ("text", ["(root)", "name", "email", "gpu_model", "os"]),
    ],
)
async def test_register_refused(stage: Stage, body: Any, fields: list[str]) -> None:
    answer = await stage.ask("POST", "/api/providers/register", body)
    assert answer.status == 400
    assert answer.json["error"] == "Validation failed"
    assert [issue["field"] for issue in answer.json["fields"]] == fields


async def test_unknown_system_is_told_which_there_are(stage: Stage) -> None:
    for body in ({**NEW, "os": "beos"}, {name: value for name, value in NEW.items() if name != "os"}):
        answer = await stage.ask("POST", "/api/providers/register", body)
        expected = 'Invalid option: expected one of "windows"|"linux"|"mac"|"darwin"'
        assert answer.json["fields"] == [{"field": "os", "message": expected}]


async def test_one_account_for_each_address(stage: Stage) -> None:
    asked = [stage.ask("POST", "/api/providers/register", {**NEW, "name": f"farm {n}"}) for n in range(5)]
    found = await asyncio.gather(*asked)
    assert sorted(answer.status for answer in found) == [200, 409, 409, 409, 409]
    refused = next(answer for answer in found if answer.status == 409)
    assert refused.json == {"error": "A provider with this email already exists"}


async def test_keys_are_told_once(stage: Stage) -> None:
    mine = await host(stage)
    for target in ("/api/providers/me", "/api/providers/status", "/api/providers/self-test", "/api/providers/earnings"):
        assert mine.key not in str(await mine.get(target))
    answer = await stage.administer("GET", f"/api/admin/providers/{mine.id}")
    assert mine.key not in answer.body.decode()


@pytest.mark.parametrize(
    ("method", "target", "missing", "unknown"),
    [
        ("GET", "/api/providers/me", (400, "API key required"), (404, "Provider not found")),
        ("GET", "/api/providers/status", (400, "API key required"), (404, "Provider not found")),
        ("GET", "/api/jobs/assigned", (400, "API key required"), (404, "Provider not found")),
        ("GET", "/api/jobs/queue", (400, "API key required"), (404, "Provider not found")),
        ("GET", "/api/providers/jobs/next", (400, "API key required"), (401, "Invalid API key")),
        ("GET", "/api/providers/earnings", (400, "API key required"), (401, "Invalid API key")),
        ("POST", "/api/providers/heartbeat", (400, "api_key required"), (401, "Invalid API key")),
        ("POST", "/api/providers/readiness", (400, "API key required"), (401, "Invalid API key")),
        ("POST", "/api/providers/job-result", (400, "api_key and job_id required"), (401, "Invalid API key")),
        ("POST", "/api/jobs/x/progress", (400, "api_key and phase required"), (401, "Invalid API key")),
        ("POST", "/api/providers/1/online", (401, "API key required"), (401, "Invalid API key")),
        ("POST", "/api/providers/1/heartbeat", (401, "API key required"), (401, "Invalid API key")),
        ("GET", "/api/providers/1/keys", (401, "API key required"), (401, "Invalid API key")),
        ("POST", "/api/jobs/x/result", (403, "Forbidden"), (403, "Forbidden")),
        ("POST", "/api/jobs/x/fail", (403, "Forbidden"), (403, "Forbidden")),
        ("GET", "/api/admin/providers", (401, "Admin access denied"), (401, "Admin access denied")),
        ("GET", "/api/admin/withdrawals", (401, "Admin access denied"), (401, "Admin access denied")),
    ],
)
async def test_keys(stage: Stage, method: str, target: str, missing: tuple[int, str], unknown: tuple[int, str]) -> None:
    answer = await stage.ask(method, target)
    assert (answer.status, answer.json["error"]) == missing
    answer = await stage.ask(method, target, headers={"x-provider-key": "nope", "x-admin-token": "nope"})
    assert (answer.status, answer.json["error"]) == unknown
    # A renter is no provider.
    answer = await stage.ask(method, target, headers={"x-provider-key": stage.key, "x-admin-token": stage.key})
    assert (answer.status, answer.json["error"]) == unknown


async def test_pause_and_resume(stage: Stage) -> None:
    mine = await host(stage)
    answer = await stage.ask("POST", "/api/providers/pause", {"key": mine.key})
    assert answer.json == {"success": True, "status": "paused"}
    assert (await stage.ask("GET", "/api/renters/available-providers")).json["total"] == 0
    # A heartbeat does not undo it.
    await mine.beat()
    assert (await mine.get("/api/providers/me"))["provider"]["status"] == "paused"
    answer = await stage.ask("POST", "/api/providers/resume", {"key": mine.key})
    assert answer.json == {"success": True, "status": "online"}
    assert (await stage.ask("GET", "/api/renters/available-providers")).json["total"] == 1


async def test_preferences(stage: Stage) -> None:
    mine = await host(stage)
    answer = await mine.post("/api/providers/preferences", run_mode="scheduled", gpu_usage_cap_pct=70)
    assert answer.json["preferences"] == {
        "run_mode": "scheduled",
        "scheduled_start": "23:00",
        "scheduled_end": "07:00",
        "gpu_usage_cap_pct": 70,
        "vram_reserve_gb": 1,
        "temp_limit_c": 85,
    }
    answer = await mine.post("/api/providers/preferences", scheduled_start="01:30")
    assert answer.json["preferences"]["run_mode"] == "scheduled"
    for wrong in (
        {"run_mode": "never"},
        {"run_mode": []},
        {"scheduled_start": "25:00"},
        {"scheduled_end": 7},
        {"gpu_usage_cap_pct": 101},
        {"temp_limit_c": "hot"},
        {"vram_reserve_gb": True},
    ):
        answer = await mine.post("/api/providers/preferences", **wrong)
        assert answer.status == 400, wrong


async def test_online_and_offline(stage: Stage) -> None:
    mine = await host(stage, beats=False)
    answer = await mine.post(f"/api/providers/{mine.id}/online", gpuModel="NVIDIA RTX 4090", loaded_models=["m/x", 5])
    assert answer.json["loaded_models"] == ["m/x"]
    assert answer.json["expires_at"] == "2026-03-22T19:31:30.000Z"
    assert (await stage.ask("GET", "/api/providers/online")).json["providers"][0]["loaded_models"] == ["m/x"]
    answer = await mine.post(f"/api/providers/{mine.id}/offline")
    assert answer.json == {
        "offline": True,
        "provider_id": mine.id,
        "status": "offline",
        "offline_at": "2026-03-22T19:30:00.000Z",
    }
    assert (await stage.ask("GET", "/api/providers/online")).json["count"] == 0


async def test_nobody_speaks_for_another(stage: Stage) -> None:
    mine, theirs = await host(stage, "mine"), await host(stage, "theirs")
    for method, path in (
        ("POST", "online"),
        ("POST", "offline"),
        ("POST", "heartbeat"),
        ("POST", "keys"),
        ("GET", "keys"),
        ("DELETE", "keys/x"),
        ("POST", "payouts"),
        ("GET", "payouts"),
        ("POST", "benchmark-submit"),
    ):
        answer = await stage.host_as(mine.key, method, f"/api/providers/{theirs.id}/{path}", {"amount_usd": 100})
        assert (answer.status, answer.json) == (403, {"error": "Forbidden"}), path


async def test_liveness(stage: Stage) -> None:
    mine = await host(stage, beats=False)
    target = f"/api/providers/{mine.id}/liveness"
    assert (await stage.ask("GET", target)).json["liveness_status"] == "offline"
    await mine.beat()
    for passed, word in ((0, "online"), (29, "online"), (1, "degraded"), (59, "degraded"), (1, "offline")):
        stage.clock.advance(passed)
        answer = await stage.ask("GET", target)
        assert answer.json["liveness_status"] == word
    assert answer.json["heartbeat_age_seconds"] == 90
    for strange in ("0", "999", "x", "99999999999", "-1", "%00"):
        answer = await stage.ask("GET", f"/api/providers/{strange}/liveness")
        assert answer.status in (400, 404)


async def test_readiness(stage: Stage) -> None:
    mine = await host(stage)
    for checks, word in (
        ({"cuda": True, "pytorch": True, "vram_gb": 24, "docker": True}, "ready"),
        ({"cuda": True, "pytorch": True, "vram_gb": 3.9}, "failed"),
        ({"cuda": True, "pytorch": True, "vram_gb": "24"}, "failed"),
        ({"cuda": "yes", "pytorch": True, "vram_gb": 24}, "failed"),
        ({}, "failed"),
    ):
        answer = await mine.post("/api/providers/readiness", checks=checks)
        assert answer.json == {"success": True, "readiness_status": word, "checks": checks}
    assert (await mine.post("/api/providers/readiness", checks=[1])).status == 400
    assert (await mine.post("/api/providers/readiness", checks={"x": "y" * 5000})).status == 400


async def test_self_test_says_what_is_next(stage: Stage) -> None:
    mine = await host(stage, beats=False)
    found = await mine.get("/api/providers/self-test")
    assert (found["ready"], found["next_step"]) == (False, "start_daemon")
    await mine.beat()
    found = await mine.get("/api/providers/self-test")
    assert (found["ready"], found["next_step"]) == (True, "activate")


async def test_profile_and_wallet(stage: Stage) -> None:
    mine = await host(stage, beats=False)
    answer = await stage.host_as(
        mine.key,
        "PATCH",
        "/api/providers/me/gpu-profile",
        {"gpu_model": "H100", "vram_mib": 81559, "supported_compute_types": ["training"]},
    )
    assert answer.status == 200
    assert answer.json["provider"]["gpu_vram_mib"] == 81559
    assert answer.json["provider"]["supported_compute_types"] == ["training"]
    assert answer.json["provider"]["gpu_profile_source"] == "manual"
    for wrong in ({}, {"supported_compute_types": ["mining"]}, {"supported_compute_types": [[]]}, {"vram_mib": -1}):
        assert (await stage.host_as(mine.key, "PATCH", "/api/providers/me/gpu-profile", wrong)).status == 400
    wallet = "0x" + "aB" * 20
    answer = await stage.host_as(mine.key, "PATCH", "/api/providers/me/wallet", {"wallet_address": wallet})
    assert answer.json["wallet_address"] == wallet
    for strange in ("0x12", 5, wallet + "0", "", wallet + "\n"):
        answer = await stage.host_as(mine.key, "PATCH", "/api/providers/me/wallet", {"wallet_address": strange})
        assert answer.status == 400


async def test_without_approval_nothing_goes(tmp_path: Any, template: Any) -> None:
    stage = Stage(tmp_path, dc1={"auto_approve": False})
    await stage.open()
    try:
        mine = await host(stage, beats=False)
        refused = (403, {"error": "Provider is not approved yet"})
        answer = await mine.post("/api/providers/heartbeat", gpu_status=GPU)
        assert (answer.status, answer.json) == refused
        # Going online is no way around it.
        answer = await mine.post(f"/api/providers/{mine.id}/online")
        assert (answer.status, answer.json) == refused
        answer = await mine.post("/api/providers/resume")
        assert (answer.status, answer.json) == refused
        assert await mine.claim() is None
        answer = await stage.administer("PATCH", f"/api/admin/providers/{mine.id}/approve")
        assert answer.json["approval_status"] == "approved"
        await mine.beat()
    finally:
        await stage.close()
