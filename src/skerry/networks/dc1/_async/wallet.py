"""The wallet as the official SDKs have it (section 4.2), and payments (section 3.9)."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Unpack

from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.errors import InvalidRequestError
from skerry.money import Money
from skerry.networks.dc1 import models, operations
from skerry.networks.dc1._async.resource import AsyncResource
from skerry.networks.dc1.inputs import PaymentInput


class AsyncWallet(AsyncResource):
    """The caller's wallet."""

    async def balance(self, *, options: RequestOptions | None = None) -> models.Balance:
        """What the wallet holds; the key goes into the query too, as the Python SDK sends it (section 4.2).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.BALANCE, query={"key": self._key("renter")}, options=options)

    async def me(self, *, options: RequestOptions | None = None) -> models.Renter:
        """The caller's account; the key goes into the query too, as the official SDKs send it (section 4.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.RENTER, query={"key": self._key("renter")}, options=options)

    async def top_up(self, amount: Money, *, options: RequestOptions | None = None) -> models.TopUp:
        """Add money to the wallet, on servers that allow it without a payment (section 3.1).

        Args:
            amount: in SAR, 0.01 to 1000.
            options: for this call.

        Raises:
            InvalidRequestError: the amount is in another currency.
            DC1PermissionDeniedError: this server wants payments.
            DC1Error: the service refused or could not be reached.
        """
        if amount.currency != "SAR":
            raise InvalidRequestError(f"a wallet is topped up in SAR, not in {amount.currency}", network="dc1")
        return await self._send(operations.TOPUP, body={"amount_halala": amount.amount}, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawWallet:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawWallet(self)


class AsyncRawWallet:
    """The methods of `AsyncWallet`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncWallet) -> None:
        self.balance = async_raw(resource.balance)
        self.me = async_raw(resource.me)
        self.top_up = async_raw(resource.top_up)


class AsyncPayments(AsyncResource):
    """Payments into the wallet."""

    async def balance(self, *, options: RequestOptions | None = None) -> models.Balance:
        """What the wallet holds, as the payment side has it (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.PAY_BALANCE, options=options)

    async def topup(self, *, options: RequestOptions | None = None, **payment: Unpack[PaymentInput]) -> models.Payment:
        """Begin a payment: what comes back says where to pay (section 3.9).

        Args:
            payment: see `PaymentInput`.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.PAY_TOPUP, body=payment, options=options)

    async def topup_sandbox(self, *, options: RequestOptions | None = None, **payment: Unpack[PaymentInput]) -> Any:
        """Add money without a payment, on servers that allow it (section 3.9).

        Args:
            payment: see `PaymentInput`.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.PAY_SANDBOX, body=payment, options=options)

    async def verify(self, payment_id: str, *, options: RequestOptions | None = None) -> models.Payment:
        """How a payment stands (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.PAY_VERIFY, payment_id, options=options)

    async def history(
        self, *, limit: int | None = None, offset: int | None = None, options: RequestOptions | None = None
    ) -> models.PaymentListing:
        """Payments that were made (section 2.5).

        Args:
            limit: how many, 20 unless given, no more than 100.
            offset: how many to leave out first.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.PAY_HISTORY, query={"limit": limit, "offset": offset}, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawPayments:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawPayments(self)


class AsyncRawPayments:
    """The methods of `AsyncPayments`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncPayments) -> None:
        self.balance = async_raw(resource.balance)
        self.topup = async_raw(resource.topup)
        self.topup_sandbox = async_raw(resource.topup_sandbox)
        self.verify = async_raw(resource.verify)
        self.history = async_raw(resource.history)
