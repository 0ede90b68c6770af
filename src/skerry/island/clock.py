"""The one source of time of an island, so that tests can own it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What every part of the island may ask of time."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC; may jump."""

    def monotonic(self) -> float:
        """Seconds that only grow; meaningless but for differences."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds of this clock."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class VirtualClock:
    """A clock that stands still until it is advanced; sleepers wake in order.

    Example:
        >>> clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
        >>> clock.advance(60)
        >>> clock.now().isoformat()
        '2026-01-01T00:01:00+00:00'
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("a virtual clock starts at an aware datetime")
        self._start = start.astimezone(UTC)
        self._elapsed = 0.0
        self._jump = timedelta()
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._start + self._jump + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    def jump(self, seconds: float) -> None:
        """Move the wall clock alone, as an administrator or a time server does."""
        self._jump += timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass, waking every sleeper that is due; safe from any thread."""
        if seconds < 0:
            raise ValueError("time passes forwards; use jump() to move the wall clock")
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, loop, future = heapq.heappop(self._sleepers)
            loop.call_soon_threadsafe(_wake, future)

    async def sleep(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), loop, future))
        await future


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
