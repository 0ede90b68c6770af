"""What a job writes and what happens to it, as lists (section 3.5); `streams` tells the same as it happens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ANYBODY
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.jobs import events, job_access, job_views
from skerry.island.faces.dc1.tables import executions, logs

_MOST = 2**31 - 1
_USUAL_LIMIT, _MOST_LINES = 200, 1_000


class Telemetry:
    """A job's log, life cycle and attempts.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Four reads."""
        job = "/api/jobs/{job_id}"
        return [
            Route(method="GET", path=f"{job}/logs", handler=self.logs, access=ANYBODY),
            Route(method="GET", path=f"{job}/lifecycle", handler=self.lifecycle, access=ANYBODY),
            Route(method="GET", path=f"{job}/executions", handler=self.executions, access=ANYBODY),
            Route(method="GET", path=f"{job}/history", handler=self.history, access=ANYBODY),
        ]

    async def logs(self, call: Call, job_id: str) -> Answer:
        """Lines after `since`, oldest first; those of one `attempt` if it is given."""
        return Answer(await self._engine.store.read(_logs, call, job_id))

    async def lifecycle(self, call: Call, job_id: str) -> Answer:
        """Events after `since_sequence`, oldest first."""
        return Answer(await self._engine.store.read(_lifecycle, call, job_id))

    async def executions(self, call: Call, job_id: str) -> Answer:
        """Each try of the job on a provider."""
        return Answer(await self._engine.store.read(_executions, call, job_id))

    async def history(self, call: Call, job_id: str) -> Answer:
        """The job in short, and each try with its log."""
        return Answer(await self._engine.store.read(_history, call, job_id))


def lines_after(
    connection: Connection, job: int, since: int, limit: int, attempt: int | None = None
) -> tuple[list[Row[Any]], int]:
    """Lines of a job's log after a number, oldest first, and how many there are in all."""
    conditions = [logs.c.job == job, *([logs.c.attempt == attempt] if attempt is not None else [])]
    query = select(logs).where(*conditions, logs.c.line_no > since).order_by(logs.c.line_no).limit(limit)
    total = connection.execute(select(func.count()).select_from(logs).where(*conditions)).scalar_one()
    return list(connection.execute(query)), int(total)


def attempts(connection: Connection, job: int) -> list[Row[Any]]:
    """Each try of a job, the first one first."""
    query = select(executions).where(executions.c.job == job).order_by(executions.c.attempt)
    return list(connection.execute(query))


def _logs(connection: Connection, call: Call, job_id: str) -> dict[str, Any]:
    job = job_access.readable(connection, call.caller, job_id)
    since = call.whole("since", 0, 0, _MOST)
    limit = call.whole("limit", _USUAL_LIMIT, 1, _MOST_LINES)
    attempt = call.whole("attempt", 0, 0, _MOST) or None
    # One more than is told, which says whether there is more.
    found, total = lines_after(connection, job.id, since, limit + 1, attempt)
    shown = [
        {
            "line_no": line.line_no,
            "level": line.level,
            "message": line.message,
            "logged_at": wire.iso(line.logged_at),
            "logged_at_ms": line.logged_at // 1_000,
        }
        for line in found[:limit]
    ]
    return {**_head(job), "logs": shown, "total_lines": total, "has_more": len(found) > limit}


def _lifecycle(connection: Connection, call: Call, job_id: str) -> dict[str, Any]:
    job = job_access.readable(connection, call.caller, job_id)
    since = call.whole("since_sequence", 0, 0, _MOST)
    limit = call.whole("limit", _USUAL_LIMIT, 1, _MOST_LINES)
    found, total = events.since(connection, job.id, since, limit + 1)
    shown = [events.view(event, job.job_id) for event in found[:limit]]
    return {**_head(job), "events": shown, "total_events": total, "has_more": len(found) > limit}


def _executions(connection: Connection, call: Call, job_id: str) -> dict[str, Any]:
    job = job_access.readable(connection, call.caller, job_id)
    return {
        "job_id": job.job_id,
        "status": job.status,
        "cost_halala": job.quote,
        "actual_cost_halala": job_views.charged(job),
        "retry_count": job.retry_count,
        "executions": [attempt_view(row) for row in attempts(connection, job.id)],
    }


def _history(connection: Connection, call: Call, job_id: str) -> dict[str, Any]:
    job = job_access.readable(connection, call.caller, job_id)
    query = select(logs.c.attempt).where(logs.c.job == job.id).distinct()
    written = {row.attempt for row in connection.execute(query)}
    shown = (
        "id",
        "job_id",
        "renter_id",
        "provider_id",
        "status",
        "submitted_at",
        "started_at",
        "completed_at",
        "cost_halala",
        "actual_cost_halala",
        "actual_duration_minutes",
        "job_type",
        "model",
    )
    row = job_views.row(job, root=call.root, now=call.now)
    tries = [
        {
            "id": one.id,
            **attempt_view(one),
            "log_path": f"logs/{job.job_id}/{one.attempt}.log",
            "log_available": one.attempt in written,
        }
        for one in attempts(connection, job.id)
    ]
    return {"job": {name: row[name] for name in shown}, "executions": tries}


def _head(job: Row[Any]) -> dict[str, Any]:
    return {"schema_version": wire.SCHEMA_VERSION, "job_id": job.job_id, "status": job.status}


def attempt_view(row: Row[Any]) -> dict[str, Any]:
    """A try of a job as it is sent."""
    return {
        "attempt_number": row.attempt,
        "started_at": wire.iso(row.started_at),
        "ended_at": wire.maybe_iso(row.ended_at),
        "exit_code": row.exit_code,
        "gpu_seconds_used": wire.number(str(row.gpu_ms / 1_000)),
        "cost_halala": row.cost,
    }
