"""Renters' accounts, wallets and keys as the wire has them (section 3.1)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from skerry._kernel.model import Model, Moment
from skerry.money import Money
from skerry.networks.dc1.models.jobs import Job
from skerry.networks.dc1.values import halala

Number = int | float


class Registration(Model, frozen=True, kw_only=True):
    """A new account; the key is shown this once."""

    success: bool | None = None
    renter_id: int = 0
    api_key: str = ""
    message: str = ""

    def __repr__(self) -> str:
        return f"Registration(renter_id={self.renter_id!r})"


class Renter(Model, frozen=True, kw_only=True):
    """A renter's account."""

    id: int | None = None
    name: str = ""
    email: str = ""
    organization: str | None = None
    use_case: str | None = None
    phone: str | None = None
    webhook_url: str | None = None
    balance_halala: int = 0
    total_spent_halala: int = 0
    total_jobs: int = 0
    created_at: Moment | None = None

    @property
    def balance(self) -> Money:
        """What the wallet holds."""
        return halala(self.balance_halala)

    @property
    def balance_sar(self) -> Decimal:
        """`balance` in riyals, exact."""
        return self.balance.decimal

    @property
    def total_spent(self) -> Money:
        """What was charged so far."""
        return halala(self.total_spent_halala)


class RenterProfile(Model, frozen=True, kw_only=True):
    """The caller's account and its latest jobs."""

    renter: Renter | None = None
    recent_jobs: list[Job] = msgspec.field(default_factory=list)


class Balance(Model, frozen=True, kw_only=True):
    """A wallet (section 3.1.1). Holds are deducted from `balance` already; `available` is what can be spent now."""

    balance_halala: int = 0
    balance_sar: Decimal | None = None
    held_halala: int = 0
    held_sar: Decimal | None = None
    available_halala: int | None = None
    total_spent_halala: int = 0
    total_spent_sar: Decimal | None = None
    total_jobs: int = 0
    renter_id: int | None = None
    name: str | None = None
    email: str | None = None

    @property
    def balance(self) -> Money:
        """What the wallet holds, without what is held for jobs."""
        return halala(self.balance_halala)

    @property
    def held(self) -> Money:
        """What is held for jobs that are not settled."""
        return halala(self.held_halala)

    @property
    def available(self) -> Money:
        """What can be spent now: the balance, unless the server says otherwise."""
        return self.balance if self.available_halala is None else halala(self.available_halala)

    @property
    def total_spent(self) -> Money:
        """What was charged so far."""
        return halala(self.total_spent_halala)


class TopUp(Model, frozen=True, kw_only=True):
    """Money that was added to a wallet."""

    success: bool | None = None
    topped_up_halala: int = 0
    topped_up_sar: Decimal | None = None
    new_balance_halala: int = 0
    new_balance_sar: Decimal | None = None

    @property
    def added(self) -> Money:
        """How much."""
        return halala(self.topped_up_halala)

    @property
    def balance(self) -> Money:
        """What the wallet holds now."""
        return halala(self.new_balance_halala)


class Payment(Model, frozen=True, kw_only=True):
    """A payment that was begun or made; which fields there are depends on the way of paying."""

    payment_url: str | None = None
    payment_id: str | None = None
    topup_id: str | int | None = None
    status: str | None = None
    amount_halala: int | None = None
    amount_sar: Decimal | None = None
    expires_at: Moment | None = None
    created_at: Moment | None = None
    instructions: Any = None


class PaymentListing(Model, frozen=True, kw_only=True):
    """Payments of an account."""

    payments: list[Payment] = msgspec.field(default_factory=list)
    pagination: Any = None
    summary: Any = None


class SpendingTotal(Model, frozen=True, kw_only=True):
    """Spending of all time, of a month or of a day."""

    month: str | None = None
    date: str | None = None
    day: str | None = None
    jobs: int | None = None
    job_count: int | None = None
    total_jobs: int | None = None
    gpu_model: str | None = None
    total_halala: int | None = None
    total_sar: Decimal | None = None

    @property
    def total(self) -> Money:
        """As money."""
        return halala(self.total_halala)


class Spending(Model, frozen=True, kw_only=True):
    """What an account has spent."""

    all_time: SpendingTotal | None = None
    monthly: list[SpendingTotal] = msgspec.field(default_factory=list)
    last_30_days: list[SpendingTotal] = msgspec.field(default_factory=list)


class StatusCount(Model, frozen=True, kw_only=True):
    """How many jobs are in a state."""

    status: str | None = None
    count: int = 0


class Analytics(Model, frozen=True, kw_only=True):
    """What an account did in a period."""

    period: str | None = None
    daily_spend: list[SpendingTotal] = msgspec.field(default_factory=list)
    status_counts: list[StatusCount] = msgspec.field(default_factory=list)
    avg_duration_minutes: Number | None = None
    completed_job_count: int | None = None
    top_gpus: list[SpendingTotal] = msgspec.field(default_factory=list)


class Key(Model, frozen=True, kw_only=True):
    """A key beside the master key; `key` itself only in the answer that made it."""

    id: str | None = None
    key_id: str | None = None
    alias: str | None = msgspec.field(default=None, name="keyId")
    key: str | None = None
    key_hint: str | None = None
    key_prefix: str | None = None
    prefix: str | None = None
    label: str | None = None
    scopes: list[str] | None = None
    permissions: list[str] | None = None
    expires_at: Moment | None = None
    last_used_at: Moment | None = None
    created_at: Moment | None = None
    revoked: bool | None = None
    message: str | None = None

    @property
    def name(self) -> str:
        """What names the key in other calls."""
        return self.id or self.key_id or self.alias or ""

    def __repr__(self) -> str:
        return f"Key(name={self.name!r}, label={self.label!r})"


class KeyListing(Model, frozen=True, kw_only=True):
    """The keys of an account."""

    keys: list[Key] = msgspec.field(default_factory=list)
    count: int | None = None


class NewKey(Model, frozen=True, kw_only=True):
    """The key that replaces the one the call was made with, which is dead at once."""

    success: bool | None = None
    message: str | None = None
    new_key: str = ""
    api_key: str = ""
    renter_id: int | None = None
    provider_id: int | None = None

    def __repr__(self) -> str:
        return "NewKey()"


class Webhook(Model, frozen=True, kw_only=True):
    """A place that is told about jobs."""

    id: str | int | None = None
    url: str | None = None
    events: list[str] = msgspec.field(default_factory=list)
    created_at: Moment | None = None


class WebhookListing(Model, frozen=True, kw_only=True):
    """The webhooks of an account."""

    webhooks: list[Webhook] = msgspec.field(default_factory=list)


class Done(Model, frozen=True, kw_only=True):
    """An answer that says little more than that it was done."""

    success: bool | None = None
    message: str | None = None
    status: str | None = None
    deleted_at: Moment | None = None
    revoked_at: Moment | None = None
