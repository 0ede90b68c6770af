"""How far a provider can be relied on: what became of its jobs, and how often it was heard of (section 3.2).

Of the last hour it is known minute by minute whether there was a heartbeat: 60 bits in its profile, which every
heartbeat moves on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from skerry.island.faces.dc1.providers import provider_rows

NEW = 70
"""The score of a provider whose jobs are too few to tell."""

_FEW_JOBS = 5
_MINUTE = 60_000_000
_HOUR_BITS = (1 << 60) - 1


def success_rate(provider: Row[Any]) -> int:
    """Percent of its finished jobs that did their work; 0 before the first."""
    done, failed = int(provider.total_jobs), int(provider.failed_jobs)
    return round(100 * done / (done + failed)) if done + failed else 0


def score(provider: Row[Any], uptime: float) -> int:
    """From 0 to 100: three parts success, one part presence, once there are jobs enough to tell."""
    if int(provider.total_jobs) + int(provider.failed_jobs) < _FEW_JOBS:
        return NEW
    return round((3 * success_rate(provider) + uptime) / 4)


def tier(provider: Row[Any], uptime: float) -> str:
    """The same as a word."""
    if int(provider.total_jobs) + int(provider.failed_jobs) < _FEW_JOBS:
        return "new"
    found = score(provider, uptime)
    return "top" if found >= 90 else "reliable" if found >= NEW else "standard"


def long_uptime(provider: Row[Any], now: int) -> float:
    """Percent of the time since its registration in which it was there."""
    whole = max(1, (now - provider.created_at) // 1_000)
    return round(min(100.0, 100 * provider.online_ms / whole), 1) if provider.online_ms else 0


def uptime_percent(profile: Mapping[str, Any], now: int) -> float:
    """In how many of the last 60 minutes it was heard of, in percent with one decimal."""
    last, bits = _known_minutes(profile)
    passed = min(max(0, now // _MINUTE - last), 60)
    return round(100 * ((bits << passed) & _HOUR_BITS).bit_count() / 60, 1)


def minutes(provider: Row[Any], now: int) -> tuple[int, int]:
    """The minute of the last heartbeat, and one bit for each of the 60 minutes up to it."""
    last, bits = _known_minutes(provider_rows.profile(provider))
    present = now // _MINUTE
    passed = min(max(0, present - last), 60)
    return present, ((bits << passed) | 1) & _HOUR_BITS


def _known_minutes(profile: Mapping[str, Any]) -> tuple[int, int]:
    last, bits = profile.get("minutes", (0, 0))
    return int(last), int(bits)
