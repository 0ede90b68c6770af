"""How many requests a key may make in a minute, where the island's owner has set a limit (protocol section 2.7)."""

from __future__ import annotations

import math
from collections.abc import Callable

from skerry.island.faces.octaspace.errors import Fault

_WINDOW_SECONDS = 60.0
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

    def take(self, key_id: str) -> None:
        """Count a request.

        Raises:
            Fault: 429 with the whole seconds to wait, when there were too many.
        """
        if self._most is None:
            return
        now = self._monotonic()
        begun, count = self._windows.get(key_id, (now, 0))
        if begun + _WINDOW_SECONDS <= now:
            begun, count = now, 0
        if count >= self._most:
            wait = max(1, math.ceil(begun + _WINDOW_SECONDS - now))
            raise Fault(
                429,
                "RATE_LIMITED",
                f"This key has made {self._most} requests within a minute; wait {wait} s",
                headers=[(b"retry-after", str(wait).encode())],
            )
        if len(self._windows) >= _MOST_WINDOWS:
            self._windows = {k: w for k, w in self._windows.items() if w[0] + _WINDOW_SECONDS > now}
        self._windows[key_id] = begun, count + 1
