"""How many requests a key may make in a minute, where the island's owner has set a limit (protocol section 2.7)."""

from __future__ import annotations

from collections.abc import Callable

from skerry.island.faces.octaspace.errors import Fault
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

    def take(self, key_id: str) -> None:
        """Count a request.

        Raises:
            Fault: 429 with the whole seconds to wait, when there were too many.
        """
        if self._most is None:
            return
        turn = self._windows.take(key_id, self._most, _WINDOW_SECONDS)
        if not turn.granted:
            message = f"This key has made {self._most} requests within a minute; wait {turn.wait} s"
            raise Fault(429, "RATE_LIMITED", message, headers=[turn.retry_after])
