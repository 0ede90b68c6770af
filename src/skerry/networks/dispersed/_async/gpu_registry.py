"""The GPU registry: the `gpu_registry` object of the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cached_property
from typing import Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.dispersed import operations
from skerry.networks.dispersed._async.resource import AsyncPage, AsyncResource
from skerry.networks.dispersed.inputs import GpuFilters
from skerry.networks.dispersed.models import GpuRegistryEntry
from skerry.networks.dispersed.queries import Parameters


class AsyncGpuRegistry(AsyncResource):
    """Models of GPUs that jobs can ask for."""

    async def list(
        self, params: Parameters = None, /, *, options: RequestOptions | None = None, **query: Unpack[GpuFilters]
    ) -> AsyncPage[GpuRegistryEntry]:
        """Models of GPUs, with their price and how many are free (section 3.5).

        Args:
            params: in the wire's words, such as `{"limit": 10, "filter[status]": "RUNNING"}`.
            options: for this call and those for further pages; keywords win over it.
            query: the same as keywords: `page`, `limit`, `sort`, those of `GpuFilters`, any other filter in
                `filter`, and options of the call.

        Returns:
            The page asked for; iterating over it goes on through the following ones.

        Raises:
            DispersedInvalidRequestError: a field is wrong; `details` says which.
            DispersedError: anything else went wrong.
        """
        return await self._list(operations.list_gpus, GpuFilters, params, options, query)

    async def iter_all(
        self, params: Parameters = None, /, *, options: RequestOptions | None = None, **query: Unpack[GpuFilters]
    ) -> AsyncIterator[GpuRegistryEntry]:
        """Every one of the models that `list` finds, page after page as they are needed; same arguments."""
        async for item in await self.list(params, options=options, **query):
            yield item

    @cached_property
    def with_raw_response(self) -> AsyncRawGpuRegistry:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawGpuRegistry(self)


class AsyncRawGpuRegistry:
    """The methods of `AsyncGpuRegistry`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncGpuRegistry) -> None:
        self.list = async_raw(resource.list)
