"""Job runs: the `job_runs` object of the client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from functools import cached_property
from typing import Any, Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.dispersed import operations
from skerry.networks.dispersed._async.resource import AsyncPage, AsyncResource
from skerry.networks.dispersed.inputs import CallOptions, CancelInput, JobRunFilters, WriteOptions
from skerry.networks.dispersed.models import CostSummary, JobRun
from skerry.networks.dispersed.queries import Parameters


class AsyncJobRuns(AsyncResource):
    """Executions of jobs on nodes."""

    async def list(
        self, params: Parameters = None, /, *, options: RequestOptions | None = None, **query: Unpack[JobRunFilters]
    ) -> AsyncPage[JobRun]:
        """The account's job runs, without their logs (section 3.3).

        Args:
            params: in the wire's words, such as `{"limit": 10, "filter[status]": "RUNNING"}`.
            options: for this call and those for further pages; keywords win over it.
            query: the same as keywords: `page`, `limit`, `sort`, those of `JobRunFilters`, any other filter in
                `filter`, and options of the call.

        Returns:
            The page asked for; iterating over it goes on through the following ones.

        Raises:
            DispersedInvalidRequestError: a field is wrong; `details` says which.
            DispersedError: anything else went wrong.
        """
        return await self._list(operations.list_job_runs, JobRunFilters, params, options, query)

    async def iter_all(
        self, params: Parameters = None, /, *, options: RequestOptions | None = None, **query: Unpack[JobRunFilters]
    ) -> AsyncIterator[JobRun]:
        """Every one of the job runs that `list` finds, page after page as they are needed; same arguments."""
        async for item in await self.list(params, options=options, **query):
            yield item

    async def get(self, uuid: str, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> JobRun:
        """One job run, with its logs (section 3.3).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            DispersedNotFoundError: there is none such, or it is another account's.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.get_job_run(self._base_url, uuid), options, call)

    async def cancel(
        self,
        uuid: str,
        input: CancelInput | Mapping[str, Any] | None = None,
        *,
        options: RequestOptions | None = None,
        **call: Unpack[WriteOptions],
    ) -> JobRun:
        """Cancel a job run (section 3.3).

        Args:
            input: may hold a `reason`.
            options: for this call; keywords of `WriteOptions` win over it.

        Raises:
            DispersedNotFoundError: there is none such, or it is another account's.
            DispersedConflictError: it has ended already.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.cancel_job_run(self._base_url, uuid, input), options, call)

    async def get_cost_summary(
        self, uuid: str, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]
    ) -> CostSummary:
        """What a job run has cost so far (section 3.3.2).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            DispersedNotFoundError: there is none such, or it is another account's.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.get_cost_summary(self._base_url, uuid), options, call)

    async def wait(
        self,
        uuid: str,
        *,
        until: str | Collection[str] = (),
        timeout: float | None = None,
        on_change: Callable[[JobRun], object] | None = None,
        options: RequestOptions | None = None,
    ) -> JobRun:
        """Ask for a job run until it has ended, or is in one of the states waited for.

        Args:
            uuid: which one.
            until: states that end the waiting too, such as `RUNNING`.
            timeout: seconds to wait at most, None for ever.
            on_change: called with each answer whose state differs from the one before.
            options: for each request; its deadline ends the waiting too.

        Returns:
            The job run as it was last.

        Raises:
            DeadlineExceededError: the job run goes on, but the time is up.
            DispersedError: asking failed.
        """
        found: JobRun = await self._ended(self.get, uuid, until, timeout, on_change, options)
        return found

    @cached_property
    def with_raw_response(self) -> AsyncRawJobRuns:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawJobRuns(self)


class AsyncRawJobRuns:
    """The methods of `AsyncJobRuns`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncJobRuns) -> None:
        self.list = async_raw(resource.list)
        self.get = async_raw(resource.get)
        self.cancel = async_raw(resource.cancel)
        self.get_cost_summary = async_raw(resource.get_cost_summary)
