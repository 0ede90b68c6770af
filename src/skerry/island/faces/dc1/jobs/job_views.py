"""Jobs as they are sent (sections 3.3.3, 3.4.1 and 3.5)."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import Row

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.jobs import job_rows
from skerry.island.faces.dc1.jobs.claiming import SERVING

OWN_ENDPOINT = "serve:"
"""What stands for the address of a model that this island serves: only a request tells how the island is reached."""

MAX_RETRIES = 2
_LONGEST_RESULT = 64 << 10
_MILLIS, _SECOND = 1_000, 1_000_000


def submitted(job: Row[Any], position: int | None) -> dict[str, Any]:
    """The job in the answer to its submission."""
    return {
        "id": job.id,
        "job_id": job.job_id,
        "provider_id": job.provider_id,
        "renter_id": job.renter_id,
        "job_type": job.job_type,
        "model": job.model,
        "status": job.status,
        "submitted_at": wire.iso(job.submitted_at),
        "started_at": None,
        "duration_minutes": wire.number(job.duration_minutes),
        "cost_halala": job.quote,
        "max_duration_seconds": job.max_duration_seconds,
        "timeout_at": timeout_at(job),
        "gpu_requirements": parsed(job.gpu_requirements),
        "container_spec": parsed(job.container_spec),
        "workspace_volume_name": _volume(job),
        "checkpoint_enabled": bool(job.checkpoint),
        "task_spec_signed": job.task_spec_hmac is not None,
        "priority": job.priority,
        "pricing_class": job.pricing_class,
        "prewarm_requested": bool(job.prewarm),
        "queue_position": position,
    }


def row(job: Row[Any], *, root: str, position: int | None = None, now: int) -> dict[str, Any]:
    """All that is told of a job; long results are told by `/output` alone.

    Args:
        root: address of this face as the caller reached it.
        position: its place in the queue, for a job that is queued.
        now: microseconds since 1970.
    """
    ended = job.status in job_rows.TERMINAL
    elapsed = elapsed_micros(job, now)
    seconds = None if elapsed is None else round(elapsed / _SECOND)
    found = {
        "id": job.id,
        "job_id": job.job_id,
        "provider_id": job.provider_id,
        "renter_id": job.renter_id,
        "job_type": job.job_type,
        "model": job.model,
        "status": job.status,
        "container_id": None,
        "workspace_volume_name": _volume(job),
        "checkpoint_name": None,
        "checkpoint_path": None,
        "checkpoint_enabled": job.checkpoint,
        "checkpointed_at": None,
        "vram_required": job.vram_required_mb,
        "cost_halala": job.quote,
        "gpu_requirements": parsed(job.gpu_requirements),
        "container_spec": None if job.container_spec == "null" else job.container_spec,
        "notes": None,
        "submitted_at": wire.iso(job.submitted_at),
        "started_at": wire.maybe_iso(job.started_at),
        "first_token_at": wire.maybe_iso(job.first_token_at),
        "completed_at": wire.maybe_iso(job.completed_at),
        # The network tells this of jobs that have begun to answer, or were given back to the queue.
        "updated_at": wire.iso(job.updated_at) if job.first_token_at or job.retry_count else None,
        "created_at": wire.iso(job.created_at),
        "duration_minutes": wire.number(job.duration_minutes),
        "logs_jsonl": None,
        "webhook_notified_at": wire.maybe_iso(job.webhook_notified_at),
        "webhook_delivery_status": job.webhook_status,
        "webhook_delivery_attempts": job.webhook_attempts,
        "completion_email_sent_at": None,
        "assigned_at": wire.maybe_iso(job.assigned_at),
        "picked_up_at": wire.maybe_iso(job.picked_up_at),
        "task_spec": _unless_long(job.task_spec),
        "task_spec_hmac": job.task_spec_hmac,
        "result": _unless_long(job.result),
        "error": job.error,
        "actual_cost_halala": charged(job),
        "actual_duration_minutes": work_minutes(job),
        "provider_earned_halala": job.provider_earned if charged(job) is not None else None,
        "dc1_fee_halala": job.fee if charged(job) is not None else None,
        "max_duration_seconds": job.max_duration_seconds,
        "timeout_at": timeout_at(job),
        "progress_phase": job.progress_phase,
        "progress_updated_at": wire.maybe_iso(job.progress_updated_at),
        "refunded_at": wire.maybe_iso(job.refunded_at),
        "priority": job.priority,
        "retry_count": job.retry_count,
        "max_retries": MAX_RETRIES,
        "restart_count": job.restart_count,
        "last_error": job.last_error,
        "endpoint_url": endpoint_url(job, root),
        "serve_port": job.serve_port,
        "retried_from_job_id": job.retried_from,
        "pricing_class": job.pricing_class,
        "capacity_class": "on_demand",
        "prewarm_requested": job.prewarm,
        "prompt_tokens": job.prompt_tokens,
        "completion_tokens": job.completion_tokens,
        "duration_seconds": seconds if ended else None,
        "template_id": job.template_id,
        "gpu_rate_snapshot": job.rate_snapshot,
        "lifecycle_status": "pending",
        "attestation_tx_hash": None,
        "attestation_status": "pending",
        "gpu_seconds_used": wire.number(str(job.gpu_ms / _MILLIS)),
        "storage_gb_seconds": 0,
        "bandwidth_bytes_out": 0,
        "bandwidth_bytes_in": 0,
        "compute_halala": charged(job) or 0,
        "storage_halala": 0,
        "bandwidth_halala": 0,
        "retry_reason": job.retry_reason,
        "elapsed_sec": seconds,
        "tokens_used": tokens(job),
        "cost_usd": cost_usd(job),
    }
    if position is not None:
        found["queue_position"] = position
    return found


def endpoint_url(job: Row[Any], root: str) -> str | None:
    """Where the model that a job serves is reached: through this island, or at a provider's own address."""
    kept: str | None = job.endpoint_url
    if kept is None or not kept.startswith(OWN_ENDPOINT):
        return kept
    return f"{root}/serve/{job.job_id}/v1"


def is_serving(job: Row[Any]) -> bool:
    """Whether a model that a job serves can be asked now."""
    return bool(job.job_type == SERVING and job.status == "running" and job.endpoint_url)


def timeout_at(job: Row[Any]) -> str | None:
    """When a job's time is over, as databases write it: with milliseconds until it is claimed; none while it queues."""
    if job.status == "queued":
        return None
    return wire.stamp(job.timeout_at, millis=job.picked_up_at is None)


def elapsed_micros(job: Row[Any], now: int) -> int | None:
    """For how long a job has run; None for one that has not begun, or whose image is fetched."""
    if job.started_at is None or (job.completed_at is None and job.progress_phase == job_rows.PULLING):
        return None
    return max(0, int((job.completed_at or now) - job.started_at))


def work_seconds(job: Row[Any]) -> int | float | None:
    """How long the work itself took: as it was reported, else from its start to its end."""
    if job.gpu_ms:
        return wire.number(str(job.gpu_ms / job.gpu_count / _MILLIS))
    if job.started_at is None or job.completed_at is None:
        return None
    return wire.number(str(max(0, job.completed_at - job.started_at) // _MILLIS / _MILLIS))


def work_minutes(job: Row[Any]) -> int | None:
    """The same in minutes that have begun; None for what was cancelled and for what goes on."""
    seconds = work_seconds(job)
    if seconds is None or job.status not in ("completed", "failed"):
        return None
    return max(1, math.ceil(seconds / 60))


def charged(job: Row[Any]) -> int | None:
    """Halala that a job was charged; None for what goes on, was cancelled for nothing, or has never begun."""
    amount: int | None = job.charged
    return None if not amount and (job.status == "cancelled" or job.started_at is None) else amount


def refunded(job: Row[Any]) -> int:
    """Halala that went back to the renter."""
    return int(job.quote) - int(job.charged or 0)


def tokens(job: Row[Any]) -> int | None:
    """Tokens of an answer, where they are known."""
    return None if job.completion_tokens is None else (job.prompt_tokens or 0) + job.completion_tokens


def cost_usd(job: Row[Any]) -> int | float:
    """What a job cost, or may cost, in dollars."""
    amount = charged(job)
    return wire.usd(int(job.quote) if amount is None else amount)


def parsed(text: str | None) -> Any:
    """A structure that a row keeps as text."""
    return None if text is None else wire.decode(text.encode())


def _volume(job: Row[Any]) -> str | None:
    return None if job.renter_id is None else f"dcp-job-{job.job_id}"


def _unless_long(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST_RESULT else None
