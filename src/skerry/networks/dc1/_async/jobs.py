"""Jobs: submit, cancel, retry, list (sections 3.3 to 3.5, 4.1 and 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.dc1 import models, operations
from skerry.networks.dc1._async.job_kinds import AsyncJobKinds, unkeyed
from skerry.networks.dc1.answers import filled
from skerry.networks.dc1.errors import APIError, DC1Error
from skerry.networks.dc1.inputs import DispatchInput, JobOptions, JobType, Priority, SubmitInput
from skerry.networks.dc1.models import Job
from skerry.networks.dc1.outputs import named

JobList = list[Job]
HistoryItems = list[models.HistoryItem]


class AsyncJobs(AsyncJobKinds):
    """The caller's jobs."""

    async def submit(
        self,
        job_type: JobType | str,
        params: Mapping[str, Any],
        *,
        provider_id: int | None,
        duration_minutes: float,
        priority: Priority | int = 2,
        options: RequestOptions | None = None,
        **more: Unpack[JobOptions],
    ) -> Job:
        """Submit a job and look at it once, as the official SDKs do (section 4.2): two requests.

        Args:
            job_type: what kind of work.
            params: what exactly; sent as they are.
            provider_id: on whose GPU; None for whichever fits.
            duration_minutes: how long at most; the price of that is held.
            priority: 1 is high, 3 is low.
            options: for each request.
            more: see `JobOptions`.

        Raises:
            DC1PaymentRequiredError: the wallet does not cover the hold.
            DC1NoCapacityError: the provider went offline; list them again.
            DC1Error: anything else went wrong; an error with a `job_id` came after the job was made.
        """
        # In the order in which the official SDKs write them.
        fields: dict[str, Any] = {
            "provider_id": provider_id,
            "job_type": job_type,
            "duration_minutes": duration_minutes,
            "priority": priority,
            "params": params,
            **more,
        }
        submission = await self._send(operations.SUBMIT, body=fields, options=options)
        job_id = named(submission)
        try:
            return await self.get(job_id, options=unkeyed(options))
        except DC1Error as error:
            if isinstance(error, APIError):
                error.job_id = job_id
            error.add_note(f"the job was made all the same: {job_id}")
            raise

    async def create(self, *, options: RequestOptions | None = None, **job: Unpack[SubmitInput]) -> models.Submission:
        """Submit a job: one request with exactly these members in its body (section 3.3).

        Args:
            options: for this call; an idempotency key is taken by servers that know it.
            job: see `SubmitInput`; what is None is sent as `null`.

        Raises:
            DC1PaymentRequiredError: the wallet does not cover the hold.
            DC1NoCapacityError: the provider went offline; list them again.
            DC1Error: anything else went wrong.
        """
        return await self._send(operations.SUBMIT, body=job, options=options)

    async def dispatch(
        self, *, options: RequestOptions | None = None, **job: Unpack[DispatchInput]
    ) -> models.Dispatched:
        """Submit a job to whichever provider fits; an idempotency key makes repeating it harmless (section 2.6).

        Args:
            options: for this call.
            job: see `DispatchInput`.

        Raises:
            DC1NoCapacityError: no provider fits.
            DC1Error: anything else went wrong.
        """
        return await self._send(operations.DISPATCH, body=job, options=options)

    async def cancel(self, job_id: str | int, *, options: RequestOptions | None = None) -> models.Cancellation:
        """Cancel a job; all that was held for it goes back to the wallet (section 3.5).

        Raises:
            DC1ConflictError: it has ended already.
            DC1Error: anything else went wrong.
        """
        found = await self._send(operations.CANCEL, job_id, options=options)
        inner = found.job.job_id if found.job is not None else None
        return filled(found, job_id=found.job_id or inner or str(job_id))

    async def retry(self, job_id: str | int, *, options: RequestOptions | None = None) -> models.Submission:
        """Submit a failed job again, as a new one with a hold of its own (section 3.5).

        Raises:
            DC1ConflictError: it has not failed.
            DC1PaymentRequiredError: the wallet does not cover the hold.
            DC1Error: anything else went wrong.
        """
        return await self._send(operations.RETRY, job_id, options=options)

    async def complete(
        self,
        job_id: str | int,
        *,
        duration_seconds: float | None = None,
        options: RequestOptions | None = None,
    ) -> models.JobSettled:
        """End a running job, such as one that serves, and pay for the time it ran (section 3.5).

        Args:
            job_id: which job.
            duration_seconds: how long it ran, for those who know better than the server.
            options: for this call.

        Raises:
            DC1ConflictError: it is not running.
            DC1Error: anything else went wrong.
        """
        if duration_seconds is None:
            return await self._send(operations.COMPLETE, job_id, options=options)
        return await self._send(
            operations.COMPLETE, job_id, body={"duration_seconds": duration_seconds}, options=options
        )

    async def dispatch_complete(self, job_id: str | int, *, options: RequestOptions | None = None) -> models.JobSettled:
        """End a job of the dispatch route well (section 3.5).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.DISPATCH_COMPLETE, job_id, body={}, options=options)

    async def dispatch_fail(
        self, job_id: str | int, *, reason: str | None = None, options: RequestOptions | None = None
    ) -> models.JobSettled:
        """End a job of the dispatch route as failed; the hold is released (section 3.5).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        body = {} if reason is None else {"reason": reason}
        return await self._send(operations.DISPATCH_FAIL, job_id, body=body, options=options)

    async def pause(self, job_id: str | int, *, options: RequestOptions | None = None) -> Any:
        """Checkpoint a running job and stop it for now (section 3.5).

        Raises:
            DC1ConflictError: it is not active, or makes no checkpoints.
            DC1Error: anything else went wrong.
        """
        return await self._send(operations.PAUSE_JOB, job_id, options=options)

    async def resume(self, job_id: str | int, *, options: RequestOptions | None = None) -> Any:
        """Go on with a paused job (section 3.5).

        Raises:
            DC1ConflictError: it is not paused, or has no checkpoint.
            DC1Error: anything else went wrong.
        """
        return await self._send(operations.RESUME_JOB, job_id, options=options)

    async def history(
        self, *, limit: int | None = None, options: RequestOptions | None = None, **query: Any
    ) -> models.PaymentHistory:
        """The latest jobs with what they cost, newest first (section 2.5).

        Args:
            limit: how many, 20 unless given, no more than 100.
            options: for this call.
            query: further parameters, such as `status`, which not every server heeds.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HISTORY, query={"limit": limit, **query}, options=options)

    async def list(self, limit: int = 20, *, options: RequestOptions | None = None) -> HistoryItems:
        """The latest jobs, newest first, as the official SDKs list them (section 4.2).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return (await self.history(limit=limit, options=options)).jobs

    async def page(
        self,
        *,
        limit: int | None = None,
        offset: int | None = None,
        status: str | None = None,
        options: RequestOptions | None = None,
        **query: Any,
    ) -> models.JobPage:
        """A page of the caller's jobs (`GET /api/jobs`, section 2.5).

        Args:
            limit: how many, 50 unless given, no more than 200.
            offset: how many to leave out first.
            status: only jobs in this state.
            options: for this call.
            query: further parameters, such as filters by date.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        parameters = {"limit": limit, "offset": offset, "status": status, **query}
        return await self._send(operations.JOB_LIST, query=parameters, options=options)

    async def active(self, *, options: RequestOptions | None = None) -> JobList:
        """The caller's jobs that have not ended, newest first (section 3.5).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ACTIVE_JOBS, options=options)

    async def queue(self, provider_id: int, *, options: RequestOptions | None = None) -> models.Queue:
        """Who waits for a provider (section 3.5).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.QUEUE, provider_id, options=options)

    async def queue_status(self, *, options: RequestOptions | None = None) -> models.Queue:
        """Who waits for any provider (section 3.5).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.QUEUE_STATUS, options=options)

    async def invoice(self, job_id: str | int, *, options: RequestOptions | None = None) -> models.Invoice:
        """What a job was charged and who got it (section 3.5).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.INVOICE, job_id, options=options)

    async def invoice_pdf(self, job_id: str | int, *, options: RequestOptions | None = None) -> bytes:
        """The same as a PDF file.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.INVOICE_PDF, job_id, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawJobs:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawJobs(self)


class AsyncRawJobs:
    """The methods of `AsyncJobs`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncJobs) -> None:
        self.logs = async_raw(resource.logs)
        self.get_logs = async_raw(resource.get_logs)
        self.lifecycle = async_raw(resource.lifecycle)
        self.executions = async_raw(resource.executions)
        self.attempts = async_raw(resource.attempts)
        self.get = async_raw(resource.get)
        self.describe = async_raw(resource.describe)
        self.output = async_raw(resource.output)
        self.image = async_raw(resource.image)
        self.output_file = async_raw(resource.output_file)
        self.status = async_raw(resource.status)
        self.wait = async_raw(resource.wait)
        self.wait_for_endpoint = async_raw(resource.wait_for_endpoint)
        self.wait_for = async_raw(resource.wait_for)
        self.poll = async_raw(resource.poll)
        self.submit = async_raw(resource.submit)
        self.create = async_raw(resource.create)
        self.dispatch = async_raw(resource.dispatch)
        self.generate_text = async_raw(resource.generate_text)
        self.generate_image = async_raw(resource.generate_image)
        self.run_container = async_raw(resource.run_container)
        self.serve_vllm = async_raw(resource.serve_vllm)
        self.cancel = async_raw(resource.cancel)
        self.retry = async_raw(resource.retry)
        self.complete = async_raw(resource.complete)
        self.dispatch_complete = async_raw(resource.dispatch_complete)
        self.dispatch_fail = async_raw(resource.dispatch_fail)
        self.pause = async_raw(resource.pause)
        self.resume = async_raw(resource.resume)
        self.history = async_raw(resource.history)
        self.list = async_raw(resource.list)
        self.page = async_raw(resource.page)
        self.active = async_raw(resource.active)
        self.queue = async_raw(resource.queue)
        self.queue_status = async_raw(resource.queue_status)
        self.invoice = async_raw(resource.invoice)
        self.invoice_pdf = async_raw(resource.invoice_pdf)
