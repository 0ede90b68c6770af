"""Which job a provider gets next, and what becomes of the job then (sections 3.7.2 and 5.4)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    bindparam,
    literal_column,
    or_,
    select,
)

from skerry.island.faces.dc1.jobs import events, job_rows
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.tables import executions, jobs
from skerry.island.store.prepared import Prepared, insertion
from skerry.island.store.question import Question, among

SERVING = "vllm_serve"
"""The job type that serves a model until its time is over."""

USUAL_SECONDS = 600
"""`max_duration_seconds` of a job that has none."""

WAIT_SECONDS = 1_800
"""How long a job is queued before nobody waits for it any more (section 5.4)."""

DISPATCH_WAIT_SECONDS = 600
"""The same for one that was dispatched."""


_MAY_BE: tuple[ColumnElement[bool], ...] = (
    among(jobs.c.status, job_rows.WAITING),
    jobs.c.picked_up_at.is_(None),
    or_(jobs.c.provider_id == bindparam("provider", type_=Integer), jobs.c.provider_id.is_(None)),
)
_waits = Prepared(select(jobs.c.id).where(*_MAY_BE).limit(literal_column("1")))
_fitting: Select[Any] = (
    select(jobs.c.id, jobs.c.status, jobs.c.provider_id, jobs.c.compute_type, jobs.c.gpu_requirements)
    .where(
        *_MAY_BE,
        jobs.c.vram_required_mb <= bindparam("vram_mib", type_=BigInteger),
        jobs.c.gpu_count <= bindparam("gpu_count", type_=Integer),
    )
    .order_by(jobs.c.rank, jobs.c.turn, jobs.c.status == "queued", jobs.c.id)
)
# Most often one of the first will do, however many wait.
_AT_FIRST = 8
_first, _every = Question(_fitting.limit(literal_column(str(_AT_FIRST)))), Question(_fitting)
_queued = Question(
    select(jobs)
    .where(jobs.c.status == "queued", jobs.c.provider_id == bindparam("provider", type_=Integer))
    .order_by(jobs.c.rank, jobs.c.turn, jobs.c.id)
    .limit(literal_column("1"))
)
_begin = insertion(executions, "id", "ended_at", "exit_code", "gpu_ms", "cost", defaults={"gpu_ms": 0})


def waits(connection: Connection, provider_id: int) -> bool:
    """Whether any job waits that may be the provider's; whether it fits is not looked at: asking shall cost little."""
    return _waits(connection, provider=provider_id).first() is not None


def candidates(connection: Connection, provider: Row[Any]) -> Iterator[Row[Any]]:
    """Jobs that the provider could begin now, the next one first: what tells whether it could, not the whole rows."""
    kinds = provider_rows.supported(provider)
    name = provider_rows.model_of(provider)
    asked = {"provider": provider.id, "vram_mib": provider.vram_mib, "gpu_count": provider.gpu_count}
    seen = 0
    for question in (_first, _every):
        found = question.all(connection, **asked)
        for job in found[seen:]:
            if job.compute_type in kinds and fits_gpu(job, name):
                yield job
        seen = len(found)
        if seen < _AT_FIRST:
            return


def fits_gpu(job: Row[Any], gpu_model: str) -> bool:
    """Whether a GPU is of the type that a job demands, if it demands one."""
    wanted = (json.loads(job.gpu_requirements) if job.gpu_requirements else {}).get("gpu_type")
    return not wanted or str(wanted) in "".join(character for character in gpu_model.upper() if character.isalnum())


def claim(connection: Connection, provider: Row[Any], *, now: int) -> Row[Any] | None:
    """Give the provider its next job, which runs from this moment on; None when there is none.

    Args:
        provider: its row as it is in this transaction.
        now: microseconds since 1970.
    """
    if not provider_rows.may_work(provider, now):
        return None
    for job in candidates(connection, provider):
        return begin(connection, job_rows.get(connection, job.id), provider.id, now=now)
    return None


def begin(connection: Connection, job: Row[Any], provider_id: int, *, status: str = "running", now: int) -> Row[Any]:
    """A waiting job is a provider's from now on, as its next attempt.

    Args:
        status: `running`, or `assigned` for the older way of polling: it starts with its first progress then.
    """
    attempt = int(job.attempt) + 1
    taken = job_rows.change(
        connection,
        job.id,
        now,
        provider_id=provider_id,
        status=status,
        attempt=attempt,
        assigned_at=now,
        picked_up_at=now,
        started_at=now if status == "running" else None,
        timeout_at=now + seconds(job) * 1_000_000,
        error=None,
    )
    _begin(connection, job=job.id, attempt=attempt, provider_id=provider_id, started_at=now)
    return taken


def seconds(job: Row[Any]) -> int:
    """How long an attempt of a job may take."""
    return longest(job.job_type, float(job.duration_minutes), job.max_duration_seconds)


def longest(job_type: str, duration_minutes: float, max_duration_seconds: int | None) -> int:
    """How long an attempt may take: what serves a model does so for as long as was paid for (section 5.4)."""
    if job_type == SERVING:
        return max(1, math.ceil(duration_minutes * 60))
    return int(max_duration_seconds or USUAL_SECONDS)


def promote(connection: Connection, provider_id: int | None, *, now: int) -> Row[Any] | None:
    """A provider may have room: its next queued job becomes claimable then; that job, if there is one."""
    job = None if provider_id is None else _queued.first(connection, provider=provider_id)
    if provider_id is None or job is None:
        return None
    provider = provider_rows.find(connection, provider_id)
    if provider is None or provider_rows.working(connection, provider_id) >= provider.slots:
        return None
    job = job_rows.change(connection, job.id, now, status="pending", timeout_at=now + seconds(job) * 1_000_000)
    told = "Job promoted from the queue"
    events.add(connection, job.id, events.STATUS, "pending", "system", told, now=now)
    return job


def release(connection: Connection, job: Row[Any], *, reason: str, source: str, now: int, **values: Any) -> Row[Any]:
    """Let go of a claimed job: it waits again for whichever provider fits, with what it holds; the job since."""
    connection.execute(
        executions.update()
        .where(executions.c.job == job.id, executions.c.attempt == job.attempt, executions.c.ended_at.is_(None))
        .values(ended_at=now)
    )
    since = job_rows.change(
        connection,
        job.id,
        now,
        status="queued",
        picked_up_at=None,
        assigned_at=None,
        started_at=None,
        timeout_at=now + WAIT_SECONDS * 1_000_000,
        progress_phase=None,
        endpoint_url=None,
        serve_port=None,
        retry_reason=reason,
        **values,
    )
    events.add(connection, job.id, events.REQUEUED, "queued", source, reason, now=now)
    return since
