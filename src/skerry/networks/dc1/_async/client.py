"""The client of DC1."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from skerry._io._async.client import AsyncConnected
from skerry._io._async.driver import AsyncDriver
from skerry._io.transport import AsyncTransport
from skerry._io.waiting import AsyncSleeper, async_sleep
from skerry._kernel.dialect import Dialect
from skerry._kernel.effects import SYSTEM, Effects
from skerry._kernel.hooks import Hooks
from skerry._kernel.model import NOT_GIVEN, NotGiven
from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry._kernel.settings import time_limit, tries
from skerry.networks.dc1 import operations
from skerry.networks.dc1._async.admin import AsyncAdmin
from skerry.networks.dc1._async.catalogue import (
    AsyncContainers,
    AsyncModels,
    AsyncPricing,
    AsyncSystem,
    AsyncTemplates,
)
from skerry.networks.dc1._async.jobs import AsyncJobs
from skerry.networks.dc1._async.keys import AsyncApiKeys, AsyncKeys, AsyncWebhooks
from skerry.networks.dc1._async.provider_host import AsyncProviderHost
from skerry.networks.dc1._async.providers import AsyncProviders
from skerry.networks.dc1._async.renters import AsyncRenters
from skerry.networks.dc1._async.resource import AsyncChannel
from skerry.networks.dc1._async.v1 import AsyncV1
from skerry.networks.dc1._async.wallet import AsyncPayments, AsyncWallet
from skerry.networks.dc1.config import RETRIES, TIMEOUT, resolve
from skerry.networks.dc1.dialect import Role, role_dialect
from skerry.networks.dc1.inputs import JobOptions, JobType, Priority, RegisterInput
from skerry.networks.dc1.models import (
    Balance,
    Cancellation,
    Job,
    JobLog,
    PaymentHistory,
    Provider,
    Registration,
    Renter,
)
from skerry.networks.dc1.polling import POLL_TIMEOUT, WAIT_INTERVAL, WAIT_TIMEOUT

if TYPE_CHECKING:
    import httpx2

_ROLES: tuple[Role, ...] = ("renter", "provider", "admin")


class AsyncDC1(AsyncConnected):
    """A client of the DC1 marketplace of GPUs, hosted or an island.

    The methods of the client itself are those of the network's renter SDK; everything else is in its resources.

    Args:
        api_key: the renter's, such as `dc1-renter-...`; else from `DCP_RENTER_KEY`. Registering and looking around
            need none.
        base_url: else from `API_BASE`, else the hosted service. A path in it is kept.
        provider_key: of a GPU host's account, for `provider`; else from `SKERRY_DC1_PROVIDER_KEY`.
        admin_token: for `admin`; else from `DC1_ADMIN_TOKEN`.
        hmac_secret: the platform's secret, which heartbeats are signed with where there is one; else from
            `DC1_HMAC_SECRET`.
        timeout: seconds each try may take, None for no limit.
        retries: further tries after the first where that is harmless; none unless asked for, as in the official SDKs.
        transport: an `httpx2.AsyncClient`, or anything else that carries requests; httpx2 by default.
        hooks: who is told about requests, answers, repeats and errors.
        effects: clock and chance, for tests.
        sleeper: waits between tries and looks, for tests.
        environ: where settings are looked up, `os.environ` by default.

    Attributes:
        jobs: work to be done.
        providers: GPUs that can be rented.
        wallet: the caller's money, as the official SDKs have it.
        renters: the caller's account.
        keys: scoped keys of the account.
        api_keys: keys for a few purposes.
        webhooks: places that are told about jobs.
        payments: payments into the wallet.
        pricing: prices.
        models: models that can be served.
        templates: jobs that are filled in beforehand.
        containers: images that jobs may use.
        v1: models in the manner of OpenAI.
        provider: the caller's own GPU host.
        admin: the operator's side.
        system: the service itself.

    Raises:
        ConfigurationError: a key is given but blank, or a setting makes no sense (also a ValueError).
    """

    jobs: AsyncJobs
    providers: AsyncProviders
    wallet: AsyncWallet
    renters: AsyncRenters
    keys: AsyncKeys
    api_keys: AsyncApiKeys
    webhooks: AsyncWebhooks
    payments: AsyncPayments
    pricing: AsyncPricing
    models: AsyncModels
    templates: AsyncTemplates
    containers: AsyncContainers
    v1: AsyncV1
    provider: AsyncProviderHost
    admin: AsyncAdmin
    system: AsyncSystem

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        provider_key: str | None = None,
        admin_token: str | None = None,
        hmac_secret: str | None = None,
        timeout: float | None = TIMEOUT,
        retries: int = RETRIES,
        transport: AsyncTransport | httpx2.AsyncClient | None = None,
        hooks: Hooks | None = None,
        effects: Effects = SYSTEM,
        sleeper: AsyncSleeper = async_sleep,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        config = resolve(
            os.environ if environ is None else environ,
            api_key=api_key,
            base_url=base_url,
            provider_key=provider_key,
            admin_token=admin_token,
            hmac_secret=hmac_secret,
            retries=retries,
        )
        limit = time_limit(timeout, "dc1")
        dialects: dict[Role, Dialect] = {role: role_dialect(config, role, limit) for role in _ROLES}
        self._connect(transport)
        first = AsyncDriver(dialects["renter"], self._transport, effects=effects, sleeper=sleeper, hooks=hooks)
        drivers: dict[Role, AsyncDriver] = {role: first.but(dialect=dialect) for role, dialect in dialects.items()}
        self._use(AsyncChannel(config, drivers))

    def _use(self, channel: AsyncChannel) -> None:
        self._channel = channel
        self.jobs = AsyncJobs(channel)
        self.providers = AsyncProviders(channel)
        self.wallet = AsyncWallet(channel)
        self.renters = AsyncRenters(channel)
        self.keys = AsyncKeys(channel)
        self.api_keys = AsyncApiKeys(channel)
        self.webhooks = AsyncWebhooks(channel)
        self.payments = AsyncPayments(channel)
        self.pricing = AsyncPricing(channel)
        self.models = AsyncModels(channel)
        self.templates = AsyncTemplates(channel)
        self.containers = AsyncContainers(channel)
        self.v1 = AsyncV1(channel)
        self.provider = AsyncProviderHost(channel)
        self.admin = AsyncAdmin(channel)
        self.system = AsyncSystem(channel)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self.base_url!r})"

    @property
    def base_url(self) -> str:
        """Base URL, without trailing slash."""
        return self._channel.config.base_url

    @property
    def timeout(self) -> float | None:
        """Seconds each try may take, None for no limit."""
        return self._channel.drivers["renter"].dialect.timeout

    @property
    def retries(self) -> int:
        """Further tries after the first."""
        return self._channel.config.retries

    async def me(self, *, options: RequestOptions | None = None) -> Renter:
        """The caller's account (section 4.1); the key goes into the query too, as the official SDK sends it.

        Raises:
            AuthError: the key is not known.
            DC1Error: anything else went wrong.
        """
        return await self.wallet.me(options=options)

    async def register(
        self,
        name: str,
        email: str,
        organization: str | None = None,
        *,
        use_case: str | None = None,
        phone: str | None = None,
        options: RequestOptions | None = None,
    ) -> Registration:
        """Make a renter's account; this client goes on with the key it has (section 4.1).

        Args:
            name: 2 to 120 characters.
            email: where the renter can be reached; there is one account for each.
            organization: whom the renter works for.
            use_case: what for.
            phone: number.
            options: for this call.

        Raises:
            DC1ConflictError: the address has an account.
            DC1Error: anything else went wrong.
        """
        more: RegisterInput = {}
        if organization is not None:
            more["organization"] = organization
        if use_case is not None:
            more["use_case"] = use_case
        if phone is not None:
            more["phone"] = phone
        return await self.renters.register(name, email, options=options, **more)

    async def list_providers(
        self,
        min_vram_gb: float | None = None,
        gpu_model: str | None = None,
        *,
        options: RequestOptions | None = None,
    ) -> list[Provider]:
        """The GPUs that can be rented, the one with the most memory first (section 4.1).

        All are listed, also those that were not heard of lately: see `is_live`.

        Args:
            min_vram_gb: only those with that much memory.
            gpu_model: only those whose model's name contains this, in any case.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self.providers.list(min_vram_gb=min_vram_gb, gpu_model=gpu_model, options=options)

    async def submit_job(
        self,
        provider_id: int | None,
        job_type: JobType | str,
        params: Mapping[str, Any],
        duration_minutes: float,
        priority: Priority | int = 2,
        *,
        options: RequestOptions | None = None,
        **more: Unpack[JobOptions],
    ) -> Job:
        """Submit a job and look at it once (section 4.1): two requests, as the official SDK makes them.

        Args:
            provider_id: on whose GPU; None for whichever fits.
            job_type: what kind of work.
            params: what exactly; sent as they are.
            duration_minutes: how long at most; the price of that is held.
            priority: 1 is high, 3 is low.
            options: for each request.
            more: see `JobOptions`.

        Raises:
            DC1PaymentRequiredError: the wallet does not cover the hold.
            DC1NoCapacityError: the provider went offline; list them again.
            DC1Error: anything else went wrong; an error with a `job_id` came after the job was made.
        """
        return await self.jobs.submit(
            job_type,
            params,
            provider_id=provider_id,
            duration_minutes=duration_minutes,
            priority=priority,
            options=options,
            **more,
        )

    async def get_job(self, job_id: str | int, *, options: RequestOptions | None = None) -> Job:
        """A job as its output tells it (section 4.1); failed and cancelled jobs are returned, not raised.

        Raises:
            DC1NotFoundError: there is none such.
            DC1Error: anything else went wrong.
        """
        return await self.jobs.get(job_id, options=options)

    async def wait_for_job(
        self,
        job_id: str | int,
        poll_interval: float = WAIT_INTERVAL,
        timeout: float = WAIT_TIMEOUT,
        on_progress: Callable[[str], object] | None = None,
        *,
        options: RequestOptions | None = None,
    ) -> Job:
        """Look at a job until it has ended, exactly as the official SDK does: the first failure ends it (section 4.1).

        `jobs.wait` is more patient, and works with servers of every shape.

        Args:
            job_id: which job.
            poll_interval: seconds between looks.
            timeout: seconds to wait at most; the job is looked at once in any case.
            on_progress: called with the status after each look.
            options: for each request; its deadline ends the waiting too.

        Raises:
            JobTimeoutError: the time is up, and the job goes on.
            DC1Error: looking failed, also with 429.
        """
        return await self.jobs.wait_for(job_id, poll_interval, timeout, on_progress, options=options)

    async def poll_job(
        self,
        job_id: str | int,
        timeout: float = POLL_TIMEOUT,
        interval: float | None = None,
        *,
        options: RequestOptions | None = None,
    ) -> Job:
        """Look at a job's row until it has ended, as the network's guide does it; see `jobs.poll` (section 2.8).

        Args:
            job_id: which job.
            timeout: seconds to wait at most.
            interval: seconds between looks; by the job's type unless given, 5 or 15.
            options: for each request; its deadline ends the waiting too.

        Raises:
            JobTimeoutError: the time is up, and the job goes on.
        """
        return await self.jobs.poll(job_id, timeout=timeout, interval=interval, options=options)

    async def get_job_logs(
        self, job_id: str | int, since: int | None = None, *, options: RequestOptions | None = None
    ) -> list[JobLog]:
        """Lines of a job's log (section 4.1).

        Args:
            job_id: which job.
            since: number of the last line that is known already.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self.jobs.get_logs(job_id, since, options=options)

    async def cancel_job(self, job_id: str | int, *, options: RequestOptions | None = None) -> Cancellation:
        """Cancel a job; all that was held for it goes back to the wallet (section 4.1).

        Raises:
            DC1ConflictError: it has ended already.
            DC1Error: anything else went wrong.
        """
        return await self.jobs.cancel(job_id, options=options)

    async def get_balance(self, *, options: RequestOptions | None = None) -> Balance:
        """What the wallet holds (section 4.1).

        Raises:
            AuthError: the key is not known.
            DC1Error: anything else went wrong.
        """
        return await self.renters.balance(options=options)

    async def get_payment_history(self, limit: int = 20, *, options: RequestOptions | None = None) -> PaymentHistory:
        """The latest jobs with what they cost (section 4.1).

        Args:
            limit: how many, no more than 100.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self.jobs.history(limit=limit, options=options)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = NOT_GIVEN,
        role: Role | None = "renter",
        options: RequestOptions | None = None,
    ) -> Any:
        """Any call of the API; for what this library has no method for.

        Args:
            method: HTTP method.
            path: below the base URL, already encoded, such as `/api/standup`.
            query: parameters; None is left out.
            body: JSON data, or bytes that are sent as they are; not given for no body.
            role: as whom; None for a call without a key.
            options: for this call.

        Returns:
            The JSON of the answer, `{}` for an empty one; text or bytes where the answer says that it is no JSON, such
            as an installer or a CSV file.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        call = operations.other(method, self.base_url, path, query, body)
        if role is None:
            call = replace(call, operation=replace(call.operation, auth=False))
        return await self._channel.drivers[role or "renter"].send(call, options)

    def with_options(
        self,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
        headers: Mapping[str, str] | None = None,
        retries: int | None = None,
        hooks: Hooks | None = None,
    ) -> AsyncDC1:
        """A copy with other defaults over the same connections; closing the copy closes nothing.

        Args:
            timeout: seconds each try may take, None for no limit.
            headers: further headers of every request.
            retries: further tries after the first.
            hooks: who is told what happens.
        """
        copy = AsyncDC1.__new__(AsyncDC1)
        copy._share(self)
        config = self._channel.config
        if retries is not None:
            config = replace(config, retries=tries(retries, "dc1"))
        limit = self.timeout if isinstance(timeout, NotGiven) else time_limit(timeout, "dc1")
        options = RequestOptions(headers=headers)
        drivers: dict[Role, AsyncDriver] = {
            role: driver.but(
                dialect=role_dialect(config, role, limit), hooks=hooks, options=options.over(driver.options)
            )
            for role, driver in self._channel.drivers.items()
        }
        copy._use(AsyncChannel(config, drivers))
        return copy

    @cached_property
    def with_raw_response(self) -> AsyncRawDC1:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawDC1(self)


class AsyncRawDC1:
    """The methods of `AsyncDC1`, returning `RawResponse` objects."""

    def __init__(self, client: AsyncDC1) -> None:
        self.jobs = client.jobs.with_raw_response
        self.providers = client.providers.with_raw_response
        self.wallet = client.wallet.with_raw_response
        self.renters = client.renters.with_raw_response
        self.keys = client.keys.with_raw_response
        self.api_keys = client.api_keys.with_raw_response
        self.webhooks = client.webhooks.with_raw_response
        self.payments = client.payments.with_raw_response
        self.pricing = client.pricing.with_raw_response
        self.models = client.models.with_raw_response
        self.templates = client.templates.with_raw_response
        self.containers = client.containers.with_raw_response
        self.v1 = client.v1.with_raw_response
        self.provider = client.provider.with_raw_response
        self.admin = client.admin.with_raw_response
        self.system = client.system.with_raw_response
        self.me = async_raw(client.me)
        self.register = async_raw(client.register)
        self.list_providers = async_raw(client.list_providers)
        self.submit_job = async_raw(client.submit_job)
        self.get_job = async_raw(client.get_job)
        self.wait_for_job = async_raw(client.wait_for_job)
        self.poll_job = async_raw(client.poll_job)
        self.get_job_logs = async_raw(client.get_job_logs)
        self.cancel_job = async_raw(client.cancel_job)
        self.get_balance = async_raw(client.get_balance)
        self.get_payment_history = async_raw(client.get_payment_history)
        self.request = async_raw(client.request)
