"""A loop over descriptors and one tick, for the resident process of a relay: standard library only, no coroutines."""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class Loop:
    """Calls back when a descriptor is ready, and regularly."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._stopped = False

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Call `handler(events)` whenever one of `events` (READ, WRITE; and a hang-up, always) holds for `fd`."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def change(self, fd: int, events: int) -> None:
        """Wait for other events from now on."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Call no more; to be called before the descriptor is closed. Harmless when it is not watched."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def stop(self) -> None:
        """Let `run` return after the present round."""
        self._stopped = True

    def close(self) -> None:
        """Give the loop's own descriptor back."""
        self._epoll.close()

    def run(self, tick: Callable[[], float]) -> None:
        """Serve until stopped.

        Args:
            tick: called at the beginning, and again after as many seconds as it returned.
        """
        due = 0.0
        while not self._stopped:
            left = due - time.monotonic()
            if left <= 0:
                due = time.monotonic() + tick()
                continue
            for fd, events in self._epoll.poll(left):
                # An earlier handler of this round may have closed it.
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(events)
