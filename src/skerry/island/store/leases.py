"""Rows of open leases: one per attempt of a run that goes on, one per terminal."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select

from skerry.island.engine.records import Lease
from skerry.island.store.prepared import Prepared, insertion
from skerry.island.store.tables import leases
from skerry.island.store.values import micros, moment
from skerry.money import Money

LeaseRow = namedtuple("LeaseRow", [column.name for column in leases.columns])  # type: ignore[misc]

_insert = insertion(leases)
_get = Prepared(select(leases).where(leases.c.id == bindparam("of_id")).with_for_update())
_delete = Prepared(leases.delete().where(leases.c.id == bindparam("of_id")))
_restart = Prepared(
    leases.update()
    .where(leases.c.id == bindparam("of_id"))
    .values(opened_at=bindparam("at"), seen_at=bindparam("seen"))
)


def add(connection: Connection, lease: Lease, seen_at: int) -> None:
    """Insert a lease."""
    _insert(
        connection,
        id=lease.id,
        account_id=lease.account_id,
        node_id=lease.node_id,
        sandbox_id=lease.sandbox_id,
        purpose=lease.purpose,
        cpu_millis=lease.cpu_millis,
        memory_bytes=lease.memory_bytes,
        gpus=lease.gpus,
        currency=lease.held.currency,
        held=str(lease.held.amount),
        opened_at=micros(lease.opened_at),
        seen_at=seen_at,
    )


def opened(lease: Lease) -> int:
    """When metering began, in microseconds."""
    return micros(lease.opened_at)


def get(connection: Connection, lease_id: str) -> Lease | None:
    """A lease that is open, locked against other transactions."""
    row = _get(connection, of_id=lease_id).first()
    return None if row is None else _record(LeaseRow(*row))


def take(connection: Connection, lease_id: str) -> Lease | None:
    """End a lease; it as it was, None when it had ended before."""
    lease = get(connection, lease_id)
    if lease is not None:
        _delete(connection, of_id=lease_id)
    return lease


def every(connection: Connection) -> list[tuple[Lease, int]]:
    """Every open lease, with the moment it was last seen alive."""
    return [(_record(row), row.seen_at) for row in connection.execute(select(leases))]


def begin(connection: Connection, lease_id: str, now: int) -> None:
    """Metering starts now: the work was queued before."""
    _restart(connection, of_id=lease_id, at=now, seen=now)


def seen(connection: Connection, ids: Sequence[str], now: int) -> None:
    """Note that these leases' work is alive."""
    if ids:
        connection.execute(leases.update().where(leases.c.id.in_(ids)).values(seen_at=now))


def set_held(connection: Connection, lease_id: str, held: Money) -> None:
    """A further hold has been made for a lease."""
    connection.execute(leases.update().where(leases.c.id == lease_id).values(held=str(held.amount)))


def _record(row: Any) -> Lease:
    return Lease(
        id=row.id,
        account_id=row.account_id,
        node_id=row.node_id,
        sandbox_id=row.sandbox_id,
        purpose=row.purpose,
        cpu_millis=row.cpu_millis,
        memory_bytes=row.memory_bytes,
        gpus=row.gpus,
        held=Money(int(row.held), row.currency),
        opened_at=moment(row.opened_at),
    )
