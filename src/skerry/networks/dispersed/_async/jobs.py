"""Jobs: the `jobs` object of the client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from functools import cached_property
from typing import Any, Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.dispersed import operations
from skerry.networks.dispersed._async.resource import AsyncPage, AsyncResource
from skerry.networks.dispersed.inputs import CallOptions, CancelInput, JobFilters, JobInput, WriteOptions
from skerry.networks.dispersed.models import Job
from skerry.networks.dispersed.queries import Parameters


class AsyncJobs(AsyncResource):
    """Requests for work: a container, what it needs, and for how long."""

    async def list(
        self, params: Parameters = None, /, *, options: RequestOptions | None = None, **query: Unpack[JobFilters]
    ) -> AsyncPage[Job]:
        """The account's jobs (section 3.2).

        Args:
            params: in the wire's words, such as `{"limit": 10, "filter[status]": "RUNNING"}`.
            options: for this call and those for further pages; keywords win over it.
            query: the same as keywords: `page`, `limit`, `sort`, those of `JobFilters`, any other filter in
                `filter`, and options of the call.

        Returns:
            The page asked for; iterating over it goes on through the following ones.

        Raises:
            DispersedInvalidRequestError: a field is wrong; `details` says which.
            DispersedError: anything else went wrong.
        """
        return await self._list(operations.list_jobs, JobFilters, params, options, query)

    async def iter_all(
        self, params: Parameters = None, /, *, options: RequestOptions | None = None, **query: Unpack[JobFilters]
    ) -> AsyncIterator[Job]:
        """Every one of the jobs that `list` finds, page after page as they are needed; same arguments."""
        async for item in await self.list(params, options=options, **query):
            yield item

    async def get(self, uuid: str, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> Job:
        """One job (section 3.2).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            DispersedNotFoundError: there is none such, or it is another account's.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.get_job(self._base_url, uuid), options, call)

    async def create(
        self,
        input: JobInput | Mapping[str, Any],
        *,
        options: RequestOptions | None = None,
        **call: Unpack[WriteOptions],
    ) -> Job:
        """Submit a job (section 3.2).

        Args:
            input: the job, in the wire's words; None is sent as `null`.
            options: for this call; keywords of `WriteOptions` win over it.

        Raises:
            DispersedInvalidRequestError: a field is wrong; `details` says which.
            DispersedPaymentRequiredError: there is no credit left to spend.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.create_job(self._base_url, input), options, call)

    async def cancel(
        self,
        uuid: str,
        input: CancelInput | Mapping[str, Any] | None = None,
        *,
        options: RequestOptions | None = None,
        **call: Unpack[WriteOptions],
    ) -> Job:
        """Cancel a job and its live runs; one that is being cancelled stays so (section 3.2).

        Args:
            input: may hold a `reason`.
            options: for this call; keywords of `WriteOptions` win over it.

        Raises:
            DispersedNotFoundError: there is none such, or it is another account's.
            DispersedConflictError: it has ended already.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.cancel_job(self._base_url, uuid, input), options, call)

    async def wait(
        self,
        uuid: str,
        *,
        until: str | Collection[str] = (),
        timeout: float | None = None,
        on_change: Callable[[Job], object] | None = None,
        options: RequestOptions | None = None,
    ) -> Job:
        """Ask for a job until it has ended, or is in one of the states waited for.

        Args:
            uuid: which one.
            until: states that end the waiting too, such as `RUNNING`.
            timeout: seconds to wait at most, None for ever.
            on_change: called with each answer whose state differs from the one before.
            options: for each request; its deadline ends the waiting too.

        Returns:
            The job as it was last.

        Raises:
            DeadlineExceededError: the job goes on, but the time is up.
            DispersedError: asking failed.
        """
        found: Job = await self._ended(self.get, uuid, until, timeout, on_change, options)
        return found

    @cached_property
    def with_raw_response(self) -> AsyncRawJobs:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawJobs(self)


class AsyncRawJobs:
    """The methods of `AsyncJobs`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncJobs) -> None:
        self.list = async_raw(resource.list)
        self.get = async_raw(resource.get)
        self.create = async_raw(resource.create)
        self.cancel = async_raw(resource.cancel)
