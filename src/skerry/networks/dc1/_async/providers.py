"""Providers as renters see them (section 3.2)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.dc1 import operations
from skerry.networks.dc1._async.resource import AsyncResource
from skerry.networks.dc1.errors import DC1NotFoundError
from skerry.networks.dc1.models import Liveness, Provider, ProviderListing

ProviderList = list[Provider]


class AsyncProviders(AsyncResource):
    """GPUs of others."""

    async def list(
        self,
        *,
        min_vram_gb: float | None = None,
        gpu_model: str | None = None,
        options: RequestOptions | None = None,
    ) -> ProviderList:
        """The GPUs that can be rented, the one with the most memory first; needs no key (sections 3.2 and 4.1).

        All are listed, also those that were not heard of lately: see `is_live`.

        Args:
            min_vram_gb: only those with that much memory.
            gpu_model: only those whose model's name contains this, in any case.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        found = (await self.available(options=options)).providers
        if min_vram_gb:
            found = [provider for provider in found if provider.vram_gb >= min_vram_gb]
        if gpu_model:
            word = gpu_model.lower()
            found = [provider for provider in found if word in (provider.gpu_model or "").lower()]
        return found

    async def get(self, provider_id: int, *, options: RequestOptions | None = None) -> Provider:
        """One of the GPUs that can be rented; needs no key (section 4.2).

        Raises:
            DC1NotFoundError: it is not among them.
            DC1Error: the service refused or could not be reached.
        """
        for provider in (await self.available(options=options)).providers:
            if provider.id == provider_id:
                return provider
        text = f"Provider {provider_id} not found in available providers"
        raise DC1NotFoundError(text, 404, {"provider_id": provider_id})

    async def available(self, *, options: RequestOptions | None = None, **query: Any) -> ProviderListing:
        """The GPUs that can be rented, and how they were found; needs no key (section 3.2).

        Args:
            query: `discovery`, `allow_stale`, `max_age_ms`.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.AVAILABLE, query=query, options=options)

    async def listed(self, *, options: RequestOptions | None = None, **query: Any) -> ProviderListing:
        """GPUs with reputation and prices; needs no key (section 3.2).

        Args:
            query: parameters, sent as they are.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.LISTED, query=query, options=options)

    async def online(self, *, options: RequestOptions | None = None) -> ProviderListing:
        """GPUs that were heard of just now; needs no key (section 3.2).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ONLINE, options=options)

    async def marketplace(self, *, options: RequestOptions | None = None) -> ProviderList:
        """GPUs with their prices; needs no key (section 3.2).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.MARKETPLACE, options=options)

    async def public(self, *, options: RequestOptions | None = None) -> ProviderList:
        """GPUs as the public page lists them; needs no key (section 3.2).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.PUBLIC, options=options)

    async def active(self, *, options: RequestOptions | None = None) -> Any:
        """Providers that work just now; needs no key (section 3.2).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ACTIVE_PROVIDERS, options=options)

    async def models(self, *, options: RequestOptions | None = None) -> Any:
        """Models that providers have at hand; needs no key (section 3.2).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.PROVIDER_MODELS, options=options)

    async def liveness(self, provider_id: int, *, options: RequestOptions | None = None) -> Liveness:
        """When a provider was heard of last; needs no key (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.LIVENESS, provider_id, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawProviders:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawProviders(self)


class AsyncRawProviders:
    """The methods of `AsyncProviders`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncProviders) -> None:
        self.list = async_raw(resource.list)
        self.get = async_raw(resource.get)
        self.available = async_raw(resource.available)
        self.listed = async_raw(resource.listed)
        self.online = async_raw(resource.online)
        self.marketplace = async_raw(resource.marketplace)
        self.public = async_raw(resource.public)
        self.active = async_raw(resource.active)
        self.models = async_raw(resource.models)
        self.liveness = async_raw(resource.liveness)
