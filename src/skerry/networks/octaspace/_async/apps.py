"""Templates: the `apps` object of the client."""

from __future__ import annotations

import builtins
from functools import cached_property
from typing import Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.octaspace import operations
from skerry.networks.octaspace._async.resource import AsyncResource
from skerry.networks.octaspace.inputs import CallOptions
from skerry.networks.octaspace.models import App


class AsyncApps(AsyncResource):
    """Templates for machines."""

    async def list(self, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> builtins.list[App]:
        """The templates there are, the account's own among them (section 3.3).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaAuthenticationError: there is no key, or it is unknown.
            OctaError: anything else went wrong.
        """
        return await self._send(operations.list_apps(self._base_url), options, call)

    @cached_property
    def with_raw_response(self) -> AsyncRawApps:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawApps(self)


class AsyncRawApps:
    """The methods of `AsyncApps`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncApps) -> None:
        self.list = async_raw(resource.list)
