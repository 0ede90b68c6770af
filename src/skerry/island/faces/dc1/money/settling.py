"""The money of a job: held when it is submitted, divided or given back exactly once when it ends (sections 5.2, 5.3).

One rule for every way in which a job ends. What the work is worth is its GPU time at the job's rate, rounded half up;
the renter pays that, never more than was held; three quarters of it, rounded down, are the provider's, the rest the
platform's. Failed and cancelled jobs cost nothing. Each movement is a transfer of the ledger whose id is the job's, so
that no repetition moves anything twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam

from skerry.island.engine.errors import PaymentRequired
from skerry.island.faces.dc1.jobs import events, job_rows
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.renters import callbacks
from skerry.island.faces.dc1.renters.renter_rows import CURRENCY
from skerry.island.faces.dc1.tables import executions
from skerry.island.store import ledger
from skerry.island.store.prepared import Prepared
from skerry.money import Money

PLATFORM = "dc1:platform"
_SHARE, _WHOLE = 3, 4
_MINUTE_MS = 60_000
_ENDED = ("ended_at", "exit_code", "gpu_ms", "cost")
_end_attempt = Prepared(
    executions.update()
    .where(
        executions.c.job == bindparam("of_job"),
        executions.c.attempt == bindparam("of_attempt"),
        executions.c.ended_at.is_(None),
    )
    .values({name: bindparam(f"new_{name}") for name in _ENDED})
)


@dataclass(frozen=True, slots=True)
class Shares:
    """How a hold is divided, in halala.

    Args:
        actual: what the work is worth.
        charged: what the renter pays.
        refund: what goes back.
        provider: the provider's share.
        fee: the platform's.
    """

    actual: int
    charged: int
    refund: int
    provider: int
    fee: int


def earnings(provider_id: int) -> str:
    """The ledger account of what a provider has earned and not withdrawn."""
    return f"dc1:provider:{provider_id}"


def divide(hold: int, gpu_ms: int, rate_per_minute: int, *, success: bool) -> Shares:
    """Divide a hold.

    Args:
        hold: halala.
        gpu_ms: milliseconds times GPUs; negative counts as nothing.
        rate_per_minute: halala.
        success: whether the job completed.

    Example:
        >>> divide(75, 42_500, 15, success=True)
        Shares(actual=11, charged=11, refund=64, provider=8, fee=3)
    """
    actual = (2 * max(0, gpu_ms) * rate_per_minute + _MINUTE_MS) // (2 * _MINUTE_MS)
    charged = min(hold, actual) if success else 0
    provider = charged * _SHARE // _WHOLE
    return Shares(actual, charged, hold - charged, provider, charged - provider)


def hold(connection: Connection, account_id: str, job_id: str, amount: int, *, now: int) -> None:
    """Reserve what a job can cost.

    Raises:
        PaymentRequired: the balance does not cover it.
    """
    ledger.hold(connection, account_id, _name(job_id), Money(amount, CURRENCY), memo=f"job {job_id}", now=now)
    callbacks.held(connection, account_id, amount, balance(connection, account_id), now)


def balance(connection: Connection, account_id: str) -> int:
    """Halala that an account may still spend: what is held is not in it."""
    return ledger.balance(connection, ledger.owner(account_id), CURRENCY)


def complete(
    connection: Connection,
    job: Row[Any],
    *,
    gpu_ms: int,
    result: str | None,
    exit_code: int | None = None,
    status: str = "completed",
    source: str = "daemon",
    message: str = "",
    also: Mapping[str, Any] | None = None,
    now: int,
) -> Shares:
    """End a job that did its work, and pay for it; the caller has seen in this transaction that it had not ended.

    Args:
        gpu_ms: milliseconds times GPUs.
        result: standard output.
        status: `completed`; `cancelled` for one that is charged all the same.
        source: who says so, for the life cycle.
        message: about its end; empty for the usual words.
        also: further columns of its row.
        now: microseconds since 1970.
    """
    shares = divide(int(job.quote), gpu_ms, int(job.rate_per_minute), success=True)
    if job.provider_id is None:
        shares = replace(shares, provider=0, fee=shares.charged)
    renter = None
    if job.account_id is not None:
        held, taken = Money(int(job.quote), CURRENCY), Money(shares.charged, CURRENCY)
        entries = {
            ledger.holding(job.account_id): -held,
            ledger.owner(job.account_id): held - taken,
            PLATFORM: Money(shares.fee, CURRENCY),
        }
        if job.provider_id is not None:
            entries[earnings(job.provider_id)] = Money(shares.provider, CURRENCY)
        ledger.transfer(connection, f"settle:{_name(job.job_id)}", entries, memo=f"job {job.job_id}", now=now)
        renter = job_rows.add_totals(connection, job.renter_id, spent=shares.charged)
    values: dict[str, Any] = {"charged": shares.charged, "provider_earned": shares.provider, "fee": shares.fee}
    if status == "cancelled" and shares.refund:
        values["refunded_at"] = now
    values |= also or {}
    _end(connection, job, renter, status, gpu_ms, exit_code, now, result=result, error=None, **values)
    if job.provider_id is not None:
        provider_rows.count(connection, job.provider_id, total_jobs=1, total_earned=shares.provider)
    event_type = events.COMPLETED if status == "completed" else events.CANCELLED
    events.add(connection, job.id, event_type, status, source, message or f"Job {status}", now=now)
    return shares


def give_up(
    connection: Connection,
    job: Row[Any],
    status: str,
    error: str | None,
    *,
    event_type: str,
    source: str,
    gpu_ms: int = 0,
    exit_code: int | None = None,
    result: str | None = None,
    also: Mapping[str, Any] | None = None,
    blamed: bool = True,
    now: int,
) -> int:
    """End a job that failed or was cancelled, and give back all that it holds; the caller has seen that it goes on.

    Args:
        status: `failed` or `cancelled`.
        error: why; None for the usual words.
        event_type: of `events`.
        source: who says so.
        also: further columns of its row.
        blamed: whether its provider, if it has one, could have done it.

    Returns:
        Halala given back.
    """
    quote = int(job.quote)
    if job.account_id is not None:
        held = Money(quote, CURRENCY)
        entries = {ledger.holding(job.account_id): -held, ledger.owner(job.account_id): held}
        ledger.transfer(connection, f"settle:{_name(job.job_id)}", entries, memo=f"refund {job.job_id}", now=now)
    values = {"refunded_at": now, "last_error": error, "charged": 0, "provider_earned": 0, "fee": 0, **(also or {})}
    _end(connection, job, None, status, gpu_ms, exit_code, now, result=result, error=error, **values)
    if status == "failed" and job.provider_id is not None and blamed:
        provider_rows.count(connection, job.provider_id, failed_jobs=1)
    message = error or ("Job was cancelled" if status == "cancelled" else "Job failed")
    events.add(connection, job.id, event_type, status, source, message, payload={"refunded_halala": quote}, now=now)
    return quote


def _end(
    connection: Connection,
    job: Row[Any],
    renter: Row[Any] | None,
    status: str,
    gpu_ms: int,
    exit_code: int | None,
    now: int,
    **values: Any,
) -> None:
    if job.status == "queued":
        # Until when it would have waited is nobody's time limit.
        values["timeout_at"] = None
    since = job_rows.change(
        connection, job.id, now, status=status, completed_at=now, gpu_ms=gpu_ms, exit_code=exit_code, **values
    )
    charged = values["charged"]
    of_attempt = {"of_job": job.id, "of_attempt": job.attempt}
    _end_attempt(
        connection, **of_attempt, new_ended_at=now, new_exit_code=exit_code, new_gpu_ms=gpu_ms, new_cost=charged
    )
    callbacks.job_ended(connection, since, renter, now)


def _name(job_id: str) -> str:
    """What the ledger calls the hold of a job."""
    return f"dc1:{job_id}"


__all__ = ["PaymentRequired", "Shares", "balance", "complete", "divide", "earnings", "give_up", "hold"]
