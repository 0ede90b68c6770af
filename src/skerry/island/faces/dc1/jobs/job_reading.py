"""Reading jobs: one by one, the renter's lists, and those that go on (sections 2.5, 3.4.1 and 3.5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ANYBODY, HISTORY, RENTER_JOBS
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import job_access, job_rows, job_views
from skerry.island.faces.dc1.jobs.templates import TEMPLATES
from skerry.island.faces.dc1.money import settling
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.tables import jobs, providers
from skerry.island.store.values import micros

_GOING = ("queued", "pending", "assigned", "pulling", "running", "paused")
_MOST_OFFSET = 2**31
_MOST_ACTIVE = 1_000
_DAY_ONLY = re.compile(r"\d{4}-\d\d-\d\d")
_DAY_MICROS = 86_400_000_000
# Lists tell nothing of what may have megabytes in each row.
_LISTED = tuple(column for column in jobs.c if column.name not in ("params", "task_spec", "result"))


class JobReading:
    """What is told of jobs.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Reads alone."""
        return [
            Route(method="GET", path="/api/jobs", handler=self.page, access=RENTER_JOBS),
            Route(method="GET", path="/api/jobs/active", handler=self.active, access=ANYBODY),
            Route(method="GET", path="/api/jobs/history", handler=self.history, access=HISTORY),
            Route(method="GET", path="/api/jobs/{job_id}", handler=self.describe, access=ANYBODY),
            Route(method="GET", path="/api/jobs/{job_id}/status", handler=self.status, access=ANYBODY),
        ]

    async def describe(self, call: Call, job_id: str) -> Answer:
        """All that is told of a job."""
        return Answer({"job": await self._engine.store.read(_describe, call, job_id)})

    async def status(self, call: Call, job_id: str) -> Answer:
        """How far a job is, in short."""
        return Answer(await self._engine.store.read(_status, call, job_id))

    async def page(self, call: Call) -> Answer:
        """The renter's jobs, the newest first, by offset."""
        return Answer(await self._engine.store.read(_page, call))

    async def history(self, call: Call) -> Answer:
        """The renter's jobs, the newest first, and what is left to spend."""
        return Answer(await self._engine.store.read(_history, call))

    async def active(self, call: Call) -> Answer:
        """Jobs that wait or go on: the caller's own; the operator's are all."""
        if call.caller.renter is None and call.caller.provider is None and not call.caller.admin:
            raise Fault(401, "Authentication required")
        return Answer({"jobs": await self._engine.store.read(_active, call)})


def view(connection: Connection, job: Row[Any], call: Call) -> dict[str, Any]:
    """A job's row with its place in the queue."""
    return job_views.row(job, root=call.root, position=job_rows.position(connection, job), now=call.now)


def _describe(connection: Connection, call: Call, job_id: str) -> dict[str, Any]:
    return view(connection, job_access.readable(connection, call.caller, job_id), call)


def _status(connection: Connection, call: Call, job_id: str) -> dict[str, Any]:
    job = job_access.readable(connection, call.caller, job_id)
    provider = None if job.provider_id is None else provider_rows.find(connection, job.provider_id)
    elapsed = job_views.elapsed_micros(job, call.now)
    return {
        "job_id": job.job_id,
        "status": job.status,
        "tokens_generated": job.completion_tokens or 0,
        "elapsed_seconds": None if elapsed is None else elapsed // 1_000_000,
        "estimated_cost_usd": job_views.cost_usd(job),
        "provider_online": provider is not None and provider_rows.is_live(provider, call.now),
    }


def _active(connection: Connection, call: Call) -> list[dict[str, Any]]:
    query = select(jobs).where(jobs.c.status.in_(_GOING)).order_by(jobs.c.id.desc()).limit(_MOST_ACTIVE)
    caller = call.caller
    if not caller.admin:
        mine = (
            jobs.c.renter_id == caller.renter.id
            if caller.renter is not None
            else jobs.c.provider_id == call.provider.id
        )
        query = query.where(mine)
    return [view(connection, job, call) for job in connection.execute(query).all()]


def _page(connection: Connection, call: Call) -> dict[str, Any]:
    limit, offset = call.whole("limit", 50, 1, 200), call.whole("offset", 0, 0, _MOST_OFFSET)
    conditions = [jobs.c.renter_id == call.renter.id, *chosen(call)]
    total = connection.execute(select(func.count()).select_from(jobs).where(*conditions)).scalar_one()
    found = connection.execute(_with_provider(*conditions).limit(limit).offset(offset)).all()
    return {"total": total, "limit": limit, "offset": offset, "jobs": [_item(job, call.now) for job in found]}


def _history(connection: Connection, call: Call) -> dict[str, Any]:
    limit, offset = call.whole("limit", 20, 1, 100), call.whole("offset", 0, 0, _MOST_OFFSET)
    conditions = [jobs.c.renter_id == call.renter.id, *chosen(call)]
    total = connection.execute(select(func.count()).select_from(jobs).where(*conditions)).scalar_one()
    found = connection.execute(_with_provider(*conditions).limit(limit).offset(offset)).all()
    balance = settling.balance(connection, call.renter.account_id)
    return {
        "balance_halala": balance,
        "balance_sar": wire.sar_text(balance),
        "total_jobs": len(found),
        "total": total,
        "limit": limit,
        "offset": offset,
        "jobs": [_history_item(job) for job in found],
    }


def chosen(call: Call) -> list[ColumnElement[bool]]:
    """What a list is narrowed down to by its query: states, a job type, and moments of submission.

    Raises:
        Fault: 400 for what is no moment.
    """
    found: list[ColumnElement[bool]] = []
    if states := [word for word in call.query.get("status", "").split(",") if word and word != "all"]:
        found.append(jobs.c.status.in_(states))
    if job_type := call.query.get("job_type"):
        found.append(jobs.c.job_type == job_type)
    for name in ("from", "from_date", "start_date", "since", "date_from"):
        if moment := call.query.get(name):
            found += [jobs.c.submitted_at >= _moment(name, moment)]
    for name in ("to", "to_date", "end_date", "until", "date_to"):
        if moment := call.query.get(name):
            # A day on its own is meant as a whole.
            whole_day = _DAY_MICROS if _DAY_ONLY.fullmatch(moment) else 1
            found += [jobs.c.submitted_at < _moment(name, moment) + whole_day]
    return found


def _moment(name: str, text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
        return micros(found if found.tzinfo is not None else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise Fault(400, f"{name} must be a date, such as 2026-03-22 or 2026-03-22T19:30:00Z") from None


def _with_provider(*conditions: ColumnElement[bool]) -> Any:
    shown = (*_LISTED, providers.c.name.label("provider_name"), providers.c.profile, providers.c.gpu_model)
    joined = jobs.outerjoin(providers, jobs.c.provider_id == providers.c.id)
    return select(*shown).select_from(joined).where(*conditions).order_by(jobs.c.id.desc())


def _gpu(job: Row[Any]) -> str | None:
    return None if job.gpu_model is None else provider_rows.model_of(job)


def _item(job: Row[Any], now: int) -> dict[str, Any]:
    template = TEMPLATES.get(job.template_id or "")
    elapsed = job_views.elapsed_micros(job, now)
    amount = job_views.charged(job)
    return {
        "id": job.id,
        "job_id": job.job_id,
        "job_type": job.job_type,
        "template_name": None if template is None else template.name,
        "gpu_model": _gpu(job),
        "status": job.status,
        "submitted_at": wire.iso(job.submitted_at),
        "started_at": wire.maybe_iso(job.started_at),
        "ended_at": wire.maybe_iso(job.completed_at),
        "duration_seconds": None if elapsed is None else elapsed // 1_000_000,
        "tokens_used": job_views.tokens(job),
        "cost_sar": wire.sar_text(int(job.quote) if amount is None else amount),
        "refunded": job.refunded_at is not None,
    }


def _history_item(job: Row[Any]) -> dict[str, Any]:
    amount = job_views.charged(job)
    return {
        "id": job.id,
        "job_id": job.job_id,
        "job_type": job.job_type,
        "status": job.status,
        "submitted_at": wire.iso(job.submitted_at),
        "started_at": wire.maybe_iso(job.started_at),
        "completed_at": wire.maybe_iso(job.completed_at),
        "progress_phase": job.progress_phase,
        "error": job.error,
        "actual_cost_halala": amount,
        "cost_halala": job.quote,
        "actual_duration_minutes": job_views.work_minutes(job),
        "duration_minutes": wire.number(job.duration_minutes),
        "refunded_at": wire.maybe_iso(job.refunded_at),
        "provider_name": job.provider_name,
        "provider_gpu": _gpu(job),
        "cost_sar": wire.sar_text(int(job.quote) if amount is None else amount),
        "refunded": job.refunded_at is not None,
    }
