"""The client of OctaSpace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, Unpack

from skerry._io._async.client import AsyncConnected
from skerry._io._async.driver import AsyncDriver
from skerry._io.transport import AsyncTransport
from skerry._io.waiting import AsyncSleeper, async_sleep
from skerry._kernel.effects import SYSTEM, Effects
from skerry._kernel.hooks import Hooks
from skerry._kernel.model import NOT_GIVEN, NotGiven
from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry._kernel.settings import time_limit, tries
from skerry.networks.octaspace import operations
from skerry.networks.octaspace._async.accounts import AsyncAccounts
from skerry.networks.octaspace._async.apps import AsyncApps
from skerry.networks.octaspace._async.idle_jobs import AsyncIdleJobs
from skerry.networks.octaspace._async.network import AsyncNetwork
from skerry.networks.octaspace._async.nodes import AsyncNodes
from skerry.networks.octaspace._async.resource import AsyncResource
from skerry.networks.octaspace._async.services import AsyncServices
from skerry.networks.octaspace._async.sessions import AsyncSessions
from skerry.networks.octaspace.config import TIMEOUT, resolve, seconds_of
from skerry.networks.octaspace.dialect import key_dialect
from skerry.networks.octaspace.inputs import CallOptions
from skerry.networks.octaspace.interception import RequestHook, ResponseHook, interceptors_of

if TYPE_CHECKING:
    import httpx2


class AsyncOctaSpace(AsyncConnected):
    """A client of the OctaSpace API, hosted or an island.

    Args:
        api_key: sent as it is, without a scheme word. Without one the client can be made, but only `network.get` can
            be called.
        base_url: the hosted service by default; may hold a path. One trailing slash is taken off.
        timeout: seconds each try may take, answer included, None for no limit.
        timeout_ms: the same in milliseconds, in place of `timeout`.
        retries: further tries after failures of the transport, status 429 and 5xx, 2 by default. Only calls by GET
            are tried again.
        user_agent: who is calling, `skerry/<version> (python)` by default.
        on_request: called before each try; may add headers.
        on_response: called with each answer, also with errors.
        require_api_key: false sends calls without a key to a proxy that adds one, instead of refusing them.
        transport: an `httpx2.AsyncClient`, or anything else that carries requests; httpx2 by default.
        hooks: who is told about requests, answers, repeats and errors.
        effects: clock and chance, for tests.
        sleeper: waits between tries, for tests.
        environ: where to look for what is not given, see `from_env`; nowhere by default.

    Attributes:
        accounts: the account and its credit.
        apps: templates.
        network: public numbers.
        nodes: the operator's machines.
        services: what can be rented, and its sessions.
        sessions: lists of sessions.
        idle_jobs: containers on idle nodes.

    Raises:
        ConfigurationError: a setting makes no sense (also a ValueError).
    """

    accounts: AsyncAccounts
    apps: AsyncApps
    network: AsyncNetwork
    nodes: AsyncNodes
    services: AsyncServices
    sessions: AsyncSessions
    idle_jobs: AsyncIdleJobs

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        timeout: float | None = TIMEOUT,
        timeout_ms: float | None = None,
        retries: int | None = None,
        user_agent: str | None = None,
        on_request: RequestHook | None = None,
        on_response: ResponseHook | None = None,
        require_api_key: bool = True,
        transport: AsyncTransport | httpx2.AsyncClient | None = None,
        hooks: Hooks | None = None,
        effects: Effects = SYSTEM,
        sleeper: AsyncSleeper = async_sleep,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._config = resolve(
            environ,
            api_key=api_key,
            base_url=base_url,
            retries=retries,
            user_agent=user_agent,
            require_api_key=require_api_key,
        )
        self._on_request, self._on_response = on_request, on_response
        dialect = key_dialect(self._config, seconds_of(timeout, timeout_ms), interceptors_of(on_request, on_response))
        self._connect(transport)
        self._use(AsyncDriver(dialect, self._transport, effects=effects, sleeper=sleeper, hooks=hooks))

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        timeout: float | None = TIMEOUT,
        on_request: RequestHook | None = None,
        on_response: ResponseHook | None = None,
        transport: AsyncTransport | httpx2.AsyncClient | None = None,
        hooks: Hooks | None = None,
    ) -> Self:
        """A client with settings from the environment (section 6).

        Args:
            environ: where they are looked up, `os.environ` by default: `OCTA_API_KEY`, `OCTA_BASE_URL`,
                `OCTA_MAX_RETRIES` and `OCTA_USER_AGENT`.
            timeout: seconds each try may take, None for no limit.
            on_request: called before each try.
            on_response: called with each answer.
            transport: what carries requests.
            hooks: who is told what happens.

        Raises:
            ConfigurationError: a setting makes no sense (also a ValueError).
        """
        return cls(
            timeout=timeout,
            on_request=on_request,
            on_response=on_response,
            transport=transport,
            hooks=hooks,
            environ=os.environ if environ is None else environ,
        )

    def _use(self, driver: AsyncDriver) -> None:
        self._driver = driver
        self.accounts = AsyncAccounts(driver, self._config)
        self.apps = AsyncApps(driver, self._config)
        self.network = AsyncNetwork(driver, self._config)
        self.nodes = AsyncNodes(driver, self._config)
        self.services = AsyncServices(driver, self._config)
        self.sessions = AsyncSessions(driver, self._config)
        self.idle_jobs = AsyncIdleJobs(driver, self._config)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"

    @property
    def base_url(self) -> str:
        """Base URL, without trailing slash."""
        return self._config.base_url

    @property
    def timeout(self) -> float | None:
        """Seconds each try may take, None for no limit."""
        return self._driver.dialect.timeout

    @property
    def retries(self) -> int:
        """Further tries after the first."""
        return self._config.retries

    async def request(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        body: Any = NOT_GIVEN,
        options: RequestOptions | None = None,
        **call: Unpack[CallOptions],
    ) -> Any:
        """Any call of the API, with the key and repeated like all others; for what this library has no method for.

        Args:
            method: HTTP method.
            path: below the base URL, already encoded, such as `/services/r`.
            params: of the query; what is None is left out.
            body: JSON data; None is the body `null`, not given is no body.
            options: for this call; keywords of `CallOptions` win over it.

        Returns:
            The JSON of the answer, None for an empty one.

        Raises:
            OctaApiError: the service refused.
            OctaError: anything else went wrong.
        """
        built = operations.other(method, self.base_url, path, params, body)
        return await AsyncResource(self._driver, self._config)._send(built, options, call)

    def with_options(
        self,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
        headers: Mapping[str, str] | None = None,
        retries: int | None = None,
        user_agent: str | None = None,
        on_request: RequestHook | NotGiven | None = NOT_GIVEN,
        on_response: ResponseHook | NotGiven | None = NOT_GIVEN,
        hooks: Hooks | None = None,
    ) -> AsyncOctaSpace:
        """A copy with other defaults over the same connections; closing the copy closes nothing.

        Args:
            timeout: seconds each try may take, None for no limit.
            headers: further headers of every request.
            retries: further tries after the first.
            user_agent: who is calling.
            on_request: hook in place of the present one, None for none.
            on_response: hook in place of the present one, None for none.
            hooks: who is told what happens.
        """
        copy = AsyncOctaSpace.__new__(AsyncOctaSpace)
        copy._config = replace(
            self._config,
            retries=self._config.retries if retries is None else tries(retries, "octaspace"),
            user_agent=user_agent or self._config.user_agent,
        )
        copy._share(self)
        copy._on_request = self._on_request if isinstance(on_request, NotGiven) else on_request
        copy._on_response = self._on_response if isinstance(on_response, NotGiven) else on_response
        limit = self.timeout if isinstance(timeout, NotGiven) else time_limit(timeout, "octaspace")
        dialect = key_dialect(copy._config, limit, interceptors_of(copy._on_request, copy._on_response))
        options = RequestOptions(headers=headers).over(self._driver.options)
        copy._use(self._driver.but(dialect=dialect, hooks=hooks, options=options))
        return copy

    @cached_property
    def with_raw_response(self) -> AsyncRawOctaSpace:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawOctaSpace(self)


class AsyncRawOctaSpace:
    """The methods of `AsyncOctaSpace`, returning `RawResponse` objects."""

    def __init__(self, client: AsyncOctaSpace) -> None:
        self.accounts = client.accounts.with_raw_response
        self.apps = client.apps.with_raw_response
        self.network = client.network.with_raw_response
        self.nodes = client.nodes.with_raw_response
        self.services = client.services.with_raw_response
        self.sessions = client.sessions.with_raw_response
        self.idle_jobs = client.idle_jobs.with_raw_response
        self.request = async_raw(client.request)
