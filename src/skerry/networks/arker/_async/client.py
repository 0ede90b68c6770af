"""The client of Arker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from skerry._io._async.client import AsyncConnected
from skerry._io._async.driver import AsyncDriver
from skerry._io.transport import AsyncTransport
from skerry._io.waiting import AsyncSleeper, async_sleep
from skerry._kernel.effects import SYSTEM, Effects
from skerry._kernel.hooks import Hooks
from skerry._kernel.model import NOT_GIVEN, NotGiven
from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.arker import operations
from skerry.networks.arker._async.computer import AsyncComputer, AsyncRawComputer
from skerry.networks.arker.config import API_TIMEOUT, Retry, RetryOptions, resolve, retry_options
from skerry.networks.arker.dialect import bearer_dialect
from skerry.networks.arker.models import HealthResponse, ListGoldensResponse, ListVmsResponse, VmInfo
from skerry.networks.arker.routing import base_for

if TYPE_CHECKING:
    import httpx2

Sort = Literal["created_at", "-created_at", "region", "-region"]


class AsyncArker(AsyncConnected):
    """A client of the Arker VM network, hosted or an island.

    Args:
        api_key: else from `ARKER_API_KEY` or `AUTH_KEY`.
        region: such as `aws-us-west-2`; else from `ARKER_REGION` when no base URL is known.
        base_url: of the normal endpoint, with `/api` where the endpoint has it; else from `ARKER_BASE_URL`, else
            made from the region.
        burst_base_url: of the burst endpoint; else from `ARKER_BURST_BASE_URL`, else made from the region.
        transport: an `httpx2.AsyncClient`, or anything else that carries requests; httpx2 by default.
        retry: how transient failures are repeated; False for never.
        timeout: seconds each try of an API request may take, 120 unless given, None for no limit. Storing a large file
            may take 600 s, fetching one 300 s.
        hooks: who is told about requests, answers, repeats and errors.
        effects: clock and chance, for tests.
        sleeper: waits between tries, for tests.
        environ: where settings are looked up, `os.environ` by default.

    Attributes:
        base_url: of the normal endpoint.
        burst_base_url: of the burst endpoint, None when there is none.
        region: normalised, None when none was given.
        retry: the retry options in force.

    Raises:
        ConfigurationError: the key, or both region and base URL, are missing or empty.
    """

    def __init__(
        self,
        api_key: str | None = None,
        region: str | None = None,
        base_url: str | None = None,
        burst_base_url: str | None = None,
        transport: AsyncTransport | httpx2.AsyncClient | None = None,
        retry: Retry = None,
        timeout: float | NotGiven | None = NOT_GIVEN,
        *,
        hooks: Hooks | None = None,
        effects: Effects = SYSTEM,
        sleeper: AsyncSleeper = async_sleep,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        config = resolve(
            os.environ if environ is None else environ,
            api_key=api_key,
            region=region,
            base_url=base_url,
            burst_base_url=burst_base_url,
            retry=retry,
        )
        self._config = config
        self._timeout = API_TIMEOUT if isinstance(timeout, NotGiven) else timeout
        self._connect(transport)
        self._driver = AsyncDriver(
            bearer_dialect(config, self._timeout), self._transport, effects=effects, sleeper=sleeper, hooks=hooks
        )

    def __repr__(self) -> str:
        place = f", burst_base_url={self.burst_base_url!r}" if self.burst_base_url else ""
        return f"{type(self).__name__}(base_url={self.base_url!r}{place})"

    @property
    def base_url(self) -> str:
        """Base URL of the normal endpoint."""
        return self._config.base_url

    @property
    def burst_base_url(self) -> str | None:
        """Base URL of the burst endpoint, None when there is none."""
        return self._config.burst_base_url

    @property
    def region(self) -> str | None:
        """The region, normalised; None when none was given."""
        return self._config.region

    @property
    def retry(self) -> RetryOptions:
        """The retry options in force."""
        return self._config.retry

    def vm(self, vm_id: str) -> AsyncComputer:
        """The handle of a VM or golden; asks nobody, and picks the endpoint by the reference (section 2.1)."""
        return AsyncComputer(self._driver, vm_id, base_for(vm_id, self.base_url, self.burst_base_url))

    async def goldens(self, *, options: RequestOptions | None = None) -> ListGoldensResponse:
        """The public images of the normal endpoint (protocol section 3.1).

        Raises:
            ArkerError: the service refused or could not be reached.
        """
        return await self._driver.send(operations.goldens(self.base_url), options)

    async def list(
        self,
        *,
        limit: int | None = None,
        offset: int | None = None,
        q: str | None = None,
        sort: Sort | None = None,
        options: RequestOptions | None = None,
    ) -> ListVmsResponse:
        """The caller's VMs on the normal endpoint (protocol sections 3.1 and 3.8).

        The filters are those of 0.2.0; islands honour them, the hosted 0.3.0 service returns everything.

        Args:
            limit: how many at most.
            offset: how many to leave out first.
            q: part of the name.
            sort: by which field, with a dash for the greatest first.
            options: for this call.

        Raises:
            ArkerError: the service refused or could not be reached.
        """
        call = operations.list_vms(self.base_url, limit=limit, offset=offset, q=q, sort=sort)
        return await self._driver.send(call, options)

    async def get(self, vm_id: str, *, options: RequestOptions | None = None) -> VmInfo:
        """What the service says about a VM, asked at the endpoint the reference belongs to (section 3.1).

        Raises:
            ArkerNotFoundError: there is no such VM on that endpoint.
            ArkerError: anything else went wrong.
        """
        base_url = base_for(vm_id, self.base_url, self.burst_base_url)
        return await self._driver.send(operations.get_vm(base_url, vm_id), options)

    async def health(self, *, options: RequestOptions | None = None) -> HealthResponse:
        """Whether the normal endpoint is well; needs no valid key (protocol section 3.7).

        Raises:
            ArkerError: it is not, or could not be reached.
        """
        return await self._driver.send(operations.health(self.base_url), options)

    def with_options(
        self,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
        headers: Mapping[str, str] | None = None,
        retry: Retry | NotGiven = NOT_GIVEN,
        hooks: Hooks | None = None,
    ) -> AsyncArker:
        """A copy with other defaults over the same connections; closing the copy closes nothing.

        Args:
            timeout: seconds each try of an API request may take, None for no limit.
            headers: further headers of every API request.
            retry: how transient failures are repeated.
            hooks: who is told what happens.
        """
        copy = AsyncArker.__new__(AsyncArker)
        copy._config = self._config
        if not isinstance(retry, NotGiven):
            copy._config = replace(self._config, retry=retry_options(retry))
        copy._timeout = self._timeout if isinstance(timeout, NotGiven) else timeout
        copy._share(self)
        copy._driver = self._driver.but(
            dialect=bearer_dialect(copy._config, copy._timeout),
            hooks=hooks,
            options=RequestOptions(headers=headers).over(self._driver.options),
        )
        return copy

    @cached_property
    def with_raw_response(self) -> AsyncRawArker:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawArker(self)


class AsyncRawArker:
    """The methods of `AsyncArker`, returning `RawResponse` objects."""

    def __init__(self, client: AsyncArker) -> None:
        self._client = client
        self.goldens = async_raw(client.goldens)
        self.list = async_raw(client.list)
        self.get = async_raw(client.get)
        self.health = async_raw(client.health)

    def vm(self, vm_id: str) -> AsyncRawComputer:
        """The handle of a VM or golden, answering with `RawResponse` objects."""
        return self._client.vm(vm_id).with_raw_response
