"""What a job will cost at most, and by which rate its work is charged (sections 5.1 and 5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.money import gpu_tiers
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.settings import DC1
from skerry.networks.dc1.pricing import CLASSES, FLAT_OTHER, FLAT_RATES, JOB_OTHER, JOB_RATES, hold_for

_GPU_RATE_PER_MINUTE = 15
"""Halala that a provider of the `gpu` prices is paid by, unless it has its own rate."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of a job.

    Args:
        halala: what is held, which is the most that is charged.
        rate_per_minute: halala for a minute of one GPU.
        snapshot: the prices that were in force, as JSON text.
    """

    halala: int
    rate_per_minute: int
    snapshot: str


def quote(settings: DC1, job_type: str, minutes: int | float, pricing_class: str, provider: Row[Any] | None) -> Quote:
    """The price of a job, the same for every way in which one is made.

    Args:
        settings: of the network.
        minutes: as submitted.
        provider: who shall carry it out; None while nobody is known.
    """
    gpu_model = None if provider is None else provider_rows.model_of(provider)
    held = hold_for(job_type, minutes, mode=settings.pricing, gpu_model=gpu_model, pricing_class=pricing_class)
    own = None if provider is None else provider.rate_per_minute
    usual = FLAT_RATES.get(job_type, FLAT_OTHER) if settings.pricing == "flat" else _GPU_RATE_PER_MINUTE
    rate = usual if own is None else int(own)
    return Quote(held.amount, rate, wire.text(_snapshot(settings, job_type, pricing_class, gpu_model)))


def _snapshot(settings: DC1, job_type: str, pricing_class: str, gpu_model: str | None) -> dict[str, Any]:
    if settings.pricing == "gpu" and gpu_model is not None:
        return gpu_tiers.snapshot(gpu_model, pricing_class)
    flat = settings.pricing == "flat"
    rate = FLAT_RATES.get(job_type, FLAT_OTHER) if flat else JOB_RATES.get(job_type, JOB_OTHER)
    multiplier = 1.0 if flat else CLASSES.get(pricing_class, 1.0)
    return {
        "gpu_model": gpu_model,
        "job_type": job_type,
        "rate_per_min_halala": rate,
        "pricing_class": pricing_class,
        "multiplier": gpu_tiers.short(multiplier),
        "sar_usd_rate": gpu_tiers.short(settings.sar_usd_rate / 1_000, 3),
    }
