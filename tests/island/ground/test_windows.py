"""Windows of requests: counted from the first one, given back, and never more than there is room for."""

from __future__ import annotations

import pytest

from skerry.island.ground import windows
from skerry.island.ground.windows import Turn, Windows


def test_a_window_begins_with_the_first_request_and_says_how_long_it_lasts() -> None:
    time = 0.0
    counted = Windows(lambda: time)
    assert counted.take("me", 2, 60) == Turn(granted=True, left=1, wait=60)
    time = 10.5
    assert counted.take("me", 2, 60) == Turn(granted=True, left=0, wait=50)
    refused = counted.take("me", 2, 60)
    assert refused == Turn(granted=False, left=0, wait=50)
    assert refused.retry_after == (b"retry-after", b"50")
    assert counted.take("somebody else", 2, 60).granted
    counted.give_back("me")
    assert counted.take("me", 2, 60).granted
    assert not counted.take("me", 2, 60).granted
    time = 60.0
    assert counted.take("me", 2, 60) == Turn(granted=True, left=1, wait=60)


def test_names_without_end_take_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "MOST_WINDOWS", 100)
    time = 0.0
    counted = Windows(lambda: time)
    for number in range(1_000):
        assert counted.take(f"somebody {number}", 2, 60).granted
        assert len(counted) <= 100
    assert [counted.take("me", 2, 60).granted for _ in range(3)] == [True, True, False]
    time = 60.0
    assert counted.take("me", 2, 60).granted
    for number in range(200):
        counted.take(f"somebody else {number}", 2, 60)
    assert len(counted) <= 100
