"""Waiting for the first of several things: nothing goes on behind the back of whoever waited."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from skerry.island.clock import VirtualClock
from skerry.island.ground.waiting import came, unless

pytestmark = pytest.mark.anyio


class Work:
    """Something that goes on until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.given_up = False

    async def do(self) -> str:
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.given_up = True
            raise
        return "done"


async def test_work_goes_on_unless_it_is_stopped() -> None:
    stop, work = asyncio.Event(), Work()
    work.go.set()
    assert await unless(stop, work.do()) == "done"
    held = Work()
    stop.set()
    assert await unless(stop, held.do()) is None
    assert held.given_up


async def test_a_failure_of_the_work_is_the_failure_of_the_wait() -> None:
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await unless(asyncio.Event(), fail())


async def test_whoever_waits_takes_the_work_along() -> None:
    work = Work()
    waiting = asyncio.create_task(unless(asyncio.Event(), work.do()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert work.given_up


async def test_an_event_comes_in_time_or_not() -> None:
    clock, event = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC)), asyncio.Event()
    waiting = asyncio.create_task(came(event, clock, 5.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    clock.advance(5)
    assert await waiting is False
    event.set()
    assert await came(event, clock, 5.0) is True
