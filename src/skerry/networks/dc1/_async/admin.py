"""The operator's side; needs the admin token (section 3.9)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from skerry._kernel.model import NOT_GIVEN
from skerry._kernel.options import RequestOptions
from skerry._kernel.raw import async_raw
from skerry.errors import InvalidRequestError
from skerry.money import Money
from skerry.networks.dc1 import models, operations
from skerry.networks.dc1._async.resource import AsyncResource


class AsyncAdmin(AsyncResource):
    """The operator's calls."""

    async def dashboard(self, *, options: RequestOptions | None = None) -> Any:
        """Everything at a glance (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_DASHBOARD, options=options)

    async def overview(self, *, options: RequestOptions | None = None) -> Any:
        """Everything in eight numbers (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_OVERVIEW, options=options)

    async def providers(self, *, options: RequestOptions | None = None, **query: Any) -> Any:
        """A page of providers (section 3.9).

        Args:
            options: for this call.
            query: `page`, `limit`, `search`, `status`.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_PROVIDERS, query=query, options=options)

    async def renters(self, *, options: RequestOptions | None = None, **query: Any) -> Any:
        """A page of renters (section 3.9).

        Args:
            options: for this call.
            query: `page`, `limit`, `search`, `status`.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_RENTERS, query=query, options=options)

    async def jobs(self, *, options: RequestOptions | None = None, **query: Any) -> Any:
        """A page of jobs (section 3.9).

        Args:
            options: for this call.
            query: `page`, `limit`, `search`, `status`.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_JOBS, query=query, options=options)

    async def provider(self, provider_id: int, *, options: RequestOptions | None = None) -> Any:
        """One provider (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_PROVIDER, provider_id, options=options)

    async def renter(self, renter_id: int, *, options: RequestOptions | None = None) -> Any:
        """One renter (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_RENTER, renter_id, options=options)

    async def job(self, job_id: str | int, *, options: RequestOptions | None = None) -> Any:
        """One job (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_JOB, job_id, options=options)

    async def approve_provider(self, provider_id: int, *, options: RequestOptions | None = None) -> Any:
        """Let a provider work (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_APPROVE, provider_id, body={}, options=options)

    async def reject_provider(self, provider_id: int, *, reason: str, options: RequestOptions | None = None) -> Any:
        """Turn a provider down (section 3.9).

        Args:
            provider_id: which one.
            reason: why; it is told.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_REJECT, provider_id, body={"reason": reason}, options=options)

    async def preload_model(self, provider_id: int, *, options: RequestOptions | None = None, **order: Any) -> Any:
        """Have a provider fetch a model with its next heartbeat (section 3.9).

        Args:
            provider_id: which one.
            order: such as `model_name`, sent as it is.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_PRELOAD, provider_id, body=order, options=options)

    async def rotate_provider_key(self, provider_id: int, *, options: RequestOptions | None = None) -> Any:
        """Give a provider a new key; the old one is dead at once (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_ROTATE, provider_id, options=options)

    async def suspend_provider(self, provider_id: int, *, options: RequestOptions | None = None) -> models.Done:
        """Suspend a provider (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_SUSPEND_PROVIDER, provider_id, options=options)

    async def unsuspend_provider(self, provider_id: int, *, options: RequestOptions | None = None) -> models.Done:
        """End the suspension of a provider (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_UNSUSPEND_PROVIDER, provider_id, options=options)

    async def suspend_renter(self, renter_id: int, *, options: RequestOptions | None = None) -> models.Done:
        """Suspend a renter (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_SUSPEND_RENTER, renter_id, options=options)

    async def unsuspend_renter(self, renter_id: int, *, options: RequestOptions | None = None) -> models.Done:
        """End the suspension of a renter (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_UNSUSPEND_RENTER, renter_id, options=options)

    async def credit_renter(
        self, renter_id: int, amount: Money, *, reason: str, options: RequestOptions | None = None
    ) -> Any:
        """Give a renter money (section 3.9).

        Args:
            renter_id: whom.
            amount: in SAR, more than nothing.
            reason: why; it is recorded.
            options: for this call.

        Raises:
            InvalidRequestError: the amount is in another currency.
            DC1Error: the service refused or could not be reached.
        """
        body = {"amount_halala": _halala(amount), "reason": reason}
        return await self._send(operations.ADMIN_CREDIT, renter_id, body=body, options=options)

    async def adjust_balance(
        self, renter_id: int, amount: Money, *, reason: str | None = None, options: RequestOptions | None = None
    ) -> Any:
        """Change a renter's balance, up or down (section 3.9).

        Args:
            renter_id: whose.
            amount: in SAR, negative to take away.
            reason: why; it is recorded.
            options: for this call.

        Raises:
            InvalidRequestError: the amount is in another currency.
            DC1Error: the service refused or could not be reached.
        """
        body = {"amount_halala": _halala(amount), "reason": NOT_GIVEN if reason is None else reason}
        return await self._send(operations.ADMIN_ADJUST, renter_id, body=body, options=options)

    async def cancel_job(self, job_id: str | int, *, options: RequestOptions | None = None) -> Any:
        """Cancel anybody's job; its hold is refunded (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_CANCEL, job_id, options=options)

    async def requeue_job(self, job_id: str | int, *, options: RequestOptions | None = None) -> Any:
        """Queue a failed job again (section 3.9).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_REQUEUE, job_id, options=options)

    async def bulk(
        self,
        noun: Literal["providers", "renters"],
        *,
        ids: Sequence[int],
        action: str,
        amount_halala: int | None = None,
        options: RequestOptions | None = None,
    ) -> Any:
        """Do the same to many (section 3.9).

        Args:
            noun: what they are.
            ids: which.
            action: `suspend` or `unsuspend`; `approve` for providers, `credit` for renters.
            amount_halala: for `credit`.
            options: for this call.

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        amount = NOT_GIVEN if amount_halala is None else amount_halala
        body = {"ids": ids, "action": action, "amount_halala": amount}
        return await self._send(operations.ADMIN_BULK, noun, body=body, options=options)

    async def test_job(self, provider_id: int, *, options: RequestOptions | None = None) -> Any:
        """Have a provider run a benchmark (section 3.5).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_TEST_JOB, body={"provider_id": provider_id}, options=options)

    async def scheduler_health(self, *, options: RequestOptions | None = None) -> Any:
        """Whether work is handed out well (section 3.5).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_SCHEDULER, options=options)

    async def scheduler_diagnostics(self, job_id: str | int, *, options: RequestOptions | None = None) -> Any:
        """Why a job goes where it goes (section 3.5).

        Raises:
            DC1Error: the service refused or could not be reached.
        """
        return await self._send(operations.ADMIN_DIAGNOSTICS, job_id, options=options)

    @cached_property
    def with_raw_response(self) -> AsyncRawAdmin:
        """The same methods, returning `RawResponse` objects."""
        return AsyncRawAdmin(self)


class AsyncRawAdmin:
    """The methods of `AsyncAdmin`, returning `RawResponse` objects."""

    def __init__(self, resource: AsyncAdmin) -> None:
        self.dashboard = async_raw(resource.dashboard)
        self.overview = async_raw(resource.overview)
        self.providers = async_raw(resource.providers)
        self.renters = async_raw(resource.renters)
        self.jobs = async_raw(resource.jobs)
        self.provider = async_raw(resource.provider)
        self.renter = async_raw(resource.renter)
        self.job = async_raw(resource.job)
        self.approve_provider = async_raw(resource.approve_provider)
        self.reject_provider = async_raw(resource.reject_provider)
        self.preload_model = async_raw(resource.preload_model)
        self.rotate_provider_key = async_raw(resource.rotate_provider_key)
        self.suspend_provider = async_raw(resource.suspend_provider)
        self.unsuspend_provider = async_raw(resource.unsuspend_provider)
        self.suspend_renter = async_raw(resource.suspend_renter)
        self.unsuspend_renter = async_raw(resource.unsuspend_renter)
        self.credit_renter = async_raw(resource.credit_renter)
        self.adjust_balance = async_raw(resource.adjust_balance)
        self.cancel_job = async_raw(resource.cancel_job)
        self.requeue_job = async_raw(resource.requeue_job)
        self.bulk = async_raw(resource.bulk)
        self.test_job = async_raw(resource.test_job)
        self.scheduler_health = async_raw(resource.scheduler_health)
        self.scheduler_diagnostics = async_raw(resource.scheduler_diagnostics)


def _halala(amount: Money) -> int:
    if amount.currency != "SAR":
        raise InvalidRequestError(f"wallets hold SAR, not {amount.currency}", network="dc1")
    return amount.amount
