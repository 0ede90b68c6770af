"""One server per data directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skerry.errors import ConfigurationError
from skerry.island.erase import erase, remove_tree
from skerry.island.lock import DataDirectoryLock


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    with DataDirectoryLock(tmp_path / "new" / "dir") as lock:
        assert lock.path.read_text() == f"{os.getpid()}\n"
        with pytest.raises(ConfigurationError, match=f"pid {os.getpid()}"):
            DataDirectoryLock(tmp_path / "new" / "dir").acquire()
    DataDirectoryLock(tmp_path / "new" / "dir").acquire()


def test_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, os, signal; from pathlib import Path; from skerry.island.lock import DataDirectoryLock;"
        "DataDirectoryLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    lock = DataDirectoryLock(tmp_path)
    lock.acquire()
    lock.release()
    lock.release()


def test_the_lock_is_not_inherited(tmp_path: Path) -> None:
    with DataDirectoryLock(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        with DataDirectoryLock(tmp_path):
            pass
    finally:
        child.communicate(b"")


def test_an_unusable_directory_says_so(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigurationError, match="not a directory"):
        DataDirectoryLock(file).acquire()
    with pytest.raises(ConfigurationError, match="not a directory"):
        DataDirectoryLock(file / "below").acquire()


def test_trees_with_closed_directories_are_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    deep = tree / "a" / "closed" / "b"
    deep.mkdir(parents=True)
    (deep / "file").touch()
    (tree / "link").symlink_to(tmp_path)
    deep.chmod(0o000)
    deep.parent.chmod(0o000)
    remove_tree(tree)
    assert not tree.exists()
    assert tmp_path.exists()
    remove_tree(tree)


def test_a_directory_in_use_is_not_erased(tmp_path: Path) -> None:
    with DataDirectoryLock(tmp_path), pytest.raises(ConfigurationError, match="another island"):
        erase(tmp_path)
    erase(tmp_path)
    assert not tmp_path.exists()
    erase(tmp_path)
