"""What happened to a job, in its order (section 3.5, life cycle)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.jobs.changes import touch
from skerry.island.faces.dc1.tables import events
from skerry.island.store.prepared import Prepared

SUBMITTED = "job.submitted"
STATUS = "job.status.changed"
PHASE = "job.phase.changed"
ENDPOINT_READY = "job.endpoint.ready"
PAUSED, RESUMED = "job.paused", "job.resumed"
COMPLETED, FAILED, TIMED_OUT, CANCELLED = "job.completed", "job.failed", "job.timed_out", "job.cancelled"
RETRIED, RETRY_SCHEDULED, REQUEUED = "job.retried", "job.retry.scheduled", "job.requeued"
_GIVEN = [column for column in events.c if column.name != "sequence_no"]
_next = func.coalesce(func.max(events.c.sequence_no), 0) + 1
_add = Prepared(
    events.insert().from_select(
        [*(column.name for column in _GIVEN), "sequence_no"],
        select(*(bindparam(f"new_{column.name}", type_=column.type) for column in _GIVEN), _next).where(
            events.c.job == bindparam("number")
        ),
    )
)


def add(
    connection: Connection,
    job: int,
    event_type: str,
    status: str,
    source: str,
    message: str,
    *,
    now: int,
    payload: Mapping[str, Any] | None = None,
    error_category: str | None = None,
    error_code: str | None = None,
) -> None:
    """Note one thing, in the transaction that did it.

    Args:
        job: its number.
        status: that it has since.
        source: `renter`, `daemon`, `admin` or `system`.
        now: microseconds since 1970.
    """
    touch(connection, job)
    _add(
        connection,
        number=job,
        new_job=job,
        new_event_type=event_type,
        new_status=status,
        new_source=source,
        new_error_category=error_category,
        new_error_code=error_code,
        new_message=message,
        new_payload=None if payload is None else wire.text(payload),
        new_occurred_at=now,
    )


def since(connection: Connection, job: int, sequence_no: int, limit: int) -> tuple[list[Row[Any]], int]:
    """Events after a number, oldest first, and how many there are in all."""
    query = (
        select(events)
        .where(events.c.job == job, events.c.sequence_no > sequence_no)
        .order_by(events.c.sequence_no)
        .limit(limit)
    )
    total = connection.execute(select(func.count()).where(events.c.job == job)).scalar_one()
    return list(connection.execute(query)), int(total)


def view(event: Row[Any], job_id: str) -> dict[str, Any]:
    """An event as it is sent."""
    return {
        "schema_version": wire.SCHEMA_VERSION,
        "job_id": job_id,
        "sequence_no": event.sequence_no,
        "event_type": event.event_type,
        "status": event.status,
        "source": event.source,
        "error_category": event.error_category,
        "error_code": event.error_code,
        "message": event.message,
        "payload": None if event.payload is None else wire.decode(event.payload.encode()),
        "occurred_at": wire.iso(event.occurred_at),
        "occurred_at_ms": event.occurred_at // 1_000,
    }
