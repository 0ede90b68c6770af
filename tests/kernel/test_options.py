"""Options of a call, and deadlines."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry._kernel.model import NOT_GIVEN
from skerry._kernel.options import NO_OPTIONS, Deadline, RequestOptions, within
from skerry.errors import DeadlineExceededError, InvalidRequestError

options = st.builds(
    RequestOptions,
    timeout=st.sampled_from([NOT_GIVEN, None, 1.0, 2.0]),
    headers=st.none() | st.dictionaries(st.sampled_from(["a", "A", "b"]), st.sampled_from("xy"), max_size=2),
    retries=st.none() | st.integers(0, 3),
    idempotency_key=st.none() | st.sampled_from(["k", "l"]),
)


@given(options, options)
def test_gaps_are_filled_and_nothing_else(mine: RequestOptions, defaults: RequestOptions) -> None:
    merged = mine.over(defaults)
    assert merged.timeout == (defaults.timeout if mine.timeout is NOT_GIVEN else mine.timeout)
    assert merged.retries == (defaults.retries if mine.retries is None else mine.retries)
    assert merged.idempotency_key == (mine.idempotency_key or defaults.idempotency_key)
    for name, value in (mine.headers or {}).items():
        assert (merged.headers or {})[name] == value


@given(options)
def test_nothing_is_neutral(one: RequestOptions) -> None:
    assert one.over(None) == one
    assert one.over(NO_OPTIONS) == one
    assert NO_OPTIONS.over(one) == one


def test_headers_win_whatever_their_case() -> None:
    merged = RequestOptions(headers={"X-A": "mine"}).over(RequestOptions(headers={"x-a": "theirs", "x-b": "theirs"}))
    assert merged.headers == {"x-b": "theirs", "X-A": "mine"}


@pytest.mark.parametrize("bad", [{"retries": -1}, {"timeout": 0}, {"timeout": -1.0}, {"timeout": float("nan")}])
def test_impossible_options(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidRequestError):
        RequestOptions(**bad)  # type: ignore[arg-type]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_deadline_passes() -> None:
    clock = Clock()
    deadline = Deadline(5, clock=clock)
    assert deadline.remaining() == 5
    deadline.check()
    clock.now += 6
    assert deadline.remaining() == 0
    assert deadline.expired
    with pytest.raises(DeadlineExceededError, match="deadline has passed"):
        deadline.check("arker", "vms.run")
    assert not deadline.cancelled


def test_deadline_without_limit_ends_by_cancel_only() -> None:
    deadline = Deadline()
    assert deadline.remaining() is None
    assert not deadline.expired
    deadline.cancel()
    deadline.cancel()
    assert deadline.expired
    with pytest.raises(DeadlineExceededError, match="cancelled"):
        deadline.check()


def test_listeners_hear_once_and_can_leave() -> None:
    deadline, heard = Deadline(), []
    leave = deadline.subscribe(lambda: heard.append("left"))
    deadline.subscribe(lambda: heard.append("early"))
    leave()
    leave()
    deadline.cancel()
    deadline.subscribe(lambda: heard.append("late"))()
    assert heard == ["early", "late"]


def test_cancel_from_many_threads_tells_once() -> None:
    deadline, heard = Deadline(), []
    deadline.subscribe(lambda: heard.append(1))
    threads = [threading.Thread(target=deadline.cancel) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [1]


def test_why_is_said_by_whoever_was_first() -> None:
    outer = Deadline()
    with within(60, outer) as inner:
        assert inner is not None
        outer.cancel("the page was left")
        outer.cancel("too late")
        for deadline in (outer, inner):
            with pytest.raises(DeadlineExceededError, match="the page was left"):
                deadline.check()
