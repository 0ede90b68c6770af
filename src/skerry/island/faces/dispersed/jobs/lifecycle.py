"""States of jobs and of their runs, and what follows from what (sections 1.2, 1.3, 5.1, 5.5). Pure.

A job has `max_node_count` slots, each of which wants one run that ends well. A run that fails is followed by another in
its slot, as long as the slot has had no more than `max_retry_count` before it; a time in which no node was found costs
every slot one of these as well. The first try after a failure may follow at once, each later one only after a pause
that doubles from a second to a minute. A job ends with its last living run: slots that never found a node do not hold
it up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

JobStatus = Literal["PENDING", "ASSIGNED", "RUNNING", "CANCELLING", "COMPLETED", "FAILED", "CANCELLED"]
RunStatus = Literal["ASSIGNED", "PREPARING", "RUNNING", "FAILING", "CANCELLING", "COMPLETED", "FAILED", "CANCELLED"]

JOB_STATUSES: tuple[JobStatus, ...] = (
    *("PENDING", "ASSIGNED", "RUNNING", "CANCELLING"),
    *("COMPLETED", "FAILED", "CANCELLED"),
)
RUN_STATUSES: tuple[RunStatus, ...] = (
    *("ASSIGNED", "PREPARING", "RUNNING", "FAILING", "CANCELLING"),
    *("COMPLETED", "FAILED", "CANCELLED"),
)
TERMINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
LIVE_JOBS: tuple[JobStatus, ...] = ("PENDING", "ASSIGNED", "RUNNING", "CANCELLING")
LIVE_RUNS: tuple[RunStatus, ...] = ("ASSIGNED", "PREPARING", "RUNNING", "FAILING", "CANCELLING")
WANTING: tuple[JobStatus, ...] = ("PENDING", "ASSIGNED", "RUNNING")
"""States of jobs in which a slot may still be given a node."""

NO_CREDIT = "INSUFFICIENT_BALANCE"
"""The reason of a run that ended because its next hold was refused; it is not tried again."""

LONGEST_PAUSE = 60
"""Seconds that a slot rests at most after a run that failed."""
_SECOND = 1_000_000

_RUNS: dict[str, frozenset[str]] = {
    "ASSIGNED": frozenset({"PREPARING", "FAILING", "FAILED", "CANCELLING"}),
    "PREPARING": frozenset({"RUNNING", "FAILING", "FAILED", "CANCELLING"}),
    "RUNNING": frozenset({"COMPLETED", "FAILING", "FAILED", "CANCELLING"}),
    "FAILING": frozenset({"FAILED"}),
    "CANCELLING": frozenset({"CANCELLED"}),
}


def run_may(before: str, after: str) -> bool:
    """Whether a run may go from one state to another (section 1.3)."""
    return after in _RUNS.get(before, frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of a job, as far as its job's fate goes.

    Args:
        slot: which of the job's places it fills.
        status: its state.
        reason: its `status_reason`.
        ended_at: microseconds since 1970; None while it goes on.
        before: earlier runs of its slot that are not told of one by one.
    """

    slot: int
    status: str
    reason: str | None = None
    ended_at: int | None = None
    before: int = 0

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.status not in TERMINAL

    @property
    def unpaid(self) -> bool:
        """Whether it ended for want of credit."""
        return not self.live and self.reason == NO_CREDIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A job with the runs it has had, oldest first; of each slot the last one is enough.

    Args:
        status: the job's state.
        slots: its `max_node_count`.
        retries: its `max_retry_count`.
        waits: times for which no node was found within the assign time.
        attempts: its runs.
    """

    status: str
    slots: int
    retries: int
    waits: int = 0
    attempts: tuple[Attempt, ...] = ()

    @property
    def live(self) -> bool:
        """Whether any run goes on."""
        return any(attempt.live for attempt in self.attempts)

    def latest(self) -> dict[int, Attempt]:
        """The last run of each slot that has had one."""
        return {attempt.slot: attempt for attempt in self.attempts}

    def used(self, slot: int) -> int:
        """How many of its tries a slot has spent: the number of the next run, counted from 0."""
        return self.waits + self._runs()[slot]

    def rests_until(self, slot: int) -> int:
        """Until when a slot may not be given a node because its last run failed, microseconds since 1970."""
        return _rests_until(self.latest()[slot], self._runs()[slot])

    def rested_at(self, now: int) -> int | None:
        """When the first of those slots may be given a node that may not now; None when there is none."""
        if not self._wanting:
            return None
        resting = (_rests_until(last, runs) for last, runs in self._failed_slots() if _rests(last, runs, now))
        return min(resting, default=None)

    def open_slots(self, now: int) -> Iterator[tuple[int, int]]:
        """Slots that may be given a node now, each with the number of its try.

        None while the job is being cancelled or over, or when it has run out of credit.

        Args:
            now: microseconds since 1970.
        """
        if not self._wanting:
            return
        for last, runs in self._failed_slots():
            if not _rests(last, runs, now):
                yield last.slot, self.waits + runs
        if self.waits <= self.retries:
            latest = self.latest()
            for slot in range(self.slots):
                if slot not in latest:
                    yield slot, self.waits

    def retriable(self) -> bool:
        """Whether a run that failed may be followed by another."""
        # Slots that never had a run do not count, and there may be more of them than anybody can look at.
        return self._wanting and any(True for _ in self._failed_slots())

    def may_wait_again(self) -> bool:
        """Whether, no node having been found in time, another such time may begin."""
        return self.waits + max((runs for _, runs in self._failed_slots()), default=0) < self.retries

    def status_after(self) -> JobStatus:
        """The job's state, now that its runs stand as they do; unchanged where nothing follows from them."""
        if self.status in TERMINAL or (self.status == "PENDING" and not self.attempts):
            return _known(self.status)
        if self.live:
            if self.status == "CANCELLING":
                return "CANCELLING"
            running = any(attempt.status == "RUNNING" for attempt in self.attempts)
            return "RUNNING" if running or self.status == "RUNNING" else "ASSIGNED"
        if self.status == "CANCELLING":
            return "CANCELLED"
        if self.retriable():
            return "PENDING"
        return outcome(self.latest().values())

    @property
    def _wanting(self) -> bool:
        return self.status in WANTING and not any(attempt.unpaid for attempt in self.attempts)

    def _runs(self) -> Counter[int]:
        """How many runs each slot has had."""
        found: Counter[int] = Counter()
        for attempt in self.attempts:
            found[attempt.slot] += 1 + attempt.before
        return found

    def _failed_slots(self) -> Iterator[tuple[Attempt, int]]:
        """The last runs of slots that failed and have a try left, each with how many runs its slot has had."""
        latest, runs = self.latest(), self._runs()
        for slot in sorted(latest):
            if latest[slot].status == "FAILED" and self.waits + runs[slot] <= self.retries:
                yield latest[slot], runs[slot]


def _rests_until(last: Attempt, runs: int) -> int:
    return 0 if last.ended_at is None else last.ended_at + pause_after(runs) * _SECOND


def _rests(last: Attempt, runs: int, now: int) -> bool:
    # A clock that was set back makes nobody wait until it has caught up.
    return (last.ended_at or 0) <= now < _rests_until(last, runs)


def pause_after(runs: int) -> int:
    """Seconds for which a slot rests after so many runs, the last of which failed: 0, 1, 2, 4 and so on to a minute."""
    return 0 if runs < 2 else min(1 << min(runs - 2, 6), LONGEST_PAUSE)


def outcome(last: Iterable[Attempt]) -> JobStatus:
    """How a job ends whose slots' last runs ended so: well only if none failed, cancelled only if all were."""
    ended = list(last)
    if any(attempt.status == "FAILED" or attempt.unpaid for attempt in ended):
        return "FAILED"
    return "COMPLETED" if any(attempt.status == "COMPLETED" for attempt in ended) else "CANCELLED"


Cancelled = Literal["now", "soon", "already", "never"]


def cancel(status: str) -> Cancelled:
    """What a wish to cancel does to a job or run in a state (section 5.5).

    Returns:
        `now`: it is CANCELLED at once; `soon`: it is CANCELLING until its node confirms; `already`: nothing changes;
        `never`: it has ended otherwise (409 JOB_NOT_CANCELLABLE).
    """
    if status == "PENDING":
        return "now"
    if status in ("CANCELLING", "CANCELLED"):
        return "already"
    return "never" if status in TERMINAL else "soon"


def _known(status: str) -> JobStatus:
    return next(known for known in JOB_STATUSES if known == status)
