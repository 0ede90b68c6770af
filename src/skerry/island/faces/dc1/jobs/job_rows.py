"""Jobs by number or name, and what changes in all of them alike (sections 1.1 and 3.4)."""

from __future__ import annotations

import secrets
import string
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, or_, select, tuple_

from skerry.island.faces.dc1.jobs.changes import touch
from skerry.island.faces.dc1.tables import jobs, renters

TERMINAL = ("completed", "failed", "cancelled")
WAITING = ("queued", "pending")
CLAIMED = ("assigned", "pulling", "running", "paused")
RANKS = {"priority": 0, "standard": 1, "economy": 2}
USUAL_PRIORITY = 2
_BASE36 = string.digits + string.ascii_lowercase
_LARGEST_ID = 2**31 - 1
# Made once, because making a statement takes longer than running it.
_by_number = select(jobs).where(jobs.c.id == bindparam("number"))
_by_name = select(jobs).where(jobs.c.job_id == bindparam("name"))


def new_name(now: int, prefix: str = "job") -> str:
    """A job's name: `job-<epoch ms>-<6 base36 characters>`."""
    return f"{prefix}-{now // 1_000}-{''.join(secrets.choice(_BASE36) for _ in range(6))}"


def find(connection: Connection, ident: str | int) -> Row[Any] | None:
    """A job by its number or its name."""
    text = str(ident)
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None
    if number is not None and number <= _LARGEST_ID:
        found = connection.execute(_by_number, {"number": number}).first()
        if found is not None:
            return found
    # No name has a NUL, and not every database takes one in a question.
    return None if "\x00" in text else connection.execute(_by_name, {"name": text}).first()


def get(connection: Connection, job: int) -> Row[Any]:
    """A job by its number, which is known to be there."""
    return connection.execute(_by_number, {"number": job}).one()


def change(connection: Connection, job: int, now: int, **values: Any) -> None:
    """Set columns of a job, by its number."""
    touch(connection, job)
    connection.execute(jobs.update().where(jobs.c.id == job).values(updated_at=now, **values))


def rank(pricing_class: str) -> int:
    """Place of a pricing class in the queue; lower goes first."""
    return RANKS.get(pricing_class, RANKS["standard"])


def turn(priority: int) -> int:
    """Place of a priority in the queue; lower goes first: 1, 2, 3 as documented, then the rest, larger numbers first.

    Example:
        >>> sorted([0, 1, 2, 3, 7, 10], key=turn)
        [1, 2, 3, 10, 7, 0]
    """
    return priority if 1 <= priority <= 3 else 100 - priority


def position(connection: Connection, job: Row[Any]) -> int | None:
    """Its place behind its provider's work, from 1; None unless it is queued."""
    if job.status != "queued":
        return None
    same = jobs.c.provider_id == job.provider_id if job.provider_id is not None else jobs.c.provider_id.is_(None)
    goes_on = jobs.c.status.in_(("pending", "assigned", "pulling", "running"))
    before = tuple_(jobs.c.rank, jobs.c.turn, jobs.c.id) < (job.rank, job.turn, job.id)
    query = select(func.count()).select_from(jobs).where(same, or_(goes_on, and_(jobs.c.status == "queued", before)))
    return int(connection.execute(query).scalar_one()) + 1


def unsettled(connection: Connection, renter_id: int) -> int:
    """Halala that a renter's jobs hold."""
    query = select(func.sum(jobs.c.quote)).where(jobs.c.renter_id == renter_id, jobs.c.status.not_in(TERMINAL))
    return int(connection.execute(query).scalar() or 0)


def add_totals(connection: Connection, renter_id: int, *, jobs_made: int = 0, spent: int = 0) -> None:
    """Count in a renter's totals."""
    connection.execute(
        renters.update()
        .where(renters.c.id == renter_id)
        .values(total_jobs=renters.c.total_jobs + jobs_made, total_spent=renters.c.total_spent + spent)
    )
