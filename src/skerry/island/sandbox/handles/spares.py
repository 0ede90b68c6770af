"""Files made before they are needed: making one can take a busy disk the better part of a millisecond.

They have no name until they are used, so a crash leaves nothing of them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_MOST = 24
_FEW = 6
_NEVER = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
_SLOW_NS = 100_000
# FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_TOPDIR_FL: the directories in this one have nothing to do with each other.
_GET_FLAGS = 0x80086601
_SET_FLAGS = 0x40086602
_UNRELATED = 0x20000


class SpareFiles:
    """Nameless empty files of one file system; only the owner may read or write them.

    ext4 looks for a free inode near the directory that a file is made in. Without a journal it avoids those that were
    freed in the last minutes, and where thousands were, it passes over them one by one, each time. So these files are
    made in a directory of their own, far from all others, and in another one once that has become slow.

    Args:
        directory: where they get one to be made in, `spares`.
        threads: make them.
    """

    def __init__(self, directory: Path, threads: ThreadPoolExecutor) -> None:
        self._parent = directory / "spares"
        self._place: str | None = None
        self._threads = threads
        self._ready: deque[int] = deque()
        self._descriptors = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._filling = False
        self._usable = True
        self._closed = False

    def open(self, path: str) -> int:
        """A new empty file of that name, open for writing; a spare one if there is one.

        Raises:
            OSError: there is none and none can be made.
        """
        fd = self._named(path)
        return os.open(path, _CREATE, 0o600) if fd is None else fd

    def _named(self, path: str) -> int | None:
        try:
            fd = self._ready.popleft()
        except IndexError:
            return None
        try:
            # Only with a directory for the source does this follow the link that leads to the nameless file.
            os.link(str(fd), path, src_dir_fd=self._descriptors, follow_symlinks=True)
        except OSError:
            # The name is taken, or this file system does not give such files a name.
            os.close(fd)
            return None
        return fd

    def refill(self) -> None:
        """Make new ones in the background, many at once, when few are left."""
        if self._usable and not self._closed and not self._filling and len(self._ready) < _FEW:
            self._filling = True
            self._threads.submit(self._make)

    def _make(self) -> None:
        try:
            if self._place is None:
                self._place = self._apart()
            began = time.thread_time_ns()
            wanted = _MOST - len(self._ready)
            for _ in range(wanted):
                if self._closed:
                    return
                self._ready.append(os.open(self._place, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600))
            if time.thread_time_ns() - began > wanted * _SLOW_NS:
                self._place = None
        except OSError as error:
            # Whoever needs a file makes it and learns why not.
            self._usable = error.errno not in _NEVER
        finally:
            self._filling = False

    def _apart(self) -> str:
        """An empty directory, wherever the file system has most room."""
        shutil.rmtree(self._parent, ignore_errors=True)
        self._parent.mkdir(mode=0o700)
        fd = os.open(self._parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = bytearray(8)
            fcntl.ioctl(fd, _GET_FLAGS, flags)
            wished = int.from_bytes(flags[:4], sys.byteorder) | _UNRELATED
            fcntl.ioctl(fd, _SET_FLAGS, wished.to_bytes(4, sys.byteorder) + bytes(4))
        except OSError:
            pass  # other file systems know no such wish, and need it less
        finally:
            os.close(fd)
        return tempfile.mkdtemp(dir=self._parent)

    def close(self) -> None:
        """Drop those that are left; the threads have ended."""
        self._closed = True
        while self._ready:
            os.close(self._ready.popleft())
        os.close(self._descriptors)
        shutil.rmtree(self._parent, ignore_errors=True)
