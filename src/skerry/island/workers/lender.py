"""Who lends GPUs to processes beside sandboxes: each to one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from skerry.island.engine.errors import NoCapacity


class Lender(Protocol):
    """Of a machine's GPUs."""

    @property
    def gpus(self) -> tuple[int, ...]:
        """`index`es of all that there are, lent or not."""

    async def take(self, name: str, count: int) -> tuple[int, ...]:
        """So many of them, for one name; raises NoCapacity when fewer are free."""

    async def give(self, name: str) -> None:
        """Have back what a name has; harmless when that is nothing."""


class OwnGpus:
    """GPUs that nobody else uses, where there is no engine to ask.

    Args:
        gpus: their `index`es.
    """

    def __init__(self, gpus: Sequence[int] = ()) -> None:
        self.gpus = tuple(gpus)
        self._lent: dict[str, tuple[int, ...]] = {}

    async def take(self, name: str, count: int) -> tuple[int, ...]:
        """See `Lender`."""
        busy = {index for lent in self._lent.values() for index in lent}
        free = [index for index in self.gpus if index not in busy]
        if len(free) < count:
            raise NoCapacity(f"{count} GPUs are asked for; {len(free)} are free")
        self._lent[name] = tuple(free[:count])
        return self._lent[name]

    async def give(self, name: str) -> None:
        """See `Lender`."""
        self._lent.pop(name, None)


def visible(gpus: Sequence[int]) -> dict[str, str]:
    """Variables by which a program sees these GPUs and no others, numbered as the driver's own tools number them."""
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))}
