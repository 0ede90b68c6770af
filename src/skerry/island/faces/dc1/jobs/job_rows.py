"""Jobs by number or name, and what changes in all of them alike (sections 1.1 and 3.4)."""

from __future__ import annotations

import secrets
import string
from typing import Any

from sqlalchemy import Connection, Integer, Row, and_, bindparam, func, or_, select, tuple_

from skerry.island.faces.dc1.jobs.changes import OFFERS, touch
from skerry.island.faces.dc1.tables import jobs, renters
from skerry.island.store.prepared import Prepared
from skerry.island.store.question import Changing, Question, among

TERMINAL = ("completed", "failed", "cancelled")
WAITING = ("queued", "pending")
CLAIMED = ("assigned", "pulling", "running", "paused")
PULLING = "pulling"
"""Phase of a job that does not run yet, because its image is fetched; the state of one that was only picked up."""

RANKS = {"priority": 0, "standard": 1, "economy": 2}
USUAL_PRIORITY = 2
_BASE36 = string.digits + string.ascii_lowercase
_LARGEST_ID = 2**31 - 1
_GOES_ON = ("pending", "assigned", "pulling", "running")
# Made once, because making a statement takes longer than running it.
_by_number = Question(select(jobs).where(jobs.c.id == bindparam("number")))
_by_name = Question(select(jobs).where(jobs.c.job_id == bindparam("name")))
_measure = select(jobs.c.id, jobs.c.renter_id, jobs.c.provider_id, func.length(jobs.c.result).label("length"))
_measured_by_number = Question(_measure.where(jobs.c.id == bindparam("number")))
_measured_by_name = Question(_measure.where(jobs.c.job_id == bindparam("name")))
_UNSET: dict[str, Any] = {column.name: getattr(column.default, "arg", None) for column in jobs.c}
del _UNSET["id"]
_add = Question(jobs.insert().values({name: bindparam(name) for name in _UNSET}).returning(*jobs.c))
_change = Changing(jobs)
_totals = Question(
    renters.update()
    .where(renters.c.id == bindparam("of_id"))
    .values(
        total_jobs=renters.c.total_jobs + bindparam("more_jobs", type_=renters.c.total_jobs.type),
        total_spent=renters.c.total_spent + bindparam("more_spent", type_=renters.c.total_spent.type),
    )
    .returning(*renters.c)
)


def _ahead(*whose: Any) -> Prepared:
    first = tuple_(jobs.c.rank, jobs.c.turn, jobs.c.id) < tuple_(
        *(bindparam(name, type_=Integer) for name in ("rank", "turn", "number"))
    )
    counts = or_(among(jobs.c.status, _GOES_ON), and_(jobs.c.status == "queued", first))
    return Prepared(select(func.count()).select_from(jobs).where(*whose, counts))


_ahead_of_anybody = _ahead(jobs.c.provider_id.is_(None))
_ahead_of_provider = _ahead(jobs.c.provider_id == bindparam("provider"))


def new_name(now: int, prefix: str = "job") -> str:
    """A job's name: `job-<epoch ms>-<6 base36 characters>`."""
    return f"{prefix}-{now // 1_000}-{''.join(secrets.choice(_BASE36) for _ in range(6))}"


def find(connection: Connection, ident: str | int) -> Row[Any] | None:
    """A job by its number or its name."""
    return _found(connection, ident, _by_number, _by_name)


def measured(connection: Connection, ident: str | int) -> Row[Any] | None:
    """Whose a job is, and the `length` of its result in characters, without the result."""
    return _found(connection, ident, _measured_by_number, _measured_by_name)


def _found(connection: Connection, ident: str | int, by_number: Question, by_name: Question) -> Row[Any] | None:
    text = str(ident)
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None
    if number is not None and number <= _LARGEST_ID:
        found = by_number.first(connection, number=number)
        if found is not None:
            return found
    # No name has a NUL, and not every database takes one in a question.
    return None if "\x00" in text else by_name.first(connection, name=text)


def get(connection: Connection, job: int) -> Row[Any]:
    """A job by its number, which is known to be there."""
    return _by_number.one(connection, number=job)


def add(connection: Connection, now: int, **values: Any) -> Row[Any]:
    """A new job; columns that are not named are empty."""
    job = _add.one(connection, **{**_UNSET, "submitted_at": now, "created_at": now, "updated_at": now, **values})
    touch(connection, job.id)
    if job.status in WAITING:
        touch(connection, OFFERS)
    return job


def change(connection: Connection, job: int, now: int, **values: Any) -> Row[Any]:
    """Set columns of a job, by its number; the job as it is since."""
    touch(connection, job)
    if values.get("status") in WAITING:
        touch(connection, OFFERS)
    found = _change(connection, job, updated_at=now, **values)
    assert found is not None
    return found


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
    place = {"rank": job.rank, "turn": job.turn, "number": job.id}
    if job.provider_id is None:
        return int(_ahead_of_anybody(connection, **place).scalar()) + 1
    return int(_ahead_of_provider(connection, provider=job.provider_id, **place).scalar()) + 1


def unsettled(connection: Connection, renter_id: int) -> int:
    """Halala that a renter's jobs hold."""
    query = select(func.sum(jobs.c.quote)).where(jobs.c.renter_id == renter_id, jobs.c.status.not_in(TERMINAL))
    return int(connection.execute(query).scalar() or 0)


def add_totals(connection: Connection, renter_id: int, *, jobs_made: int = 0, spent: int = 0) -> Row[Any]:
    """Count in a renter's totals; the renter as it is since."""
    return _totals.one(connection, of_id=renter_id, more_jobs=jobs_made, more_spent=spent)
