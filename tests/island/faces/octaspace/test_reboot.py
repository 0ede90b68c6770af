"""Rebooting a node: what runs there is over, and the node is back."""

from __future__ import annotations

import pytest

from skerry.island.faces.octaspace.nodes import reboots
from tests.island.faces.octaspace.stage import Stage

pytestmark = pytest.mark.anyio


async def state(stage: Stage, node: int) -> str:
    found: str = (await stage.ok("GET", f"/nodes/{node}"))["state"]
    return found


async def back(stage: Stage, node: int) -> None:
    """Wait until a node is up again."""

    async def done() -> bool:
        return await state(stage, node) == "idle"

    await stage.until(done)


async def test_sessions_are_lost_and_the_node_is_back(stage: Stage) -> None:
    first, second, *_ = await stage.nodes()
    lost, kept = await stage.rent(first), await stage.rent(second)
    await stage.ready(lost)
    await stage.ready(kept)
    await stage.pass_time(120)
    charged = (await stage.info(lost))["charge_amount"]
    assert await stage.ok("GET", f"/nodes/{first}/reboot") == {}
    ended = await stage.finished(lost)
    assert (ended["termination_reason"], ended["charge_amount"]) == (2, charged)
    await back(stage, first)
    logs = await stage.ok("GET", f"/services/{lost}/logs?recent=true")
    assert any(entry["msg"] == f"{reboots.MESSAGE}\n" for entry in logs["system"])
    assert (await stage.info(kept))["is_ready"] is True
    assert await state(stage, second) == "busy"
    sandboxes, _ = await stage.lab.engine.sandboxes.list(stage.lab.account, network="octaspace")
    assert [sandbox.id for sandbox in sandboxes] == [f"octa-{kept}"]
    again = await stage.rent(first)
    assert (await stage.ready(again))["node_id"] == first


async def test_a_node_is_offline_meanwhile(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    node, *_ = await stage.nodes()
    gate = asyncio.Event()
    down = stage.face.operating.idle.take_down

    async def held(node_id: int) -> None:
        await gate.wait()
        await down(node_id)

    monkeypatch.setattr(stage.face.operating.idle, "take_down", held)
    await stage.ok("GET", f"/nodes/{node}/reboot")
    assert await state(stage, node) == "offline"
    assert node not in [offer["node_id"] for offer in await stage.ok("GET", "/services/mr")]
    answer = await stage.ok("POST", "/services/mr", [{"id": 4, "node_id": node, "disk_size": 1, "image": "ubuntu"}])
    assert answer == [{"id": 4, "reason": "Node not found", "status": 1}]
    gate.set()
    await back(stage, node)


async def test_a_repetition_does_nothing_within_a_minute(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    await stage.ok("GET", f"/nodes/{node}/reboot")
    await back(stage, node)
    uuid = await stage.rent(node)
    await stage.ready(uuid)
    await stage.pass_time(reboots.WINDOW_SECONDS - 1)
    assert await stage.ok("GET", f"/nodes/{node}/reboot") == {}
    assert (await stage.info(uuid))["is_ready"] is True
    await stage.pass_time(1)
    await stage.ok("GET", f"/nodes/{node}/reboot")
    assert (await stage.finished(uuid))["termination_reason"] == 2
    await back(stage, node)


async def test_uptime_begins_anew(stage: Stage) -> None:
    first, second, *_ = await stage.nodes()
    await stage.pass_time(500)
    await stage.ok("GET", f"/nodes/{first}/reboot")
    await back(stage, first)
    await stage.pass_time(40)
    uptime = {node["id"]: node["uptime"] for node in await stage.ok("GET", "/nodes")}
    assert uptime[first] == 40
    assert uptime[second] == 540


@pytest.mark.parametrize("reached", [True, False])
async def test_a_node_is_verified_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch, reached: bool) -> None:
    async def reachable(settings: object) -> bool:
        return reached

    node, *_ = await stage.nodes()
    await stage.pass_time(3600)
    monkeypatch.setattr("skerry.island.faces.octaspace.nodes.verification.reachable", reachable)
    await stage.ok("GET", f"/nodes/{node}/reboot")
    await back(stage, node)
    seen = (await stage.ok("GET", f"/nodes/{node}"))["vrf_dt"]
    assert seen == ("2026-04-21T11:00:00Z" if reached else "")
    assert (node in [offer["node_id"] for offer in await stage.ok("GET", "/services/mr")]) is reached


async def test_a_crash_in_the_middle_ends_the_reboot(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    await stage.ready(uuid)

    async def never(uuid: str, reason: int) -> bool:
        await asyncio.Event().wait()
        return False

    monkeypatch.setattr(stage.face.carrier, "end", never)
    await stage.ok("GET", f"/nodes/{node}/reboot")
    assert await state(stage, node) == "offline"
    await stage.again()
    assert (await stage.finished(uuid))["termination_reason"] == 2
    await back(stage, node)


async def test_head_reboots_nothing(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    assert (await stage.ask("HEAD", f"/nodes/{node}/reboot")).status == 405
    assert (await stage.ask("POST", f"/nodes/{node}/reboot")).status == 405
    assert await state(stage, node) == "idle"
