"""A platform reached over its public provider API, as any GPU host's daemon reaches it (protocol section 3.7)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from skerry._kernel.options import RequestOptions
from skerry.errors import SkerryError
from skerry.island.clock import Clock
from skerry.island.provider.heartbeat_body import heartbeat_body
from skerry.island.provider.journal import Journal
from skerry.island.provider.platform import PlatformRefused, PlatformUnavailable
from skerry.island.provider.records import HostStatus, LogLine, Outcome, ProviderJob, failure
from skerry.networks.dc1 import AsyncDC1, errors
from skerry.networks.dc1.codes import is_passing
from skerry.networks.dc1.models import Claim, Job

REPORT_SECONDS = 120.0
"""How long a result may take on its way (section 5.7)."""

# A job that waits again was taken from us; one whose state is not known is not.
_OURS = frozenset({"running", "assigned", "pulling", "paused", "unknown"})
_MOST_ERROR = 4_000

log = logging.getLogger("skerry.provider")


class RemotePlatform:
    """Jobs of a platform elsewhere.

    Args:
        client: with the provider's key.
        journal: what must survive a crash.
        clock: the only source of time.
        provider_ip: address by which renters reach this machine's servers; what the platform knows when None.
    """

    def __init__(self, client: AsyncDC1, journal: Journal, clock: Clock, *, provider_ip: str | None = None) -> None:
        self._client = client
        self._host = client.provider
        self._journal = journal
        self._clock = clock
        self._provider_ip = provider_ip
        self._lost_answer = False

    async def heartbeat(self, status: HostStatus) -> None:
        """Say how the machine is, as the network's daemon does; signed where the client has the secret."""
        report = heartbeat_body(status)
        if self._provider_ip is not None:
            report["provider_ip"] = self._provider_ip
        async with _translated():
            await self._host.daemon_heartbeat(**report)

    async def claim(self) -> ProviderJob | None:
        """Take the next job, or one that an earlier claim took without our hearing of it."""
        if self._lost_answer:
            found = await self._orphan()
            self._lost_answer = False
            if found is not None:
                return found
        try:
            async with _translated():
                claim = await self._host.claim()
        except PlatformUnavailable:
            # It may have given us a job all the same.
            self._lost_answer = True
            raise
        if claim is None or not claim.job_id:
            return None
        job = job_of_claim(claim, self._clock)
        await self._write_down(job)
        return job

    async def progress(self, job: ProviderJob, phase: str) -> None:
        """Say how far a job is."""
        async with _translated():
            await self._host.progress(job.job_id, phase)

    async def log(self, job: ProviderJob, lines: Sequence[LogLine]) -> None:
        """Add lines to a job's log."""
        told = [{"level": line.level, "message": line.message} for line in lines]
        async with _translated():
            await self._host.write_logs(job.job_id, told, attempt_number=job.attempt)

    async def endpoint_ready(self, job: ProviderJob, port: int) -> str:
        """Say that a serving job answers; where renters reach it."""
        async with _translated():
            ready = await self._host.endpoint_ready(job.job_id, port=port, provider_ip=self._provider_ip)
        return ready.endpoint_url or f"http://{self._provider_ip or socket.gethostname()}:{port}/v1"

    async def finish(self, job: ProviderJob, outcome: Outcome) -> None:
        """Report how a job went: always in the way in which it was reported first."""
        outcome = await asyncio.to_thread(self._journal.decided, job, outcome)
        try:
            async with _translated():
                try:
                    await self._report(job, outcome)
                except errors.DC1PayloadTooLargeError:
                    await self._report(job, failure("The job's result is larger than the platform takes"))
        except PlatformRefused:
            self._journal.settled(job)
            raise
        self._journal.settled(job)

    async def wanted(self, job: ProviderJob) -> bool:
        """Whether the platform still has a job as running here."""
        async with _translated(keys_pass=True):
            row = await self._host.job(job.job_id)
        return row.status in _OURS

    async def going(self) -> list[ProviderJob]:
        """Jobs of the journal, and one of which only the platform knows."""
        orphan = await self._orphan()
        found = self._journal.going()
        return found if orphan is None or orphan in found else [*found, orphan]

    def reported(self, job: ProviderJob) -> Outcome | None:
        """What was, or is about to be, reported of a job."""
        return self._journal.outcome(job)

    async def let_go(self, job: ProviderJob) -> None:
        """Forget a job."""
        self._journal.drop(job)

    async def wait(self, seconds: float) -> None:
        """Nobody calls us: wait."""
        await self._clock.sleep(seconds)

    async def _report(self, job: ProviderJob, outcome: Outcome) -> None:
        options = RequestOptions(timeout=REPORT_SECONDS)
        error = None if outcome.error is None else outcome.error[:_MOST_ERROR]
        if outcome.transient and not outcome.success:
            # Only this route has a job tried again; a platform that has none is told that it failed.
            with contextlib.suppress(errors.DC1NotFoundError, errors.DC1UnsupportedError):
                await self._host.result(
                    job.job_id,
                    error=error or "The provider hands this job back",
                    transient=True,
                    duration_seconds=outcome.gpu_seconds,
                    gpu_seconds=outcome.gpu_seconds,
                    options=options,
                )
                return
        report: dict[str, Any] = {
            "success": outcome.success,
            "result": outcome.result,
            "gpu_seconds_used": outcome.gpu_seconds,
            "attempt_number": job.attempt,
            "restart_count": outcome.restarts,
            "transient": False,
        }
        if error is not None:
            report |= {"error": error, "last_error": error}
        if outcome.exit_code is not None:
            report["exit_code"] = outcome.exit_code
        await self._host.job_result(job.job_id, options=options, **report)

    async def _orphan(self) -> ProviderJob | None:
        """A job that the platform has as running here and that we do not know: a claim whose answer was lost."""
        async with _translated():
            active = (await self._host.me()).active_job
        job_id = active.get("job_id") if isinstance(active, dict) else active
        if not isinstance(job_id, str) or not job_id or self._journal.knows(job_id):
            return None
        try:
            async with _translated():
                row = await self._host.job(job_id)
        except PlatformRefused:
            return None
        if row.status not in _OURS - {"unknown", "paused"}:
            return None
        job = job_of_row(row, self._clock)
        log.info("job %s was given to this provider, and is taken up", job.job_id)
        await self._write_down(job)
        return job

    async def _write_down(self, job: ProviderJob) -> None:
        try:
            await asyncio.to_thread(self._journal.claimed, job)
        except OSError as error:
            # It is ours all the same, and found again as one whose answer was lost.
            self._lost_answer = True
            raise PlatformUnavailable(f"a claimed job cannot be written down: {error}") from None


def job_of_claim(claim: Claim, clock: Clock) -> ProviderJob:
    """A claim as the loop has it; whatever is missing or of the wrong kind is the network's default."""
    return ProviderJob(
        id=claim.id if isinstance(claim.id, int) else 0,
        job_id=claim.job_id,
        job_type=claim.job_type,
        model=claim.model,
        params=claim.params if isinstance(claim.params, dict) else None,
        task_spec_raw=claim.signed_text or "",
        task_spec_hmac=claim.task_spec_hmac,
        attempt=claim.attempt_number if isinstance(claim.attempt_number, int) else 1,
        container_spec=_object(claim.container_spec),
        gpu_requirements=_object(claim.gpu_requirements) or None,
        duration_minutes=_positive(claim.duration_minutes, 0.0),
        max_duration_seconds=int(_positive(claim.max_duration_seconds, 900.0)),
        claimed_at=clock.now(),
    )


def job_of_row(row: Job, clock: Clock) -> ProviderJob:
    """A job's whole row as the loop has it; its time is counted from now, since clocks differ."""
    extra, spec = row.extra, row.task_spec
    raw = extra.get("task_spec_raw", spec if isinstance(spec, str) else None)
    if not isinstance(raw, str):
        raw = "" if spec is None else json.dumps(spec, ensure_ascii=False, separators=(",", ":"))
    params = extra.get("params")
    attempt = extra.get("attempt_number", extra.get("attempt"))
    return ProviderJob(
        id=row.number if isinstance(row.number, int) else 0,
        job_id=row.id,
        job_type=row.job_type or "",
        model=row.model,
        params=params if isinstance(params, dict) else None,
        task_spec_raw=raw,
        task_spec_hmac=row.task_spec_hmac,
        attempt=attempt if isinstance(attempt, int) and attempt > 0 else 1,
        container_spec=_object(row.container_spec),
        gpu_requirements=_object(row.gpu_requirements) or None,
        duration_minutes=_positive(row.duration_minutes, 0.0),
        max_duration_seconds=int(_positive(row.max_duration_seconds, 900.0)),
        claimed_at=clock.now(),
    )


@asynccontextmanager
async def _translated(*, keys_pass: bool = False) -> AsyncIterator[None]:
    """The client's errors as the loop's.

    Args:
        keys_pass: a key that is not taken says nothing about the job that was asked about.
    """
    try:
        yield
    except SkerryError as error:
        if is_passing(error) or (keys_pass and isinstance(error, errors.AuthError)):
            raise PlatformUnavailable(str(error), retry_after=error.retry_after) from None
        raise PlatformRefused(str(error)) from None


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _positive(value: Any, default: float) -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e7
    return float(value) if usable else default
