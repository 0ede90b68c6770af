"""Leases: capacity held for one attempt of a run or one terminal, paid ahead, captured for the time really used."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection

from skerry.island.engine.core import Core
from skerry.island.engine.jobs import exec_id
from skerry.island.engine.records import Lease, Node, RunRecord
from skerry.island.sandbox.spec import Limits
from skerry.island.store import leases as rows
from skerry.island.store import ledger
from skerry.money import Money
from skerry.units import GIB

HOLD_SECONDS = 60.0
_LONGEST_HOLD = 3600.0
_USUAL_MEMORY = 2 * GIB
_NS = 1_000_000_000


def size(node: Node, limits: Limits) -> tuple[int, int]:
    """(cpu_millis, memory_bytes) that a sandbox is charged for; without a bound, one CPU and 2 GiB."""
    return (
        limits.cpu_millis or min(1000, node.cpu_millis),
        limits.memory_bytes or min(_USUAL_MEMORY, node.memory_bytes),
    )


def cost(node: Node, cpu_millis: int, memory_bytes: int, gpus: int, wall_ns: int) -> Money:
    """Price of that capacity for a time in nanoseconds, rounded up to the currency's smallest unit."""
    per_hour = (
        cpu_millis * node.cpu_hour.amount * GIB
        + memory_bytes * node.memory_gib_hour.amount * 1000
        + gpus * node.gpu_hour.amount * 1000 * GIB
    )
    return Money(-(-per_hour * max(0, wall_ns) // (1000 * GIB * 3600 * _NS)), node.cpu_hour.currency)


class Leases:
    """Open, extend and close; the functions that take a connection work in the caller's transaction."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def draft(
        self,
        account_id: str,
        sandbox_id: str,
        limits: Limits,
        *,
        id: str,
        purpose: str,
        seconds: float | None,
        now: datetime,
        gpus: int = 0,
    ) -> Lease:
        """A lease to open, with a hold for `seconds` of work (a minute when unknown, an hour at most)."""
        node = self._core.node
        cpu_millis, memory_bytes = size(node, limits)
        ahead = HOLD_SECONDS if seconds is None else min(max(seconds, 1.0), _LONGEST_HOLD)
        return Lease(
            id=id,
            account_id=account_id,
            node_id=node.id,
            sandbox_id=sandbox_id,
            purpose=purpose,
            cpu_millis=cpu_millis,
            memory_bytes=memory_bytes,
            gpus=gpus,
            held=cost(node, cpu_millis, memory_bytes, gpus, round(ahead * _NS)),
            opened_at=now,
        )

    def open(self, connection: Connection, lease: Lease, now: int) -> None:
        """Hold the money and record the lease.

        Raises:
            PaymentRequired: the balance does not cover the hold.
        """
        ledger.hold(connection, lease.account_id, lease.id, lease.held, memo=lease.purpose, now=now)
        rows.add(connection, lease, now)

    def close(self, connection: Connection, lease_id: str, wall_ns: int, now: int) -> Money | None:
        """Capture what was used and release the rest; None when the lease had been closed before."""
        lease = rows.take(connection, lease_id)
        if lease is None:
            return None
        taken = cost(self._core.node, lease.cpu_millis, lease.memory_bytes, lease.gpus, wall_ns)
        ledger.settle(
            connection,
            lease.account_id,
            lease_id,
            lease.held,
            taken,
            revenue=lease.node_id,
            memo=lease.purpose,
            now=now,
        )
        return taken

    def spent(self, connection: Connection, record: RunRecord) -> Money:
        """What all attempts of a run have cost."""
        currency = self._core.node.cpu_hour.currency
        attempts = (exec_id(record.id, number) for number in range(1, record.attempts + 1))
        return Money(sum(ledger.earned(connection, id, currency) for id in attempts), currency)

    def extend(self, connection: Connection, lease_id: str, wall_ns: int, now: int) -> bool:
        """Hold for a further minute when the work comes near the end of what is held; False if nothing was due.

        Raises:
            PaymentRequired: the balance does not cover it.
        """
        lease = rows.get(connection, lease_id)
        if lease is None:
            return False
        node = self._core.node
        ahead = cost(node, lease.cpu_millis, lease.memory_bytes, lease.gpus, wall_ns + round(HOLD_SECONDS / 2 * _NS))
        if ahead <= lease.held:
            return False
        more = (
            cost(node, lease.cpu_millis, lease.memory_bytes, lease.gpus, wall_ns + round(HOLD_SECONDS * _NS))
            - lease.held
        )
        # The amount already held names the hold, so that a repeated extension is the same one.
        ledger.hold(connection, lease.account_id, f"{lease_id}:{lease.held.amount}", more, memo=lease.purpose, now=now)
        rows.set_held(connection, lease_id, lease.held + more)
        return True

    def close_orphans(self, connection: Connection, alive: Collection[str], now: int) -> int:
        """Close every open lease that no living work stands on, charging until it was last seen; returns how many."""
        orphans = [(lease, seen) for lease, seen in rows.every(connection) if lease.id not in alive]
        for lease, seen in orphans:
            self.close(connection, lease.id, max(0, seen - rows.opened(lease)) * 1000, now)
        return len(orphans)

    async def current(self) -> list[Lease]:
        """Every open lease."""
        return [lease for lease, _ in await self._core.store.read(rows.every)]
