"""What a provider earns, and how it is paid out (section 3.7)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from skerry._kernel.options import RequestOptions
from skerry.errors import InvalidRequestError
from skerry.money import Money
from skerry.networks.dc1 import models, operations
from skerry.networks.dc1._async.resource import AsyncResource


class AsyncProviderEarnings(AsyncResource):
    """The earnings of the caller's own GPU."""

    async def get_earnings(self, *, options: RequestOptions | None = None) -> models.Earnings:
        """What was earned and can be paid out; the key goes into the query too (section 4.3).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.EARNINGS, query={"key": self._key("provider")}, options=options)

    async def job_history(
        self, *, limit: int | None = None, options: RequestOptions | None = None
    ) -> models.ProviderJobHistory:
        """The latest jobs and what they came to (section 3.7).

        Args:
            limit: how many.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.HOST_HISTORY, query={"limit": limit}, options=options)

    async def earnings_daily(self, *, options: RequestOptions | None = None, **query: Any) -> Any:
        """Earnings by day (section 3.7).

        Args:
            query: parameters, sent as they are.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.EARNINGS_DAILY, query=query, options=options)

    async def earnings_history(self, *, options: RequestOptions | None = None, **query: Any) -> Any:
        """Earnings one by one (section 3.7).

        Args:
            query: parameters, sent as they are.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.EARNINGS_HISTORY, query=query, options=options)

    async def daemon_logs(self, *, options: RequestOptions | None = None, **query: Any) -> Any:
        """What the host's daemon reported (section 3.7).

        Args:
            query: parameters, sent as they are.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.DAEMON_LOGS, query=query, options=options)

    async def withdrawals(self, *, options: RequestOptions | None = None) -> Any:
        """Payouts that were asked for (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.WITHDRAWALS, options=options)

    async def withdrawal_history(self, *, options: RequestOptions | None = None) -> Any:
        """Payouts of the older kind (section 3.7).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.WITHDRAWAL_HISTORY, options=options)

    async def withdraw(self, amount: Money, *, iban: str, options: RequestOptions | None = None) -> models.Withdrawal:
        """Ask for a payout to a bank account (section 3.7).

        Args:
            amount: in SAR, 10 or more.
            iban: `SA` and 22 digits.
            options: for this call.

        Raises:
            InvalidRequestError: the amount is in another currency.
            DC1PaymentRequiredError: less than that was earned.
            DC1Error: the service refused or could not be reached.
        """
        if amount.currency != "SAR":
            raise InvalidRequestError(f"payouts are made in SAR, not in {amount.currency}", network="dc1")
        body = {"amount_halala": amount.amount, "iban": iban}
        return await self._send(operations.WITHDRAW_TO_IBAN, body=body, options=options)

    async def withdraw_by_method(
        self,
        *,
        amount_sar: Decimal | int,
        payout_method: str,
        payout_details: Any,
        options: RequestOptions | None = None,
    ) -> models.Withdrawal:
        """Ask for a payout some other way (section 3.7).

        Args:
            amount_sar: riyals, 10 or more.
            payout_method: how.
            payout_details: where to.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(
            operations.WITHDRAW_BY_METHOD,
            body={"amount_sar": amount_sar, "payout_method": payout_method, "payout_details": payout_details},
            options=options,
        )

    async def payout(
        self, provider_id: int, *, amount_usd: Decimal | int, options: RequestOptions | None = None
    ) -> Any:
        """Ask for a payout in dollars (section 3.7).

        Args:
            provider_id: the provider's own.
            amount_usd: 50 or more.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.PAYOUTS, provider_id, body={"amount_usd": amount_usd}, options=options)
