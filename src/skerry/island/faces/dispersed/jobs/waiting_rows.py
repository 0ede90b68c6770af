"""Rows of jobs that wait for a node: what the order of assignment needs of them, and why they are told to wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, or_, select

from skerry.island.faces.dispersed.jobs.lifecycle import WANTING
from skerry.island.faces.dispersed.tables import jobs

_MOST = 500
"""Rows that one statement names."""

_COLUMNS = tuple(column for column in jobs.c if column.name not in ("parameters", "secrets", "description", "title"))
_NOTED = select(*_COLUMNS).where(jobs.c.uuid.in_(bindparam("uuids", expanding=True)))
_WANTING = select(*_COLUMNS).where(
    or_(jobs.c.status == "PENDING", jobs.c.status.in_(WANTING) & (jobs.c.max_node_count > 1))
)
_TELL = (
    jobs.update()
    .where(
        jobs.c.uuid.in_(bindparam("uuids", expanding=True)),
        jobs.c.status == "PENDING",
        or_(jobs.c.status_reason.is_(None), jobs.c.status_reason != bindparam("reason")),
    )
    .values(status_reason=bindparam("reason"), updated_at=bindparam("now"))
)


def wanting_jobs(connection: Connection) -> Sequence[Row[Any]]:
    """Every job of which a slot may be given a node."""
    return connection.execute(_WANTING).all()


def noted_jobs(connection: Connection, uuids: Iterable[str]) -> dict[str, Row[Any] | None]:
    """Jobs by their UUIDs; None for one that is not there."""
    found: dict[str, Row[Any] | None] = dict.fromkeys(uuids)
    for some in _parts(list(found)):
        found.update({row.uuid: row for row in connection.execute(_NOTED, {"uuids": some})})
    return found


def tell(connection: Connection, uuids: Sequence[str], reason: str, now: int) -> None:
    """Note why jobs wait, where they are PENDING and it is not noted yet."""
    for some in _parts(uuids):
        connection.execute(_TELL, {"uuids": some, "reason": reason, "now": now})


def _parts(uuids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (uuids[start : start + _MOST] for start in range(0, len(uuids), _MOST))
