"""GPUs of nodes, which sessions and the island's own processes have one after the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.island.engine.records import Gpu
from tests.island.faces.octaspace.stage import Stage
from tests.island.faces.stage import copied

pytestmark = pytest.mark.anyio


async def test_a_model_makes_room_for_a_session_once_it_is_idle(
    tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Gpu(index=0, name="NVIDIA H100", memory_bytes=80 << 30, uuid="GPU-0")
    monkeypatch.setattr("skerry.island.engine.gpus.detect", lambda: (card,))
    async with copied(Stage(tmp_path, octaspace={"nodes": 1}), template) as stage:
        lending, idle = stage.lab.engine.lending, list[str]()

        async def leave() -> bool:
            await lending.give(idle.pop())
            return True

        lending.on_wanted(leave, lambda: idle)
        assert await lending.take("model", 1) == (0,)
        (node,) = await stage.nodes()
        wish = [{"id": 0, "node_id": node, "disk_size": 1, "image": "ubuntu:22.04"}]
        assert await stage.ok("GET", "/services/mr") == []
        assert await stage.ok("POST", "/services/mr", wish) == [{"id": 0, "reason": "Node is busy", "status": 1}]
        idle.append("model")
        assert [offer["node_id"] for offer in await stage.ok("GET", "/services/mr")] == [node]
        await stage.ready(await stage.rent(node))
        (part,) = await stage.lab.engine.store.read(stage.lab.engine.capacity.held)
        assert (part.gpus, idle) == ((0,), [])
