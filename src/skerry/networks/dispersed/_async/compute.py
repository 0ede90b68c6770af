"""Rewards and the ledger: the `compute` object of the client."""

from __future__ import annotations

from functools import cached_property
from typing import Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.dispersed import operations
from skerry.networks.dispersed._async.resource import AsyncPage, AsyncResource
from skerry.networks.dispersed.inputs import AuthorizationFilters, RewardFilters, TransactionFilters
from skerry.networks.dispersed.models import LedgerAuthorization, LedgerTransaction, Reward
from skerry.networks.dispersed.queries import Parameters


class AsyncCompute(AsyncResource):
    """What nodes earned, and the movements of credit."""

    async def rewards(
        self, params: Parameters = None, /, *, options: RequestOptions | None = None, **query: Unpack[RewardFilters]
    ) -> AsyncPage[Reward]:
        """What the account's nodes earned, week by week (section 3.6).

        Args:
            params: in the wire's words, such as `{"limit": 10, "filter[status]": "RUNNING"}`.
            options: for this call and those for further pages; keywords win over it.
            query: the same as keywords: `page`, `limit`, `sort`, those of `RewardFilters`, any other filter in
                `filter`, and options of the call.

        Returns:
            The page asked for; iterating over it goes on through the following ones.

        Raises:
            DispersedInvalidRequestError: a field is wrong; `details` says which.
            DispersedError: anything else went wrong.
        """
        return await self._list(operations.list_rewards, RewardFilters, params, options, query)

    async def ledger_authorizations(
        self,
        params: Parameters = None,
        /,
        *,
        options: RequestOptions | None = None,
        **query: Unpack[AuthorizationFilters],
    ) -> AsyncPage[LedgerAuthorization]:
        """Holds on credit (section 3.6).

        Args:
            params: in the wire's words, such as `{"limit": 10, "filter[status]": "RUNNING"}`.
            options: for this call and those for further pages; keywords win over it.
            query: the same as keywords: `page`, `limit`, `sort`, those of `AuthorizationFilters`, any other filter in
                `filter`, and options of the call.

        Returns:
            The page asked for; iterating over it goes on through the following ones.

        Raises:
            DispersedInvalidRequestError: a field is wrong; `details` says which.
            DispersedError: anything else went wrong.
        """
        return await self._list(operations.list_authorizations, AuthorizationFilters, params, options, query)

    async def ledger_transactions(
        self,
        params: Parameters = None,
        /,
        *,
        options: RequestOptions | None = None,
        **query: Unpack[TransactionFilters],
    ) -> AsyncPage[LedgerTransaction]:
        """Settled movements of credit (section 3.6).

        Args:
            params: in the wire's words, such as `{"limit": 10, "filter[status]": "RUNNING"}`.
            options: for this call and those for further pages; keywords win over it.
            query: the same as keywords: `page`, `limit`, `sort`, those of `TransactionFilters`, any other filter in
                `filter`, and options of the call.

        Returns:
            The page asked for; iterating over it goes on through the following ones.

        Raises:
            DispersedInvalidRequestError: a field is wrong; `details` says which.
            DispersedError: anything else went wrong.
        """
        return await self._list(operations.list_transactions, TransactionFilters, params, options, query)

    @cached_property
    def with_raw_response(self) -> AsyncRawCompute:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawCompute(self)


class AsyncRawCompute:
    """The methods of `AsyncCompute`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncCompute) -> None:
        self.rewards = async_raw(resource.rewards)
        self.ledger_authorizations = async_raw(resource.ledger_authorizations)
        self.ledger_transactions = async_raw(resource.ledger_transactions)
