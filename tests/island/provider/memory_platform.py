"""A platform in memory that keeps the network's rules, and complains when a provider does not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from skerry.island.clock import SystemClock
from skerry.island.provider.platform import PlatformRefused, PlatformUnavailable
from skerry.island.provider.records import PHASES, HostStatus, LogLine, Outcome, ProviderJob
from skerry.island.provider.task_specs import task_spec
from skerry.networks.dc1.signing import sign_task_spec

SECRET = "hmac-secret-for-tests"
MOST_RETRIES = 2


@dataclass
class Row:
    """A job as the platform has it."""

    job: ProviderJob
    status: str = "queued"
    phases: list[str] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)
    outcome: Outcome | None = None
    endpoint: str | None = None
    retries: int = 0
    reports: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def move(self, status: str) -> None:
        self.status = status
        self.moved.set()
        if status in ("completed", "failed", "cancelled"):
            self.done.set()


class MemoryPlatform:
    """One provider's side of a platform.

    Args:
        now: tells when a job is claimed, None where it does not say; the machine's clock by default.

    Attributes:
        down: while true, every call fails as when the network is gone.
        heartbeats: what it was told.
    """

    def __init__(self, now: Callable[[], datetime | None] | None = None) -> None:
        self.now = now or SystemClock().now
        self.rows: dict[str, Row] = {}
        self.heartbeats: list[HostStatus] = []
        self.down = False
        self._work = asyncio.Event()

    def submit(self, job_type: str, params: dict[str, Any] | None = None, **fields: Any) -> Row:
        number = len(self.rows) + 1
        given = fields.pop("given", None)
        raw = fields.pop("task_spec_raw", None)
        raw = task_spec(job_type, params or {}, given=given) if raw is None else raw
        values: dict[str, Any] = {
            "id": number,
            "job_id": f"job-1742671800000-{number:06d}",
            "job_type": job_type,
            "params": params or {},
            "task_spec_raw": raw,
            "task_spec_hmac": sign_task_spec(SECRET, raw),
            "attempt": 0,
            "duration_minutes": 5.0,
            "max_duration_seconds": 120,
            **fields,
        }
        row = self.rows[values["job_id"]] = Row(ProviderJob(**values))
        self._work.set()
        return row

    def cancel(self, row: Row) -> None:
        assert row.status not in ("completed", "failed"), "the network refuses to cancel what has ended"
        row.move("cancelled")

    def vanish(self, row: Row) -> None:
        """The provider was not heard of for too long: somebody else may have the job."""
        row.move("queued")

    async def heartbeat(self, status: HostStatus) -> None:
        self._up()
        self.heartbeats.append(status)

    async def claim(self) -> ProviderJob | None:
        self._up()
        for row in self.rows.values():
            if row.status == "queued":
                row.job = replace(row.job, attempt=row.job.attempt + 1, claimed_at=self.now())
                row.move("running")
                return row.job
        return None

    async def progress(self, job: ProviderJob, phase: str) -> None:
        row = self._row(job)
        assert phase in PHASES, f"the network does not know the phase {phase}"
        row.phases.append(phase)

    async def log(self, job: ProviderJob, lines: Sequence[LogLine]) -> None:
        row = self._row(job)
        assert 0 < len(lines) <= 500
        assert all(0 < len(line.message) <= 2000 for line in lines)
        row.lines.extend(lines)
        row.moved.set()

    async def endpoint_ready(self, job: ProviderJob, port: int) -> str:
        row = self._row(job)
        assert row.job.job_type == "vllm_serve"
        assert 1024 <= port <= 65535
        row.endpoint = f"http://127.0.0.1:{port}/v1"
        row.moved.set()
        return row.endpoint

    async def finish(self, job: ProviderJob, outcome: Outcome) -> None:
        row = self._row(job)
        row.reports += 1
        if row.status != "running":
            return
        row.outcome = outcome
        if outcome.transient and not outcome.success and row.retries < MOST_RETRIES:
            row.retries += 1
            row.move("queued")
            self._work.set()
            return
        row.move("completed" if outcome.success else "failed")

    async def wanted(self, job: ProviderJob) -> bool:
        return self._row(job).status == "running"

    async def going(self) -> list[ProviderJob]:
        self._up()
        return [row.job for row in self.rows.values() if row.status == "running"]

    def reported(self, job: ProviderJob) -> Outcome | None:
        return None

    async def let_go(self, job: ProviderJob) -> None:
        self._row(job)

    async def wait(self, seconds: float) -> None:
        # Not `wait_for`, which can lose a cancellation on Python 3.11.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._work.wait()
        self._work.clear()

    def _row(self, job: ProviderJob) -> Row:
        self._up()
        row = self.rows.get(job.job_id)
        if row is None or row.job.attempt != job.attempt:
            raise PlatformRefused("this job is not yours")
        return row

    def _up(self) -> None:
        if self.down:
            raise PlatformUnavailable("connection refused")
