"""Who carries out a job: the provider that was asked for, or the best one that is free (sections 3.3.2 and 5.4)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.providers import provider_rows

_UNAVAILABLE = ("offline", "disconnected", "paused", "banned", "suspended", "rejected", "pending")
_MIB_PER_GIB = 1_024


def chosen(connection: Connection, provider_id: int, min_vram_gb: float, *, now: int) -> Row[Any]:
    """The provider that a renter asked for.

    Args:
        min_vram_gb: memory that its GPU must have; compared with the exact memory, not with the rounded one.
        now: microseconds since 1970.

    Raises:
        Fault: 404 for none, 400 when it is not online or too small.
    """
    provider = provider_rows.find(connection, provider_id)
    if provider is None:
        raise Fault(404, "Provider not found")
    status = standing(provider)
    age = provider_rows.age_seconds(provider, now)
    heard = age is not None and age <= provider_rows.STALE_SECONDS
    if status in _UNAVAILABLE or (status != "online" and not heard):
        raise Fault(400, "Provider is not online", provider_status=status)
    if min_vram_gb and provider.vram_mib and provider.vram_mib / _MIB_PER_GIB < min_vram_gb:
        raise Fault(
            400,
            "Provider does not meet GPU requirements",
            required_vram_gb=_short(min_vram_gb),
            provider_vram_gb=_short(provider.vram_mib / _MIB_PER_GIB),
        )
    return provider


def standing(provider: Row[Any]) -> str:
    """What a provider is, in one word: what its owner or the operator decided counts before what it does."""
    if provider.suspended:
        return "suspended"
    if provider.approval != "approved":
        return str(provider.approval)
    return "paused" if provider.paused else str(provider.status)


def best(
    connection: Connection,
    *,
    vram_mib: int,
    gpu_type: str | None,
    gpu_count: int,
    compute_type: str,
    busy: bool = False,
    now: int,
) -> Row[Any] | None:
    """The provider that fits best: the smallest that is large enough, so that larger ones stay free for larger jobs.

    Args:
        vram_mib: memory that its GPU must have.
        gpu_type: in its normal form; None for any.
        busy: whether one that has no room counts too, behind those that have.
        now: microseconds since 1970.
    """
    fitting = []
    for provider in provider_rows.every(connection):
        if not provider_rows.may_work(provider, now) or compute_type not in provider_rows.supported(provider):
            continue
        if provider.vram_mib < vram_mib or provider.gpu_count < gpu_count:
            continue
        if gpu_type and gpu_type not in _letters(provider_rows.model_of(provider)):
            continue
        full = provider_rows.working(connection, provider.id) >= provider.slots
        if busy or not full:
            fitting.append((full, provider.vram_mib, -provider.online_ms, provider.id, provider))
    return min(fitting, key=lambda found: found[:4])[4] if fitting else None


def _letters(name: str) -> str:
    return "".join(character for character in name.upper() if character.isalnum())


def _short(number: float) -> int | float:
    return int(number) if number == int(number) else number
