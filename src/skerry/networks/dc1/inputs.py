"""What callers send, in the words of the network (sections 3 and 5.5).

These types are for editors and type checkers: keywords go into the body under their own names, what is left out stays
out, and members unknown here are sent as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypedDict

JobType = Literal[
    "llm_inference",
    "llm-inference",
    "image_generation",
    "vllm_serve",
    "custom_container",
    "training",
    "rendering",
    "benchmark",
    "rag-pipeline",
]
PricingClass = Literal["priority", "standard", "economy"]
Priority = Literal[1, 2, 3]
"""1 is high, 2 is usual, 3 is low."""

Phase = Literal["pulling", "downloading_model", "installing_deps", "loading_model", "generating", "formatting"]
LogLevel = Literal["info", "warn", "error", "debug"]
Scope = Literal["inference", "billing", "admin"]
Permission = Literal["inference", "jobs.read", "balance.read"]
WebhookEvent = Literal["job.completed", "job.failed", "balance.low"]
RunMode = Literal["always-on", "manual", "scheduled"]


class RegisterInput(TypedDict, total=False):
    """A new renter beyond name and address."""

    organization: str
    use_case: str
    phone: str


class GpuRequirements(TypedDict, total=False):
    """What a job needs of a GPU."""

    min_vram_gb: float
    gpu_type: str


class ContainerSpec(TypedDict, total=False):
    """The container of a job (section 5.6); `image_type` is required when it is given."""

    image_type: str
    model_id: str
    env: Mapping[str, str]
    enable_checkpoint: bool
    vram_required_mb: int
    gpu_count: int
    compute_type: Literal["inference", "training", "rendering"]
    pricing_class: PricingClass
    prewarm_requested: bool
    image: str


class JobOptions(TypedDict, total=False):
    """What a submission may say beside type, parameters, provider, duration and priority (section 3.3.1)."""

    gpu_requirements: GpuRequirements
    container_spec: ContainerSpec
    template_id: str
    bundle_id: str
    task_spec: Mapping[str, Any]
    model: str
    pricing_class: PricingClass
    prewarm_requested: bool
    max_duration_seconds: int
    env_vars: Mapping[str, str]


class SubmitInput(JobOptions, total=False):
    """Body of a submission (section 3.3.1), exactly as it is sent."""

    provider_id: int | None
    job_type: JobType | str
    duration_minutes: float
    priority: Priority | int | str
    params: Mapping[str, Any]


class DispatchInput(TypedDict, total=False):
    """Body of the dispatch route (section 3.5)."""

    job_type: JobType | str
    duration_minutes: float
    params: Mapping[str, Any]
    model: str
    pricing_class: PricingClass


class GpuStatus(TypedDict, total=False):
    """What a host reports of its GPU (section 3.7.1)."""

    gpu_name: str
    gpu_vram_mib: int
    vram_mb: int
    free_vram_mib: int
    memory_used_mb: int
    gpu_util_pct: float
    temp_c: float
    power_w: float
    driver_version: str
    daemon_version: str
    python_version: str
    os_info: str
    gpu_count: int
    compute_capability: str
    cuda_version: str
    all_gpus: Sequence[Mapping[str, Any]]


class HeartbeatInput(TypedDict, total=False):
    """What a daemon's heartbeat says (section 3.7.1)."""

    gpu_status: GpuStatus | Mapping[str, Any] | str
    gpu_info: Mapping[str, Any]
    provider_ip: str
    provider_hostname: str
    peer_id: str
    cached_models: Sequence[str]
    vllm_models: Sequence[str]
    resource_spec: Mapping[str, Any] | str
    container_restart_count: int
    model_cache: Mapping[str, Any]
    vllm_endpoint_url: str
    uptime: float
    draining: bool
    daemon_version: str
    gpu_spec: Mapping[str, Any]


class BeatInput(TypedDict, total=False):
    """What the short heartbeat says, which goes to the provider's own address."""

    gpu_utilization: float
    gpu_utilization_pct: float
    vram_used_mb: int
    jobs_active: int
    active_jobs: int
    timestamp: str


class LogLine(TypedDict, total=False):
    """A line that a daemon reports."""

    level: LogLevel | str
    message: str
    logged_at: str


class JobResultInput(TypedDict, total=False):
    """How a job went, as a daemon reports it (section 3.7.3)."""

    success: bool
    result: str | Mapping[str, Any]
    error: str
    gpu_seconds_used: float
    exit_code: int
    attempt_number: int
    restart_count: int
    last_error: str
    metrics: Mapping[str, Any]
    transient: bool


class SettleInput(TypedDict, total=False):
    """How a job went, in the older report."""

    result: str | Mapping[str, Any]
    error: str
    transient: bool
    duration_seconds: float
    gpu_util_peak: float
    gpu_seconds: float
    storage_gb_seconds: float
    bandwidth_bytes_out: int
    bandwidth_bytes_in: int


class PreferencesInput(TypedDict, total=False):
    """When and how far a host lets itself be used."""

    run_mode: RunMode
    scheduled_start: str
    scheduled_end: str
    gpu_usage_cap_pct: float
    vram_reserve_gb: float
    temp_limit_c: float


class DaemonEventInput(TypedDict, total=False):
    """What a daemon has to say beside a job's course."""

    event_type: str
    severity: Literal["info", "warning", "error", "critical"]
    details: Any
    job_id: str
    timestamp: str
    daemon_version: str


class ProviderRegisterInput(TypedDict, total=False):
    """A new provider beyond name, address, GPU and system."""

    phone: str
    location: str
    resource_spec: Mapping[str, Any] | str


class KeyInput(TypedDict, total=False):
    """A key beside the master key."""

    label: str
    scopes: Sequence[Scope | str]
    expires_at: str | datetime | None


class ApiKeyInput(TypedDict, total=False):
    """A key for a few purposes."""

    label: str
    permissions: Sequence[Permission | str]
    expires_at: str | datetime | None


class PaymentInput(TypedDict, total=False):
    """A payment to begin: halala as a whole number, or riyals."""

    amount_halala: int
    amount_sar: Decimal
    payment_method: Literal["creditcard", "applepay", "bank_transfer"]


class ChatInput(TypedDict, total=False):
    """What a model is asked beside which it is and what was said (section 3.8)."""

    max_tokens: int
    temperature: float
    top_p: float
    stop: str | Sequence[str]
    tools: Sequence[Mapping[str, Any]]
    tool_choice: Any
    provider_id: int
