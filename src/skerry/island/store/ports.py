"""Rows of published ports."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from skerry.island.engine.records import PublishedPort
from skerry.island.store.prepared import Prepared, insertion
from skerry.island.store.tables import published_ports, sandboxes
from skerry.island.store.values import decode_words, encode_words

_owner = Prepared(
    select(sandboxes.c.account_id).where(sandboxes.c.id == bindparam("of_id"), sandboxes.c.deleted_at.is_(None))
)
_change = Prepared(
    published_ports.update()
    .where(published_ports.c.sandbox_id == bindparam("of_id"), published_ports.c.port == bindparam("of_port"))
    .values({name: bindparam(name) for name in ("account_id", "host_port", "allowed", "ssh")})
)
_insert = insertion(published_ports)


def put(connection: Connection, port: PublishedPort, now: int) -> bool:
    """Insert or replace a published port; False when its sandbox has been removed or is another account's."""
    if _owner(connection, of_id=port.sandbox_id).scalar() != port.account_id:
        return False
    values = {
        "account_id": port.account_id,
        "host_port": port.host_port,
        "allowed": encode_words(port.allowed),
        "ssh": int(port.ssh),
        "udp": int(port.udp),
    }
    if _change(connection, of_id=port.sandbox_id, of_port=port.port, **values).rowcount == 0:
        _insert(connection, sandbox_id=port.sandbox_id, port=port.port, created_at=now, **values)
    return True


def remove(connection: Connection, sandbox_id: str, port: int | None = None) -> int:
    """Delete one, or all of a sandbox; returns how many."""
    gone = published_ports.delete().where(published_ports.c.sandbox_id == sandbox_id)
    if port is not None:
        gone = gone.where(published_ports.c.port == port)
    return connection.execute(gone).rowcount


def every(connection: Connection, host: str) -> list[PublishedPort]:
    """All of them, the oldest first."""
    query = select(published_ports).order_by(published_ports.c.created_at, published_ports.c.host_port)
    return [_record(row, host) for row in connection.execute(query)]


def _record(row: Row[Any], host: str) -> PublishedPort:
    return PublishedPort(
        sandbox_id=row.sandbox_id,
        account_id=row.account_id,
        port=row.port,
        host=host,
        host_port=row.host_port,
        allowed=tuple(decode_words(row.allowed or "[]")),
        ssh=bool(row.ssh),
        udp=bool(row.udp),
    )
