"""Ways in which a job ends or begins anew other than by its provider's report, each in the caller's transaction.

Whoever ends a job has read it in the same transaction and seen that it goes on; the provider that becomes free gets
its next job there, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import claiming, events, job_rows, job_views
from skerry.island.faces.dc1.money import settling
from skerry.island.faces.dc1.money.settling import Shares

TIMED_OUT = "Job timed out — provider may be offline or model too large"
GONE = "The provider of this job has disappeared"
NOT_TAKEN = "No provider took this job in time"
OUTLIVED = "Job timed out: it ran longer than its duration_minutes; submit it again with more of them"


@dataclass(frozen=True, slots=True)
class Ended:
    """What an end came to.

    Args:
        job: its row since.
        before: its state before.
        refunded: halala that went back.
        promoted: the job that its provider gets next, if one waited.
    """

    job: Row[Any]
    before: str
    refunded: int
    promoted: Row[Any] | None


def cancel(connection: Connection, job: Row[Any], *, source: str, charge_serving: bool = False, now: int) -> Ended:
    """Cancel a job; all that it holds goes back.

    Args:
        source: `renter` or `admin`.
        charge_serving: whether a model that was served already is charged for its time.
        now: microseconds since 1970.

    Raises:
        Fault: 400 for one that has ended.
    """
    if job.status in job_rows.TERMINAL:
        raise Fault(400, f"Cannot cancel job with status: {job.status}")
    if charge_serving and job_views.is_serving(job):
        shares = settling.complete(
            connection, job, gpu_ms=gpu_ms(job, now), result=job.result, status="cancelled", source=source, now=now
        )
        return _ended(connection, job, shares.refund, now)
    back = settling.give_up(connection, job, "cancelled", None, event_type=events.CANCELLED, source=source, now=now)
    return _ended(connection, job, back, now)


def fail(
    connection: Connection,
    job: Row[Any],
    error: str,
    *,
    source: str,
    event_type: str = events.FAILED,
    blamed: bool = True,
    now: int,
) -> Ended:
    """Let a job fail that has not ended; all that it holds goes back. Its provider is `blamed` or not."""
    back = settling.give_up(
        connection,
        job,
        "failed",
        error,
        event_type=event_type,
        source=source,
        gpu_ms=gpu_ms(job, now) if job.started_at is not None else 0,
        result=job.result,
        blamed=blamed,
        now=now,
    )
    return _ended(connection, job, back, now)


def stop(
    connection: Connection, job: Row[Any], *, seconds: float | None = None, source: str, message: str = "", now: int
) -> tuple[Ended, Shares]:
    """End a job that has not ended as completed, and charge it for its time.

    Args:
        seconds: how long it worked, where somebody says so; never longer than it ran.
        message: about its end, for the life cycle.
    """
    ran = gpu_ms(job, now)
    worked = ran if seconds is None else min(ran, int(seconds * 1_000) * job.gpu_count)
    shares = settling.complete(
        connection, job, gpu_ms=max(0, worked), result=job.result, source=source, message=message, now=now
    )
    return _ended(connection, job, shares.refund, now), shares


def time_over(connection: Connection, job: Row[Any], *, now: int) -> Ended:
    """A job's time is over: what served a model has done so for as long as was paid for, all others have failed."""
    if job_views.is_serving(job):
        return stop(connection, job, source="system", message="The time that was paid for is over", now=now)[0]
    return fail(connection, job, TIMED_OUT, source="system", event_type=events.TIMED_OUT, now=now)


def outlived(connection: Connection, job: Row[Any], *, now: int) -> Ended:
    """A job has run for longer than was paid for."""
    return fail(connection, job, OUTLIVED, source="system", event_type=events.TIMED_OUT, now=now)


def not_taken(connection: Connection, job: Row[Any], *, blamed: bool, now: int) -> Ended:
    """Nobody has begun a job for so long that it is not waited for any more; its provider, if `blamed`, could have."""
    return fail(connection, job, NOT_TAKEN, source="system", event_type=events.TIMED_OUT, blamed=blamed, now=now)


def provider_gone(connection: Connection, job: Row[Any], *, now: int) -> Ended | None:
    """A provider does not come back to its job: another one may have it, as often as jobs are tried again.

    Returns:
        How it ended; None for a job that waits again.
    """
    if job.status in job_rows.WAITING and job.picked_up_at is None:
        job_rows.change(
            connection,
            job.id,
            now,
            status="queued",
            provider_id=None,
            timeout_at=now + claiming.WAIT_SECONDS * 1_000_000,
        )
        events.add(connection, job.id, events.REQUEUED, "queued", "system", GONE, now=now)
        return None
    if job.retry_count >= job_views.MAX_RETRIES:
        return fail(connection, job, GONE, source="system", now=now)
    claiming.release(
        connection,
        job,
        reason=GONE,
        source="system",
        now=now,
        provider_id=None,
        retry_count=job.retry_count + 1,
        last_error=GONE,
    )
    return None


def gpu_ms(job: Row[Any], now: int) -> int:
    """Milliseconds times GPUs since a job began; nothing for one that has not."""
    return int((job_views.elapsed_micros(job, now) or 0) // 1_000 * job.gpu_count)


def _ended(connection: Connection, job: Row[Any], refunded: int, now: int) -> Ended:
    promoted = claiming.promote(connection, job.provider_id, now=now)
    return Ended(job_rows.get(connection, job.id), str(job.status), refunded, promoted)
