"""Containers on idle nodes: the `idle_jobs` object of the client."""

from __future__ import annotations

from functools import cached_property
from typing import Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.octaspace import operations
from skerry.networks.octaspace._async.resource import AsyncResource
from skerry.networks.octaspace.inputs import CallOptions
from skerry.networks.octaspace.models import IdleJob
from skerry.networks.octaspace.operations import Id


class AsyncIdleJobs(AsyncResource):
    """Containers that an operator's nodes run while nobody rents them."""

    async def get(
        self, node_id: Id, job_id: Id, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]
    ) -> IdleJob:
        """Whether a job runs, since when, or why not (section 3.13).

        Args:
            node_id: where.
            job_id: which one of that node.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaNotFoundError: there is none such.
            OctaError: anything else went wrong.
        """
        return await self._send(operations.get_idle_job(self._base_url, node_id, job_id), options, call)

    async def logs(
        self, node_id: Id, job_id: Id, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]
    ) -> str:
        """What a job wrote, unpacked (section 3.13).

        Args:
            node_id: where.
            job_id: which one of that node.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaNotFoundError: there is none such.
            OctaDecodeError: what came is not a log.
            OctaError: anything else went wrong.
        """
        return await self._send(operations.get_idle_job_logs(self._base_url, node_id, job_id), options, call)

    @cached_property
    def with_raw_response(self) -> AsyncRawIdleJobs:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawIdleJobs(self)


class AsyncRawIdleJobs:
    """The methods of `AsyncIdleJobs`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncIdleJobs) -> None:
        self.get = async_raw(resource.get)
        self.logs = async_raw(resource.logs)
