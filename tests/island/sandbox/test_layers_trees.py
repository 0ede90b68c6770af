"""Trees made to be hard to walk, to leave and to delete."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry.island.sandbox.layers import reflink
from skerry.island.sandbox.layers.trash import Trash
from skerry.island.sandbox.layers.treecopy import TreeCopy
from skerry.island.sandbox.layers.trees import Cursor, Moved, measure, regular_file


@pytest.fixture
def trash(tmp_path: Path) -> Iterator[Trash]:
    trash = Trash(tmp_path / "trash")
    yield trash
    trash.close(60)


def burrow(root: Path, depth: int) -> None:
    """A tree deeper than any path can name."""
    here = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deeper", dir_fd=here)
        down = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = down
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def _leads_into(fd: Path, directory: Path) -> bool:
    """Whether an open descriptor is of something in a directory; others may be closed by whom they belong to."""
    try:
        return os.readlink(fd).startswith(f"{directory}/")
    except FileNotFoundError:
        return False


def test_depth_costs_nothing(tmp_path: Path, trash: Trash) -> None:
    source, target, spare = (tmp_path / name for name in ("source", "target", "spare"))
    for directory in (source, target, spare):
        directory.mkdir()
    burrow(source, 3000)
    TreeCopy(source, target, spare, share=False).now()
    assert measure(target) == measure(source)
    assert measure(source, entries=100).complete is False
    assert not [fd for fd in Path("/proc/self/fd").iterdir() if _leads_into(fd, tmp_path)]
    for directory in (source, target, spare):
        trash.take(directory)
    assert trash.drain(300)
    assert os.listdir(tmp_path / "trash") == []


def test_everything_is_deleted_and_nothing_else(tmp_path: Path, trash: Trash) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("stays")
    tree = tmp_path / "tree"
    (tree / "closed" / "inner").mkdir(parents=True)
    (tree / "closed" / "inner" / "file").write_text("x")
    (tree / "link").symlink_to(outside)
    os.mkfifo(tree / "pipe")
    os.mknod(tree / "whiteout", stat.S_IFCHR, os.makedev(0, 0))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "socket"))
    for count in range(500):
        (tree / f"file-{count}").touch()
    for path in (tree / "closed" / "inner", tree / "closed", tree):
        os.chmod(path, 0)
    trash.take(tree)
    assert not tree.exists()
    alone = tmp_path / "alone"
    alone.symlink_to(outside)
    trash.take(alone)
    assert trash.drain(300)
    assert os.listdir(tmp_path / "trash") == []
    assert (outside / "file").read_text() == "stays"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a file immutable")
def test_immutable_files_are_deleted(tmp_path: Path, trash: Trash) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_text("x")
    for path in (tree / "file", tree):
        fd = os.open(path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, 0x40086602, struct.pack("l", 0x10))
        except OSError:
            pytest.skip("this file system has no immutable files")
        finally:
            os.close(fd)
    trash.take(tree)
    assert trash.drain(300)
    assert os.listdir(tmp_path / "trash") == []


def test_what_cannot_be_deleted_does_not_hold_up_the_rest(
    tmp_path: Path, trash: Trash, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("stuck", "fine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}-file").touch()
    real = os.unlink

    def refuse(name: str, **options: int) -> None:
        if name == "stuck-file":
            raise PermissionError(1, "Operation not permitted")
        real(name, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        trash.take(tmp_path / "stuck")
        trash.take(tmp_path / "fine")
        assert trash.drain(300)
    assert len(os.listdir(tmp_path / "trash")) == 1
    assert "cannot delete" in caplog.text
    trash.sweep()
    assert trash.drain(300)
    assert os.listdir(tmp_path / "trash") == []


def test_closing_stops_a_long_deletion(tmp_path: Path) -> None:
    trash = Trash(tmp_path / "trash")
    tree = tmp_path / "tree"
    for count in range(200):
        (tree / f"d{count}").mkdir(parents=True)
    started = threading.Event()
    go_on = threading.Event()
    real = trash._empty

    def slow(trash_fd: int, fd: int) -> bool:
        started.set()
        go_on.wait(60)
        return real(trash_fd, fd)

    trash._empty = slow  # type: ignore[method-assign]
    trash.take(tree)
    assert started.wait(60)
    threading.Timer(0.05, go_on.set).start()
    trash.close(0.01)
    assert not any(thread.name == "skerry-trash" for thread in threading.enumerate())
    later = Trash(tmp_path / "trash")
    later.sweep()
    later.close(60)
    assert os.listdir(tmp_path / "trash") == []


def test_a_walk_follows_no_link_and_notices_a_move(tmp_path: Path) -> None:
    (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    (tmp_path / "tree" / "link").symlink_to(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with Cursor(tmp_path / "tree") as cursor:
        with pytest.raises(NotADirectoryError):
            cursor.down("link")
        cursor.down("a")
        cursor.down("b")
        (tmp_path / "tree" / "a" / "b").rename(tmp_path / "elsewhere" / "b")
        with pytest.raises(Moved):
            cursor.up()


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        for name in ("pipe", "link"):
            with pytest.raises(OSError), regular_file(directory, name):
                pass
        (tmp_path / "closed").write_text("content")
        os.chmod(tmp_path / "closed", 0)
        with regular_file(directory, "closed", force=True) as fd:
            assert os.read(fd, 100) == b"content"
        assert stat.S_IMODE((tmp_path / "closed").stat().st_mode) == 0
    finally:
        os.close(directory)


@pytest.mark.parametrize("refused", [False, True])
def test_data_and_holes_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool) -> None:
    if refused:

        def refuse(*args: object) -> int:
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(os, "copy_file_range", refuse)
    source, target = tmp_path / "source", tmp_path / "target"
    with open(source, "wb") as file:
        file.write(os.urandom(300_000))
        file.seek(50 << 20)
        file.write(os.urandom(3_000_000))
        file.truncate(100 << 20)
    with open(source, "rb") as reading, open(target, "wb") as writing:
        reflink.copy_data(reading.fileno(), writing.fileno(), reflink=reflink.supported(tmp_path))
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < 10 << 20
