"""Files made before they are needed: making one can take a busy disk the better part of a millisecond.

They have no name until they are used, so a crash leaves nothing of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections import deque
from pathlib import Path

_MOST = 48
_LOW = 24
_NEVER = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


class SpareFiles:
    """Nameless empty files of one file system; only the owner may read or write them.

    Args:
        directory: where they are made.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ready: deque[int] = deque()
        self._descriptors = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._filling: threading.Thread | None = None
        self._usable = True
        self._closed = False

    def open(self, path: Path) -> int:
        """A new empty file of that name, open for writing; a spare one if there is one.

        Raises:
            OSError: there is none and none can be made.
        """
        fd = self._named(path)
        return os.open(path, _CREATE, 0o600) if fd is None else fd

    def _named(self, path: Path) -> int | None:
        if len(self._ready) < _LOW:
            self._fill()
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

    def _fill(self) -> None:
        if self._usable and not self._closed and self._filling is None:
            self._filling = threading.Thread(target=self._make, name="skerry-spare-files", daemon=True)
            self._filling.start()

    def _make(self) -> None:
        try:
            while len(self._ready) < _MOST and not self._closed:
                self._ready.append(os.open(self._directory, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600))
        except OSError as error:
            # Whoever needs a file makes it and learns why not.
            self._usable = error.errno not in _NEVER
        finally:
            self._filling = None

    def close(self) -> None:
        """Drop those that are left."""
        self._closed = True
        filling = self._filling
        if filling is not None:
            filling.join()
        while self._ready:
            os.close(self._ready.popleft())
        with contextlib.suppress(OSError):
            os.close(self._descriptors)
