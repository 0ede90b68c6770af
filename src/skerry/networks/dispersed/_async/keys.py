"""API keys and SSH keys: the `api_keys` and `ssh_public_keys` objects of the client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from typing import Any, Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.dispersed import operations
from skerry.networks.dispersed._async.resource import AsyncPage, AsyncResource
from skerry.networks.dispersed.inputs import (
    ApiKeyFilters,
    ApiKeyInput,
    SshPublicKeyFilters,
    SshPublicKeyInput,
    SshPublicKeyUpdate,
    WriteOptions,
)
from skerry.networks.dispersed.models import ApiKey, CreatedApiKey, SshPublicKey
from skerry.networks.dispersed.queries import Parameters


class AsyncApiKeys(AsyncResource):
    """Key pairs of the account.

    The seed's SDK has `revoke` alone, and the hosted service lists and makes keys in its console only; `list` and
    `create` are for services that offer them on the wire too, as an island does (section 3.10).
    """

    async def list(
        self, params: Parameters = None, /, *, options: RequestOptions | None = None, **query: Unpack[ApiKeyFilters]
    ) -> AsyncPage[ApiKey]:
        """The account's key pairs, without their secrets; beyond the seed's SDK (section 3.10).

        Args:
            params: in the wire's words, such as `{"limit": 10, "sort": "created_at"}`.
            options: for this call and those for further pages; keywords win over it.
            query: the same as keywords: `page`, `limit`, `sort`, those of `ApiKeyFilters`, any other filter in
                `filter`, and options of the call.

        Returns:
            The page asked for; iterating over it goes on through the following ones.

        Raises:
            DispersedInvalidRequestError: a field is wrong; `details` says which.
            DispersedError: anything else went wrong; a service that lacks it answers 404 or 405.
        """
        return await self._list(operations.list_api_keys, ApiKeyFilters, params, options, query)

    async def iter_all(
        self, params: Parameters = None, /, *, options: RequestOptions | None = None, **query: Unpack[ApiKeyFilters]
    ) -> AsyncIterator[ApiKey]:
        """Every one of the key pairs that `list` finds, page after page as they are needed; same arguments."""
        async for item in await self.list(params, options=options, **query):
            yield item

    async def create(
        self,
        input: ApiKeyInput | Mapping[str, Any],
        *,
        options: RequestOptions | None = None,
        **call: Unpack[WriteOptions],
    ) -> CreatedApiKey:
        """Make a key pair; beyond the seed's SDK (section 3.10).

        Args:
            input: its name, what it may do, from where, and until when.
            options: for this call; keywords of `WriteOptions` win over it.

        Returns:
            The key pair with its `secret_key`, which no later answer holds.

        Raises:
            DispersedInvalidRequestError: a field is wrong; `details` says which.
            DispersedError: anything else went wrong; a service that lacks it answers 404 or 405.
        """
        return await self._send(operations.create_api_key(self._base_url, input), options, call)

    async def revoke(
        self, uuid: str, *, options: RequestOptions | None = None, **call: Unpack[WriteOptions]
    ) -> ApiKey | None:
        """Revoke an API key, for good; a key may revoke itself (section 3.9).

        Args:
            options: for this call; keywords of `WriteOptions` win over it.

        Raises:
            DispersedNotFoundError: there is none such, or it is another account's.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.revoke_api_key(self._base_url, uuid), options, call)

    @cached_property
    def with_raw_response(self) -> AsyncRawApiKeys:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawApiKeys(self)


class AsyncRawApiKeys:
    """The methods of `AsyncApiKeys`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncApiKeys) -> None:
        self.list = async_raw(resource.list)
        self.create = async_raw(resource.create)
        self.revoke = async_raw(resource.revoke)


class AsyncSshPublicKeys(AsyncResource):
    """Keys that may log in to containers."""

    async def list(
        self,
        params: Parameters = None,
        /,
        *,
        options: RequestOptions | None = None,
        **query: Unpack[SshPublicKeyFilters],
    ) -> AsyncPage[SshPublicKey]:
        """The account's SSH keys (section 3.7).

        Args:
            params: in the wire's words, such as `{"limit": 10, "filter[status]": "RUNNING"}`.
            options: for this call and those for further pages; keywords win over it.
            query: the same as keywords: `page`, `limit`, `sort`, those of `SshPublicKeyFilters`, any other filter in
                `filter`, and options of the call.

        Returns:
            The page asked for; iterating over it goes on through the following ones.

        Raises:
            DispersedInvalidRequestError: a field is wrong; `details` says which.
            DispersedError: anything else went wrong.
        """
        return await self._list(operations.list_ssh_public_keys, SshPublicKeyFilters, params, options, query)

    async def iter_all(
        self,
        params: Parameters = None,
        /,
        *,
        options: RequestOptions | None = None,
        **query: Unpack[SshPublicKeyFilters],
    ) -> AsyncIterator[SshPublicKey]:
        """Every one of the SSH keys that `list` finds, page after page as they are needed; same arguments."""
        async for item in await self.list(params, options=options, **query):
            yield item

    async def create(
        self,
        input: SshPublicKeyInput | Mapping[str, Any],
        *,
        options: RequestOptions | None = None,
        **call: Unpack[WriteOptions],
    ) -> SshPublicKey:
        """Store an SSH key (section 3.7).

        Args:
            input: the key in OpenSSH format, its name, and whether it is the default.
            options: for this call; keywords of `WriteOptions` win over it.

        Raises:
            DispersedInvalidRequestError: it is no key of a kind that is accepted.
            DispersedConflictError: the account has it already.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.create_ssh_public_key(self._base_url, input), options, call)

    async def update(
        self,
        uuid: str,
        input: SshPublicKeyUpdate | Mapping[str, Any],
        *,
        options: RequestOptions | None = None,
        **call: Unpack[WriteOptions],
    ) -> SshPublicKey:
        """Rename an SSH key, or make it the default (section 3.7).

        Args:
            input: what to change; a `name` of None clears it.
            options: for this call; keywords of `WriteOptions` win over it.

        Raises:
            DispersedNotFoundError: there is none such, or it is another account's.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.update_ssh_public_key(self._base_url, uuid, input), options, call)

    async def delete(self, uuid: str, *, options: RequestOptions | None = None, **call: Unpack[WriteOptions]) -> None:
        """Delete an SSH key (section 3.7).

        Args:
            options: for this call; keywords of `WriteOptions` win over it.

        Raises:
            DispersedNotFoundError: there is none such, or it is another account's.
            DispersedError: anything else went wrong.
        """
        await self._send(operations.delete_ssh_public_key(self._base_url, uuid), options, call)

    @cached_property
    def with_raw_response(self) -> AsyncRawSshPublicKeys:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawSshPublicKeys(self)


class AsyncRawSshPublicKeys:
    """The methods of `AsyncSshPublicKeys`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncSshPublicKeys) -> None:
        self.list = async_raw(resource.list)
        self.create = async_raw(resource.create)
        self.update = async_raw(resource.update)
        self.delete = async_raw(resource.delete)
