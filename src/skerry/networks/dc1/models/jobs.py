"""Jobs as the wire has them (sections 3.3 to 3.5)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from skerry._kernel.model import Model, Moment
from skerry.money import Money
from skerry.networks.dc1.values import halala, halala_or_none

TERMINAL = ("completed", "failed", "cancelled")
"""States that jobs do not leave; every other word, known or not, means that it goes on (section 1.1)."""

Number = int | float


class Job(Model, frozen=True, kw_only=True):
    """A job, as far as the answer it was read from tells: the whole row, an item of a list, or what `/output` says.

    `number` is the row's numeric id; every route takes either that or `job_id`, and `id` is whichever there is.
    """

    number: int | str | None = msgspec.field(default=None, name="id")
    job_id: str | None = None
    provider_id: int | None = None
    renter_id: int | None = None
    job_type: str | None = None
    model: str | None = None
    status: str = "unknown"
    message: str | None = None
    notes: str | None = None
    submitted_at: Moment | None = None
    started_at: Moment | None = None
    first_token_at: Moment | None = None
    completed_at: Moment | None = None
    ended_at: Moment | None = None
    updated_at: Moment | None = None
    created_at: Moment | None = None
    assigned_at: Moment | None = None
    picked_up_at: Moment | None = None
    refunded_at: Moment | None = None
    progress_phase: str | None = None
    progress_updated_at: Moment | None = None
    timeout_at: Moment | None = None
    duration_minutes: Number | None = None
    actual_duration_minutes: Number | None = None
    duration_seconds: Number | None = None
    max_duration_seconds: Number | None = None
    execution_time_sec: Number | None = None
    cost_halala: int | None = None
    quoted_cost_halala: int | None = None
    actual_cost_halala: int | None = None
    refunded_halala: int | None = None
    provider_earned_halala: int | None = None
    dc1_fee_halala: int | None = None
    cost_usd: Decimal | None = None
    refunded: bool | None = None
    result_type: str | None = None
    result_data: Any = msgspec.field(default=None, name="result")
    result_json: Any = None
    error: str | None = None
    last_error: str | None = None
    endpoint_url: str | None = None
    serve_port: int | None = None
    provider_name: str | None = None
    provider_gpu: str | None = None
    gpu_model: str | None = None
    gpu_requirements: Any = None
    container_spec: Any = None
    priority: int | str | None = None
    pricing_class: str | None = None
    queue_position: int | None = None
    retry_count: int | None = None
    max_retries: int | None = None
    retried_from_job_id: int | None = None
    template_id: str | None = None
    bundle_id: str | None = None
    workspace_volume_name: str | None = None
    checkpoint_enabled: bool | int | None = None
    prewarm_requested: bool | int | None = None
    task_spec: Any = None
    task_spec_hmac: str | None = None
    task_spec_signed: bool | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tokens_used: int | None = None
    lifecycle_status: str | None = None

    @property
    def id(self) -> str:
        """What names the job in every call: `job_id`, else the numeric id, else nothing."""
        if self.job_id:
            return str(self.job_id)
        return "" if self.number is None else str(self.number)

    @property
    def is_done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status in TERMINAL

    @property
    def cost(self) -> Money:
        """`cost_halala` as money: the hold in rows and lists, what was charged in outputs; nothing where untold."""
        return halala(self.cost_halala)

    @property
    def actual_cost(self) -> Money | None:
        """What the work came to, None before it is settled."""
        return halala_or_none(self.actual_cost_halala)

    @property
    def refund(self) -> Money | None:
        """What went back to the wallet, where that is told."""
        return halala_or_none(self.refunded_halala)

    @property
    def cost_sar(self) -> Decimal:
        """`cost` in riyals, exact."""
        return self.cost.decimal

    @property
    def result(self) -> dict[str, Any] | None:
        """The result as an object, as both official SDKs give it; text is its `output`, and anything else is None."""
        if isinstance(self.result_data, str):
            return {"output": self.result_data}
        return self.result_data if isinstance(self.result_data, dict) else None


class Submission(Model, frozen=True, kw_only=True):
    """The answer to a submission (section 3.3.3).

    Attributes:
        job: the new job, whose `cost` is held from now on.
        queued: it waits for its provider, or for any that is capable.
        message: about the queue.
    """

    success: bool | None = None
    job: Job = msgspec.field(default_factory=Job)
    job_id: str | None = None
    id: int | str | None = None
    queued: bool = False
    message: str | None = None

    @property
    def name(self) -> str:
        """What names the job in every call: wherever in the answer a server puts it."""
        # Only a job that came as an object has names of its own.
        found = (self.job.id if isinstance(self.job, Job) else "") or self.job_id or self.id
        return "" if found is None else str(found)


class DispatchedProvider(Model, frozen=True, kw_only=True):
    """Who a job was given to at once."""

    id: int | None = None
    name: str | None = None


class Dispatch(Model, frozen=True, kw_only=True):
    """Where a dispatched job went."""

    assigned: bool | None = None
    queued: bool | None = None
    hold_id: str | None = None
    provider: DispatchedProvider | None = None


class Dispatched(Model, frozen=True, kw_only=True):
    """The answer of the dispatch route; `idempotent` when it is the first answer told again (section 2.6)."""

    success: bool | None = None
    job: Job = msgspec.field(default_factory=Job)
    dispatch: Dispatch | None = None
    idempotent: bool = False


class Cancellation(Model, frozen=True, kw_only=True):
    """The answer to a cancellation; servers put the id and the refund in one place or another."""

    success: bool = False
    job: Job | None = None
    job_id: str | None = None
    status: str | None = None
    refunded_halala: int | None = None

    @property
    def refund(self) -> Money | None:
        """What went back to the wallet, where that is told."""
        return halala_or_none(self.refunded_halala)


class Billing(Model, frozen=True, kw_only=True):
    """What a job came to."""

    actual_cost_halala: int | None = None
    actual_cost_sar: Decimal | None = None
    provider_earned_halala: int | None = None
    dc1_fee_halala: int | None = None

    @property
    def actual_cost(self) -> Money | None:
        """As money."""
        return halala_or_none(self.actual_cost_halala)


class JobSettled(Model, frozen=True, kw_only=True):
    """A job that was stopped, failed or reported on; `retry` when it will be tried again instead."""

    success: bool | None = None
    job: Job | None = None
    billing: Billing | None = None
    job_id: str | None = None
    status: str | None = None
    reason: str | None = None
    message: str | None = None
    retry: bool = False
    attempt: int | None = None
    max_retries: int | None = None
    refunded_halala: int | None = None
    released_halala: int | None = None
    next_job_promoted: Any = None


class JobStatus(Model, frozen=True, kw_only=True):
    """A job's state in short."""

    job_id: str | None = None
    status: str | None = None
    tokens_generated: int | None = None
    elapsed_seconds: Number | None = None
    estimated_cost_usd: Decimal | None = None
    provider_online: bool | None = None


class JobLog(Model, frozen=True, kw_only=True):
    """One line of a job's log; in a stream the text comes as `line`."""

    line_no: int = 0
    level: str = "info"
    text: str = msgspec.field(default="", name="message")
    line: str | None = None
    logged_at: Moment | None = None
    logged_at_ms: int | None = None
    ts: int | None = None

    @property
    def message(self) -> str:
        """The text."""
        return self.text if self.line is None else self.line


class JobLogs(Model, frozen=True, kw_only=True):
    """A page of a job's log."""

    schema_version: str | None = None
    job_id: str | None = None
    status: str | None = None
    logs: list[JobLog] = msgspec.field(default_factory=list)
    total_lines: int = 0
    has_more: bool = False


class JobEvent(Model, frozen=True, kw_only=True):
    """One event of a job's life, from the list or from a stream."""

    schema_version: str | None = None
    job_id: str | None = None
    sequence_no: int | None = None
    event: str | None = None
    event_type: str | None = None
    status: str | None = None
    source: str | None = None
    error_category: str | None = None
    error_code: str | None = None
    message: str | None = None
    payload: Any = None
    occurred_at: Moment | None = None
    occurred_at_ms: int | None = None
    provider_id: int | None = None
    elapsed_sec: Number | None = None
    tokens_used: int | None = None
    cost_usd: Decimal | None = None
    ts: int | None = None

    @property
    def name(self) -> str:
        """What happened, such as `job.completed` or `job_running`."""
        return self.event_type or self.event or "message"


class Lifecycle(Model, frozen=True, kw_only=True):
    """A page of a job's events."""

    schema_version: str | None = None
    job_id: str | None = None
    status: str | None = None
    events: list[JobEvent] = msgspec.field(default_factory=list)
    total_events: int = 0
    has_more: bool = False


class Execution(Model, frozen=True, kw_only=True):
    """One try of a job on a provider."""

    id: int | None = None
    attempt_number: int | None = None
    started_at: Moment | None = None
    ended_at: Moment | None = None
    exit_code: int | None = None
    gpu_seconds_used: Number | None = None
    cost_halala: int | None = None
    log_path: str | None = None
    log_available: bool | None = None


class JobExecutions(Model, frozen=True, kw_only=True):
    """Every try of a job; the job itself as well, from the history route."""

    job: Job | None = None
    job_id: str | None = None
    status: str | None = None
    cost_halala: int | None = None
    actual_cost_halala: int | None = None
    retry_count: int | None = None
    executions: list[Execution] = msgspec.field(default_factory=list)


class HistoryItem(Job, frozen=True, kw_only=True):
    """A job in a list of what was paid; `cost_sar_told` is what the server made of its cost."""

    template_name: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_sar_told: Decimal | None = msgspec.field(default=None, name="cost_sar")

    @property
    def charged(self) -> Money:
        """What it cost in the end, or what is held for it so far."""
        return halala(self.cost_halala if self.actual_cost_halala is None else self.actual_cost_halala)


class PaymentHistory(Model, frozen=True, kw_only=True):
    """The latest jobs with what they cost (section 2.5)."""

    balance_halala: int = 0
    balance_sar: Decimal | None = None
    total_jobs: int | None = None
    total: int | None = None
    limit: int | None = None
    offset: int | None = None
    jobs: list[HistoryItem] = msgspec.field(default_factory=list)

    @property
    def balance(self) -> Money:
        """What the wallet holds."""
        return halala(self.balance_halala)


class JobPage(Model, frozen=True, kw_only=True):
    """A page of jobs, counted by `page` or by `offset`, as the route has it."""

    jobs: list[HistoryItem] = msgspec.field(default_factory=list)
    total: int | None = None
    limit: int | None = None
    offset: int | None = None
    page: int | None = None
    pages: int | None = None
    pagination: Any = None


class QueueEntry(Model, frozen=True, kw_only=True):
    """A job in a queue."""

    job_id: str | None = None
    status: str | None = None


class Queue(Model, frozen=True, kw_only=True):
    """Who waits for a provider, or for any."""

    queue: list[QueueEntry] = msgspec.field(default_factory=list)
    total: int | None = None
    queued_total: int | None = None
    buckets: list[Any] = msgspec.field(default_factory=list)
    control_plane: Any = None


class Invoice(Model, frozen=True, kw_only=True):
    """What a job was charged and who got it; the hash can be recomputed with `signing.settlement_hash`."""

    invoice_id: str | int | None = None
    job_id: str | None = None
    renter_id: int | None = None
    provider_id: int | None = None
    gross_halala: int | None = None
    platform_fee_halala: int | None = None
    provider_earned_halala: int | None = None
    settlement_hash: str | None = None
    timestamp: Moment | None = None

    @property
    def gross(self) -> Money | None:
        """What was charged."""
        return halala_or_none(self.gross_halala)

    @property
    def platform_fee(self) -> Money | None:
        """The platform's share."""
        return halala_or_none(self.platform_fee_halala)
