"""Rows of jobs and runs: found, and turned into what the pure rules work with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, func, select

from skerry.island.faces.dispersed.jobs.lifecycle import LIVE_JOBS, LIVE_RUNS, Attempt, Course
from skerry.island.faces.dispersed.jobs.placement import GB, Need
from skerry.island.faces.dispersed.tables import job_runs, jobs, profiles
from skerry.island.ground.texts import is_uuid
from skerry.island.store.prepared import Prepared

RUN_COLUMNS = tuple(column for column in job_runs.c if column.name != "logs")
"""Everything of a run but its logs, which may be a megabyte."""

# Built once: building them costs more than what they find.
_JOB = select(jobs).where(jobs.c.uuid == bindparam("of_uuid"))
_RUN = select(*RUN_COLUMNS).where(job_runs.c.uuid == bindparam("of_uuid"))
_OLDEST_FIRST = select(*RUN_COLUMNS).order_by(job_runs.c.created_at, job_runs.c.uuid)
_SLOTS = (
    select(job_runs.c.slot, func.max(job_runs.c.attempt).label("last"), func.count().label("runs"))
    .where(job_runs.c.job_uuid == bindparam("of_uuid"))
    .group_by(job_runs.c.slot)
    .subquery()
)
_LATEST: Select[Any] = (
    select(*RUN_COLUMNS, _SLOTS.c.runs)
    .join(_SLOTS, and_(job_runs.c.slot == _SLOTS.c.slot, job_runs.c.attempt == _SLOTS.c.last))
    .where(job_runs.c.job_uuid == bindparam("of_uuid"))
    .order_by(job_runs.c.created_at, job_runs.c.uuid)
)
_LIVE = _OLDEST_FIRST.where(job_runs.c.status.in_(LIVE_RUNS))
_LIVE_THERE = _LIVE.where(job_runs.c.node_uuid == bindparam("of_uuid"))
_ATTENDED: Select[Any] = select(job_runs.c.uuid, job_runs.c.status, job_runs.c.engine_run_id).where(
    job_runs.c.status.in_(LIVE_RUNS)
)
_ACCOUNT = Prepared(select(profiles.c.uuid).where(profiles.c.account_id == bindparam("of_account")))


def find_job(connection: Connection, uuid: str) -> Row[Any] | None:
    """A job by its UUID; None also for what is no UUID."""
    if not is_uuid(uuid):
        return None
    return connection.execute(_JOB, {"of_uuid": uuid.lower()}).first()


def find_run(connection: Connection, uuid: str) -> Row[Any] | None:
    """A run by its UUID, without logs; None also for what is no UUID."""
    if not is_uuid(uuid):
        return None
    return connection.execute(_RUN, {"of_uuid": uuid.lower()}).first()


def latest_runs(connection: Connection, job_uuid: str) -> Sequence[Row[Any]]:
    """The last run of each of a job's slots, oldest first, without logs; `runs` is how many its slot has had.

    Only a slot's last run can be living, and earlier ones may be more than anybody should read.
    """
    return connection.execute(_LATEST, {"of_uuid": job_uuid}).all()


def live_runs(connection: Connection, node_uuid: str | None = None) -> Sequence[Row[Any]]:
    """Every run that has not ended, oldest first, without logs; those of one node if one is named."""
    if node_uuid is None:
        return connection.execute(_LIVE).all()
    return connection.execute(_LIVE_THERE, {"of_uuid": node_uuid}).all()


def attended_runs(connection: Connection) -> Sequence[Row[Any]]:
    """Of every run that has not ended who it is, how it stands and what carries it."""
    return connection.execute(_ATTENDED).all()


def any_live(connection: Connection) -> bool:
    """Whether any job has not ended."""
    return connection.execute(select(jobs.c.uuid).where(jobs.c.status.in_(LIVE_JOBS)).limit(1)).first() is not None


def account_uuid(connection: Connection, account_id: str) -> str | None:
    """The network's word for an account of the engine; None before it was seen here."""
    found: str | None = _ACCOUNT(connection, of_account=account_id).scalar()
    return found


def course_of(job: Row[Any], runs: Sequence[Row[Any]]) -> Course:
    """A job's past, as the rules of its life see it.

    Args:
        job: its row.
        runs: see `latest_runs`.
    """
    return Course(
        status=job.status,
        slots=job.max_node_count,
        retries=job.max_retry_count,
        waits=job.retries,
        attempts=tuple(
            Attempt(
                slot=run.slot,
                status=run.status,
                reason=run.status_reason,
                ended_at=run.completed_at,
                before=run.runs - 1,
            )
            for run in runs
        ),
    )


def need_of(job: Row[Any], usual_memory: int) -> Need:
    """What one run of a job asks of a node.

    Args:
        job: its row.
        usual_memory: bytes for a job that does not say.
    """
    return Need(
        cores=max(1, job.cpu_count),
        memory_bytes=job.min_ram_gb * GB or usual_memory,
        disk_bytes=job.min_storage_gb * GB,
        gpu_count=job.gpu_count,
        min_vram_gb=job.min_vram_gb,
        gpu_name=job.gpu_name,
        gpu_registry_uuid=job.gpu_registry_uuid,
        region_codes=tuple(json.loads(job.region_codes)),
        any_cpu=not job.cpu_count,
        any_memory=not job.min_ram_gb,
    )
