"""Rows of allocations: what of a node is set aside. Every function works inside the caller's transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from skerry.island.engine.records import Allocation
from skerry.island.store.prepared import Prepared, insertion
from skerry.island.store.tables import allocations, nodes
from skerry.island.store.values import decode_words, encode, micros, moment

_lock = Prepared(select(nodes.c.id).where(nodes.c.id == bindparam("of_id")).with_for_update())

_insert = insertion(allocations)
_delete = Prepared(allocations.delete().where(allocations.c.id == bindparam("of_id")))
_one = select(allocations).where(allocations.c.id == bindparam("of_id"))
_there = (
    select(allocations)
    .where(allocations.c.node_id == bindparam("of_node"))
    .order_by(allocations.c.created_at, allocations.c.id)
)
_amounts = Prepared(
    select(allocations.c.cpu_millis, allocations.c.memory_bytes, allocations.c.disk_bytes, allocations.c.gpus).where(
        allocations.c.node_id == bindparam("of_node")
    )
)


def lock_node(connection: Connection, node_id: str) -> None:
    """Let no other transaction take of a node until this one ends; SQLite has one writer anyway."""
    _lock(connection, of_id=node_id)


def add(connection: Connection, allocation: Allocation) -> None:
    """Insert an allocation."""
    _insert(
        connection,
        id=allocation.id,
        account_id=allocation.account_id,
        node_id=allocation.node_id,
        cpu_millis=allocation.cpu_millis,
        memory_bytes=allocation.memory_bytes,
        disk_bytes=allocation.disk_bytes,
        gpus=encode(allocation.gpus),
        created_at=micros(allocation.created_at),
    )


def remove(connection: Connection, id: str) -> bool:
    """Delete an allocation; False when there is none."""
    return _delete(connection, of_id=id).rowcount == 1


def get(connection: Connection, id: str) -> Allocation | None:
    """An allocation by id."""
    row = connection.execute(_one, {"of_id": id}).first()
    return None if row is None else _record(row)


def of_node(connection: Connection, node_id: str) -> list[Allocation]:
    """Everything that is set aside of a node, oldest first."""
    return [_record(row) for row in connection.execute(_there, {"of_node": node_id})]


def taken(connection: Connection, node_id: str) -> list[tuple[int, int, int, list[int]]]:
    """Of each allocation of a node the thousandths of a CPU, bytes of memory and of disk, and GPUs."""
    rows = _amounts(connection, of_node=node_id)
    return [(cpu, memory, disk, list(decode_words(gpus))) for cpu, memory, disk, gpus in rows]


def _record(row: Row[Any]) -> Allocation:
    return Allocation(
        id=row.id,
        account_id=row.account_id,
        node_id=row.node_id,
        cpu_millis=row.cpu_millis,
        memory_bytes=row.memory_bytes,
        disk_bytes=row.disk_bytes,
        gpus=tuple(decode_words(row.gpus)),
        created_at=moment(row.created_at),
    )
