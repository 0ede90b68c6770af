"""What runs cost: rates, holds, captures and their rows (section 5.3). Whole micros of a dollar throughout.

A hold is an authorization row and a hold of the ledger under the same name; both begin and end in one transaction.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from skerry.island.faces.dispersed.jobs.job_spec import PERSISTENT
from skerry.island.faces.dispersed.tables import authorizations, job_runs, transactions
from skerry.island.faces.dispersed.wire import new_uuid
from skerry.island.store import ledger
from skerry.island.store.prepared import Prepared, insertion
from skerry.money import Money

CURRENCY = "USD"
HOUR_MS = 3_600_000
HOUR = HOUR_MS * 1_000
_HOLD_STEP = 100
"""Holds are rounded up to 0.0001 USD."""

_AUTHORIZE = insertion(authorizations)
_TRANSACT = insertion(transactions)
_AUTHORIZED = Prepared(
    select(authorizations.c.status, authorizations.c.amount).where(authorizations.c.uuid == bindparam("of_uuid"))
)
_CLOSE = Prepared(
    authorizations.update()
    .where(authorizations.c.uuid == bindparam("of_uuid"))
    .values(status="CLOSED", closed_at=bindparam("now"), updated_at=bindparam("now"))
)


def charge(rate: int, milliseconds: int) -> int:
    """Price of a time, rounded half up to micros.

    Args:
        rate: micros per hour.
        milliseconds: negative counts as nothing.

    Example:
        >>> charge(690_000, 389_000)
        74558
    """
    return (2 * rate * max(0, milliseconds) + HOUR_MS) // (2 * HOUR_MS)


def hold_amount(rate: int, milliseconds: int) -> int:
    """What is held for a time ahead, rounded up to 0.0001 USD.

    Example:
        >>> hold_amount(690_000, 389_000)
        74600
    """
    return -(-rate * milliseconds // (HOUR_MS * _HOLD_STEP)) * _HOLD_STEP


def available(connection: Connection, account_id: str) -> int:
    """What an account may still spend: its balance without what is held."""
    return ledger.balance(connection, ledger.owner(account_id), CURRENCY)


def duration_ms(started_at: int | None, completed_at: int | None, now: int) -> int | None:
    """For how long a run has run; None before it began, never negative whatever clocks do.

    Args:
        started_at, completed_at, now: microseconds since 1970.
    """
    if started_at is None:
        return None
    return max(0, (now if completed_at is None else completed_at) - started_at) // 1_000


def authorize(
    connection: Connection, account_id: str, run_uuid: str, amount: int, *, expires_at: int, now: int
) -> tuple[str, bool]:
    """Hold an amount for a run if the account has it; an authorization that is refused is CLOSED at once.

    Args:
        amount: micros.
        expires_at, now: microseconds since 1970.

    Returns:
        The authorization's UUID, and whether it is approved.
    """
    uuid = new_uuid(now)
    approved = amount <= available(connection, account_id)
    if approved:
        money = Money(amount, CURRENCY)
        ledger.hold(connection, account_id, _name(uuid), money, memo=f"job run {run_uuid}", now=now)
    _AUTHORIZE(
        connection,
        uuid=uuid,
        account_id=account_id,
        job_run_uuid=run_uuid,
        amount=amount,
        approved=int(approved),
        status="OPEN" if approved else "CLOSED",
        status_reason=None if approved else "INSUFFICIENT_BALANCE",
        opened_at=now,
        expires_at=expires_at,
        closed_at=None if approved else now,
        created_at=now,
        updated_at=now,
    )
    return uuid, approved


def first_hold(
    connection: Connection,
    account_id: str,
    run_uuid: str,
    rate: int,
    run_limit_ms: int | None,
    *,
    start_by: int,
    now: int,
) -> tuple[str, bool]:
    """The hold of a run that is being made: its whole time for BATCH, an hour for PERSISTENT.

    Args:
        rate: micros per hour.
        run_limit_ms: the job's `max_timeout_run_ms`, None for PERSISTENT.
        start_by, now: microseconds since 1970.

    Returns:
        As `authorize`.
    """
    if run_limit_ms is None:
        amount, expires_at = hold_amount(rate, HOUR_MS), now + 2 * HOUR
    else:
        amount, expires_at = hold_amount(rate, run_limit_ms), start_by + run_limit_ms * 1_000 + HOUR
    return authorize(connection, account_id, run_uuid, amount, expires_at=expires_at, now=now)


def bill_hours(connection: Connection, run: Row[Any], until: int, *, now: int, ended: bool = False) -> bool:
    """Capture every full hour of a PERSISTENT run up to a moment, each followed by a new hold.

    Args:
        run: the row as it is in this transaction.
        until: microseconds since 1970.
        ended: the run ended at `until`; an hour that ends with it is left to `close`.

    Returns:
        False when a new hold was refused: what the run does from then on is not billed, and it must end.
    """
    billed, authorization = run.billed_ms, run.authorization_uuid
    whole = _is_open(connection, authorization)
    while whole and _due(run.started_at, billed, until, ended=ended):
        capture(connection, run, authorization, charge(run.hourly_rate, HOUR_MS), now=now)
        billed += HOUR_MS
        boundary = run.started_at + billed * 1_000
        amount = hold_amount(run.hourly_rate, HOUR_MS)
        authorization, whole = authorize(
            connection, run.account_id, run.uuid, amount, expires_at=boundary + 2 * HOUR, now=now
        )
    values = {"billed_ms": billed, "authorization_uuid": authorization}
    connection.execute(job_runs.update().where(job_runs.c.uuid == run.uuid).values(**values))
    return whole


def capture(connection: Connection, run: Row[Any], authorization_uuid: str, amount: int, *, now: int) -> int:
    """Settle a hold: at most what it holds becomes revenue of the run's node, the rest is released.

    Returns:
        What was captured; nothing when the authorization had been closed before.
    """
    row = _AUTHORIZED(connection, of_uuid=authorization_uuid).first()
    if row is None or row[0] != "OPEN":
        return 0
    held = int(row[1])
    taken = min(amount, held)
    memo = f"job run {run.uuid}"
    ledger.settle(
        connection,
        run.account_id,
        _name(authorization_uuid),
        Money(held, CURRENCY),
        Money(taken, CURRENCY),
        revenue=run.node_uuid,
        memo=memo,
        now=now,
    )
    _CLOSE(connection, of_uuid=authorization_uuid, now=now)
    if taken:
        _TRANSACT(
            connection,
            uuid=new_uuid(now),
            account_id=run.account_id,
            type="CAPTURE",
            amount=taken,
            job_run_uuid=run.uuid,
            authorization_uuid=authorization_uuid,
            memo=memo,
            created_at=now,
            updated_at=now,
        )
    return taken


def close(connection: Connection, run: Row[Any], task: str, ended_at: int, *, now: int) -> None:
    """Charge what a run that has ended still owes and release the rest of its hold; repeating it changes nothing.

    Args:
        run: its row as it is in this transaction.
        task: of its job.
        ended_at: microseconds since 1970.
    """
    if run.authorization_uuid is None:
        return
    if task == PERSISTENT and run.started_at is not None:
        bill_hours(connection, run, ended_at, now=now, ended=True)
        run = connection.execute(select(job_runs).where(job_runs.c.uuid == run.uuid)).one()
    spent = duration_ms(run.started_at, ended_at, now) or 0
    capture(connection, run, run.authorization_uuid, charge(run.hourly_rate, spent - run.billed_ms), now=now)


def captured(connection: Connection, run_uuid: str) -> int:
    """What has been captured for a run."""
    query = select(func.coalesce(func.sum(transactions.c.amount), 0)).where(
        transactions.c.job_run_uuid == run_uuid, transactions.c.type == "CAPTURE"
    )
    return int(connection.execute(query).scalar_one())


def _due(started_at: int, billed_ms: int, until: int, *, ended: bool) -> bool:
    boundary = started_at + billed_ms * 1_000 + HOUR
    return boundary < until if ended else boundary <= until


def _is_open(connection: Connection, uuid: str | None) -> bool:
    query = select(authorizations.c.status).where(authorizations.c.uuid == uuid)
    return bool(connection.execute(query).scalar() == "OPEN")


def _name(uuid: str) -> str:
    """What the ledger calls the hold of an authorization."""
    return f"dispersed:{uuid}"
