"""What renters' servers must be told, written down in the transaction in which it came about (section 5.9).

Each place is a row of its own: the renter's `webhook_url`, and every webhook that wants the event. The text is made
once, so that every try sends the same bytes. `deliveries` sends it.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.jobs import job_rows
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.faces.dc1.tables import deliveries, webhooks
from skerry.island.store.question import Question

JOB_COMPLETED, JOB_FAILED, BALANCE_LOW = "job.completed", "job.failed", "balance.low"
EVENTS = (JOB_COMPLETED, JOB_FAILED, BALANCE_LOW)
LOW_HALALA = 500
"""A balance that falls below this is low."""

PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"
"""How a job's own callback stands, as its row tells."""

_OF_STATUS = {"completed": JOB_COMPLETED, "failed": JOB_FAILED}
_of_renter = Question(select(webhooks).where(webhooks.c.renter_id == bindparam("renter")))


def job_ended(connection: Connection, job: Row[Any], renter: Row[Any] | None, now: int) -> None:
    """A job completed or failed; one that was cancelled is nobody's news.

    Args:
        job: its row since its end.
        renter: whose it is, where that is at hand.
        now: microseconds since 1970.
    """
    event = _OF_STATUS.get(job.status)
    if event is None or job.renter_id is None:
        return
    renter = renter or renter_rows.find(connection, job.renter_id)
    if renter is None:
        return
    hooks = _wanting(connection, renter.id, event)
    if not renter.webhook_url and not hooks:
        return
    body = wire.text(job_told(job, event, now))
    if renter.webhook_url:
        _add(connection, renter.id, event, body, now, job=job.id)
        job_rows.change(connection, job.id, now, webhook_status=PENDING)
    for hook in hooks:
        _add(connection, renter.id, event, body, now, job=job.id, webhook_id=hook.id)


def held(connection: Connection, account_id: str, amount: int, left: int, now: int) -> None:
    """A hold was taken from a wallet; its owner is told when that made the balance low.

    Args:
        amount: halala that were held.
        left: halala of the balance since.
        now: microseconds since 1970.
    """
    if not left < LOW_HALALA <= left + amount:
        return
    renter = renter_rows.of_account(connection, account_id)
    if renter is None:
        return
    told = {
        "event": BALANCE_LOW,
        "timestamp": wire.iso(now),
        "renter_id": renter.id,
        "balance_halala": left,
        "balance_sar": wire.sar(left),
        "threshold_halala": LOW_HALALA,
    }
    for hook in _wanting(connection, renter.id, BALANCE_LOW):
        _add(connection, renter.id, BALANCE_LOW, wire.text(told), now, webhook_id=hook.id)


def job_told(job: Row[Any], event: str, now: int) -> dict[str, Any]:
    """The body of a job's callback: the nested form that the service sends, and the documented flat one around it.

    Args:
        event: `job.completed` or `job.failed`.
        now: microseconds since 1970.
    """
    done = event == JOB_COMPLETED
    billing = {
        "actual_cost_halala": job.charged,
        "provider_earned_halala": job.provider_earned,
        "dc1_fee_halala": job.fee,
    }
    flat: dict[str, Any] = {"job_id": job.job_id, "job_type": job.job_type, "status": job.status}
    if done:
        flat |= {"actual_cost_halala": job.charged, "completed_at": wire.maybe_iso(job.completed_at)}
    else:
        refunded = int(job.quote) - int(job.charged or 0)
        flat |= {
            "error": job.error or "Job failed",
            "refunded_halala": refunded,
            "failed_at": wire.maybe_iso(job.completed_at),
        }
    return {
        "event": event,
        "timestamp": wire.iso(now),
        "job": {
            "id": job.id,
            "job_id": job.job_id,
            "renter_id": job.renter_id,
            "provider_id": job.provider_id,
            "status": job.status,
            "job_type": job.job_type,
            "submitted_at": wire.iso(job.submitted_at),
            "started_at": wire.maybe_iso(job.started_at),
            "completed_at": wire.maybe_iso(job.completed_at),
        },
        "billing": billing if done else None,
        **flat,
    }


def _wanting(connection: Connection, renter_id: int, event: str) -> list[Row[Any]]:
    """Registered webhooks that are told of such an event."""
    return [hook for hook in _of_renter.all(connection, renter=renter_id) if event in json.loads(hook.events)]


def _add(
    connection: Connection,
    renter_id: int,
    event: str,
    body: str,
    now: int,
    *,
    job: int | None = None,
    webhook_id: str | None = None,
) -> None:
    connection.execute(
        deliveries.insert().values(
            renter_id=renter_id,
            job=job,
            webhook_id=webhook_id,
            event=event,
            body=body,
            attempts=0,
            next_at=now,
            created_at=now,
            updated_at=now,
        )
    )
