"""ProviderListing: as renters see them (section 3.2), and what their own daemons are told (section 3.7)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec

from skerry._kernel.model import Model, Moment, parse_json
from skerry.money import Money
from skerry.networks.dc1.models.jobs import TERMINAL
from skerry.networks.dc1.values import gigabytes, halala, halala_or_none

Number = int | float


class Provider(Model, frozen=True, kw_only=True):
    """A GPU that can be rented; which fields there are depends on the list it is from.

    `vram_gb_reported` is the server's own `vram_gb`, a whole number or None.
    """

    id: int = 0
    peer_id: str | None = None
    name: str | None = None
    gpu_model: str | None = None
    vram_gb_reported: Number | None = msgspec.field(default=None, name="vram_gb")
    vram_mib: int = 0
    vram_mb: int | None = None
    gpu_count: int | None = None
    driver_version: str | None = None
    compute_capability: str | None = None
    cuda_version: str | None = None
    status: str = "offline"
    is_live: bool | None = None
    online: bool | None = None
    location: str | None = None
    reliability_score: Number | None = None
    cached_models: list[str] | None = None
    loaded_models: list[str] | None = None
    supported_compute_types: list[str] | None = None
    discovery_source: str | None = None
    discovered_at: Moment | None = None
    stale: bool | None = None
    heartbeat_age_seconds: Number | None = None
    run_mode: str | None = None
    reputation_score: Number | None = None
    reputation_tier: str | None = None
    uptime_pct: Number | None = None
    uptime_percent: Number | None = None
    job_success_rate: Number | None = None
    total_jobs_completed: int | None = None
    jobs_completed: int | None = None
    rate_halala: int | None = None
    price_per_min_halala: int | None = None
    cost_per_hour_sar: Decimal | None = None
    cost_rates_halala_per_min: dict[str, Any] | None = None

    @property
    def vram_gb(self) -> float:
        """Gigabytes of GPU memory with one decimal place, from `vram_mib`."""
        return gigabytes(self.vram_mib)

    @property
    def price_per_minute(self) -> Money | None:
        """What a minute costs, where the list tells."""
        return halala_or_none(self.price_per_min_halala)


class ProviderListing(Model, frozen=True, kw_only=True):
    """A list of providers and how it came about."""

    providers: list[Provider] = msgspec.field(default_factory=list)
    total: int | None = None
    count: int | None = None
    online_count: int | None = None
    degraded_count: int | None = None
    discovery_mode: str | None = None
    discovery_health: Any = None
    generated_at: Moment | None = None
    timestamp: Moment | None = None


class Liveness(Model, frozen=True, kw_only=True):
    """Whether a provider was heard of lately."""

    provider_id: int | None = None
    liveness_status: str | None = None
    last_heartbeat: Moment | None = None
    heartbeat_age_seconds: Number | None = None


class ProviderRegistration(Model, frozen=True, kw_only=True):
    """A new provider account; the key is shown this once."""

    success: bool | None = None
    provider_id: int = 0
    api_key: str = ""
    installer_url: str | None = None
    message: str = ""

    def __repr__(self) -> str:
        return f"ProviderRegistration(provider_id={self.provider_id!r})"


class ProviderAccount(Model, frozen=True, kw_only=True):
    """A provider's own account."""

    id: int = 0
    name: str = ""
    email: str = ""
    gpu_model: str = ""
    os: str = ""
    status: str = "offline"
    api_key: str = ""
    total_jobs: int = 0
    total_earnings_halala: int = 0
    today_earnings_halala: int = 0
    week_earnings_halala: int = 0
    reputation_score: float = 0.0
    uptime_pct: float = 0.0
    uptime_percent: Number | None = None
    last_heartbeat: Moment | None = None
    approval_status: str | None = None
    approved_at: Moment | None = None
    rejected_reason: str | None = None
    gpu_vram_mib: int | None = None
    vram_mb: int | None = None
    gpu_count: int | None = None
    supported_compute_types: list[str] | None = None
    resource_spec: Any = None
    daemon_version: str | None = None
    run_mode: str | None = None
    scheduled_start: str | None = None
    scheduled_end: str | None = None
    gpu_usage_cap_pct: Number | None = None
    vram_reserve_gb: Number | None = None
    temp_limit_c: Number | None = None
    is_paused: bool | int | None = None
    wallet_address: str | None = None
    gpu_metrics: Any = None
    active_job: Any = None

    @property
    def is_online(self) -> bool:
        """Whether work may come."""
        return self.status == "online"

    @property
    def total_earnings(self) -> Money:
        """What was earned so far."""
        return halala(self.total_earnings_halala)

    @property
    def today_earnings(self) -> Money:
        """What was earned today."""
        return halala(self.today_earnings_halala)

    def __repr__(self) -> str:
        return f"ProviderAccount(id={self.id!r}, name={self.name!r}, status={self.status!r})"


class ProviderProfile(Model, frozen=True, kw_only=True):
    """A provider's own account and its latest jobs."""

    provider: ProviderAccount | None = None
    recent_jobs: list[Any] = msgspec.field(default_factory=list)


class Heartbeat(Model, frozen=True, kw_only=True):
    """The answer to a heartbeat."""

    success: bool | None = None
    message: str | None = None
    timestamp: Moment | None = None
    provider_id: int | None = None
    status: str | None = None
    needs_update: bool | None = None
    latest_version: str | None = None
    update_available: bool | None = None
    min_version: str | None = None
    approval_status: str | None = None
    approved: bool | None = None
    preload_model: Any = None


class Readiness(Model, frozen=True, kw_only=True):
    """What the network makes of a host's self-check."""

    success: bool | None = None
    readiness_status: str | None = None
    checks: dict[str, Any] | None = None


class Preferences(Model, frozen=True, kw_only=True):
    """When and how far a host lets itself be used."""

    run_mode: str | None = None
    scheduled_start: str | None = None
    scheduled_end: str | None = None
    gpu_usage_cap_pct: Number | None = None
    vram_reserve_gb: Number | None = None
    temp_limit_c: Number | None = None


class Presence(Model, frozen=True, kw_only=True):
    """A host that went online or offline."""

    online: bool | None = None
    offline: bool | None = None
    provider_id: int | None = None
    status: str | None = None
    expires_at: Moment | None = None
    offline_at: Moment | None = None
    heartbeat_interval_seconds: Number | None = None
    loaded_models: list[str] | None = None
    message: str | None = None


class Claim(Model, frozen=True, kw_only=True):
    """A job that was taken: from now on it is running, and somebody waits for its result (section 3.7.2)."""

    id: int | None = None
    job_id: str = ""
    job_type: str = ""
    model: str | None = None
    status: str | None = None
    priority: int | str | None = None
    task_spec: Any = None
    task_spec_raw: str | None = None
    task_spec_hmac: str | None = None
    attempt_number: int | None = None
    container_spec: Any = None
    gpu_requirements: Any = None
    params: dict[str, Any] | None = None
    duration_minutes: Number | None = None
    max_duration_seconds: Number | None = None

    @property
    def signed_text(self) -> str | None:
        """The text that `task_spec_hmac` is of: as sent, or as it can be made again from the object that came."""
        if self.task_spec_raw is not None:
            return self.task_spec_raw
        if self.task_spec is None or isinstance(self.task_spec, str):
            return self.task_spec
        return json.dumps(self.task_spec, ensure_ascii=False, separators=(",", ":"))


class ProviderJob(Model, frozen=True, kw_only=True):
    """A job in a provider's own list."""

    number: int | str | None = msgspec.field(default=None, name="id")
    job_id: str | None = None
    job_type: str = ""
    status: str = "queued"
    renter_id: int = 0
    duration_minutes: Number = 0.0
    cost_halala: int = 0
    provider_earnings_halala: int = 0
    payload_data: Any = msgspec.field(default=None, name="payload")
    submitted_at: Moment | None = None
    started_at: Moment | None = None
    completed_at: Moment | None = None
    hmac_signature: str | None = None

    @property
    def id(self) -> str:
        """What names the job in every call."""
        found = self.job_id or self.number
        return "" if found is None else str(found)

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status in TERMINAL

    @property
    def cost(self) -> Money:
        """What the renter pays."""
        return halala(self.cost_halala)

    @property
    def earnings(self) -> Money:
        """What the provider gets."""
        return halala(self.provider_earnings_halala)

    @property
    def payload(self) -> dict[str, Any]:
        """What is to be done; empty when it is no object, nor the JSON text of one."""
        value = self.payload_data
        if isinstance(value, str):
            value = parse_json(value.encode())
        return value if isinstance(value, dict) else {}


class JobResult(Model, frozen=True, kw_only=True):
    """How a reported job was settled (section 3.7.3)."""

    success: bool | None = None
    job_id: str | None = None
    status: str | None = None
    message: str | None = None
    actual_minutes: Number | None = None
    gpu_seconds_used: Number | None = None
    rate_per_gpu_second_halala: Number | None = None
    cost_halala: int | None = None
    provider_earned_halala: int | None = None
    dc1_fee_halala: int | None = None
    restart_count: int | None = None
    last_error: str | None = None

    @property
    def earned(self) -> Money | None:
        """What the provider gets, None when it was settled before."""
        return halala_or_none(self.provider_earned_halala)


class Progress(Model, frozen=True, kw_only=True):
    """A phase that was reported."""

    success: bool | None = None
    phase: str | None = None
    cold_start_ms: Number | None = None


class LinesWritten(Model, frozen=True, kw_only=True):
    """Log lines that were stored."""

    success: bool | None = None
    lines_written: int = 0
    attempt_number: int | None = None


class EndpointReady(Model, frozen=True, kw_only=True):
    """Where a serving job can be reached from now on."""

    success: bool | None = None
    endpoint_url: str | None = None


class HmacVerdict(Model, frozen=True, kw_only=True):
    """Whether a task spec's signature is the right one."""

    valid: bool = False
    error: str | None = None


class ProviderEvent(Model, frozen=True, kw_only=True):
    """An event that was taken note of."""

    received: bool | None = None
    success: bool | None = None
    provider_id: int | None = None
    event: str | None = None
    event_type: str | None = None
    job_id: str | None = None
    job_updated: bool | None = None
    new_status: str | None = None


class Escrow(Model, frozen=True, kw_only=True):
    """Holds of jobs that are not settled."""

    held_jobs: int | None = None
    held_halala: int | None = None
    locked_jobs: int | None = None
    locked_halala: int | None = None


class Earnings(Model, frozen=True, kw_only=True):
    """What a provider has earned and can have paid out."""

    provider_id: int | None = None
    name: str | None = None
    available_halala: int | None = None
    balance_halala: int | None = None
    total_earned_halala: int | None = None
    total_earnings_halala: int | None = None
    claimable_earnings_halala: int | None = None
    pending_halala: int = 0
    total_jobs: int = 0
    total_earned_sar: Decimal | None = None
    available_sar: Decimal | None = None
    pending_withdrawal_sar: Decimal | None = None
    withdrawn_sar: Decimal | None = None
    escrow: Escrow | None = None

    @property
    def available(self) -> Money:
        """What can be paid out."""
        return halala(self.balance_halala if self.available_halala is None else self.available_halala)

    @property
    def total_earned(self) -> Money:
        """What was earned so far."""
        return halala(self.total_earnings_halala if self.total_earned_halala is None else self.total_earned_halala)

    @property
    def pending(self) -> Money:
        """What is on its way."""
        return halala(self.pending_halala)


class ProviderJobHistory(Model, frozen=True, kw_only=True):
    """A provider's latest jobs and what they came to."""

    provider_id: int | None = None
    total_jobs: int | None = None
    completed_jobs: int | None = None
    failed_jobs: int | None = None
    total_earned_halala: int | None = None
    total_earned_sar: Decimal | None = None
    success_rate: Number | None = None
    jobs: list[Any] = msgspec.field(default_factory=list)

    @property
    def total_earned(self) -> Money:
        """As money."""
        return halala(self.total_earned_halala)


class Withdrawal(Model, frozen=True, kw_only=True):
    """A payout that was asked for."""

    success: bool | None = None
    id: int | str | None = None
    withdrawal_id: int | str | None = None
    status: str | None = None
    amount_halala: int | None = None
    amount_sar: Decimal | None = None
    message: str | None = None
    created_at: Moment | None = None
