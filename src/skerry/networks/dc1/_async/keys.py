"""Keys beside the master key, and webhooks (sections 3.1 and 5.9)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.dc1 import models, operations
from skerry.networks.dc1._async.resource import AsyncResource
from skerry.networks.dc1.inputs import ApiKeyInput, KeyInput, WebhookEvent


class AsyncKeys(AsyncResource):
    """Scoped keys of the caller's account."""

    async def create(self, *, options: RequestOptions | None = None, **key: Unpack[KeyInput]) -> models.Key:
        """Make a scoped key, which the OpenAI-style routes honour; it is shown this once (section 3.1).

        Args:
            key: see `KeyInput`.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.KEY_CREATE, body=key, options=options)

    async def list(self, *, options: RequestOptions | None = None) -> models.KeyListing:
        """The scoped keys, without the keys themselves (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.KEY_LIST, options=options)

    async def revoke(self, key_id: str, *, options: RequestOptions | None = None) -> models.Done:
        """Revoke a scoped key (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.KEY_REVOKE, key_id, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawKeys:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawKeys(self)


class AsyncRawKeys:
    """The methods of `AsyncKeys`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncKeys) -> None:
        self.create = async_raw(resource.create)
        self.list = async_raw(resource.list)
        self.revoke = async_raw(resource.revoke)


class AsyncApiKeys(AsyncResource):
    """Keys for a few purposes."""

    async def create(
        self, renter_id: int, *, options: RequestOptions | None = None, **key: Unpack[ApiKeyInput]
    ) -> models.Key:
        """Make a key for a few purposes; it is shown this once (section 3.1).

        Args:
            renter_id: the caller's own.
            key: see `ApiKeyInput`.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.API_KEY_CREATE, renter_id, body=key, options=options)

    async def list(self, renter_id: int, *, options: RequestOptions | None = None) -> models.KeyListing:
        """The keys of an account, without the keys themselves (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.API_KEY_LIST, renter_id, options=options)

    async def revoke(self, renter_id: int, key_id: str, *, options: RequestOptions | None = None) -> models.Done:
        """Revoke a key (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.API_KEY_REVOKE, renter_id, key_id, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawApiKeys:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawApiKeys(self)


class AsyncRawApiKeys:
    """The methods of `AsyncApiKeys`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncApiKeys) -> None:
        self.create = async_raw(resource.create)
        self.list = async_raw(resource.list)
        self.revoke = async_raw(resource.revoke)


class AsyncWebhooks(AsyncResource):
    """Places that are told about jobs."""

    async def create(
        self,
        renter_id: int,
        *,
        url: str,
        secret: str,
        events: Sequence[WebhookEvent | str],
        options: RequestOptions | None = None,
    ) -> Any:
        """Have a place told about jobs; there is room for 5 (sections 3.1 and 5.9).

        Args:
            renter_id: the caller's own.
            url: https, a public host.
            secret: 16 characters or more, which callbacks are signed with.
            events: what to tell.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(
            operations.WEBHOOK_CREATE, renter_id, body={"url": url, "secret": secret, "events": events}, options=options
        )

    async def list(self, renter_id: int, *, options: RequestOptions | None = None) -> models.WebhookListing:
        """The webhooks of an account (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.WEBHOOK_LIST, renter_id, options=options)

    async def delete(
        self, renter_id: int, webhook_id: str | int, *, options: RequestOptions | None = None
    ) -> models.Done:
        """Delete a webhook (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.WEBHOOK_DELETE, renter_id, webhook_id, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawWebhooks:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawWebhooks(self)


class AsyncRawWebhooks:
    """The methods of `AsyncWebhooks`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncWebhooks) -> None:
        self.create = async_raw(resource.create)
        self.list = async_raw(resource.list)
        self.delete = async_raw(resource.delete)
