"""What a caller may say about a single call: how long, how often, with which headers, and when to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

from skerry._kernel.model import NOT_GIVEN, NotGiven
from skerry.errors import DeadlineExceededError, InvalidRequestError

CANCELLED = "cancelled by the caller"
PASSED = "the caller's deadline has passed"


class Deadline:
    """A moment after which the caller no longer wants an answer; may be moved to now by `cancel`.

    One deadline may cover several calls. It bounds every try and every back-off, on top of the time limits that hold
    anyway. Cancelling from another thread or task interrupts a back-off at once; an asynchronous request in flight is
    abandoned at once, a synchronous one when its time limit or the deadline comes.

    Args:
        seconds: from now; None for a deadline that only `cancel` brings about.
        clock: monotonic seconds.
    """

    def __init__(self, seconds: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = None if seconds is None else clock() + seconds
        self._cancelled: str | None = None
        self._lock = threading.Lock()
        self._listeners: dict[int, Callable[[], object]] = {}
        self._next = 0

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled is not None

    @property
    def expired(self) -> bool:
        """Whether the moment has passed."""
        return self.remaining() == 0.0

    def remaining(self) -> float | None:
        """Seconds left, never negative; None when there is no limit."""
        if self._cancelled is not None:
            return 0.0
        return None if self._at is None else max(0.0, self._at - self._clock())

    @property
    def reason(self) -> str:
        """Why it has passed, in words: what `cancel` was given, or `PASSED`."""
        return PASSED if self._cancelled is None else self._cancelled

    def cancel(self, reason: str = CANCELLED) -> None:
        """Make the deadline pass now and wake everyone who waits under it. Safe from any thread.

        Args:
            reason: what the errors of the calls under it will say; the first one counts.
        """
        with self._lock:
            if self._cancelled is not None:
                return
            self._cancelled = reason
            listeners = list(self._listeners.values())
            self._listeners.clear()
        for listener in listeners:
            listener()

    def subscribe(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Have a function called on `cancel` (at once if that was before).

        Returns:
            A function that ends the subscription.
        """
        with self._lock:
            if self._cancelled is None:
                token, self._next = self._next, self._next + 1
                self._listeners[token] = listener
                return lambda: self._forget(token)
        listener()
        return lambda: None

    def _forget(self, token: int) -> None:
        with self._lock:
            self._listeners.pop(token, None)

    def check(
        self,
        network: str | None = None,
        operation: str | None = None,
        *,
        kind: type[DeadlineExceededError] = DeadlineExceededError,
    ) -> None:
        """Raise when the moment has passed.

        Args:
            network: named in the error.
            operation: named in the error.
            kind: class of the error.

        Raises:
            DeadlineExceededError: it has.
        """
        if self.expired:
            raise kind(
                self.reason,
                network=network,
                operation=operation,
                status=0,
                outcome="not_sent",
            )


@contextmanager
def within(
    timeout: float | None, outer: Deadline | None, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Deadline | None]:
    """A deadline so many seconds from now, that also passes when the outer one does or is cancelled.

    Args:
        timeout: seconds, None for no limit of its own.
        outer: the caller's.
        clock: monotonic seconds.
    """
    if timeout is None:
        yield outer
        return
    left = None if outer is None else outer.remaining()
    deadline = Deadline(timeout if left is None else min(timeout, left), clock=clock)
    forget = None if outer is None else outer.subscribe(lambda: deadline.cancel(outer.reason))
    try:
        yield deadline
    finally:
        if forget is not None:
            forget()


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """Options of one call, or defaults of a client.

    Attributes:
        timeout: seconds each try may take; None for no limit; not given for the operation's default.
        headers: further headers; those that authenticate always win.
        retries: further tries after the first; more than the client's policy allows only where the network's own client
            lets callers ask for more.
        idempotency_key: for operations whose wire has one.
        deadline: for the whole call, back-offs included.
    """

    timeout: float | NotGiven | None = NOT_GIVEN
    headers: Mapping[str, str] | None = None
    retries: int | None = None
    idempotency_key: str | None = None
    deadline: Deadline | None = None

    def __post_init__(self) -> None:
        if self.retries is not None and self.retries < 0:
            raise InvalidRequestError("retries cannot be negative")
        if not isinstance(self.timeout, NotGiven) and self.timeout is not None and not self.timeout > 0:
            raise InvalidRequestError("a timeout must be positive; None means no limit")

    def over(self, defaults: RequestOptions | None) -> RequestOptions:
        """These options, with gaps filled from the defaults; headers of both, these winning."""
        if defaults is None or defaults == _EMPTY:
            return self
        if self == _EMPTY:
            return defaults
        changes: dict[str, object] = {
            field.name: getattr(defaults, field.name)
            for field in fields(self)
            if getattr(self, field.name) is (NOT_GIVEN if field.name == "timeout" else None)
        }
        if self.headers and defaults.headers:
            mine = {name.lower() for name in self.headers}
            theirs = {name: value for name, value in defaults.headers.items() if name.lower() not in mine}
            changes["headers"] = {**theirs, **self.headers}
        return replace(self, **changes)  # type: ignore[arg-type]


_EMPTY = RequestOptions()
NO_OPTIONS = _EMPTY
