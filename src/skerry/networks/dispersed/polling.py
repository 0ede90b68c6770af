"""Waiting for something to end by asking again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from skerry._kernel.options import Deadline

_FIRST_POLL, _LONGEST_POLL, _GROWTH = 1.0, 10.0, 1.25


def poll_wait(asked: int) -> float:
    """Seconds to wait after having asked that often before."""
    return min(_LONGEST_POLL, _FIRST_POLL * _GROWTH ** min(asked, 32))


@contextmanager
def within(timeout: float | None, outer: Deadline | None) -> Iterator[Deadline | None]:
    """A deadline so many seconds from now, that also passes when the outer one does or is cancelled.

    Args:
        timeout: seconds, None for no limit of its own.
        outer: the caller's.
    """
    if timeout is None:
        yield outer
        return
    left = None if outer is None else outer.remaining()
    deadline = Deadline(timeout if left is None else min(timeout, left))
    forget = None if outer is None else outer.subscribe(deadline.cancel)
    try:
        yield deadline
    finally:
        if forget is not None:
            forget()
