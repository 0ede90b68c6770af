"""Directories that are made whole: one maker at a time, and nothing of one that was ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from skerry.cli.making import making
from skerry.island.engine.errors import Conflict, Unsupported
from skerry.island.workers.making import step, unmake, whole
from tests import processes

# The step has a child of its own, as npm and make have; the pipe is open as long as either lives.
MAKER = """
import sys
from pathlib import Path
from skerry.cli.making import making
from skerry.island.workers.making import step, whole
place, pipe = sys.argv[1:]
with making(), whole(Path(place)) as fresh:
    (fresh / "half").touch()
    step("sh", "-c", "exec >$0; sh -c 'echo $$; exec sleep 600' & wait", pipe, failing="no")
"""
_PATIENCE = 60.0


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "made"
    with whole(place) as fresh:
        (fresh / "first").touch()
    return place


class Maker:
    """Another command that makes the same, in the middle of a step."""

    def __init__(self, place: Path) -> None:
        self.fifo = place.with_name("fifo")
        os.mkfifo(self.fifo)
        self.process = subprocess.Popen([sys.executable, "-c", MAKER, place, self.fifo])
        self._reader = self.fifo.open()
        self.child = int(self._reader.readline())
        self.group = os.getpgid(self.child)

    def ended(self) -> int:
        """Its status; what it started has ended too."""
        status = self.process.wait(_PATIENCE)
        assert self._reader.read() == ""
        # The pipe may be closed before the lock is.
        deadline = time.monotonic() + _PATIENCE
        while processes.alive(self.child) or processes.alive(self.group):
            assert time.monotonic() < deadline, "a step goes on"
            time.sleep(0.005)
        self._reader.close()
        self.fifo.unlink()
        return status


@pytest.mark.usefixtures("signals_end_programs")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_that_is_ended_takes_everything_with_it(place: Path, number: signal.Signals) -> None:
    maker = Maker(place)
    assert place.with_name("made.new").is_dir()
    maker.process.send_signal(number)
    assert maker.ended() != 0
    assert sorted(os.listdir(place.parent)) == ["made"]
    assert os.listdir(place) == ["first"]


@pytest.mark.usefixtures("signals_end_programs")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_while_a_step_is_started(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    class Interrupted(subprocess.Popen[str]):
        def __init__(self, *words: Any, **options: Any) -> None:
            super().__init__(*words, **options)
            started.append(self.pid)
            signal.raise_signal(number)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    usual = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), making():
        step("sleep", "600", failing="no")
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)
    assert signal.getsignal(number) is usual


def test_nobody_makes_where_another_does(place: Path) -> None:
    maker = Maker(place)
    try:
        with pytest.raises(Conflict, match="another command"), whole(place):
            pytest.fail("two at once")
        with pytest.raises(Conflict, match="another command"):
            unmake(place)
        maker.process.kill()
        maker.process.wait(_PATIENCE)
        # It is gone; its step is not, and would go on writing.
        with pytest.raises(Conflict, match="another command"), whole(place):
            pytest.fail("two at once")
    finally:
        os.killpg(maker.group, signal.SIGKILL)
    maker.ended()
    with whole(place) as fresh:
        assert list(fresh.iterdir()) == []
        (fresh / "second").touch()
    assert os.listdir(place) == ["second"]
    assert sorted(os.listdir(place.parent)) == ["made"]


def test_one_that_was_killed_between_the_renames(place: Path) -> None:
    place.rename(place.with_name("made.old"))
    with pytest.raises(ZeroDivisionError), whole(place):
        1 / 0  # noqa: B018
    assert os.listdir(place) == ["first"]


def test_links_are_removed_and_not_followed(place: Path) -> None:
    real = place.with_name("real")
    place.rename(real)
    place.symlink_to(real)
    with whole(place) as fresh:
        (fresh / "second").touch()
    assert os.listdir(place) == ["second"]
    assert sorted(os.listdir(place.parent)) == ["made", "real"]
    assert unmake(place)
    assert not unmake(place)
    assert os.listdir(real) == ["first"]


def test_a_step_that_takes_too_long(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"slow: .*timed out"):
        step("sh", "-c", "sleep 600 & wait", failing="slow", limit=0.1)
    with pytest.raises(Unsupported, match="nothing: "):
        step(str(tmp_path / "none"), failing="nothing")
