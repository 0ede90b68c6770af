"""Providers as they are shown: to renters who choose one, and to their owners (sections 3.2 and 3.7)."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row, func, select

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.jobs import job_rows
from skerry.island.faces.dc1.providers import heartbeat_bodies, provider_rows, reputation
from skerry.island.faces.dc1.tables import jobs
from skerry.island.settings import DC1
from skerry.networks.dc1.pricing import FLAT_OTHER, FLAT_RATES, JOB_OTHER, JOB_RATES

_DAY = 86_400_000_000
_RECENT = 10
_LIST_RATE_PER_HOUR = 500
"""Halala that the marketplace shows for a provider without a rate of its own; jobs are priced by their type."""

_USUAL_RATE_PER_MINUTE = 15
_RATED = (
    "llm-inference",
    "llm_inference",
    "training",
    "rendering",
    "image_generation",
    "vllm_serve",
    "rag-pipeline",
    "custom_container",
)


def vram_gb(provider: Row[Any]) -> int:
    """Gigabytes of one GPU, to the nearest."""
    return (int(provider.vram_mib) * 2 + 1_024) // 2_048


def offered(provider: Row[Any], now: int) -> dict[str, Any]:
    """As renters choose from (section 3.2); nothing that SDKs compute with is ever null."""
    known = provider_rows.profile(provider)
    return {
        "id": provider.id,
        "peer_id": known.get("peer_id"),
        "name": provider.name,
        "gpu_model": provider_rows.model_of(provider),
        "vram_gb": vram_gb(provider),
        "vram_mib": provider.vram_mib,
        "gpu_count": provider.gpu_count,
        "driver_version": known.get("driver_version"),
        "compute_capability": known.get("compute_capability"),
        "cuda_version": known.get("cuda_version"),
        "status": provider.status,
        "is_live": provider_rows.is_live(provider, now),
        "location": provider.location,
        "reliability_score": reputation.success_rate(provider),
        "cached_models": known.get("cached_models", []),
        "discovery_source": "sqlite",
        "discovered_at": None,
        "stale": False,
    }


def listed(provider: Row[Any], settings: DC1, now: int) -> dict[str, Any]:
    """The same with all that is known of it."""
    known = provider_rows.profile(provider)
    uptime = reputation.uptime_percent(known, now)
    return {
        "id": provider.id,
        "name": provider.name,
        "gpu_model": provider_rows.model_of(provider),
        "vram_gb": vram_gb(provider),
        "vram_mb": known.get("vram_mb", provider.vram_mib),
        "vram_mib": provider.vram_mib,
        "gpu_count": provider.gpu_count,
        "driver_version": known.get("driver_version"),
        "compute_capability": known.get("compute_capability"),
        "cuda_version": known.get("cuda_version"),
        "gpu_info": known.get("gpu_info"),
        "gpu_spec": known.get("all_gpus", []),
        "status": provider.status,
        "is_live": provider_rows.is_live(provider, now),
        "heartbeat_age_seconds": age(provider, now),
        "degraded_since": wire.maybe_iso(known.get("degraded_since")),
        "location": provider.location,
        "run_mode": preferences(provider)["run_mode"],
        "reliability_score": reputation.success_rate(provider),
        "reputation_score": reputation.score(provider, uptime),
        "uptime_percent": uptime,
        "uptime_pct": uptime,
        "job_success_rate": reputation.success_rate(provider),
        "total_jobs_completed": provider.total_jobs,
        "reputation_tier": reputation.tier(provider, uptime),
        "cached_models": known.get("cached_models", []),
        "cost_rates_halala_per_min": rates(provider, settings),
    }


def on_market(provider: Row[Any], now: int) -> dict[str, Any]:
    """As the marketplace's cards show it."""
    uptime = reputation.uptime_percent(provider_rows.profile(provider), now)
    rate = provider.rate_per_minute
    hourly = _LIST_RATE_PER_HOUR if rate is None else int(rate) * 60
    return {
        "id": provider.id,
        "gpu_model": provider_rows.model_of(provider),
        "vram_gb": vram_gb(provider),
        "rate_halala": hourly,
        "price_per_min_halala": (hourly * 2 + 60) // 120,
        "uptime_pct": uptime,
        "job_success_rate": reputation.success_rate(provider),
        "total_jobs_completed": provider.total_jobs,
        "reputation_tier": reputation.tier(provider, uptime),
    }


def public(provider: Row[Any], now: int) -> dict[str, Any]:
    """As anybody may see it, without its name."""
    known = provider_rows.profile(provider)
    rate = _USUAL_RATE_PER_MINUTE if provider.rate_per_minute is None else int(provider.rate_per_minute)
    return {
        "id": provider.id,
        "gpu_model": provider_rows.model_of(provider),
        "vram_mb": known.get("vram_mb", provider.vram_mib),
        "gpu_count": provider.gpu_count,
        "supported_compute_types": known.get("compute_types", []),
        "cost_per_hour_sar": wire.sar(rate * 60),
        "jobs_completed": provider.total_jobs,
        "online": provider.status == "online",
    }


def account(connection: Connection, provider: Row[Any], now: int) -> dict[str, Any]:
    """A provider's own account, with its latest jobs."""
    known, chosen = provider_rows.profile(provider), preferences(provider)
    metrics = known.get("metrics", {})
    uptime = reputation.uptime_percent(known, now)
    found = {
        "id": provider.id,
        "name": provider.name,
        "status": provider.status,
        "gpu_model": provider_rows.model_of(provider),
        "gpu_vram_mib": provider.vram_mib,
        "gpu_count_reported": known.get("gpu_count"),
        "gpu_compute_capability": known.get("compute_capability"),
        "gpu_cuda_version": known.get("cuda_version"),
        "vram_mb": known.get("vram_mb", provider.vram_mib),
        "gpu_count": provider.gpu_count,
        "supported_compute_types": json.loads(provider.compute_types),
        "gpu_profile_source": known.get("profile_source"),
        "gpu_profile_updated_at": wire.maybe_iso(known.get("profile_updated_at")),
        "auto_detected": known.get("profile_source") == "daemon",
        "resource_spec": heartbeat_bodies.decoded(provider.resource_spec),
        "last_heartbeat": wire.maybe_iso(provider.last_heartbeat),
        "daemon_version": known.get("declared_daemon"),
        "run_mode": chosen["run_mode"],
        "scheduled_start": chosen["scheduled_start"],
        "scheduled_end": chosen["scheduled_end"],
        "wallet_address": provider.wallet_address,
        "wallet_address_updated_at": wire.maybe_iso(provider.wallet_updated_at),
        "gpu_usage_cap_pct": chosen["gpu_usage_cap_pct"],
        "vram_reserve_gb": chosen["vram_reserve_gb"],
        "temp_limit_c": chosen["temp_limit_c"],
        "is_paused": bool(provider.paused),
        "approval_status": provider.approval,
        "approved_at": wire.maybe_iso(provider.approved_at),
        "rejected_reason": provider.rejected_reason,
        "total_earnings_halala": provider.total_earned,
        "total_jobs": provider.total_jobs,
        "uptime_percent": reputation.long_uptime(provider, now),
        "gpu_metrics": {
            "utilization_pct": metrics.get("utilization_pct", 0),
            "vram_used_mib": metrics.get("vram_used_mib", 0),
            "temperature_c": metrics.get("temperature_c", 0),
        },
        "today_earnings_halala": earned_since(connection, provider.id, now - now % _DAY),
        "week_earnings_halala": earned_since(connection, provider.id, now - 7 * _DAY),
        "active_job": _active(connection, provider.id),
        "email": provider.email,
        "os": provider.os,
        "uptime_pct": uptime,
        "reputation_score": reputation.score(provider, uptime),
    }
    return {"provider": found, "recent_jobs": _recent(connection, provider.id)}


def status(provider: Row[Any], now: int) -> dict[str, Any]:
    """In short, with its measurements as they came."""
    known = provider_rows.profile(provider)
    return {
        "provider_id": provider.id,
        "name": provider.name,
        "status": provider.status,
        "gpu_model": provider_rows.model_of(provider),
        "gpu_status": known.get("gpu_status"),
        "provider_ip": known.get("provider_ip"),
        "last_heartbeat": wire.maybe_iso(provider.last_heartbeat),
        "total_earnings": wire.sar(int(provider.total_earned)),
        "total_jobs": provider.total_jobs,
        "uptime_percent": reputation.long_uptime(provider, now),
    }


def preferences(provider: Row[Any]) -> dict[str, Any]:
    """When and how far it lets itself be used."""
    found: dict[str, Any] = {**provider_rows.PREFERENCES, **json.loads(provider.preferences)}
    return {name: found[name] for name in provider_rows.PREFERENCES}


def rates(provider: Row[Any], settings: DC1) -> dict[str, int]:
    """Halala per minute, by job type."""
    table, other = (FLAT_RATES, FLAT_OTHER) if settings.pricing == "flat" else (JOB_RATES, JOB_OTHER)
    own = provider.rate_per_minute
    found = {kind: table.get(kind, other) if own is None else int(own) for kind in _RATED}
    return {**found, "default": other if own is None else int(own)}


def age(provider: Row[Any], now: int) -> int | None:
    """Whole seconds since the last heartbeat."""
    found = provider_rows.age_seconds(provider, now)
    return None if found is None else int(found)


def earned_since(connection: Connection, provider_id: int, since: int) -> int:
    """Halala earned with jobs that were completed from a moment on."""
    query = select(func.coalesce(func.sum(jobs.c.provider_earned), 0)).where(
        jobs.c.provider_id == provider_id, jobs.c.status == "completed", jobs.c.completed_at >= since
    )
    return int(connection.execute(query).scalar_one())


def _active(connection: Connection, provider_id: int) -> dict[str, Any] | None:
    query = select(jobs).where(jobs.c.provider_id == provider_id, jobs.c.status.in_(job_rows.CLAIMED))
    job = connection.execute(query.order_by(jobs.c.started_at.desc(), jobs.c.id.desc()).limit(1)).first()
    if job is None:
        return None
    return {
        "id": job.id,
        "job_id": job.job_id,
        "job_type": job.job_type,
        "status": job.status,
        "started_at": wire.maybe_iso(job.started_at),
        "progress_phase": job.progress_phase,
    }


def _recent(connection: Connection, provider_id: int) -> list[dict[str, Any]]:
    query = select(jobs).where(jobs.c.provider_id == provider_id).order_by(jobs.c.id.desc()).limit(_RECENT)
    return [
        {
            "id": job.id,
            "job_id": job.job_id,
            "job_type": job.job_type,
            "status": job.status,
            "submitted_at": wire.iso(job.submitted_at),
            "started_at": wire.maybe_iso(job.started_at),
            "completed_at": wire.maybe_iso(job.completed_at),
            "actual_cost_halala": job.charged,
            "provider_earned_halala": job.provider_earned,
        }
        for job in connection.execute(query)
    ]
