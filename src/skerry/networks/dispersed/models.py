"""The objects of Dispersed as the wire has them (section 3), under the wire's own names.

Answers are tolerant: unknown fields are kept (`extra`, `raw`), a field that is missing is None, states and other open
words are plain text. Money arrives as JSON numbers of whole dollars and is kept exact, as `Decimal`, in the fields that
end in `_usd`; each has a twin without that ending that is `Money`. Fields that end in `_ms` are milliseconds, as sent;
their twins are seconds or aware moments. What is sent is described in `skerry.networks.dispersed.inputs`.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from skerry._kernel.model import Model, Moment
from skerry.money import Money
from skerry.networks.dispersed.values import first_token, moment_of, seconds_of, usd

TERMINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
"""States that jobs and job runs do not leave; every other word, known or not, means that it goes on (section 1.2)."""

SSH_PORT = 22

Number = int | float


class Stored(Model, frozen=True, kw_only=True):
    """What stored objects have in common."""

    object: str | None = None
    uuid: str | None = None
    created_at: Moment | None = None
    updated_at: Moment | None = None


class Job(Stored, frozen=True, kw_only=True):
    """A request for work (section 3.2.1). Where it can be reached is told by its runs, not by the job."""

    status: str | None = None
    status_reason: str | None = None
    task: str | None = None
    title: str | None = None
    description: str | None = None
    cpu_count: Number | None = None
    gpu_count: Number | None = None
    min_ram_gb: Number | None = None
    min_vram_gb: Number | None = None
    min_storage_gb: Number | None = None
    gpu_name: str | None = None
    gpu_registry_uuid: str | None = None
    parameters: dict[str, Any] | None = None
    timeout_assign_at_ms: Number | None = None
    started_at: Moment | None = None
    completed_at: Moment | None = None
    max_timeout_assign_ms: Number | None = None
    max_timeout_start_ms: Number | None = None
    max_timeout_run_ms: Number | None = None
    max_retry_count: Number | None = None
    max_node_count: Number | None = None
    image_size_bytes: Number | None = None
    container_access_tokens: list[Any] | None = None
    source_recipe_uuid: str | None = None
    allowed_region_codes: list[str] | None = None
    account_uuid: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended, well or not."""
        return isinstance(self.status, str) and self.status in TERMINAL

    @property
    def timeout_assign_at(self) -> datetime | None:
        """When it fails unless a node was found by then."""
        return moment_of(self.timeout_assign_at_ms)

    @property
    def access_token(self) -> str | None:
        """The first container access token."""
        return first_token(self.container_access_tokens)


class NodeUrl(Model, frozen=True, kw_only=True):
    """One reachable place of a run: `port` is the outside one, `description` names the container's."""

    description: str | None = None
    hostname: str | None = None
    port: int | None = None
    protocol: str | None = None
    tls: bool | None = None

    @property
    def url(self) -> str:
        """As a URL: `ssh` for the SSH port, `https` where there is TLS, else `http` or what the protocol is called."""
        scheme = self.protocol or "tcp"
        if self.description == "ssh":
            scheme = "ssh"
        elif self.tls:
            scheme = "https"
        elif scheme == "tcp":
            scheme = "http"
        return f"{scheme}://{self.hostname}:{self.port}"


class JobRun(Stored, frozen=True, kw_only=True):
    """One execution of a job on one node (section 3.3.1); `logs` only when it is asked for by id."""

    job_uuid: str | None = None
    status: str | None = None
    status_reason: str | None = None
    job_snapshot: Job | None = None
    node_uuid: str | None = None
    node_urls: list[NodeUrl] | None = None
    container_access_tokens: list[Any] | None = None
    hourly_rate_usd: Decimal | None = None
    duration_ms: Number | None = None
    started_at_ms: Number | None = None
    completed_at_ms: Number | None = None
    exit_code: int | None = None
    attempt: int | None = None
    gpu_name: str | None = None
    gpu_count: Number | None = None
    authorization_uuid: str | None = None
    logs: str | None = None

    @property
    def hourly_rate(self) -> Money | None:
        """`hourly_rate_usd` as money."""
        return usd(self.hourly_rate_usd)

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended, well or not."""
        return isinstance(self.status, str) and self.status in TERMINAL

    @property
    def duration(self) -> float | None:
        """Seconds it has run."""
        return seconds_of(self.duration_ms)

    @property
    def started_at(self) -> datetime | None:
        """When it began to run."""
        return moment_of(self.started_at_ms)

    @property
    def completed_at(self) -> datetime | None:
        """When it ended."""
        return moment_of(self.completed_at_ms)

    @property
    def access_token(self) -> str | None:
        """The first container access token: the password of user `duser` in the official images."""
        return first_token(self.container_access_tokens)

    def endpoint(self, port: int = SSH_PORT) -> NodeUrl | None:
        """Where a port of the container is reached from outside.

        Args:
            port: inside the container.

        Returns:
            The place, or None: it is not published, or not yet (ask again some seconds after RUNNING).
        """
        names = ("ssh", str(port)) if port == SSH_PORT else (str(port),)
        places = self.node_urls if isinstance(self.node_urls, list) else []
        return next((place for place in places if isinstance(place, NodeUrl) and place.description in names), None)


class CostSummary(Model, frozen=True, kw_only=True):
    """What a run has cost so far (section 3.3.2)."""

    object: str | None = None
    job_run_uuid: str | None = None
    job_uuid: str | None = None
    status: str | None = None
    currency: str | None = None
    hourly_rate_usd: Decimal | None = None
    duration_ms: Number | None = None
    billable_ms: Number | None = None
    authorized_usd: Decimal | None = None
    captured_usd: Decimal | None = None
    pending_usd: Decimal | None = None
    total_cost_usd: Decimal | None = None
    is_final: bool | None = None
    started_at: Moment | None = None
    completed_at: Moment | None = None

    @property
    def hourly_rate(self) -> Money | None:
        """`hourly_rate_usd` as money."""
        return usd(self.hourly_rate_usd)

    @property
    def authorized(self) -> Money | None:
        """`authorized_usd` as money."""
        return usd(self.authorized_usd)

    @property
    def captured(self) -> Money | None:
        """`captured_usd` as money."""
        return usd(self.captured_usd)

    @property
    def pending(self) -> Money | None:
        """`pending_usd` as money."""
        return usd(self.pending_usd)

    @property
    def total_cost(self) -> Money | None:
        """`total_cost_usd` as money."""
        return usd(self.total_cost_usd)

    @property
    def duration(self) -> float | None:
        """Seconds it has run."""
        return seconds_of(self.duration_ms)

    @property
    def billable(self) -> float | None:
        """Seconds it is charged for."""
        return seconds_of(self.billable_ms)


class RecipeInput(Model, frozen=True, kw_only=True):
    """One question a recipe asks whoever cooks it."""

    key: str | None = None
    type: str | None = None
    label: str | None = None
    required: bool | None = None
    description: str | None = None
    placeholder: str | None = None
    default_value: Any = None
    options: list[dict[str, Any]] | None = None


class JobRecipe(Stored, frozen=True, kw_only=True):
    """A saved template of a job (section 3.4.1)."""

    name: str | None = None
    description: str | None = None
    visibility: str | None = None
    payload: dict[str, Any] | None = None
    is_official: bool | None = None
    last_used_at: Moment | None = None
    quickstart_md: str | None = None
    input_schema: list[RecipeInput] | None = None
    thumbnail_url: str | None = None
    is_owner: bool | None = None
    forked_from_recipe_uuid: str | None = None


class GpuRegistryEntry(Stored, frozen=True, kw_only=True):
    """A model of GPU known to the scheduler (section 3.5)."""

    name: str | None = None
    vendor: str | None = None
    vram_gb: Number | None = None
    cuda_cores: Number | None = None
    hourly_rate_usd: Decimal | None = None
    multiplier: Number | None = None
    available_count: int | None = None
    total_count: int | None = None
    is_available: bool | None = None

    @property
    def hourly_rate(self) -> Money | None:
        """`hourly_rate_usd` as money."""
        return usd(self.hourly_rate_usd)


class LedgerTransaction(Stored, frozen=True, kw_only=True):
    """A settled movement of credit (section 3.6)."""

    amount_usd: Decimal | None = None
    type: str | None = None
    job_run_uuid: str | None = None
    authorization_uuid: str | None = None
    consumer_profile_uuid: str | None = None
    consumer_account_uuid: str | None = None
    render_user_id: str | None = None
    render_credit_id: str | None = None
    memo: str | None = None

    @property
    def amount(self) -> Money | None:
        """`amount_usd` as money."""
        return usd(self.amount_usd)


class LedgerAuthorization(Stored, frozen=True, kw_only=True):
    """A hold on credit for one job run (section 3.6)."""

    amount_usd: Decimal | None = None
    approved: bool | None = None
    status: str | None = None
    status_reason: str | None = None
    opened_at: Moment | None = None
    expires_at: Moment | None = None
    closed_at: Moment | None = None
    consumer_account_uuid: str | None = None
    consumer_profile_uuid: str | None = None
    job_run_uuid: str | None = None
    render_user_id: str | None = None

    @property
    def amount(self) -> Money | None:
        """`amount_usd` as money."""
        return usd(self.amount_usd)


class Reward(Stored, frozen=True, kw_only=True):
    """What a node earned in one epoch, in RENDER tokens (section 3.6)."""

    node_uuid: str | None = None
    account_uuid: str | None = None
    epoch_start_at: Moment | None = None
    epoch_end_at: Moment | None = None
    epoch_status: str | None = None
    currency: str | None = None
    multiplier: Decimal | None = None
    assignable_hours: Decimal | None = None
    hours_worked: Decimal | None = None
    prep_hours: Decimal | None = None
    availability_reward: Decimal | None = None
    job_reward: Decimal | None = None
    preparation_reward: Decimal | None = None
    total_reward: Decimal | None = None


class SshPublicKey(Stored, frozen=True, kw_only=True):
    """A key that may log in to containers (section 3.7)."""

    public_key: str | None = None
    fingerprint: str | None = None
    is_default: bool | None = None
    account: Any = None
    account_uuid: str | None = None
    deleted_at: Moment | None = None
    last_used_at: Moment | None = None
    name: str | None = None


class Account(Stored, frozen=True, kw_only=True):
    """The owner of everything (section 3.8)."""

    name: str | None = None
    email: str | None = None
    render_user_id: str | None = None
    consumer_profile_uuid: str | None = None
    roles: list[str] | None = None


class AccountBalance(Model, frozen=True, kw_only=True):
    """Credit of an account: all of it, what is held, and what may be spent (section 3.8)."""

    object: str | None = None
    account_uuid: str | None = None
    currency: str | None = None
    balance_usd: Decimal | None = None
    authorized_usd: Decimal | None = None
    available_usd: Decimal | None = None
    updated_at: Moment | None = None

    @property
    def balance(self) -> Money | None:
        """`balance_usd` as money."""
        return usd(self.balance_usd)

    @property
    def authorized(self) -> Money | None:
        """`authorized_usd` as money."""
        return usd(self.authorized_usd)

    @property
    def available(self) -> Money | None:
        """`available_usd` as money."""
        return usd(self.available_usd)


class DailySpend(Model, frozen=True, kw_only=True):
    """What was spent on one day."""

    date: str | None = None
    amount_usd: Decimal | None = None

    @property
    def amount(self) -> Money | None:
        """`amount_usd` as money."""
        return usd(self.amount_usd)


class AccountSpendSummary(Model, frozen=True, kw_only=True):
    """What an account has spent (section 3.8)."""

    object: str | None = None
    account_uuid: str | None = None
    currency: str | None = None
    total_usd: Decimal | None = None
    last_24h_usd: Decimal | None = None
    last_7d_usd: Decimal | None = None
    last_30d_usd: Decimal | None = None
    current_hourly_rate_usd: Decimal | None = None
    daily: list[DailySpend] | None = None

    @property
    def total(self) -> Money | None:
        """`total_usd` as money."""
        return usd(self.total_usd)

    @property
    def last_24h(self) -> Money | None:
        """`last_24h_usd` as money."""
        return usd(self.last_24h_usd)

    @property
    def last_7d(self) -> Money | None:
        """`last_7d_usd` as money."""
        return usd(self.last_7d_usd)

    @property
    def last_30d(self) -> Money | None:
        """`last_30d_usd` as money."""
        return usd(self.last_30d_usd)

    @property
    def current_hourly_rate(self) -> Money | None:
        """`current_hourly_rate_usd` as money."""
        return usd(self.current_hourly_rate_usd)


class AccountConsumerSummary(Model, frozen=True, kw_only=True):
    """What an account has used (section 3.8)."""

    object: str | None = None
    account_uuid: str | None = None
    jobs: dict[str, Any] | None = None
    job_runs: dict[str, Any] | None = None
    gpu_hours_total: Decimal | None = None
    recipes_total: int | None = None
    ssh_public_keys_total: int | None = None
    last_job_at: Moment | None = None


class ApiKey(Stored, frozen=True, kw_only=True):
    """A key pair of an account, without its secret (section 3.9)."""

    name: str | None = None
    public_key: str | None = None
    preset: str | None = None
    expires_at: Moment | None = None
    allowed_ips: list[str] | None = None
    last_used_at: Moment | None = None
    revoked_at: Moment | None = None


class CreatedApiKey(ApiKey, frozen=True, kw_only=True):
    """A key pair that was just made: the only answer that ever holds its secret (section 3.10)."""

    secret_key: str | None = None

    def __repr__(self) -> str:
        return f"CreatedApiKey(uuid={self.uuid!r}, name={self.name!r}, public_key={self.public_key!r}, secret_key=...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The same for whatever prints with rich: all but the secret."""
        return [("uuid", self.uuid), ("name", self.name), ("public_key", self.public_key)]
