"""Whether to try again, and after how long: pure functions of what may already have happened.

* never sent: nothing happened, so any call may be repeated;
* idempotent or keyed: repeating does no harm;
* unsafe: the first try may have acted, so a generic client does not repeat it.

Each network documents its own rule and that is its default; callers can only tighten it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from skerry.errors import SkerryError

Safety = Literal["idempotent", "keyed", "unsafe"]
"""`idempotent`: harmless to repeat; `keyed`: the server recognises the repeat; `unsafe`: neither."""

FailureKind = Literal["never_sent", "broken", "timeout", "answer"]
Backoff = Callable[[int, Callable[[], float]], float]
"""Seconds to wait after so many failed tries (1 after the first), given a source of chance in [0, 1)."""

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Failure:
    """How a try ended.

    Attributes:
        error: what would be raised if this were the last try.
        kind: `answer` when the server said so, otherwise how the transport failed.
        status: HTTP status, 0 without an answer.
        retry_after: seconds the server asked to wait.
    """

    error: SkerryError
    kind: FailureKind
    status: int = 0
    retry_after: float | None = None


Predicate = Callable[[Failure, Safety], bool]


def by_safety(failure: Failure, safety: Safety) -> bool:
    """The generic rule: repeat what was never sent, and harmless calls after transient trouble."""
    if failure.kind == "never_sent":
        return True
    if safety == "unsafe":
        return False
    return failure.kind != "answer" or failure.status in TRANSIENT_STATUSES


def doubling(base: float, cap: float, jitter: float, step: float = 0.001) -> Backoff:
    """`base`, twice that, four times ... up to `cap`, plus chance of `jitter` in whole steps; all in seconds.

    The cap applies before the jitter. With chance in [0, 1), the jitter takes each whole number of steps from 0 to
    `jitter` with equal likelihood.
    """

    def wait(failed: int, chance: Callable[[], float]) -> float:
        steady = min(cap, base * 2.0 ** min(failed - 1, 64))
        return steady + math.floor(chance() * (round(jitter / step, 6) + 1)) * step

    return wait


def full_jitter(base: float, cap: float) -> Backoff:
    """Anything from nothing to the doubled wait, in seconds: spreads a crowd of clients best."""

    def wait(failed: int, chance: Callable[[], float]) -> float:
        return chance() * min(cap, base * 2.0 ** min(failed - 1, 64))

    return wait


_GENERIC_BACKOFF = full_jitter(0.5, 8.0)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often to try, when to try again, and how long to wait in between.

    Attributes:
        attempts: tries in all, at least 1.
        backoff: the wait.
        when: which failures are worth another try.
        obey_retry_after: wait as long as the server asks when it asks.
        longest_wait: seconds; a server that asks for more than this gets no further try.
        shorten: wait `longest_wait` when the server asks for more, instead of giving up.
        adjustable: callers may ask for more tries as well as for fewer.
    """

    attempts: int = 3
    backoff: Backoff = _GENERIC_BACKOFF
    when: Predicate = by_safety
    obey_retry_after: bool = True
    longest_wait: float = 120.0
    shorten: bool = False
    adjustable: bool = False

    def wait(self, failure: Failure, safety: Safety, attempt: int, chance: Callable[[], float]) -> float | None:
        """Seconds until the next try, or None when there is to be none.

        Args:
            failure: how the try ended.
            safety: what repeating the operation may do.
            attempt: number of that try, 1 for the first.
            chance: a float in [0, 1).
        """
        if attempt >= self.attempts or not self.when(failure, safety):
            return None
        if self.obey_retry_after and failure.retry_after is not None:
            if failure.retry_after <= self.longest_wait:
                return failure.retry_after
            return self.longest_wait if self.shorten else None
        return self.backoff(attempt, chance)

    def tightened(self, retries: int | None) -> RetryPolicy:
        """This policy with at most so many further tries; more than it allows by itself only if it is adjustable."""
        if retries is None or (retries + 1 >= self.attempts and not self.adjustable):
            return self
        return replace(self, attempts=retries + 1)


ONCE = RetryPolicy(attempts=1)


def parse_retry_after(
    value: str | None, milliseconds: str | None = None, *, now: datetime | None = None
) -> float | None:
    """Seconds asked for by `Retry-After` (seconds or an HTTP date) or `Retry-After-Ms`.

    Args:
        value: the `Retry-After` header.
        milliseconds: the `Retry-After-Ms` header, which wins where both are given.
        now: the present moment, for dates.

    Returns:
        Seconds, never negative; None when nothing usable was said.
    """
    for text, scale in ((milliseconds, 0.001), (value, 1.0)):
        try:
            number = float(text or "") * scale
        except ValueError:
            continue
        return number if 0 <= number < math.inf else None
    if not value:
        return None
    # Dates are rare, and the module that reads them takes longer to load than all of this.
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
