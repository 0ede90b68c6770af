"""VPN sessions: what is asked of relays, what users see, and what is billed, over relays that only count."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from skerry.island.faces.octaspace.sessions.helpers import Helpers
from skerry.money import Money
from tests.island.faces.octaspace.stage import OCTA, Stage

pytestmark = pytest.mark.anyio


class Broken(Exception):
    """A relay cannot be started."""


@dataclass
class Counts:
    received: int = 0
    sent: int = 0


@dataclass
class Relay:
    """A relay whose counts the test sets; it outlives the server as real ones do."""

    subkind: str
    protocol: str | None
    label: str
    counts: Counts = field(default_factory=Counts)
    up: bool = True
    exit_ip: str = "203.0.113.7"

    @property
    def config(self) -> str:
        return f"config of {self.subkind} {self.protocol} {self.label}"

    async def traffic(self) -> Counts:
        return self.counts

    async def alive(self) -> bool:
        return self.up


@dataclass
class Relays:
    """All of them."""

    living: dict[str, Relay] = field(default_factory=dict)
    ended: dict[str, Counts] = field(default_factory=dict)
    resting: dict[str, Relay] = field(default_factory=dict)
    fail: bool = False

    async def start(self, id: str, *, subkind: str, protocol: str | None, label: str) -> Relay:
        if self.fail:
            raise Broken("the port is taken")
        back = self.resting.pop(id, None) or Relay(subkind, protocol, label)
        return self.living.setdefault(id, back)

    async def find(self, id: str) -> Relay | None:
        return self.living.get(id)

    async def stop(self, id: str) -> Counts:
        relay = self.living.pop(id, None)
        if relay is not None:
            self.ended[id] = relay.counts
        return self.ended.get(id, Counts())

    async def forget(self, id: str) -> None:
        self.ended.pop(id, None)

    async def recover(self, wanted: Collection[str]) -> None:
        for id in set(self.living) - set(wanted):
            await self.stop(id)

    async def rest(self) -> None:
        self.resting.update(self.living)
        self.living.clear()


@pytest.fixture
async def vpn(tmp_path: Path) -> AsyncIterator[tuple[Stage, Relays]]:
    relays = Relays()
    kinds: dict[str, str | None] = {"wg": None, "openvpn": "install openvpn", "ss": None, "v2ray": None}
    helpers = Helpers(relays=relays, subkinds=lambda: kinds, relay_failure=Broken)
    stage = Stage(tmp_path, helpers=helpers, octaspace={"traffic": Money(2**30, "OCTA")})
    await stage.open()
    yield stage, relays
    await stage.close()


async def start(stage: Stage, key: str = "", **members: Any) -> str:
    answer = await stage.ok("POST", "/services/vpn", {"node_id": 1, **members}, 201, key=key)
    assert set(answer) == {"uuid"}
    uuid: str = answer["uuid"]
    return uuid


async def test_kinds_and_protocols(vpn: tuple[Stage, Relays]) -> None:
    stage, relays = vpn
    wanted = [
        ({}, "wg", None),
        ({"subkind": "wg"}, "wg", None),
        ({"subkind": "ss"}, "ss", None),
        ({"subkind": "v2ray"}, "v2ray", "trojan"),
        ({"subkind": "v2ray", "protocol": "vmess"}, "v2ray", "vmess"),
    ]
    for members, subkind, protocol in wanted:
        uuid = await start(stage, **members)
        info = await stage.ready(uuid)
        assert (info["service"], info["kind"]) == ("vpn", subkind)
        assert info["config"] == f"config of {subkind} {protocol} octa-1"
        assert info["ip"] == "203.0.113.7"
        assert (info["country_iso"], info["charge_amount"]) == ("ZZ", 0)
        assert not {"ports_matrix", "ssh_direct", "urls", "container_id"} & set(info)
    assert len(relays.living) == len(wanted)
    # Relays are shared: their node still takes machines and further relays.
    assert [it["node_id"] for it in await stage.ok("GET", "/services/vpn")] == [1, 2, 3]
    assert [it["node_id"] for it in await stage.ok("GET", "/services/mr")] == [1, 2, 3]
    assert (await stage.ok("GET", "/network"))["nodes"]["vpn"] == 3
    message = await stage.fails(503, "NODE_UNAVAILABLE", "POST", "/services/vpn", {"node_id": 1, "subkind": "openvpn"})
    assert "install openvpn" in message
    await stage.fails(404, "NOT_FOUND", "POST", "/services/vpn", {"node_id": 99})


async def test_only_traffic_is_billed(vpn: tuple[Stage, Relays]) -> None:
    stage, relays = vpn
    key = await stage.stranger(balance=OCTA)
    uuid = await start(stage, key)
    await stage.ready(uuid, key)
    await stage.pass_time(3600)
    assert await stage.balance(key) == OCTA
    # What the server received is what the user sent.
    relays.living[uuid].counts = Counts(received=1000, sent=5000)
    shown = await stage.info(uuid, key)
    assert (shown["tx"], shown["rx"], shown["charge_amount"]) == (1000, 5000, 0)
    await stage.pass_time(60)
    shown = await stage.info(uuid, key)
    assert (shown["tx"], shown["rx"], shown["charge_amount"]) == (1000, 5000, 6000)
    assert await stage.balance(key) == OCTA - 6000
    relays.living[uuid].counts = Counts(received=1001, sent=5002)
    await stage.ok("GET", f"/services/{uuid}/stop", key=key)
    ended = await stage.finished(uuid, key)
    assert (ended["tx"], ended["rx"], ended["charge_amount"]) == (1001, 5002, 6003)
    assert "config" not in ended
    assert (relays.living, relays.ended) == ({}, {})
    assert await stage.balance(key) == OCTA - 6003
    logs = await stage.ok("GET", f"/services/{uuid}/logs?recent=true", key=key)
    assert logs["container"] == ""


async def test_a_kill_counts_nothing_twice(vpn: tuple[Stage, Relays]) -> None:
    stage, relays = vpn
    uuid = await start(stage)
    await stage.ready(uuid)
    relays.living[uuid].counts = Counts(received=100, sent=0)
    await stage.pass_time(60)
    relays.living[uuid].counts = Counts(received=150, sent=0)
    await stage.again()
    assert (await stage.info(uuid))["tx"] == 150
    await stage.pass_time(60)
    shown = await stage.info(uuid)
    assert (shown["tx"], shown["charge_amount"]) == (150, 150)
    await stage.ok("GET", f"/services/{uuid}/stop")
    assert (await stage.finished(uuid))["charge_amount"] == 150


async def test_relays_that_nobody_owns_are_ended(vpn: tuple[Stage, Relays]) -> None:
    stage, relays = vpn
    uuid = await start(stage)
    await stage.ready(uuid)
    relays.living["5dd2d308-db91-4bda-86ff-e512d711b363"] = Relay("wg", None, "x")
    await stage.again()
    assert set(relays.living) == {uuid}


async def test_a_relay_rests_with_its_island_and_comes_back(vpn: tuple[Stage, Relays]) -> None:
    stage, relays = vpn
    uuid = await start(stage)
    await stage.ready(uuid)
    relays.living[uuid].counts = Counts(received=70, sent=0)
    config = (await stage.info(uuid))["config"]
    await stage.close()
    assert (relays.living, set(relays.resting)) == ({}, {uuid})
    await stage.open()
    shown = await stage.info(uuid)
    assert (shown["is_ready"], shown["config"], shown["tx"]) == (True, config, 70)
    assert set(relays.living) == {uuid}


async def test_a_relay_that_does_not_come_back_is_a_lost_node(vpn: tuple[Stage, Relays]) -> None:
    stage, relays = vpn
    uuid = await start(stage)
    await stage.ready(uuid)
    await stage.close()
    relays.fail = True
    await stage.open()
    assert (await stage.finished(uuid))["termination_reason"] == 2


async def test_a_relay_that_dies_is_a_lost_node(vpn: tuple[Stage, Relays]) -> None:
    stage, relays = vpn
    uuid = await start(stage)
    await stage.ready(uuid)
    relays.living[uuid].up = False
    await stage.pass_time(10)
    assert (await stage.finished(uuid))["termination_reason"] == 2


async def test_a_relay_that_cannot_start(vpn: tuple[Stage, Relays]) -> None:
    stage, relays = vpn
    relays.fail = True
    uuid = await start(stage)
    ended = await stage.finished(uuid)
    assert (ended["termination_reason"], ended["charge_amount"]) == (4, 0)
    logs = await stage.ok("GET", f"/services/{uuid}/logs?recent=true")
    assert "the port is taken" in logs["system"][-1]["msg"]


async def test_funds(vpn: tuple[Stage, Relays]) -> None:
    stage, relays = vpn
    poor = await stage.stranger("poor", balance=0)
    message = await stage.fails(402, "INSUFFICIENT_BALANCE", "POST", "/services/vpn", {"node_id": 1}, key=poor)
    assert message == "Insufficient balance"
    key = await stage.stranger("rich", balance=1000)
    uuid = await start(stage, key)
    await stage.ready(uuid, key)
    relays.living[uuid].counts = Counts(received=1000)
    await stage.pass_time(60)
    assert (await stage.finished(uuid, key))["termination_reason"] == 3
    assert relays.living == {}


async def test_configurations_are_kept_sealed(vpn: tuple[Stage, Relays]) -> None:
    stage, _ = vpn
    uuid = await start(stage)
    await stage.ready(uuid)

    def row(connection: Any) -> bytes:
        from skerry.island.faces.octaspace.tables import sessions

        return bytes(connection.execute(sessions.select()).one().config)

    assert b"config of" not in await stage.lab.engine.store.read(row)


async def test_a_node_serves_so_many_relays_and_no_more(
    vpn: tuple[Stage, Relays], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, _ = vpn
    monkeypatch.setattr("skerry.island.faces.octaspace.sessions.starting.MOST_RELAYS", 2)
    for _ in range(2):
        await start(stage)
    await stage.fails(409, "NODE_BUSY", "POST", "/services/vpn", {"node_id": 1})
    await stage.ok("POST", "/services/vpn", {"node_id": 2}, 201)
