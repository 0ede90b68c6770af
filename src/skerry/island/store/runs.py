"""Rows of runs and of the attempts that were lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from skerry.island.engine.records import RunRecord
from skerry.island.store.prepared import Prepared, insertion
from skerry.island.store.question import Question
from skerry.island.store.tables import attempts, runs
from skerry.island.store.values import decode_labels, encode, maybe_moment, maybe_money, micros, moment

_insert = insertion(
    runs,
    *("seq", "cancelling", "cause", "exit_code", "ended_at", "cpu_ns", "max_rss_bytes"),
    *("stdout_bytes", "stderr_bytes", "dropped_bytes", "cost"),
    defaults={
        "cancelling": 0,
        "cpu_ns": 0,
        "max_rss_bytes": 0,
        "stdout_bytes": 0,
        "stderr_bytes": 0,
        "dropped_bytes": 0,
    },
)
_OPEN = ("pending", "running")
_by_id = Question(select(runs).where(runs.c.id == bindparam("of_id")))
_end = Prepared(
    runs.update()
    .where(runs.c.id == bindparam("of_id"), runs.c.ended_at.is_(None))
    .values(
        **{
            name: bindparam(f"new_{name}")
            for name in (
                *("state", "cause", "exit_code", "started_at", "ended_at", "cpu_ns", "max_rss_bytes"),
                *("stdout_bytes", "stderr_bytes", "dropped_bytes", "cost"),
            )
        }
    )
)
_start = Prepared(
    runs.update()
    .where(runs.c.id == bindparam("of_id"), runs.c.ended_at.is_(None))
    .values(state="running", started_at=bindparam("at"))
)


def add(connection: Connection, record: RunRecord, request: bytes, currency: str) -> None:
    """Insert a run with what is needed to begin it again."""
    _insert(
        connection,
        id=record.id,
        account_id=record.account_id,
        sandbox_id=record.sandbox_id,
        session_id=record.session_id,
        command=record.command,
        request=request,
        background=int(record.background),
        state=record.state,
        attempts=record.attempts,
        labels=encode(record.labels),
        created_at=micros(record.created_at),
        started_at=None if record.started_at is None else micros(record.started_at),
        currency=currency,
    )


def get(connection: Connection, run_id: str) -> RunRecord | None:
    """A run by id."""
    row = _by_id.first(connection, of_id=run_id)
    return None if row is None else _record(row)


def of_account(
    connection: Connection, account_id: str, sandbox_id: str | None, *, limit: int, active: bool
) -> list[RunRecord]:
    """An account's runs, newest first."""
    query = select(runs).where(runs.c.account_id == account_id).order_by(runs.c.seq.desc()).limit(limit)
    if sandbox_id is not None:
        query = query.where(runs.c.sandbox_id == sandbox_id)
    if active:
        query = query.where(runs.c.state.in_(_OPEN))
    return [_record(row) for row in connection.execute(query)]


def unfinished(connection: Connection) -> list[tuple[RunRecord, bytes, bool]]:
    """Every run that has not ended, in the order accepted: record, request, and whether it is being cancelled."""
    query = select(runs).where(runs.c.state.in_(_OPEN)).order_by(runs.c.seq)
    return [(_record(row), bytes(row.request), bool(row.cancelling)) for row in connection.execute(query)]


def start(connection: Connection, run_id: str, now: int) -> None:
    """A queued run has begun."""
    _start(connection, of_id=run_id, at=now)


def mark_cancelling(connection: Connection, run_id: str) -> None:
    """Somebody wants the run ended; remembered, so that a restart ends it too."""
    connection.execute(runs.update().where(runs.c.id == run_id).values(cancelling=1))


def end(connection: Connection, record: RunRecord) -> bool:
    """Write the end of a run; False when it had ended before."""
    ended = record.ended_at
    assert ended is not None
    values: Mapping[str, Any] = {
        "new_state": record.state,
        "new_cause": record.cause,
        "new_exit_code": record.exit_code,
        "new_started_at": None if record.started_at is None else micros(record.started_at),
        "new_ended_at": micros(ended),
        "new_cpu_ns": record.cpu_ns,
        "new_max_rss_bytes": record.max_rss_bytes,
        "new_stdout_bytes": record.stdout_bytes,
        "new_stderr_bytes": record.stderr_bytes,
        "new_dropped_bytes": record.dropped_bytes,
        "new_cost": None if record.cost is None else str(record.cost.amount),
    }
    return _end(connection, of_id=record.id, **values).rowcount == 1


def add_attempt(connection: Connection, lost: RunRecord, *, cause: str, exit_code: int, now: int) -> None:
    """Keep how a run's present attempt was lost, and count the next one."""
    began = lost.started_at
    connection.execute(
        attempts.insert().values(
            run_id=lost.id,
            number=lost.attempts,
            cause=cause,
            exit_code=exit_code,
            started_at=None if began is None else micros(began),
            ended_at=now,
        )
    )
    connection.execute(
        runs.update().where(runs.c.id == lost.id).values(attempts=lost.attempts + 1, state="running", started_at=now)
    )


def expired(connection: Connection, before: int, limit: int) -> list[tuple[str, str, int]]:
    """(run, sandbox, attempts) of runs that ended before a moment."""
    query = select(runs.c.id, runs.c.sandbox_id, runs.c.attempts).where(runs.c.ended_at < before).limit(limit)
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def remove(connection: Connection, ids: Sequence[str]) -> None:
    """Delete runs."""
    connection.execute(runs.delete().where(runs.c.id.in_(ids)))


def _record(row: Row[Any]) -> RunRecord:
    return RunRecord(
        id=row.id,
        sandbox_id=row.sandbox_id,
        session_id=row.session_id,
        account_id=row.account_id,
        command=row.command,
        background=bool(row.background),
        state=row.state,
        cause=row.cause,
        exit_code=row.exit_code,
        attempts=row.attempts,
        created_at=moment(row.created_at),
        started_at=maybe_moment(row.started_at),
        ended_at=maybe_moment(row.ended_at),
        cpu_ns=row.cpu_ns,
        max_rss_bytes=row.max_rss_bytes,
        stdout_bytes=row.stdout_bytes,
        stderr_bytes=row.stderr_bytes,
        dropped_bytes=row.dropped_bytes,
        cost=maybe_money(row.cost, row.currency),
        labels=decode_labels(row.labels),
    )
