"""How long to wait between two looks at a job (sections 2.8 and 4)."""

from __future__ import annotations

from collections.abc import Callable

SHORT_INTERVAL = 5.0
"""Seconds between looks at work that is done soon, such as text and pictures."""

LONG_INTERVAL = 15.0
"""Seconds between looks at work that takes long, such as training."""

FIRST_INTERVAL = 0.25
"""Seconds between the first two looks, which then come less and less often: much work is done at once."""

LONG_JOBS = frozenset({"training", "vllm_serve"})
POLL_TIMEOUT: float = 600
WAIT_TIMEOUT: float = 300
WAIT_INTERVAL = 3.0

_LONGEST_BACKOFF, _JITTER = 60.0, 0.1


def interval_for(job_type: str | None) -> float:
    """Seconds between two looks at a job of a type; None for one that is not known."""
    return LONG_INTERVAL if job_type in LONG_JOBS else SHORT_INTERVAL


def pause_after(looks: int, interval: float) -> float:
    """Seconds to wait after a look: a quarter of a second, twice as long each time, up to the interval.

    Args:
        looks: how many there were by now.
        interval: seconds between looks at work that takes its time.
    """
    return min(interval, FIRST_INTERVAL * 2.0 ** min(looks - 1, 32))


def backoff(failed: int, interval: float, asked: float | None, chance: Callable[[], float]) -> float:
    """Seconds to wait after looking failed: as long as the server asks, else twice the interval, four times, ...

    Args:
        failed: how often it failed by now, since it last did not.
        interval: seconds between looks.
        asked: seconds the server asked for.
        chance: a float in [0, 1), for up to a tenth more.
    """
    steady = min(_LONGEST_BACKOFF, interval * 2.0 ** min(failed, 32)) if asked is None else asked
    return steady * (1 + _JITTER * chance())
