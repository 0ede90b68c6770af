"""Rows of nodes and sandboxes. A removed sandbox keeps its row, marked, until nothing refers to it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, literal_column, or_, select

from skerry.island.engine.errors import Conflict
from skerry.island.engine.records import Node, SandboxRecord
from skerry.island.store.prepared import Prepared, insertion
from skerry.island.store.tables import nodes, published_ports, sandboxes, ssh_grants
from skerry.island.store.values import (
    decode_labels,
    decode_limits,
    decode_policy,
    decode_volumes,
    decode_words,
    encode,
    micros,
    moment,
)

SORTS = {
    "created_at": sandboxes.c.created_at,
    "last_active_at": sandboxes.c.last_active_at,
    "name": sandboxes.c.name,
    "id": sandboxes.c.id,
}

_touch = Prepared(
    sandboxes.update()
    .where(sandboxes.c.id == bindparam("of_id"))
    .values(last_active_at=bindparam("at"), suspended=literal_column("0"))
)

_insert = insertion(sandboxes)
_used = Prepared(select(sandboxes.c.id).where(sandboxes.c.id == bindparam("of_id")))
_present = select(sandboxes).where(sandboxes.c.id == bindparam("of_id"), sandboxes.c.deleted_at.is_(None))
_ways = tuple(
    Prepared(table.delete().where(table.c.sandbox_id == bindparam("of_id"))) for table in (published_ports, ssh_grants)
)
_mark_removed = Prepared(
    sandboxes.update()
    .where(sandboxes.c.id == bindparam("of_id"), sandboxes.c.deleted_at.is_(None))
    .values(deleted_at=bindparam("at"))
)


def put_node(connection: Connection, node: Node) -> None:
    """Insert or replace a node's description."""
    values = {"name": node.name, "state": node.state, "detail": encode(node)}
    if connection.execute(nodes.update().where(nodes.c.id == node.id).values(**values)).rowcount == 0:
        connection.execute(nodes.insert().values(id=node.id, **values))


def add(connection: Connection, record: SandboxRecord) -> None:
    """Insert a sandbox. Raises Conflict when the id was ever used."""
    if _used(connection, of_id=record.id).first() is not None:
        raise Conflict(f"the sandbox id {record.id} is taken")
    _insert(
        connection,
        id=record.id,
        account_id=record.account_id,
        network=record.network,
        name=record.name,
        image=record.image,
        parent_id=record.parent_id,
        node_id=record.node_id,
        suspended=0,
        durable=int(record.durable),
        limits=encode(record.limits),
        policy=encode(record.policy),
        labels=encode(record.labels),
        volumes=encode(record.volumes),
        gpus=encode(record.gpus),
        created_at=micros(record.created_at),
        last_active_at=micros(record.last_active_at),
        deleted_at=None,
    )


def get(connection: Connection, id: str) -> SandboxRecord | None:
    """A sandbox that has not been removed."""
    row = connection.execute(_present, {"of_id": id}).first()
    return None if row is None else _record(row)


def every(connection: Connection) -> list[SandboxRecord]:
    """All sandboxes that have not been removed."""
    return [_record(row) for row in connection.execute(select(sandboxes).where(sandboxes.c.deleted_at.is_(None)))]


def page(
    connection: Connection,
    account_id: str,
    *,
    network: str | None,
    limit: int | None,
    offset: int,
    query: str | None,
    sort: str,
) -> tuple[list[SandboxRecord], int]:
    """One page of an account's sandboxes, and the number of all that match."""

    def matching(base: Select[Any]) -> Select[Any]:
        chosen = base.where(sandboxes.c.account_id == account_id, sandboxes.c.deleted_at.is_(None))
        if network is not None:
            chosen = chosen.where(sandboxes.c.network == network)
        if query:
            part = query.lower()
            chosen = chosen.where(
                or_(
                    func.lower(sandboxes.c.id).contains(part, autoescape=True),
                    func.lower(sandboxes.c.name).contains(part, autoescape=True),
                )
            )
        return chosen

    column = SORTS[sort.removeprefix("-")]
    ordered = matching(select(sandboxes)).order_by(
        *((column.desc(), sandboxes.c.id.desc()) if sort.startswith("-") else (column, sandboxes.c.id))
    )
    rows = connection.execute(ordered.offset(offset) if limit is None else ordered.limit(limit).offset(offset))
    total = connection.execute(matching(select(func.count()).select_from(sandboxes))).scalar_one()
    return [_record(row) for row in rows], total


def change(connection: Connection, record: SandboxRecord) -> bool:
    """Write back what an owner may change; False when it has been removed."""
    update = (
        sandboxes.update()
        .where(sandboxes.c.id == record.id, sandboxes.c.deleted_at.is_(None))
        .values(
            name=record.name,
            limits=encode(record.limits),
            policy=encode(record.policy),
            labels=encode(record.labels),
        )
    )
    return connection.execute(update).rowcount == 1


def touch(connection: Connection, id: str, now: int) -> None:
    """Note activity, which also means that it does not sleep."""
    _touch(connection, of_id=id, at=now)


def mark_suspended(connection: Connection, id: str) -> None:
    """Note that its processes have been ended for being idle."""
    connection.execute(sandboxes.update().where(sandboxes.c.id == id).values(suspended=1))


def mark_removed(connection: Connection, id: str, now: int) -> bool:
    """Begin a removal, taking the ways in with it; False when it had begun before."""
    for way in _ways:
        way(connection, of_id=id)
    return _mark_removed(connection, of_id=id, at=now).rowcount == 1


def purge_removed(connection: Connection, before: int) -> int:
    """Delete rows of sandboxes removed before a moment, with their sessions and runs; returns how many."""
    gone = sandboxes.delete().where(sandboxes.c.deleted_at < before)
    return connection.execute(gone).rowcount


def image_in_use(connection: Connection, image: str) -> bool:
    """Whether a sandbox stands on an image, or has it as a volume."""
    mounted = sandboxes.c.volumes.contains(encode(image), autoescape=True)
    query = select(sandboxes.c.id).where(or_(sandboxes.c.image == image, mounted), sandboxes.c.deleted_at.is_(None))
    return connection.execute(query.limit(1)).first() is not None


def _record(row: Row[Any]) -> SandboxRecord:
    return SandboxRecord(
        id=row.id,
        account_id=row.account_id,
        network=row.network,
        name=row.name,
        image=row.image,
        parent_id=row.parent_id,
        node_id=row.node_id,
        state="suspended" if row.suspended else "idle",
        durable=bool(row.durable),
        limits=decode_limits(row.limits),
        policy=decode_policy(row.policy),
        created_at=moment(row.created_at),
        last_active_at=moment(row.last_active_at),
        labels=decode_labels(row.labels),
        volumes=decode_volumes(row.volumes),
        gpus=tuple(decode_words(row.gpus)),
    )
