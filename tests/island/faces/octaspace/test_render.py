"""Render sessions: workers of the account's own queue, the farm in front of them, and their figures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from skerry.island.engine.errors import Invalid
from skerry.island.faces.octaspace.sessions.helpers import Helpers
from skerry.island.workers.render.values import FrameCounts
from tests.island.faces.octaspace.stage import Stage

pytestmark = pytest.mark.anyio


@dataclass
class Workers:
    """Renderers that only remember what they were asked for; they outlive the server as real ones do."""

    living: dict[str, dict[str, Any]] = field(default_factory=dict)
    closed: int = 0

    async def start(
        self,
        id: str,
        *,
        queue: str,
        gpus: Sequence[int] = (),
        per_gpu: bool = False,
        envs: Mapping[str, str] | None = None,
        disk_bytes: int | None = None,
    ) -> object:
        if envs == {"REFUSE": "1"}:
            raise Invalid("this cannot be rendered")
        asked = {"queue": queue, "gpus": tuple(gpus), "per_gpu": per_gpu, "envs": envs, "disk_bytes": disk_bytes}
        return self.living.setdefault(id, asked)

    async def find(self, id: str) -> object | None:
        return self.living.get(id)

    async def stop(self, id: str) -> None:
        self.living.pop(id, None)

    async def recover(self, wanted: Collection[str]) -> None:
        for id in set(self.living) - set(wanted):
            await self.stop(id)

    async def expire(self, before: Any) -> list[str]:
        return []

    async def counts(self) -> FrameCounts:
        return FrameCounts(total=9, last_day=4, by_week={"2026-08-03": 5, "2026-04-20": 4})

    def score(self) -> float:
        return 123.456

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
async def farm(tmp_path: Path) -> AsyncIterator[tuple[Stage, Workers]]:
    workers = Workers()

    async def opened() -> Any:
        return workers

    stage = Stage(tmp_path, helpers=Helpers(unready=lambda: None, open_workers=opened))
    await stage.open()
    yield stage, workers
    await stage.close()
    assert workers.closed


async def start(stage: Stage, node: int = 1, **members: Any) -> str:
    answer = await stage.ok("POST", "/services/render", {"node_id": node, "disk_size": 2, **members}, 201)
    assert set(answer) == {"uuid"}
    uuid: str = answer["uuid"]
    return uuid


async def test_a_worker_from_start_to_bill(farm: tuple[Stage, Workers]) -> None:
    stage, workers = farm
    offers = await stage.ok("GET", "/services/render")
    assert [(it["node_id"], it["blender_score"]) for it in offers] == [(1, 123.46), (2, 123.46), (3, 123.46)]
    assert (await stage.ok("GET", "/services/mr"))[0]["blender_score"] == 123.46
    uuid = await start(stage, envs={"PROJECT_ID": "p"}, **{"multi-gpu-worker": True})
    info = await stage.ready(uuid)
    assert (info["service"], info["urls"]) == ("render", {"farm": "http://127.0.0.1:4242/octaspace/farm"})
    assert workers.living[uuid] == {
        "queue": stage.lab.account,
        "gpus": (),
        "per_gpu": True,
        "envs": {"PROJECT_ID": "p"},
        "disk_bytes": 2 << 30,
    }
    # A node renders or is rented, not both.
    assert [it["node_id"] for it in await stage.ok("GET", "/services/mr")] == [2, 3]
    await stage.fails(409, "NODE_BUSY", "POST", "/services/render", {"node_id": 1, "disk_size": 1})
    await stage.fails(404, "NOT_FOUND", "POST", "/services/render", {"node_id": 99, "disk_size": 1})
    message = await stage.fails(422, "VALIDATION_ERROR", "POST", "/services/render", {"node_id": 2, "disk_size": 99999})
    assert message == "Disk size is too large"
    await stage.pass_time(60)
    assert (await stage.info(uuid))["charge_amount"] > 0
    await stage.ok("POST", f"/services/{uuid}/stop")
    assert workers.living == {}
    assert (await stage.finished(uuid))["termination_reason"] == 0


async def test_workers_are_found_again(farm: tuple[Stage, Workers]) -> None:
    stage, workers = farm
    uuid = await start(stage)
    await stage.ready(uuid)
    workers.living["stray"] = {}
    await stage.again()
    assert set(workers.living) == {uuid}
    assert (await stage.info(uuid))["is_ready"]
    del workers.living[uuid]
    await stage.pass_time(10)
    assert (await stage.finished(uuid))["termination_reason"] == 2


async def test_a_refusal_is_a_failed_start(farm: tuple[Stage, Workers]) -> None:
    stage, _ = farm
    uuid = await start(stage, envs={"REFUSE": "1"})
    ended = await stage.finished(uuid)
    assert (ended["termination_reason"], ended["charge_amount"]) == (4, 0)


async def test_frames_are_figures_of_the_network(farm: tuple[Stage, Workers]) -> None:
    stage, _ = farm
    assert (await stage.ok("GET", "/network", key=None))["render"] == {
        "frames_24h": 4,
        "frames_total": 9,
        "frames_by_week": [{"2026-4-20": 4}, {"2026-8-3": 5}],
    }


async def test_the_farm_takes_the_accounts_key(farm: tuple[Stage, Workers]) -> None:
    stage, _ = farm
    job = "0f8fad5b-d9cb-469f-a165-70867728950e"
    answer = await stage.exchange("GET", f"/farm/{job}/input/package.zip", {"authentication": "wrong"})
    assert answer.status == 401
    answer = await stage.exchange("GET", f"/farm/{job}/input/package.zip", {"authentication": stage.key})
    assert answer.status == 404


async def test_without_blender_there_is_no_farm(stage: Stage) -> None:
    await stage.fails(404, "NOT_FOUND", "GET", "/farm/x/input/package.zip")
