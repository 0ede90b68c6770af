"""The island as the platform of its own machine: straight onto the rows, by the rules that outside providers meet."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import claiming, job_rows, job_views, reporting
from skerry.island.faces.dc1.jobs.changes import OFFERS, Changes
from skerry.island.faces.dc1.jobs.reporting import Line, Report
from skerry.island.faces.dc1.providers import heartbeat_bodies, heartbeats, provider_polls
from skerry.island.faces.dc1.tables import jobs
from skerry.island.provider.heartbeat_body import heartbeat_body
from skerry.island.provider.platform import PlatformRefused, PlatformUnavailable
from skerry.island.provider.records import HostStatus, LogLine, Outcome, ProviderJob
from skerry.island.store.values import micros, moment

_HERE = "127.0.0.1"


class LocalPlatform:
    """Jobs of this island for the provider that its own machine is.

    Args:
        engine: open.
        changes: runs transactions over jobs, and tells of new ones.
        provider_id: of this machine.
    """

    def __init__(self, engine: Engine, changes: Changes, provider_id: int) -> None:
        self._engine = engine
        self._changes = changes
        self._provider_id = provider_id
        self._likely = True
        self._open = ExitStack()
        self._watch = self._open.enter_context(changes.watching(OFFERS))

    def close(self) -> None:
        """Be told of nothing more."""
        self._open.close()

    async def heartbeat(self, status: HostStatus) -> None:
        """Say how the machine is."""
        said = heartbeat_bodies.read(heartbeat_body(status), _HERE)
        async with _translated():
            await self._engine.store.run(heartbeats.record, self._provider_id, said, now=self._now())

    async def claim(self) -> ProviderJob | None:
        """Take the next job."""
        async with _translated():
            # Offers are mostly another provider's, or too many: those must not queue for a transaction in vain.
            # Where one was found just now, there mostly is another.
            if not self._likely and not await self._engine.store.read(claiming.waits, self._provider_id):
                return None
            row = await self._changes.run(provider_polls.claim_next, self._provider_id, now=self._now())
            self._likely = row is not None
        return None if row is None else job_of(row)

    async def progress(self, job: ProviderJob, phase: str) -> None:
        """Note how far a job is."""
        async with _translated():
            await self._changes.run(reporting.progress, self._provider_id, job.id, phase, now=self._now())

    async def log(self, job: ProviderJob, lines: Sequence[LogLine]) -> None:
        """Add lines to a job's log."""
        told = [Line(line.level, line.message) for line in lines]
        async with _translated():
            await self._changes.run(
                reporting.add_lines, self._provider_id, job.id, told, attempt=job.attempt, now=self._now()
            )

    async def endpoint_ready(self, job: ProviderJob, port: int) -> str:
        """Note that a serving job answers; the path at which the island passes requests on to it."""
        async with _translated():
            row = await self._changes.run(
                reporting.endpoint_ready, self._provider_id, job.id, port, None, now=self._now()
            )
        return job_views.endpoint_url(row, "") or ""

    async def finish(self, job: ProviderJob, outcome: Outcome) -> None:
        """End a job, or have it tried again where its failure will pass."""
        report = Report(
            success=outcome.success,
            result=outcome.result,
            error=outcome.error,
            gpu_ms=round(outcome.gpu_seconds * 1_000),
            exit_code=outcome.exit_code,
            attempt=job.attempt,
            restarts=outcome.restarts,
            last_error=outcome.error,
            transient=outcome.transient,
        )
        settle = reporting.job_outcome if outcome.transient and not outcome.success else reporting.job_result
        async with _translated():
            await self._changes.run(settle, self._provider_id, job.id, report, now=self._now())

    async def wanted(self, job: ProviderJob) -> bool:
        """Whether this try of a job is still this machine's and goes on."""
        async with _translated():
            row = await self._engine.store.read(job_rows.find, job.id)
        if row is None or row.provider_id != self._provider_id:
            return False
        return row.status in job_rows.CLAIMED and row.attempt == job.attempt

    async def going(self) -> list[ProviderJob]:
        """Jobs that this machine had claimed before the island was started."""
        async with _translated():
            rows = await self._engine.store.read(_claimed, self._provider_id)
        return [job_of(row) for row in rows]

    def reported(self, job: ProviderJob) -> Outcome | None:
        """None: what is reported is settled in the same transaction."""
        return None

    async def let_go(self, job: ProviderJob) -> None:
        """Nothing: only the rows know of jobs."""

    async def wait(self, seconds: float) -> None:
        """Return as soon as any job waits for a provider."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._watch.changed()

    def _now(self) -> int:
        return micros(self._engine.clock.now())


def job_of(row: Row[Any]) -> ProviderJob:
    """A job's row as the loop has it."""
    begun = row.assigned_at or row.started_at
    return ProviderJob(
        id=row.id,
        job_id=row.job_id,
        job_type=row.job_type,
        model=row.model,
        params=json.loads(row.params),
        task_spec_raw=row.task_spec,
        task_spec_hmac=row.task_spec_hmac,
        attempt=row.attempt,
        container_spec=json.loads(row.container_spec),
        gpu_requirements=json.loads(row.gpu_requirements) if row.gpu_requirements else None,
        duration_minutes=float(row.duration_minutes),
        max_duration_seconds=row.max_duration_seconds,
        claimed_at=None if begun is None else moment(begun),
    )


def _claimed(connection: Connection, provider_id: int) -> list[Row[Any]]:
    query = select(jobs).where(jobs.c.provider_id == provider_id, jobs.c.status.in_(job_rows.CLAIMED))
    return list(connection.execute(query.order_by(jobs.c.id)))


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """The island's refusals as the loop's."""
    try:
        yield
    except Fault as error:
        raise PlatformRefused(str(error)) from None
    except EngineError as error:
        raise PlatformUnavailable(error.message) from None
