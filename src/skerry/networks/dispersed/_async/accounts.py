"""Accounts: the `accounts` object of the client."""

from __future__ import annotations

from functools import cached_property
from typing import Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.dispersed import operations
from skerry.networks.dispersed._async.resource import AsyncResource
from skerry.networks.dispersed.inputs import CallOptions
from skerry.networks.dispersed.models import Account, AccountBalance, AccountConsumerSummary, AccountSpendSummary


class AsyncAccounts(AsyncResource):
    """Accounts and their credit."""

    async def get_me(self, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]) -> Account:
        """The caller's account (section 3.8).

        Args:
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            ApiError: the service refused.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.get_me(self._base_url), options, call)

    async def get_balance(
        self, uuid: str, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]
    ) -> AccountBalance:
        """Credit of an account: all, held, and free to spend (section 3.8).

        Args:
            uuid: the account's.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            DispersedPermissionDeniedError: it is another account.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.get_balance(self._base_url, uuid), options, call)

    async def get_spend_summary(
        self, uuid: str, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]
    ) -> AccountSpendSummary:
        """What an account has spent, in all, lately and by day (section 3.8).

        Args:
            uuid: the account's.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            DispersedPermissionDeniedError: it is another account.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.get_spend_summary(self._base_url, uuid), options, call)

    async def get_consumer_summary(
        self, uuid: str, *, options: RequestOptions | None = None, **call: Unpack[CallOptions]
    ) -> AccountConsumerSummary:
        """What an account has used (section 3.8).

        Args:
            uuid: the account's.
            options: for this call; keywords of `CallOptions` win over it.

        Raises:
            DispersedPermissionDeniedError: it is another account.
            DispersedError: anything else went wrong.
        """
        return await self._send(operations.get_consumer_summary(self._base_url, uuid), options, call)

    @cached_property
    def with_raw_response(self) -> AsyncRawAccounts:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawAccounts(self)


class AsyncRawAccounts:
    """The methods of `AsyncAccounts`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncAccounts) -> None:
        self.get_me = async_raw(resource.get_me)
        self.get_balance = async_raw(resource.get_balance)
        self.get_spend_summary = async_raw(resource.get_spend_summary)
        self.get_consumer_summary = async_raw(resource.get_consumer_summary)
