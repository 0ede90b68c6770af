"""What time alone brings about: jobs without a node, runs that take too long, hours to be paid, nodes gone silent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from skerry.island.faces.dispersed.jobs import billing
from skerry.island.faces.dispersed.jobs.job_rows import RUN_COLUMNS
from skerry.island.faces.dispersed.jobs.lifecycle import LIVE_RUNS, NO_CREDIT
from skerry.island.faces.dispersed.jobs.progress import Progress
from skerry.island.faces.dispersed.nodes import rewards
from skerry.island.faces.dispersed.tables import job_runs, jobs, nodes
from skerry.island.store.prepared import Prepared

NODE_LOST = "node lost"
ISLAND_STOPPED = "the island was stopped"
_BEGUN = ("ASSIGNED", "PREPARING")
_ENDING = ("FAILING", "CANCELLING")


def meet(connection: Connection, progress: Progress, now: int) -> None:
    """Do everything that is due.

    Args:
        progress: how things move on.
        now: microseconds since 1970.
    """
    for job in connection.execute(select(jobs).where(_unassigned(now))).all():
        progress.no_node(connection, job, now)
    for node in connection.execute(select(nodes).where(_silent(now))).all():
        _lose(connection, progress, node, now)
    for run in _runs(connection, job_runs.c.status.in_(_BEGUN), job_runs.c.start_by <= now):
        why = f"The start took longer than {(run.start_by - run.created_at) // 1_000} ms"
        why += f": {run.status_reason}" if run.status_reason else ""
        progress.fail_soon(connection, run.uuid, why, now)
    for run in _runs(connection, job_runs.c.status == "RUNNING", job_runs.c.run_by <= now):
        progress.fail_soon(connection, run.uuid, too_long(run), now)
    for run in _runs(connection, _unpaid(now)):
        if not billing.bill_hours(connection, run, now, now=now):
            progress.cancel_soon(connection, run.uuid, NO_CREDIT, now)
    for run in _runs(connection, _unconfirmed(now)):
        progress.end(connection, run.uuid, "FAILED", now=now, ended_at=run.updated_at)
    rewards.finalize(connection, now)


def move_moments(connection: Connection, skew: int) -> None:
    """Let the moments of living runs of this machine go with a wall clock that has jumped.

    The clock was set, or the machine slept and its programs with it: neither is time in which they ran, nor may it end
    them. Runs elsewhere do not sleep with us.

    Args:
        skew: microseconds by which the wall clock went further than time did.
    """
    local = job_runs.c.engine_run_id.is_not(None) & job_runs.c.status.in_(LIVE_RUNS)
    moved = {name: job_runs.c[name] + skew for name in ("start_by", "started_at", "run_by")}
    connection.execute(job_runs.update().where(local).values(**moved))


def next_moment(connection: Connection) -> int | None:
    """When `meet` will have something to do next, in microseconds since 1970; jobs without a node not counted.

    Those are as many as wait, so whoever keeps them in order tells their next deadline, see `Waiting.deadline`.
    """
    found = [query(connection).scalar() for query in _MOMENTS] + [rewards.next_step(connection)]
    return min((moment for moment in found if moment is not None), default=None)


def too_long(run: Row[Any]) -> str:
    """Why a run whose time is over has failed."""
    return f"Ran longer than {(run.run_by - run.started_at) // 1_000} ms"


def _lose(connection: Connection, progress: Progress, node: Row[Any], now: int) -> None:
    """A node has not been heard of for a minute: its runs ended, as far as anybody knows, with its last word."""
    for run in _runs(connection, job_runs.c.node_uuid == node.uuid, job_runs.c.status.in_(LIVE_RUNS)):
        progress.end(connection, run.uuid, "FAILED", reason=NODE_LOST, now=now, ended_at=node.last_seen_at)


def _runs(connection: Connection, *conditions: ColumnElement[bool]) -> list[Row[Any]]:
    return list(connection.execute(select(*RUN_COLUMNS).where(*conditions).order_by(job_runs.c.created_at)))


def _unassigned(now: int) -> ColumnElement[bool]:
    return and_(jobs.c.status == "PENDING", jobs.c.assign_by_ms <= now // 1_000)


def _hour_end() -> ColumnElement[int]:
    return job_runs.c.started_at + job_runs.c.billed_ms * 1_000 + billing.HOUR


def _unpaid(now: int) -> ColumnElement[bool]:
    """PERSISTENT runs whose hour is over; a BATCH run has a moment by which it ends instead."""
    return and_(job_runs.c.status == "RUNNING", job_runs.c.run_by.is_(None), _hour_end() <= now)


def _among(statuses: Sequence[str]) -> ColumnElement[bool]:
    # Prepared statements know no lists.
    return or_(*(job_runs.c.status == status for status in statuses))


def _is_remote() -> ColumnElement[bool]:
    return job_runs.c.engine_run_id.is_(None)


def _busy_remote() -> ColumnElement[bool]:
    working = select(job_runs.c.node_uuid).where(_among(LIVE_RUNS), _is_remote())
    return and_(nodes.c.node_id.is_(None), nodes.c.uuid.in_(working))


def _silent(now: int) -> ColumnElement[bool]:
    return and_(_busy_remote(), nodes.c.last_seen_at <= now - rewards.SILENCE)


def _unconfirmed(now: int) -> ColumnElement[bool]:
    """Ends that an outside node was asked for and has not confirmed for a minute, though it lives."""
    ending = job_runs.c.status.in_(_ENDING)
    return and_(ending, _is_remote(), job_runs.c.updated_at <= now - rewards.SILENCE)


_MOMENTS = tuple(
    Prepared(query)
    for query in (
        select(func.min(job_runs.c.start_by)).where(_among(_BEGUN)),
        select(func.min(job_runs.c.run_by)).where(job_runs.c.status == "RUNNING"),
        select(func.min(_hour_end())).where(job_runs.c.status == "RUNNING", job_runs.c.run_by.is_(None)),
        select(func.min(nodes.c.last_seen_at) + rewards.SILENCE).where(_busy_remote()),
        select(func.min(job_runs.c.updated_at) + rewards.SILENCE).where(_among(_ENDING), _is_remote()),
    )
)
