"""Which sandboxes are in use, since when the others are not, and a gate for those being put to sleep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from skerry.island.clock import Clock


class Activity:
    """Counts of what goes on in each sandbox, in memory; the store remembers which of them sleep."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._last: dict[str, float] = {}
        self._moments: dict[str, datetime] = {}
        self._gates: dict[str, asyncio.Future[None]] = {}
        self._asleep: set[str] = set()

    def begin(self, sandbox_id: str) -> None:
        """Something starts that needs the sandbox."""
        self._counts[sandbox_id] = self._counts.get(sandbox_id, 0) + 1
        self.touch(sandbox_id)

    def end(self, sandbox_id: str) -> None:
        """It is over."""
        left = self._counts.get(sandbox_id, 0) - 1
        if left > 0:
            self._counts[sandbox_id] = left
        else:
            self._counts.pop(sandbox_id, None)
        self._last[sandbox_id] = self._clock.monotonic()
        self._moments[sandbox_id] = self._clock.now()

    def touch(self, sandbox_id: str) -> None:
        """It was used for a moment."""
        self._last[sandbox_id] = self._clock.monotonic()
        self._moments[sandbox_id] = self._clock.now()
        self._asleep.discard(sandbox_id)

    def sleeps(self, sandbox_id: str) -> None:
        """Its processes have been ended for being idle."""
        self._last.pop(sandbox_id, None)
        self._asleep.add(sandbox_id)

    def forget(self, sandbox_id: str) -> None:
        """It is gone."""
        self._last.pop(sandbox_id, None)
        self._moments.pop(sandbox_id, None)
        self._asleep.discard(sandbox_id)

    def asleep(self, sandbox_id: str) -> bool:
        """Whether it sleeps."""
        return sandbox_id in self._asleep

    def last_used(self, sandbox_id: str) -> datetime | None:
        """When it was last used, None if not since this server began."""
        return self._moments.get(sandbox_id)

    def busy(self, sandbox_id: str) -> bool:
        """Whether something goes on in it."""
        return sandbox_id in self._counts

    def in_use(self) -> list[str]:
        """Every busy sandbox."""
        return list(self._counts)

    def idle_for(self, seconds: float) -> list[str]:
        """Sandboxes that were awake and have not been used for so long."""
        limit = self._clock.monotonic() - seconds
        return [sandbox_id for sandbox_id, last in self._last.items() if last <= limit and not self.busy(sandbox_id)]

    async def passage(self, sandbox_id: str) -> None:
        """Wait while the sandbox is being put to sleep."""
        gate = self._gates.get(sandbox_id)
        if gate is not None:
            await asyncio.shield(gate)

    @asynccontextmanager
    async def closed(self, sandbox_id: str) -> AsyncIterator[bool]:
        """Keep new work out of an idle sandbox meanwhile; yields False when it is not idle."""
        if self.busy(sandbox_id) or sandbox_id in self._gates:
            yield False
            return
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gates[sandbox_id] = gate
        try:
            yield True
        finally:
            del self._gates[sandbox_id]
            gate.set_result(None)
