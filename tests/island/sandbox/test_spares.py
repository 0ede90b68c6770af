"""Spare files: nameless until used, made apart from everything else, elsewhere once that is slow."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skerry.island.sandbox.handles import spares
from skerry.island.sandbox.handles.spares import SpareFiles


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def filled(files: SpareFiles, threads: ThreadPoolExecutor) -> None:
    files.refill()
    threads.submit(int).result(60)


def made_in(fd: int) -> Path:
    """The directory in which an open file was made."""
    return Path(os.readlink(f"/proc/self/fd/{fd}")).parent


def test_a_spare_file_is_made_apart_and_gets_its_name_when_used(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    files = SpareFiles(tmp_path, threads)
    filled(files, threads)
    (place,) = (tmp_path / "spares").iterdir()
    assert list(place.iterdir()) == []

    fd = files.open(str(tmp_path / "log"))
    assert made_in(fd) == place
    os.write(fd, b"said")
    os.close(fd)
    assert (tmp_path / "log").read_bytes() == b"said"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600

    files.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_where_making_them_is_slow_no_more_are_made(
    tmp_path: Path, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = SpareFiles(tmp_path, threads)
    places = []
    for turn, slow in enumerate((False, True, False, False)):
        passed = iter((0, 10**9 if slow else 0))
        monkeypatch.setattr(spares.time, "thread_time_ns", passed.__next__)
        filled(files, threads)
        fds = [files.open(str(tmp_path / f"{turn}-{number}")) for number in range(spares._MOST)]
        (place,) = {made_in(fd) for fd in fds}
        places.append(place)
        for fd in fds:
            os.close(fd)
    files.close()
    assert places[0] == places[1] != places[2] == places[3]


def test_what_a_crash_has_left_is_removed(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    (tmp_path / "spares" / "old").mkdir(parents=True)
    files = SpareFiles(tmp_path, threads)
    filled(files, threads)
    assert not (tmp_path / "spares" / "old").exists()
    files.close()
