"""How many requests a key may make in a minute (protocol section 2.6)."""

from __future__ import annotations

import math
from collections.abc import Callable

from skerry.island.faces.dispersed.errors import Fault

WINDOW_SECONDS = 60.0
_MOST_WINDOWS = 10_000


class RateLimit:
    """Counts in windows of a minute that begin with a key's first request; kept in memory only.

    Args:
        most: requests per window, None for no limit.
        monotonic: seconds that only grow.
    """

    def __init__(self, most: int | None, monotonic: Callable[[], float]) -> None:
        self._most = most
        self._monotonic = monotonic
        self._windows: dict[str, tuple[float, int]] = {}

    def take(self, key: str) -> None:
        """Count a request.

        Raises:
            Fault: 429 with the seconds to wait, when there were too many.
        """
        if self._most is None:
            return
        now = self._monotonic()
        begun, count = self._windows.get(key, (now, 0))
        if begun + WINDOW_SECONDS <= now:
            begun, count = now, 0
        if count >= self._most:
            wait = max(1, math.ceil(begun + WINDOW_SECONDS - now))
            raise Fault(
                429,
                "RATE_LIMITED",
                f"This API key has made {self._most} requests within a minute; wait {wait} s",
                headers=[(b"retry-after", str(wait).encode())],
            )
        if len(self._windows) >= _MOST_WINDOWS:
            self._forget(now)
        self._windows[key] = begun, count + 1

    def give_back(self, key: str) -> None:
        """Uncount a request that was none of the key's own."""
        if key in self._windows:
            begun, count = self._windows[key]
            self._windows[key] = begun, max(0, count - 1)

    def _forget(self, now: float) -> None:
        self._windows = {key: window for key, window in self._windows.items() if window[0] + WINDOW_SECONDS > now}
