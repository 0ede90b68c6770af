"""Waiting for something to end by asking again and again."""

from __future__ import annotations

_FIRST_POLL, _LONGEST_POLL, _GROWTH = 1.0, 10.0, 1.25


def poll_wait(asked: int) -> float:
    """Seconds to wait after having asked that often before."""
    return min(_LONGEST_POLL, _FIRST_POLL * _GROWTH ** min(asked, 32))
