"""Files made before they are needed: making one can take a busy disk the better part of a millisecond.

They have no name until they are used, so a crash leaves nothing of them.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_MOST = 48
_FEW = 12
_NEVER = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


class SpareFiles:
    """Nameless empty files of one file system; only the owner may read or write them.

    Args:
        directory: where they are made.
        threads: make them.
    """

    def __init__(self, directory: Path, threads: ThreadPoolExecutor) -> None:
        self._directory = directory
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
            while len(self._ready) < _MOST and not self._closed:
                self._ready.append(os.open(self._directory, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600))
        except OSError as error:
            # Whoever needs a file makes it and learns why not.
            self._usable = error.errno not in _NEVER
        finally:
            self._filling = False

    def close(self) -> None:
        """Drop those that are left; the threads have ended."""
        self._closed = True
        while self._ready:
            os.close(self._ready.popleft())
        os.close(self._descriptors)
