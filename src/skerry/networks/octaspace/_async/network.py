"""The network at large: the `network` object of the client."""

from __future__ import annotations

from functools import cached_property
from typing import Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.octaspace import operations
from skerry.networks.octaspace._async.resource import AsyncResource
from skerry.networks.octaspace.inputs import CallOptions
from skerry.networks.octaspace.models import NetworkStats


class AsyncNetwork(AsyncResource):
    """Public numbers about the network."""

    async def get(self, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> NetworkStats:
        """Chain, market price, nodes and power; needs no key, and never sends one (section 3.2).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaError: it could not be had.
        """
        return await self._send(operations.get_network(self._base_url), options, call)

    @cached_property
    def with_raw_response(self) -> AsyncRawNetwork:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawNetwork(self)


class AsyncRawNetwork:
    """The methods of `AsyncNetwork`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncNetwork) -> None:
        self.get = async_raw(resource.get)
