"""Watching jobs: logs, events and attempts, as lists and as streams (section 3.5)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from skerry._kernel.model import parse_json
from skerry._kernel.options import RequestOptions
from skerry._kernel.sse import Event
from skerry.networks.dc1 import models, operations
from skerry.networks.dc1._async.resource import AsyncResource
from skerry.networks.dc1.answers import from_text
from skerry.networks.dc1.errors import DC1ConnectionError
from skerry.networks.dc1.models import JobEvent, JobLog
from skerry.networks.dc1.operations import Route
from skerry.networks.dc1.polling import SHORT_INTERVAL, backoff

_RECONNECTS = 5


class AsyncJobTelemetry(AsyncResource):
    """What can be seen of jobs."""

    async def logs(
        self,
        job_id: str | int,
        *,
        since: int | None = None,
        limit: int | None = None,
        attempt: int | None = None,
        options: RequestOptions | None = None,
    ) -> models.JobLogs:
        """A page of a job's log (section 3.5).

        Args:
            job_id: which job.
            since: number of the last line that is known already.
            limit: lines at most, 200 unless given, no more than 1000.
            attempt: of which try, the last one unless given.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        query = {"since": since, "limit": limit, "attempt": attempt}
        return await self._send(operations.LOGS, job_id, query=query, options=options)

    async def get_logs(
        self,
        job_id: str | int,
        since: int | None = None,
        limit: int = 200,
        *,
        options: RequestOptions | None = None,
    ) -> list[JobLog]:
        """Lines of a job's log, as the Python SDK has it (section 4.2).

        Args:
            job_id: which job.
            since: number of the last line that is known already.
            limit: lines at most.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        # The default is the server's own, and is not sent.
        page = await self.logs(job_id, since=since, limit=None if limit == 200 else limit, options=options)
        return page.logs

    async def stream_logs(
        self, job_id: str | int, *, since: int | None = None, options: RequestOptions | None = None
    ) -> AsyncGenerator[JobLog]:
        """The lines of a job's log as they are written, until the job has ended (section 3.5).

        A connection that breaks is opened again after the last line that came.

        Args:
            job_id: which job.
            since: number of the last line that is known already.
            options: for each connection; a deadline ends the stream.

        Raises:
            DC1Error: the service refused, or could not be reached again.
        """
        last, failed = since, 0
        while True:
            events = self._events(operations.LOG_STREAM, job_id, query={"since": last}, options=options)
            try:
                async with aclosing(events):
                    async for event in events:
                        data = _data(event)
                        if data.get("type") == "end":
                            return
                        line = from_text(event.data, JobLog)
                        if not data or (last is not None and line.line_no and line.line_no <= last):
                            continue
                        failed, last = 0, line.line_no or last
                        yield line
                raise DC1ConnectionError("Connection error: the log ended before its job did", outcome="unknown")
            except DC1ConnectionError as error:
                failed += 1
                if failed > _RECONNECTS:
                    raise
                driver = self._channel.drivers["renter"]
                delay = backoff(failed, SHORT_INTERVAL / 4, error.retry_after, driver.effects.random)
                await driver.pause(delay, options.deadline if options else None, error)

    async def stream(self, job_id: str | int, *, options: RequestOptions | None = None) -> AsyncGenerator[JobEvent]:
        """What becomes of a job, as it happens, until it has ended: `job_queued` ... `job_completed` (section 3.5).

        Args:
            job_id: which job.
            options: for this call; a deadline ends the stream.

        Raises:
            DC1Error: the service refused, or the connection broke.
        """
        events = self._job_events(operations.EVENT_STREAM, job_id, None, options)
        async with aclosing(events):
            async for event in events:
                yield event

    async def lifecycle(
        self,
        job_id: str | int,
        *,
        since_sequence: int | None = None,
        limit: int | None = None,
        options: RequestOptions | None = None,
    ) -> models.Lifecycle:
        """What became of a job so far (section 3.5).

        Args:
            job_id: which job.
            since_sequence: number of the last event that is known already.
            limit: events at most, 200 unless given, no more than 1000.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        query = {"since_sequence": since_sequence, "limit": limit}
        return await self._send(operations.LIFECYCLE, job_id, query=query, options=options)

    async def stream_lifecycle(
        self, job_id: str | int, *, since_sequence: int | None = None, options: RequestOptions | None = None
    ) -> AsyncGenerator[JobEvent]:
        """The events of a job's life as they happen, until it has ended (section 3.5).

        Args:
            job_id: which job.
            since_sequence: number of the last event that is known already.
            options: for this call; a deadline ends the stream.

        Raises:
            DC1Error: the service refused, or the connection broke.
        """
        events = self._job_events(operations.LIFECYCLE_STREAM, job_id, {"since_sequence": since_sequence}, options)
        async with aclosing(events):
            async for event in events:
                yield event

    async def _job_events(
        self,
        route: Route[Any],
        job_id: str | int,
        query: dict[str, Any] | None,
        options: RequestOptions | None,
    ) -> AsyncGenerator[JobEvent]:
        events = self._events(route, job_id, query=query, options=options)
        async with aclosing(events):
            async for event in events:
                data = _data(event)
                if event.event == "end" or data.get("type") == "end":
                    return
                if data:
                    yield from_text(event.data, JobEvent)

    async def executions(self, job_id: str | int, *, options: RequestOptions | None = None) -> models.JobExecutions:
        """Each try of a job on a provider, with its cost (section 3.5).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.EXECUTIONS, job_id, options=options)

    async def attempts(self, job_id: str | int, *, options: RequestOptions | None = None) -> models.JobExecutions:
        """A job with each of its tries and whether their logs are kept (`/history` of one job, section 3.5).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.JOB_HISTORY, job_id, options=options)


def _data(event: Event) -> dict[str, Any]:
    value = parse_json(event.data.encode())
    return value if isinstance(value, dict) else {}
