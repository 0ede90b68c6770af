"""Jobs, runs and their costs as the wire has them (sections 3.2.1, 3.3.1, 3.3.2)."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.faces.dispersed import wire
from skerry.island.faces.dispersed.jobs import billing
from skerry.island.faces.dispersed.jobs.lifecycle import TERMINAL
from skerry.island.faces.dispersed.tables import authorizations
from skerry.island.ground.texts import iso, maybe_iso

MOST_LOGS = 1 << 20
"""Bytes of logs that are kept and shown: the last ones."""


def tokens(token: str | None) -> list[dict[str, str]]:
    """`container_access_tokens`."""
    return [] if token is None else [{"token": token}]


def job_view(job: Row[Any], account_uuid: str | None) -> dict[str, Any]:
    """A job without its access token, which is sealed and added by whoever may show it."""
    return {
        "object": "job",
        "uuid": job.uuid,
        "created_at": iso(job.created_at),
        "updated_at": iso(job.updated_at),
        "status": job.status,
        "status_reason": job.status_reason,
        "task": job.task,
        "title": job.title,
        "description": job.description,
        "cpu_count": job.cpu_count,
        "gpu_count": job.gpu_count,
        "min_ram_gb": job.min_ram_gb,
        "min_vram_gb": job.min_vram_gb,
        "min_storage_gb": job.min_storage_gb,
        "gpu_name": job.gpu_name,
        "gpu_registry_uuid": job.gpu_registry_uuid,
        "parameters": json.loads(job.parameters),
        "timeout_assign_at_ms": job.assign_by_ms,
        "started_at": maybe_iso(job.started_at),
        "completed_at": maybe_iso(job.completed_at),
        "max_timeout_assign_ms": job.max_timeout_assign_ms,
        "max_timeout_start_ms": job.max_timeout_start_ms,
        "max_timeout_run_ms": job.max_timeout_run_ms,
        "max_retry_count": job.max_retry_count,
        "max_node_count": job.max_node_count,
        "image_size_bytes": job.image_size_bytes,
        "container_access_tokens": [],
        "source_recipe_uuid": job.source_recipe_uuid,
        "allowed_region_codes": json.loads(job.region_codes),
        "account_uuid": account_uuid,
    }


def run_view(run: Row[Any], token: str | None, now: int) -> dict[str, Any]:
    """A run, without its logs.

    Args:
        run: its row.
        token: the access token of its job.
        now: microseconds since 1970.
    """
    return {
        "object": "job_run",
        "uuid": run.uuid,
        "job_uuid": run.job_uuid,
        "created_at": iso(run.created_at),
        "updated_at": iso(run.updated_at),
        "status": run.status,
        "status_reason": run.status_reason,
        "job_snapshot": {**json.loads(run.snapshot), "container_access_tokens": tokens(token)},
        "node_uuid": run.node_uuid,
        "node_urls": json.loads(run.node_urls) if run.status not in TERMINAL else [],
        "container_access_tokens": tokens(token),
        "hourly_rate_usd": wire.usd(run.hourly_rate),
        "duration_ms": billing.duration_ms(run.started_at, run.completed_at, now),
        "started_at_ms": _milliseconds(run.started_at),
        "completed_at_ms": _milliseconds(run.completed_at),
        "exit_code": run.exit_code,
        "attempt": run.attempt,
        "gpu_name": run.gpu_name,
        "gpu_count": run.gpu_count,
        "authorization_uuid": run.authorization_uuid,
    }


def logs_text(logs: bytes) -> str:
    """Captured output as text: its last part, begun at a whole character, with what is no UTF-8 replaced."""
    kept = logs[-MOST_LOGS:]
    if len(kept) == MOST_LOGS:
        # Nobody says how much there was before; at most three bytes are the rest of a character.
        rest = next((place for place, byte in enumerate(kept[:4]) if not 0x80 <= byte < 0xC0), 0)
        kept = kept[rest:]
    return kept.decode("utf-8", errors="replace")


def cost_view(connection: Connection, run: Row[Any], now: int) -> dict[str, Any]:
    """What a run has cost so far: captured, and what the time since then will add (section 3.3.2).

    Args:
        run: its row.
        now: microseconds since 1970.
    """
    query = select(authorizations).where(authorizations.c.uuid == run.authorization_uuid)
    authorization = connection.execute(query).first()
    is_open = authorization is not None and authorization.status == "OPEN"
    duration = billing.duration_ms(run.started_at, run.completed_at, now) or 0
    captured = billing.captured(connection, run.uuid)
    pending = 0
    if authorization is not None and is_open:
        pending = min(authorization.amount, billing.charge(run.hourly_rate, duration - run.billed_ms))
    approved = authorization is not None and bool(authorization.approved)
    return {
        "object": "job_run_cost_summary",
        "job_run_uuid": run.uuid,
        "job_uuid": run.job_uuid,
        "status": run.status,
        "currency": billing.CURRENCY,
        "hourly_rate_usd": wire.usd(run.hourly_rate),
        "duration_ms": duration,
        # What a run does after its next hour was refused is not charged.
        "billable_ms": duration if approved else run.billed_ms,
        "authorized_usd": wire.usd(authorization.amount if authorization is not None and approved else 0),
        "captured_usd": wire.usd(captured),
        "pending_usd": wire.usd(pending),
        "total_cost_usd": wire.usd(captured + pending),
        "is_final": run.status in TERMINAL and not is_open,
        "started_at": maybe_iso(run.started_at),
        "completed_at": maybe_iso(run.completed_at),
    }


def _milliseconds(micros: int | None) -> int | None:
    return None if micros is None else micros // 1_000
