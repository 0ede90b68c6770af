"""States of jobs and runs: every history stays within the tables of the protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.faces.dispersed.jobs.lifecycle import (
    JOB_STATUSES,
    NO_CREDIT,
    RUN_STATUSES,
    TERMINAL,
    Attempt,
    Course,
    cancel,
    outcome,
    pause_after,
    run_may,
)

JOBS: dict[str, frozenset[str]] = {
    "PENDING": frozenset({"ASSIGNED", "CANCELLED", "FAILED"}),
    "ASSIGNED": frozenset({"RUNNING", "PENDING", "FAILED", "CANCELLING", "CANCELLED"}),
    "RUNNING": frozenset({"COMPLETED", "FAILED", "PENDING", "CANCELLING", "CANCELLED"}),
    "CANCELLING": frozenset({"CANCELLED"}),
}


def job_may(before: str, after: str) -> bool:
    """Whether a job may go from one state to another (section 1.2)."""
    return after in JOBS.get(before, frozenset())


def course(*runs: str, status: str = "RUNNING", slots: int = 1, retries: int = 0, waits: int = 0) -> Course:
    """A job whose runs stand so; `1:FAILED` is one of slot 1."""
    attempts = []
    for run in runs:
        slot, _, word = run.rpartition(":")
        attempts.append(Attempt(slot=int(slot or 0), status=word))
    return Course(status=status, slots=slots, retries=retries, waits=waits, attempts=tuple(attempts))


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (course(status="PENDING"), "PENDING"),
        (course("ASSIGNED", status="PENDING"), "ASSIGNED"),
        (course("PREPARING", status="ASSIGNED"), "ASSIGNED"),
        (course("RUNNING", status="ASSIGNED"), "RUNNING"),
        (course("COMPLETED"), "COMPLETED"),
        (course("FAILED"), "FAILED"),
        (course("CANCELLED"), "CANCELLED"),
        (course("FAILED", retries=1), "PENDING"),
        (course("FAILED", "FAILED", retries=1), "FAILED"),
        (course("FAILED", "COMPLETED", retries=1), "COMPLETED"),
        (course("FAILED", retries=1, waits=1), "FAILED"),
        (course("0:COMPLETED", "1:RUNNING", slots=2), "RUNNING"),
        (course("0:COMPLETED", "1:FAILED", slots=2), "FAILED"),
        (course("0:COMPLETED", "1:CANCELLED", slots=2), "COMPLETED"),
        (course("0:FAILED", "1:ASSIGNED", slots=2, retries=1), "RUNNING"),
        (course("0:COMPLETED", "1:FAILED", slots=2, retries=1), "PENDING"),
        (course("COMPLETED", slots=3), "COMPLETED"),
        (course("CANCELLING", status="CANCELLING"), "CANCELLING"),
        (course("CANCELLED", status="CANCELLING"), "CANCELLED"),
        (course("FAILED", status="CANCELLING", retries=3), "CANCELLED"),
        (course("FAILING", retries=3), "RUNNING"),
    ],
)
def test_what_follows_from_the_runs(job: Course, expected: str) -> None:
    assert job.status_after() == expected
    assert job.status == expected or job_may(job.status, expected)


def test_slots() -> None:
    assert list(course(status="PENDING", slots=2).open_slots(0)) == [(0, 0), (1, 0)]
    assert list(course("0:RUNNING", slots=2).open_slots(0)) == [(1, 0)]
    assert list(course("0:FAILED", "1:RUNNING", slots=3, retries=1).open_slots(0)) == [(0, 1), (2, 0)]
    assert list(course("RUNNING", status="CANCELLING", slots=2).open_slots(0)) == []
    endless = course(status="PENDING", slots=2**53 - 1).open_slots(0)
    assert [next(endless) for _ in range(3)] == [(0, 0), (1, 0), (2, 0)]


@pytest.mark.parametrize(("runs", "expected"), [(("COMPLETED",), "COMPLETED"), (("FAILED", "FAILED"), "FAILED")])
def test_slots_that_never_had_a_run_are_not_counted_out(runs: tuple[str, ...], expected: str) -> None:
    """There may be 2**53 of them, and the end of a run is one transaction that others wait for."""
    assert course(*runs, slots=2**53 - 1, retries=1).status_after() == expected
    assert course("FAILED", slots=2**53 - 1, retries=1).status_after() == "PENDING"


def test_a_wait_without_a_node_costs_a_try() -> None:
    assert not course(status="PENDING").may_wait_again()
    assert course(status="PENDING", retries=1).may_wait_again()
    assert not course(status="PENDING", retries=1, waits=1).may_wait_again()
    assert not course("FAILED", status="PENDING", retries=1).may_wait_again()
    assert list(course("FAILED", status="PENDING", retries=2, waits=1).open_slots(0)) == [(0, 2)]


def test_a_slot_rests_longer_each_time_before_it_is_tried_again() -> None:
    assert [pause_after(runs) for runs in (1, 2, 3, 4, 7, 8, 9, 10**12)] == [0, 1, 2, 4, 32, 60, 60, 60]
    resting = Attempt(slot=0, status="FAILED", ended_at=10_000_000, before=2)
    one = Course(status="PENDING", slots=1, retries=10**12, waits=1, attempts=(resting,))
    assert (list(one.open_slots(11_999_999)), one.rested_at(11_999_999)) == ([], 12_000_000)
    assert (list(one.open_slots(12_000_000)), one.rested_at(12_000_000)) == ([(0, 4)], None)
    # Before the run ended, as far as a clock that was set back can tell.
    assert list(one.open_slots(9_000_000)) == [(0, 4)]
    two = Course(status="RUNNING", slots=2, retries=9, attempts=(resting,))
    assert (list(two.open_slots(11_000_000)), two.rested_at(11_000_000)) == ([(1, 0)], 12_000_000)


def test_without_credit_nothing_is_tried_again() -> None:
    unpaid = Course(
        status="RUNNING", slots=2, retries=5, attempts=(Attempt(slot=0, status="CANCELLED", reason=NO_CREDIT),)
    )
    assert list(unpaid.open_slots(0)) == []
    assert unpaid.status_after() == "FAILED"
    assert outcome([]) == "CANCELLED"


def test_cancelling() -> None:
    assert {status: cancel(status) for status in JOB_STATUSES} == {
        "PENDING": "now",
        "ASSIGNED": "soon",
        "RUNNING": "soon",
        "CANCELLING": "already",
        "CANCELLED": "already",
        "COMPLETED": "never",
        "FAILED": "never",
    }
    assert (cancel("PREPARING"), cancel("FAILING")) == ("soon", "soon")


def test_nothing_leaves_a_terminal_state() -> None:
    for last in TERMINAL:
        assert not any(job_may(last, status) for status in JOB_STATUSES)
        assert not any(run_may(last, status) for status in RUN_STATUSES)


@given(st.data(), st.integers(1, 3), st.integers(0, 2))
def test_every_history_is_legal_and_ends(data: st.DataObject, slots: int, retries: int) -> None:
    """Whatever runs do, jobs only take legal steps, use no more runs than they may, and end once these have."""
    job = Course(status="PENDING", slots=slots, retries=retries)
    for _ in range(100):
        if job.status in TERMINAL:
            break
        steps: list[Course] = []
        for slot, number in job.open_slots(0):
            assert number == job.used(slot) <= retries
            steps.append(_with(job, (*job.attempts, Attempt(slot=slot, status="ASSIGNED"))))
        for position, run in enumerate(job.attempts):
            for word in RUN_STATUSES:
                if run_may(run.status, word):
                    changed = Attempt(slot=run.slot, status=word)
                    others = (*job.attempts[:position], *job.attempts[position + 1 :])
                    going_on = any(other.live and other.status != "CANCELLING" for other in others)
                    runs = (*job.attempts[:position], changed, *job.attempts[position + 1 :])
                    # The last run that is cancelled takes its job with it (section 5.5).
                    steps.append(_with(job, runs, cancelling=word == "CANCELLING" and not going_on))
        following = data.draw(st.sampled_from(steps))
        after = following.status_after()
        assert after == job.status or job_may(job.status, after)
        job = Course(status=after, slots=slots, retries=retries, attempts=following.attempts)
        assert len(job.attempts) <= slots * (1 + retries)
        assert sum(run.live for run in job.attempts) <= slots
        assert after not in TERMINAL or not job.live
    else:
        pytest.fail("the job never ends")


def _with(job: Course, attempts: tuple[Attempt, ...], *, cancelling: bool = False) -> Course:
    status = "CANCELLING" if cancelling else job.status
    return Course(status=status, slots=job.slots, retries=job.retries, attempts=attempts)
