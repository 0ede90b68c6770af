"""The few things that make two runs of the same code differ, gathered so that a test can fix them."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Effects:
    """Clock and chance.

    Attributes:
        monotonic: seconds for measuring.
        unix_ms: milliseconds since 1970.
        random: a float in [0, 1), for jitter.
        entropy: so many unpredictable bytes, for ids.
    """

    monotonic: Callable[[], float] = time.monotonic
    unix_ms: Callable[[], int] = _unix_ms
    random: Callable[[], float] = random.random
    entropy: Callable[[int], bytes] = secrets.token_bytes


SYSTEM = Effects()
