"""How many requests a key may make in a minute (protocol section 2.6)."""

from __future__ import annotations

from collections.abc import Callable

from skerry.island.faces.dispersed.errors import Fault
from skerry.island.ground.windows import Windows

_WINDOW_SECONDS = 60.0


class RateLimit:
    """Counts requests by key.

    Args:
        most: requests per window, None for no limit.
        monotonic: seconds that only grow.
    """

    def __init__(self, most: int | None, monotonic: Callable[[], float]) -> None:
        self._most = most
        self._windows = Windows(monotonic)

    def take(self, key: str) -> None:
        """Count a request.

        Raises:
            Fault: 429 with the seconds to wait, when there were too many.
        """
        if self._most is None:
            return
        turn = self._windows.take(key, self._most, _WINDOW_SECONDS)
        if not turn.granted:
            detail = f"This API key has made {self._most} requests within a minute; wait {turn.wait} s"
            raise Fault(429, "RATE_LIMITED", detail, headers=[turn.retry_after])

    def give_back(self, key: str) -> None:
        """Uncount a request that was none of the key's own."""
        self._windows.give_back(key)
