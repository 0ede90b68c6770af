"""Rows of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from skerry.island.engine.records import SessionRecord
from skerry.island.store.prepared import Prepared, insertion
from skerry.island.store.tables import sessions
from skerry.island.store.values import decode_words, encode_words, micros, moment

_AT_ONCE = 500

_insert = insertion(sessions)
_save = Prepared(
    sessions.update()
    .where(sessions.c.id == bindparam("of_id"))
    .values(cwd=bindparam("new_cwd"), env=bindparam("new_env"), script=bindparam("new_script"))
)


def add(connection: Connection, record: SessionRecord, script: bytes) -> None:
    """Insert a session."""
    _insert(
        connection,
        id=record.id,
        sandbox_id=record.sandbox_id,
        is_default=int(record.default),
        cwd=encode_words(record.cwd),
        env=encode_words(record.env),
        script=script,
        created_at=micros(record.created_at),
    )


def get(connection: Connection, session_id: str) -> tuple[SessionRecord, bytes] | None:
    """A session and the script that restores its shell."""
    row = connection.execute(select(sessions).where(sessions.c.id == session_id)).first()
    return None if row is None else (_record(row), bytes(row.script))


def default(connection: Connection, sandbox_id: str) -> tuple[SessionRecord, bytes] | None:
    """The default session of a sandbox."""
    query = select(sessions).where(sessions.c.sandbox_id == sandbox_id, sessions.c.is_default == 1)
    row = connection.execute(query).first()
    return None if row is None else (_record(row), bytes(row.script))


def of_sandbox(connection: Connection, sandbox_id: str) -> list[SessionRecord]:
    """A sandbox's sessions, the default one first, then by age."""
    query = (
        select(sessions)
        .where(sessions.c.sandbox_id == sandbox_id)
        .order_by(sessions.c.is_default.desc(), sessions.c.created_at, sessions.c.id)
    )
    return [_record(row) for row in connection.execute(query)]


def of_sandboxes(connection: Connection, sandbox_ids: Sequence[str]) -> dict[str, list[SessionRecord]]:
    """The sessions of many sandboxes at once, each list in the order of `of_sandbox`."""
    found: dict[str, list[SessionRecord]] = {sandbox_id: [] for sandbox_id in sandbox_ids}
    columns = [column for column in sessions.c if column.name != "script"]
    for start in range(0, len(sandbox_ids), _AT_ONCE):
        query = (
            select(*columns)
            .where(sessions.c.sandbox_id.in_(sandbox_ids[start : start + _AT_ONCE]))
            .order_by(sessions.c.is_default.desc(), sessions.c.created_at, sessions.c.id)
        )
        for row in connection.execute(query):
            found[row.sandbox_id].append(_record(row))
    return found


def save(connection: Connection, session_id: str, cwd: str, env: dict[str, str], script: bytes) -> None:
    """Write back what a run left."""
    _save(connection, of_id=session_id, new_cwd=encode_words(cwd), new_env=encode_words(env), new_script=script)


def remove(connection: Connection, session_id: str) -> bool:
    """Delete a session; False when it was not there."""
    return connection.execute(sessions.delete().where(sessions.c.id == session_id)).rowcount == 1


def _record(row: Row[Any]) -> SessionRecord:
    return SessionRecord(
        id=row.id,
        sandbox_id=row.sandbox_id,
        default=bool(row.is_default),
        state="idle",
        cwd=decode_words(row.cwd),
        env=decode_words(row.env),
        created_at=moment(row.created_at),
    )
