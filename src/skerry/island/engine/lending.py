"""GPUs for the island's own processes, such as language models: set aside as a sandbox's are, never the same ones.

Such processes end with the island, so nothing of an earlier one is theirs any more at a start. A model that is loaded
and idle keeps its GPU to be quick, until somebody wants one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from sqlalchemy import Connection

from skerry.island.engine.capacity import Capacity
from skerry.island.engine.core import Core
from skerry.island.engine.errors import NoCapacity, Unavailable

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
        self._idle: list[Callable[[], Awaitable[bool]]] = []

    @property
    def gpus(self) -> tuple[int, ...]:
        """`index`es of all that there are, lent or not."""
        return tuple(gpu.index for gpu in self._core.node.gpus)

    def on_wanted(self, callback: Callable[[], Awaitable[bool]]) -> None:
        """Call back when GPUs are wanted: it gives back what an idle process has, and says whether it did."""
        self._idle.append(callback)

    async def take(self, name: str, count: int) -> tuple[int, ...]:
        """So many of them, for one name, at most 70 characters; idle processes make room.

        Raises:
            NoCapacity: fewer are free.
        """
        return await self.set_aside(_PREFIX + name, count)

    async def set_aside(self, allocation: str, count: int) -> tuple[int, ...]:
        """The same as an allocation of the caller's own name, which it gives back by `Capacity.release`."""
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
        self._owed.add(_PREFIX + name)
        try:
            await self._return()
        except Unavailable as error:
            log.warning("GPUs of %s cannot be given back now; it is tried again: %s", name, error)

    async def _return(self) -> None:
        for allocation in list(self._owed):
            await self._core.store.run(self._capacity.release, allocation)
            self._owed.discard(allocation)

    async def _reclaim(self) -> bool:
        """Have an idle process give back its GPUs; whether one did."""
        for callback in self._idle:
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
