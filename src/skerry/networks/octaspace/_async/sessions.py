"""Sessions of all services: the `sessions` object of the client."""

from __future__ import annotations

import builtins
from functools import cached_property
from typing import Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.octaspace import operations
from skerry.networks.octaspace._async.resource import AsyncResource
from skerry.networks.octaspace.inputs import CallOptions
from skerry.networks.octaspace.models import ServiceInfo


class AsyncSessions(AsyncResource):
    """The account's sessions."""

    async def list(
        self,
        *,
        recent: bool | None = None,
        options: RequestOptions | None = None,
        **call: Unpack[CallOptions],
    ) -> builtins.list[ServiceInfo]:
        """Sessions that go on, or the recent ones, of which some have ended (sections 1.1 and 3.10).

        Args:
            recent: true for the last 50 that have ended, and those that go on.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaError: they could not be had.
        """
        return await self._send(operations.list_sessions(self._base_url, recent), options, call)

    @cached_property
    def with_raw_response(self) -> AsyncRawSessions:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawSessions(self)


class AsyncRawSessions:
    """The methods of `AsyncSessions`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncSessions) -> None:
        self.list = async_raw(resource.list)
