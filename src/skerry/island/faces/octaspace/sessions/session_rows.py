"""Rows of sessions: found, moved on, ended; every step may be repeated after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.faces.octaspace.sessions import states
from skerry.island.faces.octaspace.tables import events, sessions

MOST_RECENT = 50
MOST_LOG_BYTES = 1 << 20
_MOST_MESSAGE = 4_000


def find(connection: Connection, uuid: str) -> Row[Any] | None:
    """A session, whoever's it is."""
    return connection.execute(select(sessions).where(sessions.c.uuid == uuid)).one_or_none()


def of_account(connection: Connection, account_id: str, uuid: str) -> Row[Any] | None:
    """A session of an account."""
    found = find(connection, uuid.lower())
    return found if found is not None and found.account_id == account_id else None


def active(connection: Connection, account_id: str | None = None) -> list[Row[Any]]:
    """Sessions that have not ended, oldest first; of one account, or all."""
    query = select(sessions).where(sessions.c.finished_at.is_(None)).order_by(sessions.c.started_at, sessions.c.uuid)
    if account_id is not None:
        query = query.where(sessions.c.account_id == account_id)
    return list(connection.execute(query))


def finished(connection: Connection, account_id: str) -> list[Row[Any]]:
    """The last sessions of an account that have ended, newest first."""
    query = (
        select(sessions)
        .where(sessions.c.account_id == account_id, sessions.c.finished_at.is_not(None))
        .order_by(sessions.c.finished_at.desc(), sessions.c.uuid)
        .limit(MOST_RECENT)
    )
    return list(connection.execute(query))


def by_label(connection: Connection, label: str) -> Row[Any] | None:
    """The active session behind a host name of the gateway."""
    query = select(sessions).where(sessions.c.label == label, sessions.c.finished_at.is_(None))
    return connection.execute(query).one_or_none()


def tell(connection: Connection, uuid: str, message: str, now: int) -> None:
    """Add to a session's system log."""
    connection.execute(events.insert().values(session_uuid=uuid, message=message[:_MOST_MESSAGE], at=now))


def told(connection: Connection, uuid: str) -> list[Row[Any]]:
    """A session's system log, oldest first."""
    return list(connection.execute(select(events).where(events.c.session_uuid == uuid).order_by(events.c.id)))


def move(
    connection: Connection,
    uuid: str,
    state: str,
    now: int,
    message: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> bool:
    """Bring a session on; False when it is further already.

    Args:
        state: where it goes.
        now: microseconds since 1970.
        message: for its system log.
        values: other columns that change.
    """
    session = find(connection, uuid)
    if session is None or not states.may(session.state, state):
        return False
    put(connection, uuid, now, state=state, **(values or {}))
    if message is not None:
        tell(connection, uuid, message, now)
    return True


def end_soon(connection: Connection, uuid: str, reason: int, at: int, now: int, *, message: str | None = None) -> bool:
    """Let a session end; what is decided first counts. False when it is ending already.

    Args:
        reason: see `states`.
        at: when the bill ends, microseconds since 1970.
        now: when this is decided.
        message: for its system log, in place of the usual words.
    """
    session = find(connection, uuid)
    if session is None or session.ending is not None or session.finished_at is not None:
        return False
    text = f"{message or states.REASONS[reason]}\n"
    return move(connection, uuid, states.STOPPING, now, text, {"ending": reason, "seen_at": min(at, now)})


def put(connection: Connection, uuid: str, now: int, **values: Any) -> None:
    """Change columns of a session."""
    connection.execute(sessions.update().where(sessions.c.uuid == uuid).values(**values, updated_at=now))
