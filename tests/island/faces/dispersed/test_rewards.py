"""The time nodes are paid for: counted between signs of life, split at Sundays, turned into RENDER by the formula."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Row, select

from skerry.island.faces.dispersed.nodes import rewards
from skerry.island.faces.dispersed.nodes.rewards import PROCESSOR_MULTIPLIER, WEEK, Amounts, amounts, epoch_of, seen
from skerry.island.faces.dispersed.tables import nodes
from skerry.island.faces.dispersed.tables import rewards as table
from skerry.island.store.values import micros, moment
from tests.island.faces.dispersed.network import START, Network

WEEK_MS = WEEK // 1_000
SUNDAY = datetime(2026, 4, 19, tzinfo=UTC)


def test_the_published_example() -> None:
    """An RTX 4090 online all week, working half of it: 6.00 + 5.00."""
    assert amounts(1_000, WEEK_MS, WEEK_MS // 2, 0) == Amounts(availability=6_000_000, job=5_000_000, preparation=0)
    assert amounts(1_810, WEEK_MS, WEEK_MS, WEEK_MS).total == 6_000_000 + 18_100_000 + 2_000_000


@given(st.integers(0, 10_000), st.integers(0, WEEK_MS), st.integers(0, WEEK_MS), st.integers(0, WEEK_MS))
def test_amounts_are_exact_to_half_a_micro(multiplier: int, assignable: int, worked: int, prep: int) -> None:
    found = amounts(multiplier, assignable, worked, prep)
    assert abs(2 * (found.availability * WEEK_MS - 6_000_000 * assignable)) <= WEEK_MS
    assert abs(2 * (found.job * WEEK_MS * 1_000 - 10_000_000 * multiplier * worked)) <= WEEK_MS * 1_000
    assert abs(2 * (found.preparation * WEEK_MS - 2_000_000 * prep)) <= WEEK_MS


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_epochs_begin_on_sundays(when: datetime) -> None:
    start = moment(epoch_of(micros(when)))
    assert start <= when < start + timedelta(days=7)
    assert (start.weekday(), start.hour, start.minute, start.second, start.microsecond) == (6, 0, 0, 0, 0)


async def rows(network: Network) -> list[Row[Any]]:
    return await network.engine.store.read(
        lambda connection: list(connection.execute(select(table).order_by(table.c.epoch_start)))
    )


async def beat(network: Network, seconds: float) -> None:
    """A sign of life after so much time, without anything else having happened."""
    network.virtual.advance(seconds)
    node = await network.node()
    await network.engine.store.run(seen, node.uuid, network.now)


@pytest.fixture
async def still(network: Network) -> Network:
    """A network whose own heart does not beat."""
    loop, network.scheduler._loop = network.scheduler._loop, None
    assert loop is not None
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    await beat(network, 0)
    return network


@pytest.mark.anyio
async def test_the_heart_of_this_machine_beats(network: Network) -> None:
    for _ in range(4):
        await network.pass_time(15)
    (row,) = await rows(network)
    assert (row.status, row.epoch_start, row.assignable_ms) == ("ACTIVE", epoch_of(micros(START)), 60_000)
    assert (row.worked_ms, row.prep_ms) == (0, 0)
    assert row.multiplier_millis == PROCESSOR_MULTIPLIER


@pytest.mark.anyio
async def test_a_server_that_slept_is_not_paid(still: Network) -> None:
    await beat(still, 60)
    await beat(still, 61)
    await beat(still, 10)
    (row,) = await rows(still)
    assert row.assignable_ms == 70_000


@pytest.mark.anyio
async def test_a_clock_that_is_set_back_takes_nothing_away(still: Network) -> None:
    await beat(still, 30)
    still.virtual.jump(-3_600)
    await beat(still, 15)
    await beat(still, 15)
    (row,) = await rows(still)
    assert row.assignable_ms == 45_000


@pytest.mark.anyio
async def test_work_and_preparation_are_counted_apart(network: Network) -> None:
    network.images.held = asyncio.Event()
    uuid = await network.create("exec sleep 600")
    await network.run_reaches(uuid, "PREPARING")
    await network.pass_time(15)
    await network.pass_time(5)
    network.images.held.set()
    await network.reaches(uuid, "RUNNING")
    other = await network.create("exec sleep 600")
    await network.reaches(other, "RUNNING")
    # Two at once are one hour worked.
    await network.pass_time(10)
    for one in (uuid, other):
        await network.cancel(one)
        await network.ended(one)
    await network.pass_time(15)
    (row,) = await rows(network)
    assert (row.assignable_ms, row.prep_ms, row.worked_ms) == (45_000, 20_000, 10_000)


@pytest.mark.anyio
async def test_a_week_ends_on_sunday_and_is_finalized(still: Network) -> None:
    sunday = SUNDAY + timedelta(days=7)
    still.virtual.advance((sunday - still.virtual.now()).total_seconds() - 20)
    await beat(still, 0.001)
    await beat(still, 39.999)
    first, second = await rows(still)
    assert (first.epoch_start, first.assignable_ms) == (micros(SUNDAY), 19_999)
    assert (second.epoch_start, second.assignable_ms) == (micros(sunday), 20_000)

    def step(connection: Connection) -> int | None:
        rewards.finalize(connection, still.now)
        return rewards.next_step(connection)

    following = await still.engine.store.run(step)
    assert [row.status for row in await rows(still)] == ["FINALIZING", "ACTIVE"]
    assert following == micros(sunday + timedelta(hours=1))
    still.virtual.advance(3_600)
    await still.engine.store.run(step)
    assert [row.status for row in await rows(still)] == ["FINALIZED", "ACTIVE"]


@pytest.mark.anyio
async def test_the_scheduler_finalizes_by_itself(network: Network) -> None:
    await network.pass_time(15)
    await network.pass_time(8 * 86_400)
    assert (await rows(network))[0].status == "FINALIZED"


@pytest.mark.anyio
async def test_a_node_is_worth_the_sum_of_its_cards(network: Network) -> None:
    hardware = '{"gpus": [{"name": "RTX 4090"}, {"name": "NVIDIA GeForce RTX 5090"}, {"name": "Banana 1"}]}'

    def worth(connection: Connection) -> int:
        connection.execute(nodes.update().values(hardware=hardware))
        return rewards.multiplier(connection, connection.execute(select(nodes)).one())

    assert await network.engine.store.run(worth) == 1_000 + 1_810 + 500
