"""A renter's jobs by pages, one by one, and as a table for spreadsheets (sections 2.5 and 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ACCOUNT, BEARER
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import job_rows
from skerry.island.faces.dc1.money.spreadsheet import CSV, attachment, rows_of
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.tables import jobs, providers

_USUAL, _MOST = 20, 100
_MOST_PAGE = 1_000_000
_MOST_EXPORTED = 50_000
_COLUMNS = (
    "job_id",
    "job_type",
    "model",
    "status",
    "cost_sar",
    "cost_halala",
    "submitted_at",
    "started_at",
    "completed_at",
    "duration_minutes",
    "provider_gpu",
)


class RenterJobs:
    """Lists of jobs.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Two kinds of pages, one job, one table."""
        mine = "/api/renters/me/jobs"
        return [
            Route(method="GET", path="/api/renters/jobs", handler=self.pages, access=BEARER),
            Route(method="GET", path=mine, handler=self.mine, access=ACCOUNT),
            Route(method="GET", path=f"{mine}/export", handler=self.export, access=ACCOUNT),
            Route(method="GET", path=f"{mine}/{{job_id}}", handler=self.one, access=ACCOUNT),
        ]

    async def pages(self, call: Call) -> Answer:
        """A page of jobs, counted from 1, of one state if the query names one."""
        page, limit = call.whole("page", 1, 1, _MOST_PAGE), call.whole("limit", _USUAL, 1, _MOST)
        status = call.query.get("status")

        def work(connection: Connection) -> dict[str, Any]:
            where = [jobs.c.renter_id == call.renter.id, *([jobs.c.status == status] if status else [])]
            total = _count(connection, where)
            query = select(jobs).where(*where).order_by(jobs.c.id.desc()).limit(limit).offset((page - 1) * limit)
            found = [_brief(job) for job in connection.execute(query)]
            return {"jobs": found, "total": total, "page": page, "limit": limit, "pages": _pages(total, limit)}

        return Answer(await self._engine.store.read(work))

    async def mine(self, call: Call) -> Answer:
        """A page of jobs with GPU and cost, counted from 0."""
        page, limit = call.whole("page", 0, 0, _MOST_PAGE), call.whole("limit", _USUAL, 1, _MOST)

        def work(connection: Connection) -> dict[str, Any]:
            total = _count(connection, [jobs.c.renter_id == call.renter.id])
            found = _with_gpu(connection, call.renter.id, limit=limit, offset=page * limit)
            pages = {"page": page, "limit": limit, "total": total, "pages": _pages(total, limit)}
            return {"jobs": found, "pagination": pages}

        return Answer(await self._engine.store.read(work))

    async def one(self, call: Call, job_id: str) -> Answer:
        """One job with GPU and cost.

        Raises:
            Fault: 404, there is none of this name, or it is another renter's.
        """

        def work(connection: Connection) -> dict[str, Any]:
            job = job_rows.find(connection, job_id)
            if job is None or job.renter_id != call.renter.id:
                raise Fault(404, "Job not found")
            provider = None if job.provider_id is None else provider_rows.find(connection, job.provider_id)
            more = {"error": job.error, "refunded_at": wire.maybe_iso(job.refunded_at)}
            return {**_view(job, None if provider is None else provider_rows.model_of(provider)), **more}

        return Answer({"job": await self._engine.store.read(work)})

    async def export(self, call: Call) -> Answer:
        """All jobs as CSV, the newest first."""
        found = await self._engine.store.read(_with_gpu, call.renter.id, limit=_MOST_EXPORTED, offset=0)
        table = rows_of(_COLUMNS, ([job[name] for name in _COLUMNS] for job in found))
        return Answer(table, media=CSV, headers=attachment("dcp-jobs.csv"))


def cost(job: Row[Any]) -> int:
    """What a job was charged, or is expected to be."""
    return int(job.quote if job.charged is None else job.charged)


def _brief(job: Row[Any]) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "template_id": job.template_id,
        "provider_id": job.provider_id,
        "status": job.status,
        "started_at": wire.maybe_iso(job.started_at),
        "completed_at": wire.maybe_iso(job.completed_at),
        "cost_halala": cost(job),
        "output_tokens": job.completion_tokens or 0,
        "input_tokens": job.prompt_tokens,
    }


def _view(job: Row[Any], gpu: str | None) -> dict[str, Any]:
    return {
        "id": job.id,
        "job_id": job.job_id,
        "job_type": job.job_type,
        "model": job.model,
        "status": job.status,
        "cost_halala": cost(job),
        "submitted_at": wire.iso(job.submitted_at),
        "started_at": wire.maybe_iso(job.started_at),
        "completed_at": wire.maybe_iso(job.completed_at),
        "duration_minutes": wire.number(job.duration_minutes),
        "provider_gpu": gpu,
        "cost_sar": wire.sar_text(cost(job), 4),
    }


def _with_gpu(connection: Connection, renter_id: int, *, limit: int, offset: int) -> list[dict[str, Any]]:
    query = select(jobs).where(jobs.c.renter_id == renter_id).order_by(jobs.c.id.desc()).limit(limit).offset(offset)
    found = connection.execute(query).all()
    gpus = {row.id: provider_rows.model_of(row) for row in connection.execute(select(providers))}
    return [_view(job, gpus.get(job.provider_id)) for job in found]


def _count(connection: Connection, where: Sequence[Any]) -> int:
    return int(connection.execute(select(func.count()).select_from(jobs).where(*where)).scalar_one())


def _pages(total: int, limit: int) -> int:
    return -(-total // limit)
