"""Rows that bind a caller's key to what it first did."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, exists, select

from skerry.island.engine.errors import Conflict
from skerry.island.store.prepared import Prepared, insertion
from skerry.island.store.tables import idempotency, runs

_insert = insertion(idempotency)
_find = Prepared(
    select(idempotency.c.fingerprint, idempotency.c.target).where(
        idempotency.c.scope == bindparam("scope"), idempotency.c.key == bindparam("key")
    )
)


def find(connection: Connection, scope: str, key: str, fingerprint: str) -> str | None:
    """What a key is bound to.

    Raises:
        Conflict: it is bound to another request.
    """
    row = _find(connection, scope=scope, key=key).first()
    if row is None:
        return None
    if row[0] != fingerprint:
        raise Conflict("this idempotency key was used before with a different request")
    target: str = row[1]
    return target


def bind(connection: Connection, scope: str, key: str, fingerprint: str, target: str, now: int) -> str:
    """Bind a key, or return what it is bound to. Raises Conflict as `find`."""
    found = find(connection, scope, key, fingerprint)
    if found is not None:
        return found
    _insert(connection, scope=scope, key=key, fingerprint=fingerprint, target=target, created_at=now)
    return target


def purge(connection: Connection, before: int) -> int:
    """Forget keys bound before a moment, except those of runs that still go on; returns how many."""
    alive = exists().where(runs.c.id == idempotency.c.target, runs.c.ended_at.is_(None))
    return connection.execute(idempotency.delete().where(idempotency.c.created_at < before, ~alive)).rowcount
