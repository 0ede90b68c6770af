"""Capacity: parts of this machine set aside for work that asked for them, never more than there is.

Allocations bound each other alone. Sandboxes of networks that promise no exclusive share run beside them, held by their
own limits. The rows are the truth: nothing is remembered beside them, so a crash between two transactions leaves either
an allocation or none. Whose an allocation is, and when it ends, only the taker knows.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from skerry.island.engine.errors import Conflict, Invalid, NoCapacity
from skerry.island.engine.records import Allocation, Free, Node
from skerry.island.store import allocations as rows
from skerry.island.store.values import moment
from skerry.units import format_size


class Capacity:
    """What of the local node is taken and free; every function works in the caller's transaction.

    Args:
        node: this machine.
        cpu_floor_millis: thousandths of a CPU that every allocation counts as at least.
    """

    def __init__(self, node: Node, cpu_floor_millis: int) -> None:
        self._node = node
        self._floor = min(cpu_floor_millis, node.cpu_millis)

    @property
    def cpu_floor_millis(self) -> int:
        """Thousandths of a CPU that every allocation counts as at least."""
        return self._floor

    def take(
        self,
        connection: Connection,
        id: str,
        account_id: str,
        *,
        cpu_millis: int,
        memory_bytes: int,
        disk_bytes: int,
        gpus: Sequence[int],
        now: int,
    ) -> None:
        """Set a part of the node aside until `release`.

        Args:
            id: unique, at most 80 characters.
            account_id: for whom.
            cpu_millis: thousandths of a CPU; counted as the floor when below it.
            memory_bytes, disk_bytes: zero is allowed.
            gpus: their `index`es.
            now: microseconds since 1970.

        Raises:
            NoCapacity: it does not fit now. Invalid: a negative amount, or a GPU that is not here.
            Conflict: the id is taken.
        """
        self._check(cpu_millis, memory_bytes, disk_bytes, gpus)
        rows.lock_node(connection, self._node.id)
        if rows.get(connection, id) is not None:
            raise Conflict(f"the allocation {id} exists already")
        wanted = Allocation(
            id=id,
            account_id=account_id,
            node_id=self._node.id,
            cpu_millis=max(cpu_millis, self._floor),
            memory_bytes=memory_bytes,
            disk_bytes=disk_bytes,
            gpus=tuple(gpus),
            created_at=moment(now),
        )
        _fit(wanted, self.free(connection))
        rows.add(connection, wanted)

    def take_gpus(self, connection: Connection, id: str, account_id: str, count: int, *, now: int) -> tuple[int, ...]:
        """Set GPUs aside, whichever are free, and nothing else; those that the id has already, where it has some.

        Raises:
            NoCapacity: fewer are free.
        """
        rows.lock_node(connection, self._node.id)
        held = self.gpus_of(connection, id)
        if held:
            return held
        free = [gpu.index for gpu in self.free(connection).gpus]
        if len(free) < count:
            raise NoCapacity(f"{count} GPUs are asked for; {len(free)} are free")
        chosen = tuple(free[:count])
        rows.add(
            connection,
            Allocation(
                id=id,
                account_id=account_id,
                node_id=self._node.id,
                cpu_millis=0,
                memory_bytes=0,
                disk_bytes=0,
                gpus=chosen,
                created_at=moment(now),
            ),
        )
        return chosen

    def release(self, connection: Connection, id: str) -> bool:
        """Give an allocation back; False when there is none."""
        return rows.remove(connection, id)

    def free(self, connection: Connection) -> Free:
        """What `take` could still take; never below zero, even if the machine has shrunk."""
        taken = rows.taken(connection, self._node.id)
        busy = {index for *_, gpus in taken for index in gpus}
        node = self._node
        return Free(
            cpu_millis=max(0, node.cpu_millis - sum(cpu for cpu, *_ in taken)),
            memory_bytes=max(0, node.memory_bytes - sum(memory for _, memory, *_ in taken)),
            disk_bytes=max(0, node.disk_bytes - sum(disk for *_, disk, _ in taken)),
            gpus=tuple(gpu for gpu in node.gpus if gpu.index not in busy),
        )

    def held(self, connection: Connection) -> list[Allocation]:
        """Every allocation, oldest first, for a face that at its start looks for those nobody needs any more."""
        return rows.of_node(connection, self._node.id)

    def gpus_of(self, connection: Connection, id: str) -> tuple[int, ...]:
        """The GPUs of an allocation; none where there is no such allocation."""
        found = rows.get(connection, id)
        return () if found is None else found.gpus

    def _check(self, cpu_millis: int, memory_bytes: int, disk_bytes: int, gpus: Sequence[int]) -> None:
        if min(cpu_millis, memory_bytes, disk_bytes) < 0:
            raise Invalid("capacity cannot be negative")
        here = {gpu.index for gpu in self._node.gpus}
        if len(set(gpus)) != len(gpus) or not set(gpus) <= here:
            raise Invalid(f"the GPUs {list(gpus)} are not all on this machine, which has {sorted(here)}")


def _fit(wanted: Allocation, free: Free) -> None:
    amounts = (
        ("CPU", wanted.cpu_millis, free.cpu_millis, lambda millis: f"{millis / 1000:g}"),
        ("memory", wanted.memory_bytes, free.memory_bytes, format_size),
        ("disk", wanted.disk_bytes, free.disk_bytes, format_size),
    )
    for what, asked, there, show in amounts:
        if asked > there:
            raise NoCapacity(f"{show(asked)} of {what} were asked for; {show(there)} are free")
    busy = set(wanted.gpus) - {gpu.index for gpu in free.gpus}
    if busy:
        raise NoCapacity(f"the GPUs {sorted(busy)} are taken")
