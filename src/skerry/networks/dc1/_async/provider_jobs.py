"""A provider's work: take jobs, tell how they go, report what came of them (section 3.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from skerry._kernel.model import NOT_GIVEN
from skerry._kernel.options import RequestOptions
from skerry.networks.dc1 import models, operations
from skerry.networks.dc1._async.resource import AsyncResource
from skerry.networks.dc1.inputs import DaemonEventInput, JobResultInput, LogLevel, LogLine, Phase, SettleInput
from skerry.networks.dc1.signing import TIMESTAMP_HEADER, WEBHOOK_HEADER, sign_provider_event


class AsyncProviderJobs(AsyncResource):
    """The jobs of the caller's own GPU."""

    async def claim(self, *, options: RequestOptions | None = None) -> models.Claim | None:
        """Take the next job, which runs from now on; None when there is none (section 3.7.2).

        Raises:
            AuthError: the key is not known.
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.CLAIM, options=options)

    async def claim_by_path(self, *, options: RequestOptions | None = None) -> models.Claim | None:
        """The same at the daemon's address, which holds the key: prefer `claim` (section 3.7.2).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.CLAIM_BY_PATH, self._key("provider"), options=options)

    async def assigned(self, *, options: RequestOptions | None = None) -> models.Claim | None:
        """Take the next job the older way, which leaves it `assigned`; None when there is none (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ASSIGNED, query={"key": self._key("provider")}, options=options)

    async def queue(self, *, options: RequestOptions | None = None) -> models.Claim | None:
        """Take the next job by the older way's other name; None when there is none (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ASSIGNED_QUEUE, query={"key": self._key("provider")}, options=options)

    async def get_jobs(
        self, status: str | None = None, *, options: RequestOptions | None = None
    ) -> list[models.ProviderJob]:
        """The provider's jobs, as the official SDK lists them (section 4.3).

        Deployed servers take a job when they are asked this, and list none.

        Args:
            status: only jobs in this state.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        key = self._key("provider")
        return await self._send(
            operations.HOST_JOBS, key, query={"status": status or None, "key": key}, options=options
        )

    async def verify_hmac(self, job_id: str, hmac: str, *, options: RequestOptions | None = None) -> models.HmacVerdict:
        """Whether the signature of a job's task spec is the right one, by the server's word (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.VERIFY_HMAC, query={"job_id": job_id, "hmac": hmac}, options=options)

    async def verify_hmac_local(self, hmac: str, *, options: RequestOptions | None = None) -> models.HmacVerdict:
        """Whether a signature is that of any of the provider's jobs; deployed servers never say so (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        query = {"key": self._key("provider"), "hmac": hmac}
        return await self._send(operations.VERIFY_HMAC_LOCAL, query=query, options=options)

    async def progress(
        self, job_id: str | int, phase: Phase | str, *, options: RequestOptions | None = None
    ) -> models.Progress:
        """Say how far a job is (section 3.7).

        Args:
            job_id: which job.
            phase: such as `generating`.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        body = {"api_key": self._key("provider"), "phase": phase}
        return await self._send(operations.PROGRESS, job_id, body=body, options=options)

    async def write_logs(
        self,
        job_id: str | int,
        lines: Sequence[LogLine | Mapping[str, Any]],
        *,
        attempt_number: int | None = None,
        options: RequestOptions | None = None,
    ) -> models.LinesWritten:
        """Add lines to a job's log, 500 at most (section 3.7).

        Args:
            job_id: which job.
            lines: each with `level` and `message`.
            attempt_number: of which try.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        attempt = NOT_GIVEN if attempt_number is None else attempt_number
        body = {"api_key": self._key("provider"), "lines": lines, "attempt_number": attempt}
        return await self._send(operations.WRITE_LOGS, job_id, body=body, options=options)

    async def write_log(
        self,
        job_id: str | int,
        line: str,
        *,
        level: LogLevel | str = "info",
        options: RequestOptions | None = None,
    ) -> models.LinesWritten:
        """Add a line to a job's log (section 3.7).

        Args:
            job_id: which job.
            line: the text.
            level: how serious.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        body = {"api_key": self._key("provider"), "line": line, "level": level}
        return await self._send(operations.WRITE_LOG, job_id, body=body, options=options)

    async def endpoint_ready(
        self,
        job_id: str | int,
        *,
        port: int,
        provider_ip: str | None = None,
        options: RequestOptions | None = None,
    ) -> models.EndpointReady:
        """Say that a `vllm_serve` job serves (section 3.7).

        Args:
            job_id: which job.
            port: on this host, 1024 to 65535.
            provider_ip: of this host; what the network knows of it unless given.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        address = NOT_GIVEN if provider_ip is None else provider_ip
        body = {"api_key": self._key("provider"), "port": port, "provider_ip": address}
        return await self._send(operations.ENDPOINT_READY, job_id, body=body, options=options)

    async def job_result(
        self, job_id: str | int, *, options: RequestOptions | None = None, **report: Unpack[JobResultInput]
    ) -> models.JobResult:
        """Report how a job went; a job that is settled stays as it is, so repeating does no harm (section 3.7.3).

        Args:
            job_id: which job.
            options: for this call.
            report: see `JobResultInput`.

        Raises:
            DC1NotFoundError: there is none such.
            DC1Error: the service refused or could not be reached.
        """
        body = {"api_key": self._key("provider"), "job_id": job_id, **report}
        return await self._send(operations.JOB_RESULT, body=body, options=options)

    async def result(
        self, job_id: str | int, *, options: RequestOptions | None = None, **report: Unpack[SettleInput]
    ) -> models.JobSettled:
        """Report how a job went, the older way; a passing error has it tried again (section 3.7).

        Args:
            job_id: which job.
            options: for this call.
            report: see `SettleInput`.

        Raises:
            DC1ConflictError: it is settled already.
            DC1Error: the service refused or could not be reached.
        """
        body = {"api_key": self._key("provider"), **report}
        return await self._send(operations.RESULT, job_id, body=body, options=options)

    async def fail(
        self,
        job_id: str | int,
        error: str,
        *,
        duration_seconds: float | None = None,
        options: RequestOptions | None = None,
    ) -> models.JobSettled:
        """Report that a job failed; its hold is refunded (section 3.7).

        Args:
            job_id: which job.
            error: why.
            duration_seconds: how long it ran.
            options: for this call.

        Raises:
            DC1ConflictError: it is settled already.
            DC1Error: the service refused or could not be reached.
        """
        seconds = NOT_GIVEN if duration_seconds is None else duration_seconds
        body = {"api_key": self._key("provider"), "error": error, "duration_seconds": seconds}
        return await self._send(operations.FAIL, job_id, body=body, options=options)

    async def job(self, job_id: str | int, *, options: RequestOptions | None = None) -> models.Job:
        """All that is stored about a job that was given to this provider (section 3.4.1).

        Raises:
            DC1NotFoundError: there is none such.
            DC1Error: anything else went wrong.
        """
        return await self._send(operations.HOST_JOB, job_id, options=options)

    async def dispatch_complete(self, job_id: str | int, *, options: RequestOptions | None = None) -> models.JobSettled:
        """End a job of the dispatch route well (section 3.5).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(
            operations.HOST_COMPLETE, job_id, body={"api_key": self._key("provider")}, options=options
        )

    async def dispatch_fail(
        self, job_id: str | int, *, reason: str | None = None, options: RequestOptions | None = None
    ) -> models.JobSettled:
        """End a job of the dispatch route as failed; the hold is released (section 3.5).

        Args:
            job_id: which job.
            reason: why.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        body = {"api_key": self._key("provider"), "reason": NOT_GIVEN if reason is None else reason}
        return await self._send(operations.HOST_FAIL, job_id, body=body, options=options)

    async def daemon_event(
        self, *, options: RequestOptions | None = None, **event: Unpack[DaemonEventInput]
    ) -> models.ProviderEvent:
        """Report what happened to the host (section 3.7).

        Args:
            options: for this call.
            event: see `DaemonEventInput`.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        body = {"api_key": self._key("provider"), **event}
        return await self._send(operations.DAEMON_EVENT, body=body, options=options)

    async def event(
        self, event: str, job_id: str | None = None, *, options: RequestOptions | None = None, **more: Any
    ) -> models.ProviderEvent:
        """Report what became of a job by a signed message (sections 2.4 and 3.7).

        Args:
            event: such as `job_started`, `job_completed`, `job_failed`.
            job_id: which job.
            options: for this call.
            more: further members, sent as they are.

        Raises:
            AuthError: the signature or the clock was not accepted.
            DC1Error: the service refused or could not be reached.
        """
        key, driver = self._key("provider"), self._channel.drivers["provider"]
        body = operations.json_body({"event": event, "job_id": NOT_GIVEN if job_id is None else job_id, **more})
        headers = (
            (TIMESTAMP_HEADER, str(driver.effects.unix_ms() // 1000)),
            (WEBHOOK_HEADER, sign_provider_event(key, body)),
        )
        return await self._send(operations.EVENT, body=body, headers=headers, options=options)
