"""Jobs as the operator sees them (section 3.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, or_, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ADMIN
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import ending, events, job_access, job_reading, job_views, telemetry
from skerry.island.faces.dc1.jobs.changes import Changes
from skerry.island.faces.dc1.jobs.job_making import JobMaker, again, anywhere
from skerry.island.faces.dc1.limits import ADMIN as ADMIN_LIMIT
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.faces.dc1.tables import jobs, providers, renters
from skerry.island.ground.texts import digits
from skerry.island.provider.task_specs import BENCHMARK, compact

_MOST_PAGES = 1_000_000
_MOST_EVENTS = 1_000
_ACTIVE = ("pending", "assigned", "pulling", "running", "paused")


class AdminJobs:
    """Every job, and what the operator may do with one.

    Args:
        engine: open.
        changes: runs transactions over jobs.
        maker: makes jobs.
    """

    def __init__(self, engine: Engine, changes: Changes, maker: JobMaker) -> None:
        self._engine = engine
        self._changes = changes
        self._maker = maker

    def routes(self) -> Sequence[Route]:
        """Five calls."""
        job, limits = "/api/admin/jobs/{job_id}", (ADMIN_LIMIT,)
        return [
            Route(method="GET", path="/api/admin/jobs", handler=self.page, access=ADMIN, limits=limits),
            Route(method="GET", path=job, handler=self.describe, access=ADMIN, limits=limits),
            Route(method="POST", path=f"{job}/cancel", handler=self.cancel, access=ADMIN, limits=limits),
            Route(method="POST", path=f"{job}/requeue", handler=self.requeue, access=ADMIN, limits=limits),
            Route(method="POST", path="/api/jobs/test", handler=self.test, access=ADMIN, limits=limits),
        ]

    async def page(self, call: Call) -> Answer:
        """A page of jobs, the newest first, and numbers over all."""
        return Answer(await self._engine.store.read(_page, call))

    async def describe(self, call: Call, job_id: str) -> Answer:
        """All about one job."""
        return Answer(await self._engine.store.read(_describe, call, job_id))

    async def cancel(self, call: Call, job_id: str) -> Answer:
        """Cancel a job that has not ended."""
        return Answer(await self._changes.run(_cancel, call, job_id))

    async def requeue(self, call: Call, job_id: str) -> Answer:
        """A failed job once more, as a new job of the same renter; the failed one stays what it is."""
        return Answer(await self._changes.run(self._requeue, call, job_id))

    async def test(self, call: Call) -> Answer:
        """Try a provider out with a job that costs nothing."""
        given = call.json.get("provider_id") if isinstance(call.json, dict) else None
        return Answer(await self._changes.run(self._test, call, given))

    def _requeue(self, connection: Connection, call: Call, job_id: str) -> dict[str, Any]:
        job = job_access.known(connection, job_id)
        if job.status != "failed":
            raise Fault(400, "Only failed jobs can be re-queued", current_status=job.status)
        if job.renter_id is None:
            made = self._maker.test(connection, _provider(connection, job.provider_id), job.task_spec, now=call.now)
        else:
            renter = renter_rows.find(connection, job.renter_id)
            if renter is None or renter.status != "active":
                raise Fault(409, "The renter of this job is not active")
            wanted = anywhere(again(job))
            made = self._maker.make(
                connection, renter, wanted, text=job.task_spec, retried_from=job.id, now=call.now
            ).job
        told = {"retried_from_job_id": job.id, "retried_from": job.job_id}
        message = f"Job re-queued from {job.job_id}"
        events.add(connection, made.id, events.REQUEUED, made.status, "admin", message, payload=told, now=call.now)
        return {
            "success": True,
            "job_id": made.job_id,
            "previous_status": "failed",
            "new_status": made.status,
            "requeued_from_job_id": job.job_id,
            "held_halala": made.quote,
        }

    def _test(self, connection: Connection, call: Call, given: Any) -> dict[str, Any]:
        if given is None:
            raise Fault(400, "provider_id required")
        provider = _provider(connection, given)
        job = self._maker.test(connection, provider, compact(BENCHMARK), now=call.now)
        message = "Test job submitted by the operator"
        events.add(connection, job.id, events.SUBMITTED, job.status, "admin", message, now=call.now)
        return {
            "success": True,
            "job": {
                "id": job.id,
                "job_id": job.job_id,
                "provider_id": provider.id,
                "status": job.status,
                "task_spec": dict(BENCHMARK),
            },
            "message": "Test job created. Daemon will pick it up on next poll.",
        }


def _provider(connection: Connection, given: Any) -> Row[Any]:
    number = given if isinstance(given, int) and not isinstance(given, bool) else None
    if isinstance(given, str):
        number = digits(given, 9)
    found = None if number is None or not 0 < number < 2**31 else provider_rows.find(connection, number)
    if found is None:
        raise Fault(404, "Provider not found")
    return found


def _cancel(connection: Connection, call: Call, job_id: str) -> dict[str, Any]:
    job = job_access.known(connection, job_id)
    ended = ending.cancel(connection, job, source="admin", now=call.now)
    return {
        "success": True,
        "job_id": job.job_id,
        "previous_status": ended.before,
        "new_status": "cancelled",
        "refunded_halala": ended.refunded,
    }


def _page(connection: Connection, call: Call) -> dict[str, Any]:
    page, limit = call.whole("page", 1, 1, _MOST_PAGES), call.whole("limit", 50, 1, 200)
    conditions = [*job_reading.chosen(call), *_search(call.query.get("search", ""))]
    total = connection.execute(_joined(func.count()).where(*conditions)).scalar_one()
    query = (
        _joined(jobs, providers.c.name.label("provider_name"), providers.c.gpu_model, renters.c.name.label("renter"))
        .where(*conditions)
        .order_by(jobs.c.id.desc())
        .limit(limit)
        .offset((page - 1) * limit)
    )
    return {
        "stats": _stats(connection),
        "jobs": [_item(job, call.now) for job in connection.execute(query)],
        "pagination": {"page": page, "limit": limit, "total": total, "pages": -(-total // limit)},
    }


def _joined(*columns: Any) -> Any:
    with_provider = jobs.outerjoin(providers, jobs.c.provider_id == providers.c.id)
    return select(*columns).select_from(with_provider.outerjoin(renters, jobs.c.renter_id == renters.c.id))


def _search(words: str) -> list[ColumnElement[bool]]:
    if not words.strip():
        return []
    wanted = words.strip()
    columns = (jobs.c.job_id, jobs.c.job_type, jobs.c.model, providers.c.name, renters.c.name, renters.c.email)
    return [or_(*(column.icontains(wanted, autoescape=True) for column in columns))]


def _stats(connection: Connection) -> dict[str, Any]:
    counted = dict.fromkeys(("total", "completed", "failed", "active"), 0)
    for status, count in connection.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status)).all():
        counted["total"] += count
        if status in counted:
            counted[status] += count
        if status in _ACTIVE:
            counted["active"] += count
    revenue = connection.execute(select(func.sum(jobs.c.charged))).scalar()
    return {**counted, "total_revenue_halala": int(revenue or 0)}


def _item(job: Row[Any], now: int) -> dict[str, Any]:
    row = job_views.row(job, root="", now=now)
    shown = (
        "id",
        "job_id",
        "provider_id",
        "renter_id",
        "status",
        "job_type",
        "model",
        "cost_halala",
        "actual_cost_halala",
        "duration_minutes",
        "duration_seconds",
        "prompt_tokens",
        "completion_tokens",
        "submitted_at",
        "started_at",
        "completed_at",
        "created_at",
    )
    names = {"provider_name": job.provider_name, "gpu_model": job.gpu_model, "renter_name": job.renter}
    return {**{name: row[name] for name in shown}, **names}


def _describe(connection: Connection, call: Call, job_id: str) -> dict[str, Any]:
    job = job_access.known(connection, job_id)
    provider = None if job.provider_id is None else provider_rows.find(connection, job.provider_id)
    renter = None if job.renter_id is None else renter_rows.find(connection, job.renter_id)
    found, _ = events.since(connection, job.id, 0, _MOST_EVENTS)
    tries = telemetry.attempts(connection, job.id)
    return {
        "job": {
            **job_reading.view(connection, job, call),
            "provider_name": None if provider is None else provider.name,
            "gpu_model": None if provider is None else provider.gpu_model,
            "renter_name": None if renter is None else renter.name,
            "bundle_id": job.bundle_id,
            "exit_code": job.exit_code,
        },
        "executions": [{"provider_id": one.provider_id, **telemetry.attempt_view(one)} for one in tries],
        "events": [events.view(event, job.job_id) for event in found],
        "timestamp": wire.iso(call.now),
    }
