"""How much may be loaded at once: memory, processes, GPUs. What is idle makes room, the longest idle first."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skerry.island.engine.errors import NoCapacity, Unsupported
from skerry.island.workers.lender import Lender
from skerry.island.workers.llm.values import Need
from skerry.units import KIB, format_size

_SHARE = 0.75
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_RETRY_SECONDS = 10.0
_LOOK_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Claim:
    """What one engine process has of the room.

    Args:
        name: of its model.
        need: how much.
        leave: ends the process; None for one that may not be made to leave.
        gpus: `index`es of those that it has.
        lease: by which name they are lent.
        idle_since: monotonic seconds; None while it is used.
    """

    name: str
    need: Need
    leave: Callable[[], Awaitable[None]] | None = None
    gpus: tuple[int, ...] = ()
    lease: str = ""
    idle_since: float | None = field(default=None)


class Room:
    """What engine processes share.

    Args:
        memory_bytes: for all of them together.
        processes: at most so many at once.
        lender: of GPUs.
    """

    def __init__(self, *, memory_bytes: int, processes: int, lender: Lender) -> None:
        self.memory_bytes = memory_bytes
        self.processes = processes
        self._lender = lender
        self._leases = itertools.count(1)
        self._claims: list[Claim] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    @property
    def used_bytes(self) -> int:
        """Memory that is claimed."""
        return sum(claim.need.memory_bytes for claim in self._claims)

    def fits(self, need: Need) -> bool:
        """Whether there would be enough with nothing else loaded."""
        return need.memory_bytes <= self.memory_bytes and need.gpus <= len(self._lender.gpus)

    def check(self, name: str, need: Need) -> None:
        """Refuse what can never be loaded here.

        Raises:
            Unsupported: it needs more than there is.
        """
        if need.gpus > len(self._lender.gpus):
            raise Unsupported(f"{name} needs {need.gpus} GPU, and there are {len(self._lender.gpus)} here")
        if need.memory_bytes > self.memory_bytes:
            raise Unsupported(
                f"{name} needs about {format_size(need.memory_bytes)} of memory, and models may use "
                f"{format_size(self.memory_bytes)} here; take a smaller quantisation or context"
            )

    async def take(
        self,
        name: str,
        need: Need,
        *,
        patience: float,
        waiting: Callable[[], Awaitable[None]] | None = None,
        leave: Callable[[], Awaitable[None]] | None = None,
    ) -> Claim:
        """Claim room, making others leave that are idle, or waiting until there is some.

        Args:
            name: of the model.
            need: how much.
            patience: seconds to wait for those that are in use.
            waiting: called once when it has to wait.
            leave: see `Claim`.

        Raises:
            Unsupported: it can never be. NoCapacity: all is in use, and stayed so.
        """
        self.check(name, need)
        deadline = time.monotonic() + patience
        told = False
        while (going := self._plan(need)) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoCapacity(
                    f"there is no room for {name} now: {len(self._claims)} of {self.processes} models are loaded and "
                    f"in use, with {format_size(self.used_bytes)} of {format_size(self.memory_bytes)}",
                    retry_after=_RETRY_SECONDS,
                )
            self._changed.clear()
            if waiting is not None and not told:
                told = True
                await waiting()
                continue
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                pass
        for claim in going:
            assert claim.leave is not None
            self._claims.remove(claim)
            self._end(claim)
        mine = Claim(name, need, leave)
        self._claims.append(mine)
        # Their memory is only free when they have gone.
        try:
            await self.settled()
            if need.gpus:
                await self._lend(mine, deadline)
        except BaseException:
            self.give(mine)
            raise
        return mine

    def give(self, claim: Claim) -> None:
        """Free what a claim had; harmless when that was done."""
        if claim in self._claims:
            self._claims.remove(claim)
            self._changed.set()
            self._later(self._back(claim))

    def holds(self, claim: Claim) -> bool:
        """Whether a claim stands; one that was made to leave does not."""
        return claim in self._claims

    def use(self, claim: Claim) -> None:
        """Say that a claim is in use."""
        claim.idle_since = None

    def rest(self, claim: Claim) -> None:
        """Say that a claim is idle from now on."""
        claim.idle_since = time.monotonic()
        self._changed.set()

    def dismiss(self, claim: Claim) -> None:
        """Make a claim leave."""
        assert claim.leave is not None
        if claim in self._claims:
            self._claims.remove(claim)
            self._end(claim)
            self._changed.set()

    def idle_leases(self) -> list[str]:
        """By which names GPUs are lent to claims that could be made to leave now; safe from any thread."""
        return [claim.lease for claim in self._idle_gpus()]

    def _idle_gpus(self) -> list[Claim]:
        claims = list(self._claims)
        return [claim for claim in claims if claim.gpus and claim.idle_since is not None and claim.leave]

    async def yield_gpu(self) -> bool:
        """Make the claim leave that has been idle longest with a GPU; whether there was one."""
        idle = self._idle_gpus()
        if not idle:
            return False
        self.dismiss(min(idle, key=lambda claim: claim.idle_since or 0.0))
        await self.settled()
        return True

    async def settled(self) -> None:
        """Return when all that were made to leave have gone."""
        while self._leaving:
            await asyncio.wait(set(self._leaving))

    async def _lend(self, mine: Claim, deadline: float) -> None:
        """Have GPUs lent that others of this machine, such as jobs in sandboxes, may have at the moment."""
        mine.lease = f"llm-{next(self._leases)}"
        while True:
            try:
                mine.gpus = await self._lender.take(mine.lease, mine.need.gpus)
                return
            except NoCapacity as error:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise NoCapacity(
                        f"there is no room for {mine.name} now: {error.message}", retry_after=_RETRY_SECONDS
                    ) from None
            await asyncio.sleep(min(left, _LOOK_SECONDS))

    def _end(self, claim: Claim) -> None:
        async def end() -> None:
            assert claim.leave is not None
            await claim.leave()
            await self._back(claim)

        self._later(end())

    async def _back(self, claim: Claim) -> None:
        """Give GPUs back, also where it is not known whether they were lent."""
        if claim.lease:
            await self._lender.give(claim.lease)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _plan(self, need: Need) -> list[Claim] | None:
        """Which claims have to go so that the need fits; None when that is not enough."""
        idle = [claim for claim in self._claims if claim.idle_since is not None and claim.leave is not None]
        idle.sort(key=lambda claim: claim.idle_since or 0.0)
        staying, going = list(self._claims), []
        while not self._fit(staying, need):
            if not idle:
                return None
            going.append(idle.pop(0))
            staying.remove(going[-1])
        return going

    def _fit(self, staying: Sequence[Claim], need: Need) -> bool:
        return (
            len(staying) < self.processes
            and sum(claim.need.memory_bytes for claim in staying) + need.memory_bytes <= self.memory_bytes
            and sum(claim.need.gpus for claim in staying) + need.gpus <= len(self._lender.gpus)
        )


def default_memory() -> int:
    """Three quarters of the memory that this process may use, by the machine and by its control group."""
    text = Path("/proc/meminfo").read_text()
    found = [int(line.split()[1]) * KIB for line in text.splitlines() if line.startswith("MemTotal:")]
    for name in _LIMITS:
        try:
            limit = Path(name).read_text().strip()
        except OSError:
            continue
        if limit.isdigit():
            found.append(int(limit))
    return int(min(found) * _SHARE)
