"""Rounds: one that fails is told of and does not end the later ones, and none is left behind."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

import pytest

from skerry.island.clock import VirtualClock
from skerry.island.engine.errors import Unavailable
from skerry.island.ground.rounds import Rounds

pytestmark = pytest.mark.anyio


async def test_a_bad_round_does_not_end_the_later_ones(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    ends: list[Exception | None] = [Unavailable("busy"), ValueError("a defect"), None]
    done = 0
    begun = asyncio.Event()

    async def work() -> None:
        nonlocal done
        done += 1
        begun.set()
        if (end := ends[done - 1]) is not None:
            raise end

    rounds = Rounds(work, clock, 60, logging.getLogger("skerry.test"), "nothing was done")
    rounds.start()
    for count in range(1, 4):
        async with asyncio.timeout(60):
            await begun.wait()
        assert done == count
        begun.clear()
        clock.advance(59)
        await asyncio.sleep(0)
        assert done == count
        clock.advance(1)
        await asyncio.sleep(0)
        if count == 3:
            break
    await rounds.stop()
    told = [
        (record.levelname, record.getMessage(), record.exc_info is not None)
        for record in caplog.records
        if record.name == "skerry.test"
    ]
    assert told == [
        ("WARNING", "nothing was done: busy", False),
        ("ERROR", "nothing was done; it is tried again", True),
    ]
    clock.advance(600)
    await asyncio.sleep(0)
    assert not begun.is_set()
    await rounds.stop()
