"""Which providers there are, and when they are no longer."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from skerry.island.faces.dc1.providers.absence import Absence
from tests.island.engine.lab import PATIENCE
from tests.island.faces.dc1.hosts import Host, host, provider_row, submit
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio


async def sized(stage: Stage, name: str, mib: int) -> Host:
    """A provider with so much memory."""
    found = await host(stage, name, beats=False)
    await found.beat(gpu_status={"gpu_name": name, "gpu_vram_mib": mib, "daemon_version": "3.4.0"})
    return found


async def test_most_memory_first(stage: Stage) -> None:
    for name, mib in (("small", 8188), ("large", 81_559), ("middle", 24_564), ("twin", 24_564)):
        await sized(stage, name, mib)
    for target in ("/api/renters/available-providers", "/api/providers/available"):
        found = (await stage.ask("GET", target)).json["providers"]
        assert [entry["name"] for entry in found] == ["large", "middle", "twin", "small"]
        assert [entry["vram_gb"] for entry in found] == [80, 24, 24, 8]
    for target in ("/api/providers/marketplace", "/api/providers/public"):
        assert len((await stage.ask("GET", target)).json) == 4


async def test_nothing_that_sdks_compute_with_is_null(stage: Stage) -> None:
    mine = await host(stage, beats=False)
    await stage.host_as(mine.key, "POST", "/api/providers/heartbeat", {})
    (found,) = (await stage.ask("GET", "/api/renters/available-providers")).json["providers"]
    assert (found["vram_mib"], found["vram_gb"], found["gpu_count"]) == (0, 0, 1)
    assert found["gpu_model"] == "RTX 4090"
    assert found["cached_models"] == []


async def test_live_and_silent(stage: Stage) -> None:
    mine = await sized(stage, "farm", 24_564)
    target = "/api/renters/available-providers"
    stage.clock.advance(89)
    assert (await stage.ask("GET", target)).json["providers"][0]["is_live"] is True
    watch = Absence(stage.lab.engine, stage.face.service.working.changes)
    assert await watch.look() == []
    stage.clock.advance(2)
    await watch.look()
    assert (await provider_row(stage, mine.id)).status == "offline"
    assert (await stage.ask("GET", target)).json["total"] == 0
    answer = await stage.rent(
        "POST", "/api/jobs/submit", {"provider_id": mine.id, "job_type": "llm_inference", "duration_minutes": 5}
    )
    assert answer.json == {"error": "Provider is not online", "provider_status": "offline"}
    await mine.beat(gpu_status={})
    assert (await stage.ask("GET", target)).json["total"] == 1


async def test_absence_is_noticed_after_a_restart(stage: Stage) -> None:
    mine = await sized(stage, "farm", 24_564)
    stage.clock.advance(95)
    await stage.again()
    # The watch looks as soon as it is started.
    with stage.face.service.working.changes.watching() as watched:
        async with asyncio.timeout(PATIENCE):
            while (await provider_row(stage, mine.id)).status != "offline":
                await watched.changed()


async def test_paused_and_degraded_providers_do_not_become_offline(stage: Stage) -> None:
    mine = await sized(stage, "farm", 24_564)
    await mine.post("/api/providers/pause")
    stage.clock.advance(100)
    watch = Absence(stage.lab.engine, stage.face.service.working.changes)
    await watch.look()
    assert (await provider_row(stage, mine.id)).status == "paused"


async def test_who_waits_is_woken(stage: Stage) -> None:
    await sized(stage, "farm", 24_564)
    changes = stage.face.service.working.changes
    with changes.watching() as watched:
        stage.clock.advance(100)
        await Absence(stage.lab.engine, changes).look()
        await watched.changed()


async def test_models_at_hand(stage: Stage) -> None:
    one, two = await sized(stage, "one", 8_188), await sized(stage, "two", 8_188)
    await one.beat(cached_models=["m/a", "m/b"])
    await two.beat(cached_models=["m/b"], vllm_models=["m/b"])
    found = (await stage.ask("GET", "/api/providers/models")).json["models"]
    assert found == [
        {"model_id": "m/a", "providers_online": 1, "provider_ids": [one.id]},
        {"model_id": "m/b", "providers_online": 2, "provider_ids": [one.id, two.id]},
    ]
    assert (await stage.ask("GET", "/api/providers/active")).json["total"] == 2


async def test_public_lists_have_no_names(stage: Stage) -> None:
    await sized(stage, "farm", 24_564)
    answer = await stage.ask("GET", "/api/providers/public")
    assert answer.headers["cache-control"] == "public, max-age=30"
    assert "example.sa" not in answer.body.decode()
    assert set(answer.json[0]) == {
        "id",
        "gpu_model",
        "vram_mb",
        "gpu_count",
        "supported_compute_types",
        "cost_per_hour_sar",
        "jobs_completed",
        "online",
    }


async def test_this_machine(tmp_path: Path, template: Path) -> None:
    shutil.copytree(template, tmp_path / "data")
    stage = Stage(tmp_path, dc1={"local_provider": True, "slots": 3})
    await stage.open()
    try:
        (found,) = (await stage.ask("GET", "/api/renters/available-providers")).json["providers"]
        node = stage.lab.engine.nodes.local
        assert (found["name"], found["location"], found["is_live"]) == (node.name, "here", True)
        assert found["gpu_model"]
        assert 0 < found["vram_mib"] <= max(node.memory_bytes, *(gpu.memory_bytes for gpu in node.gpus), 0) >> 20
        row = await provider_row(stage, found["id"])
        assert (row.slots, row.approval, row.node_id) == (3, "approved", node.id)
        await stage.administer("POST", f"/api/admin/providers/{found['id']}/suspend")
        await stage.again()
        row = await provider_row(stage, found["id"])
        assert (row.suspended, row.status) == (1, "suspended")
    finally:
        await stage.close()
    again = Stage(tmp_path)
    await again.open()
    try:
        assert (await again.ask("GET", "/api/renters/available-providers")).json["total"] == 0
        assert json.loads((await provider_row(again, found["id"])).profile) is not None
    finally:
        await again.close()


async def test_a_job_for_whoever_fits_waits_for_one(stage: Stage) -> None:
    job = await submit(stage, None, gpu_requirements={"min_vram_gb": 40})
    assert (job["status"], job["provider_id"]) == ("queued", None)
    small = await sized(stage, "small", 24_564)
    assert await small.claim() is None
    large = await sized(stage, "large", 81_559)
    assert (await large.claim())["job_id"] == job["job_id"]
