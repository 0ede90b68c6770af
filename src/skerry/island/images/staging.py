"""Trees that appear whole or not at all: built aside under a lock, renamed into place, swept after a crash."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from skerry.ids import new_ulid

_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def staged(incoming: Path) -> Iterator[Path]:
    """A fresh private directory that is gone when the block ends; move out of it what shall stay.

    It is locked while in use, so that a sweep by another process leaves it alone.
    """
    incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        path = incoming / new_ulid()
        path.mkdir(mode=0o700)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # A sweep may have come between the making and the locking.
        if path.exists():
            break
        os.close(descriptor)
    try:
        yield path
    finally:
        os.close(descriptor)
        remove_tree(path)


def sweep(incoming: Path) -> None:
    """Remove what crashed processes left behind; directories in use are locked and stay."""
    if not incoming.is_dir():
        return
    for path in incoming.iterdir():
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            path.unlink(missing_ok=True)
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            remove_tree(path)
        finally:
            os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Delete a directory and all below it, also directories that their owner may not enter; none is fine too."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except PermissionError:
        os.chmod(path, 0o700)
        for directory, names, _ in os.walk(path):
            for name in names:
                inner = os.path.join(directory, name)
                if not os.path.islink(inner):
                    os.chmod(inner, 0o700)
        shutil.rmtree(path)


def flush(path: Path) -> None:
    """Bring everything written to the file system that holds `path` to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fspath(path))
    finally:
        os.close(descriptor)
