"""The client of Dispersed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from skerry._io._async.client import AsyncConnected
from skerry._io._async.driver import AsyncDriver
from skerry._io.transport import AsyncTransport
from skerry._io.waiting import AsyncSleeper, async_sleep
from skerry._kernel.effects import SYSTEM, Effects
from skerry._kernel.hooks import Hooks
from skerry._kernel.interception import Interceptors, RequestInfo, ResponseInfo
from skerry._kernel.model import NOT_GIVEN, NotGiven
from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry._kernel.settings import time_limit, tries
from skerry.networks.dispersed import operations
from skerry.networks.dispersed._async.accounts import AsyncAccounts
from skerry.networks.dispersed._async.compute import AsyncCompute
from skerry.networks.dispersed._async.gpu_registry import AsyncGpuRegistry
from skerry.networks.dispersed._async.job_recipes import AsyncJobRecipes
from skerry.networks.dispersed._async.job_runs import AsyncJobRuns
from skerry.networks.dispersed._async.jobs import AsyncJobs
from skerry.networks.dispersed._async.keys import AsyncApiKeys, AsyncSshPublicKeys
from skerry.networks.dispersed._async.resource import AsyncResource
from skerry.networks.dispersed.config import RETRY, TIMEOUT, resolve
from skerry.networks.dispersed.dialect import hmac_dialect
from skerry.networks.dispersed.inputs import WriteOptions
from skerry.networks.dispersed.queries import Parameters

if TYPE_CHECKING:
    import httpx2

BeforeHook = Callable[[RequestInfo], object]
AfterHook = Callable[[ResponseInfo, RequestInfo], object]


class AsyncDispersed(AsyncConnected):
    """A client of the Dispersed Network compute API, hosted or an island.

    Args:
        public_key: such as `pk_...`; else from `DISPERSED_PUBLIC_KEY` or `ZER_PUBLIC_KEY`.
        secret_key: such as `sk_...`; else from `DISPERSED_SECRET_KEY` or `ZER_SECRET_KEY`. It never leaves the process.
        base_url: else from `DISPERSED_API_BASE_URL` or `ZER_API_BASE_URL`, else the hosted service. A path in it is
            kept and signed with the rest.
        timeout: seconds each try may take, None for no limit.
        retry: further tries after an answer with status 429 or 5xx; every method is tried again, so give 0, or an
            idempotency key, where acting twice would hurt.
        before: hooks called before each try; they may add headers, and see nothing of the signature.
        after: hooks called with each answer and its request, also with errors.
        retry_network_errors: try again after failures of the transport too, where that cannot act twice.
        sync_clock: set a wrong clock right once, by the service's `Date`.
        transport: an `httpx2.AsyncClient`, or anything else that carries requests; httpx2 by default.
        hooks: who is told about requests, answers, repeats and errors.
        effects: clock and chance, for tests.
        sleeper: waits between tries, for tests.
        environ: where settings are looked up, `os.environ` by default.

    Attributes:
        accounts: accounts and their credit.
        jobs: requests for work.
        job_runs: executions of jobs.
        job_recipes: saved templates of jobs.
        gpu_registry: models of GPUs.
        compute: rewards and the ledger.
        api_keys: key pairs.
        ssh_public_keys: keys that may log in to containers.

    Raises:
        ConfigurationError: a key is missing or empty, or a setting makes no sense (also a ValueError).
    """

    accounts: AsyncAccounts
    jobs: AsyncJobs
    job_runs: AsyncJobRuns
    job_recipes: AsyncJobRecipes
    gpu_registry: AsyncGpuRegistry
    compute: AsyncCompute
    api_keys: AsyncApiKeys
    ssh_public_keys: AsyncSshPublicKeys

    def __init__(
        self,
        public_key: str | None = None,
        secret_key: str | None = None,
        base_url: str | None = None,
        *,
        timeout: float | None = TIMEOUT,
        retry: int = RETRY,
        before: Sequence[BeforeHook] = (),
        after: Sequence[AfterHook] = (),
        retry_network_errors: bool = False,
        sync_clock: bool = False,
        transport: AsyncTransport | httpx2.AsyncClient | None = None,
        hooks: Hooks | None = None,
        effects: Effects = SYSTEM,
        sleeper: AsyncSleeper = async_sleep,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._config = resolve(
            os.environ if environ is None else environ,
            public_key=public_key,
            secret_key=secret_key,
            base_url=base_url,
            retry=retry,
            retry_network_errors=retry_network_errors,
            sync_clock=sync_clock,
        )
        self._interceptors = Interceptors(tuple(before), tuple(after))
        self._connect(transport)
        dialect = hmac_dialect(self._config, time_limit(timeout, "dispersed"), effects, self._interceptors)
        self._use(AsyncDriver(dialect, self._transport, effects=effects, sleeper=sleeper, hooks=hooks))

    def _use(self, driver: AsyncDriver) -> None:
        self._driver = driver
        base_url = self._config.base_url
        self.accounts = AsyncAccounts(driver, base_url)
        self.jobs = AsyncJobs(driver, base_url)
        self.job_runs = AsyncJobRuns(driver, base_url)
        self.job_recipes = AsyncJobRecipes(driver, base_url)
        self.gpu_registry = AsyncGpuRegistry(driver, base_url)
        self.compute = AsyncCompute(driver, base_url)
        self.api_keys = AsyncApiKeys(driver, base_url)
        self.ssh_public_keys = AsyncSshPublicKeys(driver, base_url)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(public_key={self.public_key!r}, base_url={self.base_url!r})"

    @property
    def public_key(self) -> str:
        """The public half of the key pair in use."""
        return self._config.public_key

    @property
    def base_url(self) -> str:
        """Base URL, without trailing slash."""
        return self._config.base_url

    @property
    def timeout(self) -> float | None:
        """Seconds each try may take, None for no limit."""
        return self._driver.dialect.timeout

    @property
    def retry(self) -> int:
        """Further tries after the first."""
        return self._config.retry

    async def request(
        self,
        method: str,
        path: str,
        params: Parameters = None,
        *,
        body: Any = NOT_GIVEN,
        options: RequestOptions | None = None,
        **call: Unpack[WriteOptions],
    ) -> Any:
        """Any call of the API, signed and repeated like all others; for what this library has no method for.

        Args:
            method: HTTP method.
            path: below the base URL, already encoded, such as `/v1/nodes`.
            params: of the query; pairs where a name is to come twice.
            body: JSON data; None is the body `null`, not given is no body.
            options: for this call; keywords of `WriteOptions` win over it.

        Returns:
            The JSON of the answer, None for an empty one.

        Raises:
            ApiError: the service refused.
            DispersedError: anything else went wrong.
        """
        built = operations.other(method, self.base_url, path, params, body)
        return await AsyncResource(self._driver, self.base_url)._send(built, options, call)

    def with_options(
        self,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
        headers: Mapping[str, str] | None = None,
        retry: int | None = None,
        before: Sequence[BeforeHook] | None = None,
        after: Sequence[AfterHook] | None = None,
        hooks: Hooks | None = None,
    ) -> AsyncDispersed:
        """A copy with other defaults over the same connections; closing the copy closes nothing.

        Args:
            timeout: seconds each try may take, None for no limit.
            headers: further headers of every request.
            retry: further tries after the first.
            before: hooks in place of the present ones.
            after: hooks in place of the present ones.
            hooks: who is told what happens.
        """
        copy = AsyncDispersed.__new__(AsyncDispersed)
        copy._config = (
            self._config if retry is None else replace(self._config, retry=tries(retry, "dispersed", "retry"))
        )
        copy._share(self)
        copy._interceptors = Interceptors(
            self._interceptors.before if before is None else tuple(before),
            self._interceptors.after if after is None else tuple(after),
        )
        limit = self.timeout if isinstance(timeout, NotGiven) else time_limit(timeout, "dispersed")
        dialect = hmac_dialect(copy._config, limit, self._driver.effects, copy._interceptors)
        options = RequestOptions(headers=headers).over(self._driver.options)
        copy._use(self._driver.but(dialect=dialect, hooks=hooks, options=options))
        return copy

    @cached_property
    def with_raw_response(self) -> AsyncRawDispersed:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawDispersed(self)


class AsyncRawDispersed:
    """The methods of `AsyncDispersed`, returning `RawResponse` objects."""

    def __init__(self, client: AsyncDispersed) -> None:
        self.accounts = client.accounts.with_raw_response
        self.jobs = client.jobs.with_raw_response
        self.job_runs = client.job_runs.with_raw_response
        self.job_recipes = client.job_recipes.with_raw_response
        self.gpu_registry = client.gpu_registry.with_raw_response
        self.compute = client.compute.with_raw_response
        self.api_keys = client.api_keys.with_raw_response
        self.ssh_public_keys = client.ssh_public_keys.with_raw_response
        self.request = async_raw(client.request)
