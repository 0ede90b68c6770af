"""The account: the `accounts` object of the client."""

from __future__ import annotations

from functools import cached_property
from typing import Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.octaspace import operations
from skerry.networks.octaspace._async.resource import AsyncResource
from skerry.networks.octaspace.inputs import CallOptions
from skerry.networks.octaspace.models import Account, Balance, Wallet


class AsyncAccounts(AsyncResource):
    """The owner of the key, and its credit."""

    async def get(self, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> Account:
        """The caller's account (section 3.1).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaAuthenticationError: there is no key, or it is unknown.
            OctaError: anything else went wrong.
        """
        return await self._send(operations.get_account(self._base_url), options, call)

    async def balance(self, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> Balance:
        """What the account has to spend, in Wei (section 3.1).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaAuthenticationError: there is no key, or it is unknown.
            OctaError: anything else went wrong.
        """
        return await self._send(operations.get_balance(self._base_url), options, call)

    async def generate_wallet(self, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> Wallet:
        """Make a new deposit address, which replaces the one before (section 3.1).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            OctaAuthenticationError: there is no key, or it is unknown.
            OctaError: anything else went wrong; whether there is a new address is told by `outcome`.
        """
        return await self._send(operations.generate_wallet(self._base_url), options, call)

    @cached_property
    def with_raw_response(self) -> AsyncRawAccounts:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawAccounts(self)


class AsyncRawAccounts:
    """The methods of `AsyncAccounts`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncAccounts) -> None:
        self.get = async_raw(resource.get)
        self.balance = async_raw(resource.balance)
        self.generate_wallet = async_raw(resource.generate_wallet)
