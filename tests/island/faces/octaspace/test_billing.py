"""What sessions cost: the formula, the ticks, who pays whom, and why sessions end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.faces.octaspace.nodes.prices import parts_of, wei_of
from skerry.island.faces.octaspace.sessions import billing
from tests.island.faces.octaspace.stage import OCTA, Stage

pytestmark = pytest.mark.anyio

WEI = st.integers(0, 10**22)
Open = Callable[..., Awaitable[Stage]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    """Makes stages with choices of their own."""
    made: list[Stage] = []

    async def make(**choices: Any) -> Stage:
        stage = Stage(tmp_path / str(len(made)), octaspace=choices)
        await stage.open()
        made.append(stage)
        return stage

    yield make
    for stage in made:
        await stage.close()


def test_the_protocols_own_example() -> None:
    cost = billing.amount(3269230769230769230, 10**14, 5 * 10**16, disk_gb=50, seconds=3725, moved=3 * 2**30 + 7)
    assert cost == 3382745726495726494 + 5173611111111111 + 150000000325962901 == 3537919337932800506
    assert wei_of(3400, 104_000) == 3269230769230769230
    assert parts_of(wei_of(3400, 104_000), 104_000) in (3399, 3400)


@given(WEI, WEI, WEI, st.integers(0, 10**4), st.lists(st.integers(0, 10**6), min_size=1), st.integers(0, 2**45))
def test_bills_in_parts_sum_to_the_whole(
    base: int, storage: int, traffic: int, disk: int, steps: list[int], moved: int
) -> None:
    charged = seconds = 0
    for step in steps:
        seconds += step
        total = billing.amount(base, storage, traffic, disk_gb=disk, seconds=seconds, moved=moved)
        assert total >= charged
        charged += total - charged
    assert charged == billing.amount(base, storage, traffic, disk_gb=disk, seconds=sum(steps), moved=moved)


@given(st.integers(-5, 10**6), st.integers(1, 3600))
def test_only_whole_ticks_count(seconds: int, tick: int) -> None:
    found = billing.whole(seconds, tick)
    assert found % tick == 0
    assert max(0, seconds) - tick < found <= max(0, seconds)


async def test_whole_minutes_are_billed_as_they_pass(opened: Open) -> None:
    stage = await opened()
    node, *_ = await stage.nodes()
    key = await stage.stranger(balance=OCTA)
    uuid = await stage.rent(node, key, disk_size=2)
    await stage.ready(uuid, key)
    hour = 5 * 10**16 + 2 * 10**14
    await stage.pass_time(59)
    assert await stage.balance(key) == OCTA
    for minute in range(1, 4):
        await stage.pass_time(1 if minute == 1 else 60)
        due = 5 * 10**16 * 60 * minute // 3600 + 2 * 10**14 * 60 * minute // 3600
        assert (await stage.info(uuid, key))["charge_amount"] == due
        assert await stage.balance(key) == OCTA - due
    await stage.pass_time(57 * 60)
    assert (await stage.info(uuid, key))["duration"] == 3600
    assert int((await stage.info(uuid, key))["charge_amount"]) == hour
    await stage.pass_time(59)
    await stage.ok("POST", f"/services/{uuid}/stop", key=key)
    ended = await stage.finished(uuid, key)
    assert (int(ended["charge_amount"]), ended["duration"], ended["termination_reason"]) == (hour, 3659, 0)
    assert await stage.balance(key) == OCTA - hour
    assert await stage.lab.engine.ledger.audit() == []


async def test_half_a_minute_costs_nothing(opened: Open) -> None:
    stage = await opened()
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    await stage.ready(uuid)
    await stage.pass_time(28)
    before = await stage.balance()
    await stage.ok("GET", f"/services/{uuid}/stop")
    assert (await stage.finished(uuid))["charge_amount"] == 0
    assert await stage.balance() == before


async def test_traffic_is_billed_by_the_byte(opened: Open) -> None:
    stage = await opened(base=_octa(0), storage=_octa(0), traffic=_octa(2**30))
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    await stage.ready(uuid)
    stage.lab.engine.traffic.count(f"octa-{uuid}", sent=1000, received=500)
    shown = await stage.info(uuid)
    assert (shown["tx"], shown["rx"], shown["charge_amount"]) == (1000, 500, 0)
    await stage.pass_time(60)
    shown = await stage.info(uuid)
    assert (shown["tx"], shown["rx"], shown["charge_amount"]) == (1000, 500, 1500)
    stage.lab.engine.traffic.count(f"octa-{uuid}", received=7)
    await stage.ok("GET", f"/services/{uuid}/stop")
    ended = await stage.finished(uuid)
    assert (ended["tx"], ended["rx"], ended["charge_amount"]) == (1000, 507, 1507)


async def test_the_operator_earns_and_the_network_keeps_its_fee(opened: Open) -> None:
    stage = await opened(fee_permille=25)
    node, *_ = await stage.nodes()
    key = await stage.stranger()
    before = await stage.balance()
    uuid = await stage.rent(node, key)
    await stage.ready(uuid, key)
    await stage.pass_time(600)
    paid = OCTA - await stage.balance(key)
    assert paid > 0
    assert await stage.balance() == before + paid - paid * 25 // 1000
    # An operator who rents his own node sees what it costs.
    own = await stage.rent((await stage.nodes())[1])
    await stage.ready(own)
    before = await stage.balance()
    await stage.pass_time(60)
    assert await stage.balance() < before + 10**16
    assert (await stage.info(own))["charge_amount"] > 0
    assert await stage.lab.engine.ledger.audit() == []


async def test_an_exhausted_balance_ends_the_session(opened: Open) -> None:
    stage = await opened(base=_octa(60 * 10**15), storage=_octa(0), traffic=_octa(0))
    node, *_ = await stage.nodes()
    key = await stage.stranger(balance=3 * 10**15 + 1)
    uuid = await stage.rent(node, key)
    await stage.ready(uuid, key)
    for minute in (1, 2):
        await stage.pass_time(60)
        assert await stage.balance(key) == 3 * 10**15 + 1 - minute * 10**15
        assert (await stage.info(uuid, key))["is_ready"]
    await stage.pass_time(60)
    ended = await stage.finished(uuid, key)
    assert ended["termination_reason"] == 3
    assert ended["charge_amount"] == 3 * 10**15
    assert await stage.balance(key) == 1
    assert (await stage.ok("GET", "/services/mr"))[0]["node_id"] == node
    refused = await stage.ok("POST", "/services/mr", [{"node_id": node, "disk_size": 1, "image": "ubuntu"}], key=key)
    assert refused[0]["reason"] == "Insufficient balance"


async def test_several_sessions_never_cost_more_than_there_is(opened: Open) -> None:
    stage = await opened(base=_octa(60 * 10**15), storage=_octa(0), traffic=_octa(0))
    nodes = await stage.nodes()
    key = await stage.stranger(balance=5 * 10**15)
    sessions = [await stage.rent(node, key) for node in nodes[:2]]
    for uuid in sessions:
        await stage.ready(uuid, key)
    for _ in range(4):
        await stage.pass_time(60)
        assert await stage.balance(key) >= 0
    reasons = {(await stage.finished(uuid, key))["termination_reason"] for uuid in sessions}
    assert reasons == {3}
    assert await stage.balance(key) >= 0


async def test_idle_sessions_end_where_a_limit_is_set(opened: Open) -> None:
    stage = await opened(idle_limit=300.0)
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    await stage.ready(uuid)
    await stage.pass_time(200)
    stage.lab.engine.traffic.count(f"octa-{uuid}", sent=1)
    await stage.pass_time(299)
    await stage.pass_time(0)
    assert (await stage.info(uuid))["is_ready"]
    await stage.pass_time(301)
    ended = await stage.finished(uuid)
    assert ended["termination_reason"] == 1


async def test_a_lost_node_ends_the_session_and_its_bill(opened: Open) -> None:
    stage = await opened()
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    await stage.ready(uuid)
    await stage.pass_time(120)
    charged = (await stage.info(uuid))["charge_amount"]
    assert charged > 0
    await stage.app.stop()
    await stage.lab.engine.crash()
    stage.lab.lose_machine()
    stage.clock.advance(3600)
    await stage.open()
    ended = await stage.finished(uuid)
    assert (ended["termination_reason"], ended["charge_amount"]) == (2, charged)
    nodes = await stage.ok("GET", f"/nodes/{node}")
    assert nodes["reliability"]["s_failed"] == 1
    assert nodes["reliability"]["stability"] == 0


async def test_prices_in_dollars_are_frozen_at_the_start(opened: Open) -> None:
    stage = await opened()
    node, *_ = await stage.nodes()

    def dear(connection: Any) -> None:
        from skerry.island.faces.octaspace.tables import nodes

        values = {"currency_usd": 1, "base": "3400", "storage": "0", "traffic": "0"}
        connection.execute(nodes.update().where(nodes.c.id == node).values(**values))

    await stage.lab.engine.store.run(dear)
    offer = next(it for it in await stage.ok("GET", "/services/mr") if it["node_id"] == node)
    assert (offer["base_usd"], offer["currency_usd"], offer["base"]) == (3400, True, 3269230769230769230)
    assert offer["total_price_wei"] == 3269230769230769230
    assert round(offer["total_price_usd"], 6) == 0.34
    uuid = await stage.rent(node)
    shown = await stage.ready(uuid)
    assert shown["prices"] == {"base_usd": 3400, "currency_usd": True, "market_price": 0.104}
    await stage.pass_time(3600)
    assert (await stage.info(uuid))["charge_amount"] == str(3269230769230769230)


@pytest.mark.parametrize(("form", "kind"), [("number", int), ("string", str), ("auto", str)])
async def test_large_amounts_in_the_chosen_form(opened: Open, form: str, kind: type) -> None:
    stage = await opened(charge_amount=form, base=_octa(OCTA))
    node, *_ = await stage.nodes()
    uuid = await stage.rent(node)
    small = (await stage.ready(uuid))["charge_amount"]
    assert small == ("0" if form == "string" else 0)
    await stage.pass_time(3600)
    shown = (await stage.info(uuid))["charge_amount"]
    assert isinstance(shown, kind)
    assert int(shown) == OCTA + 10**14


def _octa(wei: int) -> Any:
    from skerry.money import Money

    return Money(wei, "OCTA")
