"""How often somebody may ask: windows that begin with the first request; kept in memory only."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from skerry.island.ground.answers import Header

MOST_WINDOWS = 20_000


@dataclass(frozen=True, slots=True)
class Turn:
    """What one request came to.

    Args:
        granted: whether it is one of those that are allowed.
        left: how many more are, before the window ends.
        wait: whole seconds until it ends, at least one.
    """

    granted: bool
    left: int
    wait: int

    @property
    def retry_after(self) -> Header:
        """What tells a refused caller."""
        return b"retry-after", str(self.wait).encode()


class Windows:
    """Counts requests.

    Args:
        monotonic: seconds that only grow.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        # When each began, how much was counted, and when it ends; the order is that of their beginnings.
        self._windows: dict[Hashable, tuple[float, int, float]] = {}

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._windows)

    def take(self, key: Hashable, most: int, seconds: float) -> Turn:
        """Count a request, unless it is one too many.

        Args:
            key: whose window it is.
            most: requests in a window.
            seconds: length of a window.
        """
        now = self._monotonic()
        begun, count, _ = self._windows.get(key, (now, 0, now))
        if begun + seconds <= now:
            self._windows.pop(key, None)
            begun, count = now, 0
        turn = Turn(count < most, max(0, most - count - 1), max(1, math.ceil(begun + seconds - now)))
        if turn.granted:
            if len(self._windows) >= MOST_WINDOWS:
                self._forget(now)
            self._windows[key] = begun, count + 1, begun + seconds
        return turn

    def give_back(self, key: Hashable) -> None:
        """Uncount a request."""
        if key in self._windows:
            begun, count, ends = self._windows[key]
            self._windows[key] = begun, max(0, count - 1), ends

    def _forget(self, now: float) -> None:
        """Make room: windows that have ended go, and where that is not enough, the older half of all.

        Who asks under ever new names must not have this grow without end.
        """
        self._windows = {key: window for key, window in self._windows.items() if window[2] > now}
        if len(self._windows) >= MOST_WINDOWS:
            for key in list(self._windows)[: MOST_WINDOWS // 2]:
                del self._windows[key]


class PerMinute:
    """How many requests each key may make in a minute.

    Args:
        most: None for no limit.
        monotonic: seconds that only grow.
        refusal: of a request beyond them.
    """

    def __init__(
        self, most: int | None, monotonic: Callable[[], float], refusal: Callable[[int, Turn], Exception]
    ) -> None:
        self._most = most
        self._windows = Windows(monotonic)
        self._refusal = refusal

    def take(self, key: str) -> None:
        """Count a request; raises the refusal when there were too many."""
        if self._most is not None:
            turn = self._windows.take(key, self._most, 60.0)
            if not turn.granted:
                raise self._refusal(self._most, turn)

    def give_back(self, key: str) -> None:
        """Uncount a request that was none of the key's own."""
        self._windows.give_back(key)
