"""GPUs for the island's own processes, such as language models: set aside as a sandbox's are, never the same ones.

Such processes end with the island, so nothing of an earlier one is theirs any more at a start. A model that is loaded
and idle keeps its GPU to be quick, until somebody wants one. Who takes GPUs in a transaction of their own, as part of
more, looks at `free` there, and asks idle processes to `make_room` before another.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from sqlalchemy import Connection

from skerry.island.engine.capacity import Capacity
from skerry.island.engine.core import Core
from skerry.island.engine.errors import NoCapacity, Unavailable
from skerry.island.engine.records import Free, Gpu

_PREFIX = "helper-"

log = logging.getLogger("skerry.engine")


class Lending:
    """Lends GPUs of the local node.

    Args:
        core: of the engine.
        capacity: of the local node.
        account_id: in whose name they are set aside.
    """

    def __init__(self, core: Core, capacity: Capacity, account_id: str) -> None:
        self._core = core
        self._capacity = capacity
        self._account_id = account_id
        self._owed: set[str] = set()
        self._idle: list[tuple[Callable[[], Awaitable[bool]], Callable[[], Iterable[str]]]] = []

    @property
    def gpus(self) -> tuple[int, ...]:
        """`index`es of all that there are, lent or not."""
        return tuple(gpu.index for gpu in self._core.node.gpus)

    def on_wanted(self, callback: Callable[[], Awaitable[bool]], idle: Callable[[], Iterable[str]]) -> None:
        """Call back when GPUs are wanted.

        Args:
            callback: gives back what an idle process has, and says whether it did.
            idle: the names for which idle processes have GPUs now; called in any thread.
        """
        self._idle.append((callback, idle))

    def idle(self, connection: Connection) -> tuple[Gpu, ...]:
        """GPUs that idle processes have, and would give back."""
        names = {_PREFIX + name for _, idle in self._idle for name in idle()} | self._owed
        if not names:
            return ()
        near = {index for held in self._capacity.held(connection) if held.id in names for index in held.gpus}
        return tuple(gpu for gpu in self._core.node.gpus if gpu.index in near)

    def free(self, connection: Connection) -> Free:
        """What is free of the node, and behind it those GPUs that idle processes would give back."""
        free = self._capacity.free(connection)
        return replace(free, gpus=(*free.gpus, *self.idle(connection)))

    async def make_room(self) -> bool:
        """Have an idle process give back its GPUs; whether one did."""
        owed = bool(self._owed)
        await self._return()
        return owed or await self._reclaim()

    async def take(self, name: str, count: int) -> tuple[int, ...]:
        """So many of them, for one name, at most 70 characters; idle processes make room.

        Raises:
            NoCapacity: fewer are free.
        """
        return await self.set_aside(_PREFIX + name, count)

    async def set_aside(self, allocation: str, count: int) -> tuple[int, ...]:
        """The same as an allocation of the caller's own name, which is given back by `give_back`."""
        while True:
            await self._return()
            try:
                return await self._core.store.run(
                    self._capacity.take_gpus, allocation, self._account_id, count, now=self._core.now()
                )
            except NoCapacity:
                if not await self._reclaim():
                    raise

    async def give(self, name: str) -> None:
        """Have back what a name has; harmless when that is nothing. A full disk only puts it off."""
        await self.give_back(_PREFIX + name)

    async def give_back(self, allocation: str) -> None:
        """The same for an allocation of the caller's own name."""
        self._owed.add(allocation)
        await self.again()

    async def again(self) -> None:
        """Have back what could not be given back before."""
        try:
            await self._return()
        except Unavailable as error:
            log.warning("GPUs cannot be given back now; it is tried again: %s", error)

    async def _return(self) -> None:
        for allocation in list(self._owed):
            await self._core.store.run(self._capacity.release, allocation)
            self._owed.discard(allocation)

    async def _reclaim(self) -> bool:
        """Have an idle process give back its GPUs; whether one did."""
        for callback, _ in self._idle:
            if await callback():
                return True
        return False

    async def sweep(self) -> None:
        """Have back everything: what had it ended with an earlier process."""
        if self.gpus:
            await self._core.store.run(self._sweep)

    def _sweep(self, connection: Connection) -> None:
        for held in self._capacity.held(connection):
            if held.id.startswith(_PREFIX):
                self._capacity.release(connection, held.id)
