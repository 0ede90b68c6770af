"""The caller's account as a renter (section 3.1)."""

from __future__ import annotations

from decimal import Decimal
from functools import cached_property
from typing import Any, Literal, Unpack

from skerry._kernel.model import NOT_GIVEN
from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.networks.dc1 import models, operations
from skerry.networks.dc1._async.resource import AsyncResource
from skerry.networks.dc1.inputs import RegisterInput


class AsyncRenters(AsyncResource):
    """The caller's account."""

    async def register(
        self, name: str, email: str, *, options: RequestOptions | None = None, **more: Unpack[RegisterInput]
    ) -> models.Registration:
        """Make a renter's account; needs no key, and this client goes on with the key it has (section 3.1).

        Args:
            name: 2 to 120 characters.
            email: where the renter can be reached; there is one account for each.
            more: see `RegisterInput`.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.REGISTER, body={"name": name, "email": email, **more}, options=options)

    async def me(self, *, options: RequestOptions | None = None) -> models.RenterProfile:
        """The caller's account and its latest jobs (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ME, options=options)

    async def balance(self, *, options: RequestOptions | None = None) -> models.Balance:
        """What the wallet holds (section 3.1.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.BALANCE, options=options)

    async def topup(
        self,
        *,
        amount_halala: int | None = None,
        amount_sar: Decimal | None = None,
        options: RequestOptions | None = None,
    ) -> models.TopUp:
        """Add money to the wallet, on servers that allow it without a payment (section 3.1).

        Args:
            amount_halala: 1 to 100000.
            amount_sar: the same in riyals; not heeded where both are given.
            options: for this call.

        Raises:
            DC1PermissionDeniedError: this server wants payments.
            DC1Error: the service refused or could not be reached.
        """
        amounts = {"amount_halala": amount_halala, "amount_sar": amount_sar}
        body = {name: amount for name, amount in amounts.items() if amount is not None}
        return await self._send(operations.TOPUP, body=body, options=options)

    async def pricing(self, *, options: RequestOptions | None = None) -> models.PriceList:
        """The public price list, for display only; needs no key (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.PRICE_LIST, options=options)

    async def jobs(
        self,
        *,
        page: int | None = None,
        limit: int | None = None,
        status: str | None = None,
        options: RequestOptions | None = None,
    ) -> models.JobPage:
        """A page of the caller's jobs, counted from page 1 (section 2.5).

        Args:
            page: 1 for the first.
            limit: how many, no more than 100.
            status: only jobs in this state.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(
            operations.RENTER_JOBS, query={"page": page, "limit": limit, "status": status}, options=options
        )

    async def my_jobs(
        self, *, page: int | None = None, limit: int | None = None, options: RequestOptions | None = None
    ) -> models.JobPage:
        """A page of the caller's jobs with GPU and cost, counted from page 0 (section 2.5).

        Args:
            page: 0 for the first.
            limit: how many.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.MY_JOBS, query={"page": page, "limit": limit}, options=options)

    async def my_job(self, job_id: str | int, *, options: RequestOptions | None = None) -> models.HistoryItem:
        """One of the caller's jobs with GPU and cost (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.MY_JOB, job_id, options=options)

    async def export_jobs(self, *, options: RequestOptions | None = None) -> str:
        """The caller's jobs as CSV (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.EXPORT_JOBS, options=options)

    async def spending(self, *, options: RequestOptions | None = None) -> models.Spending:
        """What was spent: in all, by month and by day (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.SPENDING, options=options)

    async def analytics(
        self, *, period: Literal["7d", "30d", "90d"] | None = None, options: RequestOptions | None = None
    ) -> models.Analytics:
        """What the account did in a period (section 3.1).

        Args:
            period: 30 days unless given.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ANALYTICS, query={"period": period}, options=options)

    async def payments(self, *, options: RequestOptions | None = None) -> models.PaymentListing:
        """The account's payments (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.MY_PAYMENTS, options=options)

    async def invoices(
        self, *, limit: int | None = None, options: RequestOptions | None = None
    ) -> list[models.Invoice]:
        """The account's invoices; the hosted service answers 400 at present (section 3.1).

        Args:
            limit: how many.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.INVOICES, query={"limit": limit}, options=options)

    async def invoice_csv(self, invoice_id: str | int, *, options: RequestOptions | None = None) -> str:
        """One invoice as CSV (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.INVOICE_CSV, invoice_id, options=options)

    async def presets(self, *, options: RequestOptions | None = None) -> Any:
        """Saved job templates of the account (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.PRESETS, options=options)

    async def save_preset(self, *, options: RequestOptions | None = None, **preset: Any) -> Any:
        """Save a job template; there is room for 50 (section 3.1).

        Args:
            preset: what it says, sent as it is.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.SAVE_PRESET, body=preset, options=options)

    async def delete_preset(self, template_id: str | int, *, options: RequestOptions | None = None) -> models.Done:
        """Delete a saved job template (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.DELETE_PRESET, template_id, options=options)

    async def settings(self, *, webhook_url: str | None, options: RequestOptions | None = None) -> Any:
        """Where the account's job callbacks go (sections 3.1 and 5.9).

        Args:
            webhook_url: https, a public host; None for nowhere.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.SETTINGS, body={"webhook_url": webhook_url}, options=options)

    async def send_otp(self, email: str, *, options: RequestOptions | None = None) -> Any:
        """Have a code sent to log in with; needs no key (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.SEND_OTP, body={"email": email}, options=options)

    async def verify_otp(self, email: str, token: str, *, options: RequestOptions | None = None) -> Any:
        """Log in with a code that was sent; needs no key (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.VERIFY_OTP, body={"email": email, "token": token}, options=options)

    async def login_email(self, email: str, *, options: RequestOptions | None = None) -> Any:
        """Log in by address, where the server allows it; needs no key (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.LOGIN_EMAIL, body={"email": email}, options=options)

    async def rotate_key(self, *, options: RequestOptions | None = None) -> models.NewKey:
        """Replace the key this client has; it is dead at once, so make a new client (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ROTATE_KEY, options=options)

    async def data_export(self, *, options: RequestOptions | None = None) -> Any:
        """All that is stored about the account (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.DATA_EXPORT, options=options)

    async def delete(self, *, reason: str | None = None, options: RequestOptions | None = None) -> models.Done:
        """Delete the account for good; its wallet must be empty and its jobs ended (section 3.1).

        Args:
            reason: why.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(
            operations.DELETE_ACCOUNT,
            body={"confirm": "DELETE_MY_ACCOUNT", "reason": NOT_GIVEN if reason is None else reason},
            options=options,
        )

    async def ledger_balance(self, renter_id: int, *, options: RequestOptions | None = None) -> models.Balance:
        """The balance as the ledger has it (section 3.1).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.LEDGER_BALANCE, renter_id, options=options)

    async def transactions(self, renter_id: int, *, options: RequestOptions | None = None, **query: Any) -> Any:
        """Movements of the wallet (section 3.1).

        Args:
            renter_id: the caller's own.
            query: parameters, such as `limit`.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.TRANSACTIONS, renter_id, query=query, options=options)

    async def ledger(self, renter_id: int, *, options: RequestOptions | None = None, **query: Any) -> Any:
        """Lines of the ledger (section 3.1).

        Args:
            renter_id: the caller's own.
            query: parameters, such as `limit`.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.LEDGER, renter_id, query=query, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawRenters:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawRenters(self)


class AsyncRawRenters:
    """The methods of `AsyncRenters`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncRenters) -> None:
        self.register = async_raw(resource.register)
        self.me = async_raw(resource.me)
        self.balance = async_raw(resource.balance)
        self.topup = async_raw(resource.topup)
        self.pricing = async_raw(resource.pricing)
        self.jobs = async_raw(resource.jobs)
        self.my_jobs = async_raw(resource.my_jobs)
        self.my_job = async_raw(resource.my_job)
        self.export_jobs = async_raw(resource.export_jobs)
        self.spending = async_raw(resource.spending)
        self.analytics = async_raw(resource.analytics)
        self.payments = async_raw(resource.payments)
        self.invoices = async_raw(resource.invoices)
        self.invoice_csv = async_raw(resource.invoice_csv)
        self.presets = async_raw(resource.presets)
        self.save_preset = async_raw(resource.save_preset)
        self.delete_preset = async_raw(resource.delete_preset)
        self.settings = async_raw(resource.settings)
        self.send_otp = async_raw(resource.send_otp)
        self.verify_otp = async_raw(resource.verify_otp)
        self.login_email = async_raw(resource.login_email)
        self.rotate_key = async_raw(resource.rotate_key)
        self.data_export = async_raw(resource.data_export)
        self.delete = async_raw(resource.delete)
        self.ledger_balance = async_raw(resource.ledger_balance)
        self.transactions = async_raw(resource.transactions)
        self.ledger = async_raw(resource.ledger)
