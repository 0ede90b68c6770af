"""Retry decisions and waits are pure functions of what happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry._kernel.retry import (
    ONCE,
    TRANSIENT_STATUSES,
    Failure,
    RetryPolicy,
    by_safety,
    doubling,
    full_jitter,
    parse_retry_after,
)
from skerry.errors import SkerryError

chances = st.floats(0, 1, exclude_max=True)
statuses = st.integers(400, 599)


def failed(status: int = 503, retry_after: float | None = None) -> Failure:
    return Failure(SkerryError("x", status=status), "answer", status, retry_after)


@given(st.integers(1, 2000), chances, st.integers(0, 5000), st.integers(0, 60000), st.integers(0, 500))
def test_doubling_is_capped_before_whole_millisecond_jitter(
    tries: int, chance: float, base: int, cap: int, jitter: int
) -> None:
    milliseconds = doubling(base / 1000, cap / 1000, jitter / 1000)(tries, lambda: chance) * 1000
    steady = min(cap, base * 2 ** (tries - 1))
    added = milliseconds - steady
    assert -1e-6 <= added <= jitter + 1e-6
    assert abs(added - round(added)) < 1e-6
    assert round(added) == int(chance * (jitter + 1))


@given(st.integers(1, 2000), chances)
def test_full_jitter_stays_within_the_doubled_wait(tries: int, chance: float) -> None:
    assert 0 <= full_jitter(0.5, 8)(tries, lambda: chance) <= min(8, 0.5 * 2 ** min(tries - 1, 10))


@given(statuses, st.sampled_from(["idempotent", "keyed", "unsafe"]))
def test_generic_rule(status: int, safety: str) -> None:
    again = by_safety(failed(status), safety)  # type: ignore[arg-type]
    assert again == (safety != "unsafe" and status in TRANSIENT_STATUSES)


@pytest.mark.parametrize("kind", ["broken", "timeout"])
def test_generic_rule_without_an_answer(kind: str) -> None:
    failure = Failure(SkerryError("x"), kind)  # type: ignore[arg-type]
    assert by_safety(failure, "idempotent")
    assert by_safety(failure, "keyed")
    assert not by_safety(failure, "unsafe")


def test_what_was_never_sent_may_always_be_repeated() -> None:
    assert by_safety(Failure(SkerryError("x"), "never_sent"), "unsafe")


@given(st.integers(1, 10), st.integers(1, 12))
def test_attempts_are_counted_in_all(attempts: int, attempt: int) -> None:
    policy = RetryPolicy(attempts=attempts, backoff=lambda tries, chance: 1.0)
    wait = policy.wait(failed(), "idempotent", attempt, lambda: 0.0)
    assert (wait is None) == (attempt >= attempts)


@given(st.integers(0, 10), st.integers(1, 6))
def test_callers_only_tighten(retries: int, attempts: int) -> None:
    assert RetryPolicy(attempts=attempts).tightened(retries).attempts == min(attempts, retries + 1)
    assert RetryPolicy(attempts=attempts).tightened(None).attempts == attempts


@given(st.integers(0, 10), st.integers(1, 6))
def test_callers_may_ask_for_more_where_the_network_says_so(retries: int, attempts: int) -> None:
    policy = RetryPolicy(attempts=attempts, adjustable=True)
    assert policy.tightened(retries).attempts == retries + 1
    assert policy.tightened(None) is policy


def test_a_wish_above_the_limit_may_be_shortened() -> None:
    policy = RetryPolicy(longest_wait=30.0, shorten=True)
    assert [policy.wait(failed(503, after), "keyed", 1, lambda: 0.0) for after in (29.0, 31.0)] == [29.0, 30.0]


def test_servers_wish_is_followed_up_to_a_limit() -> None:
    policy = RetryPolicy(longest_wait=60)
    assert policy.wait(failed(retry_after=7), "idempotent", 1, lambda: 0.0) == 7
    assert policy.wait(failed(retry_after=61), "idempotent", 1, lambda: 0.0) is None
    deaf = RetryPolicy(obey_retry_after=False, backoff=lambda tries, chance: 0.25)
    assert deaf.wait(failed(retry_after=7), "idempotent", 1, lambda: 0.0) == 0.25
    assert ONCE.wait(failed(), "idempotent", 1, lambda: 0.0) is None


@given(st.integers(0, 10**6))
def test_retry_after_forms(seconds: int) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert parse_retry_after(str(seconds)) == seconds
    assert parse_retry_after("9", str(seconds * 1000)) == pytest.approx(seconds)
    assert parse_retry_after(format_datetime(now + timedelta(seconds=seconds), usegmt=True), now=now) == seconds


_OUT_OF_THIS_WORLD = f"Thu, 01 Jan 1970 00:00:00 -{'9' * 30}"


@pytest.mark.parametrize("text", [None, "", "soon", "-3", "nan", "inf", "2026-01-01", _OUT_OF_THIS_WORLD])
def test_retry_after_nonsense(text: str | None) -> None:
    assert parse_retry_after(text) is None


def test_retry_after_past_date_and_bad_milliseconds() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert parse_retry_after("Wed, 01 Jan 2025 00:00:00 GMT", now=now) == 0
    assert parse_retry_after("Wed, 01 Jan 2025 00:00:00 -0000", now=now) == 0
    assert parse_retry_after("4", "soon") == 4
