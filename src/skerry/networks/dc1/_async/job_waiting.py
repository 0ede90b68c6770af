"""Looking at jobs, waiting for them, and taking what came of them (sections 2.8, 3.4 and 4)."""

from __future__ import annotations

from collections.abc import Callable

from skerry._kernel.options import RequestOptions
from skerry.networks.dc1 import models, operations
from skerry.networks.dc1._async.job_telemetry import AsyncJobTelemetry
from skerry.networks.dc1.codes import is_passing
from skerry.networks.dc1.errors import APIError, JobFailedError, JobTimeoutError
from skerry.networks.dc1.models import Job
from skerry.networks.dc1.outputs import EndpointResult, JobOutput
from skerry.networks.dc1.polling import (
    POLL_TIMEOUT,
    SHORT_INTERVAL,
    WAIT_INTERVAL,
    WAIT_TIMEOUT,
    backoff,
    interval_for,
    pause_after,
)


class AsyncJobWaiting(AsyncJobTelemetry):
    """What jobs are, and what came of them."""

    async def get(self, job_id: str | int, *, options: RequestOptions | None = None) -> Job:
        """A job as `/output` tells it, which is what the official SDKs read (section 4.1).

        Failed and cancelled jobs are returned, not raised. Servers of the flat shape tell no status, and the job is
        `unknown` then; `output` and `wait` make sense of them.

        Raises:
            DC1NotFoundError: there is none such.
            DC1Error: anything else went wrong.
        """
        return await self._send(operations.GET_JOB, job_id, options=options)

    async def describe(self, job_id: str | int, *, options: RequestOptions | None = None) -> Job:
        """All that is stored about a job (section 3.4.1).

        Raises:
            DC1NotFoundError: there is none such.
            DC1Error: anything else went wrong.
        """
        return await self._send(operations.DESCRIBE, job_id, options=options)

    async def output(self, job_id: str | int, *, options: RequestOptions | None = None) -> JobOutput:
        """What came of a job so far, typed, from servers of every shape (section 3.4).

        Failed and cancelled jobs are returned, not raised.

        Raises:
            DC1NotFoundError: there is none such.
            DC1Error: anything else went wrong.
        """
        return await self._send(operations.OUTPUT, job_id, options=options)

    async def image(self, job_id: str | int, *, options: RequestOptions | None = None) -> bytes:
        """The picture of a completed image job, as the bytes of its file (section 3.4.2).

        Raises:
            DC1GoneError: the job failed or was cancelled.
            DC1DecodeError: there is no picture, or not yet.
            DC1Error: anything else went wrong.
        """
        accept = (("accept", "image/*"),)
        return await self._send(operations.IMAGE, job_id, headers=accept, options=options)

    async def output_file(
        self, job_id: str | int, format: str = "png", *, options: RequestOptions | None = None
    ) -> bytes:
        """The picture of a completed image job, as a download: always the bytes of a PNG file (section 3.4.2).

        Args:
            job_id: which job.
            format: `png`, `jpeg`, `jpg` or `webp`, of which only the name differs.
            options: for this call.

        Raises:
            DC1ConflictError: the job is not completed.
            DC1Error: anything else went wrong.
        """
        return await self._send(operations.OUTPUT_FILE, job_id, format, options=options)

    async def status(self, job_id: str | int, *, options: RequestOptions | None = None) -> models.JobStatus:
        """A job's state in short (section 3.4.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.STATUS, job_id, options=options)

    async def wait(
        self,
        job_id: str | int,
        *,
        timeout: float | None = POLL_TIMEOUT,
        poll_interval: float | None = None,
        on_progress: Callable[[JobOutput], object] | None = None,
        options: RequestOptions | None = None,
    ) -> JobOutput:
        """Look at a job's output until it has ended, through rate limits and passing trouble (section 2.8).

        Args:
            job_id: which job.
            timeout: seconds to wait at most, None for ever.
            poll_interval: seconds between looks; unless given, often at first, then by the job's type, 5 or 15.
            on_progress: called with each output that came.
            options: for each request; its deadline ends the waiting too.

        Returns:
            The output, also of jobs that failed or were cancelled.

        Raises:
            JobTimeoutError: the time is up, and the job goes on.
            DC1Error: looking failed in a way that waiting does not cure.
        """
        return await self._look(job_id, timeout, poll_interval, on_progress, options, lambda output: output.is_done)

    async def wait_for_endpoint(
        self,
        job_id: str | int,
        *,
        timeout: float | None = WAIT_TIMEOUT,
        poll_interval: float | None = None,
        options: RequestOptions | None = None,
    ) -> EndpointResult:
        """Wait until a `vllm_serve` job serves, and say where (section 4.4).

        Args:
            job_id: which job.
            timeout: seconds to wait at most, None for ever.
            poll_interval: seconds between looks; unless given, often at first, then every 5.
            options: for each request; its deadline ends the waiting too.

        Raises:
            JobTimeoutError: the time is up, and it does not serve yet.
            JobFailedError: the job ended without serving any more.
            DC1Error: looking failed in a way that waiting does not cure.
        """

        def ready(output: JobOutput) -> bool:
            return output.is_done or output.endpoint_url is not None

        output = await self._look(job_id, timeout, poll_interval, None, options, ready, SHORT_INTERVAL)
        if isinstance(output.result, EndpointResult):
            return output.result
        raise failed(job_id, output, "it does not serve")

    async def _look(
        self,
        job_id: str | int,
        timeout: float | None,
        poll_interval: float | None,
        on_progress: Callable[[JobOutput], object] | None,
        options: RequestOptions | None,
        enough: Callable[[JobOutput], bool],
        steady: float | None = None,
    ) -> JobOutput:
        driver, failures, looks, job_type = self._channel.drivers["renter"], 0, 0, None
        deadline = options.deadline if options else None
        began = driver.effects.monotonic()
        while True:
            trouble: APIError | None = None
            pause = poll_interval or steady or interval_for(job_type)
            try:
                output = await self.output(job_id, options=options)
            except APIError as error:
                if not is_passing(error):
                    raise
                trouble, failures = error, failures + 1
                pause = backoff(failures, pause, error.retry_after, driver.effects.random)
            else:
                failures, looks = 0, looks + 1
                if on_progress is not None:
                    on_progress(output)
                if enough(output):
                    return output
                job_type = output.job.job_type or job_type
                rare = steady or interval_for(job_type)
                pause = pause_after(looks, rare) if poll_interval is None else poll_interval
            if timeout is not None:
                left = timeout - (driver.effects.monotonic() - began)
                if left <= 0:
                    raise JobTimeoutError(str(job_id), timeout) from trouble
                pause = min(pause, left)
            await driver.pause(pause, deadline, trouble)

    async def wait_for(
        self,
        job_id: str | int,
        poll_interval: float = WAIT_INTERVAL,
        timeout: float = WAIT_TIMEOUT,
        on_progress: Callable[[str], object] | None = None,
        *,
        options: RequestOptions | None = None,
    ) -> Job:
        """Look at a job until it has ended, exactly as the official SDKs do: the first failure ends it (section 4.1).

        Args:
            job_id: which job.
            poll_interval: seconds between looks.
            timeout: seconds to wait at most; the job is looked at once in any case.
            on_progress: called with the status after each look.
            options: for each request; its deadline ends the waiting too.

        Returns:
            The job, also when it failed or was cancelled.

        Raises:
            JobTimeoutError: the time is up, and the job goes on.
            DC1Error: looking failed, also with 429.
        """
        driver = self._channel.drivers["renter"]
        deadline = options.deadline if options else None
        end = driver.effects.monotonic() + timeout
        while True:
            job = await self.get(job_id, options=options)
            if on_progress is not None:
                on_progress(job.status)
            if job.is_done:
                return job
            left = end - driver.effects.monotonic()
            if left <= 0:
                raise JobTimeoutError(str(job_id), timeout)
            await driver.pause(min(poll_interval, left), deadline)

    async def poll(
        self,
        job_id: str | int,
        *,
        timeout: float = POLL_TIMEOUT,
        interval: float | None = None,
        options: RequestOptions | None = None,
    ) -> Job:
        """Look at a job's row until it has ended, as the network's guide does it (section 2.8).

        After 429 it waits twice as long; an answer without a job counts as "not yet".

        Args:
            job_id: which job.
            timeout: seconds to wait at most; with 0, nothing is asked.
            interval: seconds between looks; by the job's type unless given, 5 or 15.
            options: for each request; its deadline ends the waiting too.

        Returns:
            The job, also when it failed or was cancelled.

        Raises:
            JobTimeoutError: the time is up, and the job goes on.
        """
        driver, job_type = self._channel.drivers["renter"], None
        deadline = options.deadline if options else None
        end = driver.effects.monotonic() + timeout
        while driver.effects.monotonic() < end:
            pause = interval_for(job_type) if interval is None else interval
            try:
                job = await self.describe(job_id, options=options)
            except APIError as error:
                if error.status == 429:
                    pause *= 2
            else:
                if job.is_done:
                    return job
                job_type = job.job_type or job_type
                pause = interval_for(job_type) if interval is None else interval
            await driver.pause(pause, deadline)
        raise JobTimeoutError(str(job_id), timeout)


def failed(job_id: str | int, output: JobOutput, wanted: str) -> JobFailedError:
    """The error for a job that ended without what was wanted of it.

    Args:
        job_id: which job.
        output: what it ended with.
        wanted: what is missing, where the output does not say why.
    """
    reason = output.error or wanted
    return JobFailedError(str(job_id), output.status, reason, output.http_status, dict(output.data))
