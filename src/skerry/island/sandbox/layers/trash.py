"""Deleting trees that may be huge, deep or closed: out of sight at once, out of the disk in the background."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import stat
import struct
import threading
import time
from collections import deque
from pathlib import Path

_LOG = logging.getLogger(__name__)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FS_IOC_GETFLAGS = 0x80086601
_FS_IOC_SETFLAGS = 0x40086602
_IMMUTABLE_OR_APPEND = 0x10 | 0x20
# For the one file that is being deleted, on a machine that may stand still for a while.
_STOP_SECONDS = 20.0


class Trash:
    """A directory whose contents are being deleted.

    Args:
        directory: on the same file system as what will be thrown away; made if missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._queue: deque[str] = deque()
        self._worker: threading.Thread | None = None
        self._stopping = False

    def take(self, path: Path) -> None:
        """Move a file or tree here and delete it in the background.

        Raises:
            FileNotFoundError: it is not there.
        """
        name = secrets.token_hex(8)
        try:
            os.rename(path, self._directory / name)
        except PermissionError:
            # A directory that changes its parent must be writable itself.
            _unlock(None, os.fspath(path))
            os.rename(path, self._directory / name)
        self._enqueue([name])

    def sweep(self) -> None:
        """Delete, in the background, whatever an earlier life left here."""
        self._enqueue(sorted(os.listdir(self._directory)))

    def drain(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until nothing is being deleted; True if so."""
        worker = self._worker
        if worker is not None:
            worker.join(timeout)
            return not worker.is_alive()
        return True

    def close(self, timeout: float) -> None:
        """Let deletion go on for at most `timeout` seconds, then stop it; the rest waits for the next `sweep`."""
        deadline = time.monotonic() + timeout
        if not self.drain(timeout):
            _LOG.info("trash: %s is not empty yet; deletion continues at the next start", self._directory)
        self._stopping = True
        self.drain(max(_STOP_SECONDS, deadline - time.monotonic()))

    def _enqueue(self, names: list[str]) -> None:
        with self._lock:
            self._queue.extend(names)
            if self._worker is None and self._queue and not self._stopping:
                self._worker = threading.Thread(target=self._work, name="skerry-trash", daemon=True)
                self._worker.start()

    def _work(self) -> None:
        trash = os.open(self._directory, _DIRECTORY)
        try:
            while True:
                with self._lock:
                    if self._stopping or not self._queue:
                        self._worker = None
                        return
                    name = self._queue.popleft()
                try:
                    self._delete(trash, name)
                except OSError as error:
                    _LOG.warning("trash: cannot delete %s: %s", self._directory / name, error)
        finally:
            os.close(trash)

    def _delete(self, trash: int, name: str) -> None:
        if not stat.S_ISDIR(os.stat(name, dir_fd=trash, follow_symlinks=False).st_mode):
            _unlink(trash, name)
            return
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=trash)
        except PermissionError:
            _unlock(trash, name)
            fd = os.open(name, _DIRECTORY, dir_fd=trash)
        try:
            # Names may be skipped while a directory that is being read shrinks, hence the second look.
            while self._empty(trash, fd):
                if self._stopping:
                    return
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=trash)

    def _empty(self, trash: int, fd: int) -> bool:
        """Unlink or move away what a directory holds; False if it was empty already."""
        found = False
        with os.scandir(fd) as listing:
            for entry in listing:
                found = True
                if self._stopping:
                    break
                if entry.is_dir(follow_symlinks=False):
                    # Moved up here instead of being descended into: depth costs neither stack nor descriptors.
                    moved = secrets.token_hex(8)
                    _move(fd, entry.name, trash, moved)
                    self._enqueue([moved])
                else:
                    _unlink(fd, entry.name)
        return found


def _unlink(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except PermissionError:
        _unlock(directory, ".")
        _unlock(directory, name)
        os.unlink(name, dir_fd=directory)


def _move(directory: int, name: str, target: int, new: str) -> None:
    try:
        os.rename(name, new, src_dir_fd=directory, dst_dir_fd=target)
    except PermissionError:
        # A directory that changes its parent must be writable itself.
        _unlock(directory, ".")
        _unlock(directory, name)
        os.rename(name, new, src_dir_fd=directory, dst_dir_fd=target)


def _unlock(directory: int | None, name: str) -> None:
    """Take away permissions and attributes that keep a file or directory of ours from being deleted."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        mode = os.fstat(handle).st_mode
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            return
        path = f"/proc/self/fd/{handle}"
        _clear_attributes(path)
        with contextlib.suppress(PermissionError):
            os.chmod(path, 0o700)
    finally:
        os.close(handle)


def _clear_attributes(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError:
        return
    try:
        flags = struct.unpack("l", fcntl.ioctl(fd, _FS_IOC_GETFLAGS, struct.pack("l", 0)))[0]
        if flags & _IMMUTABLE_OR_APPEND:
            fcntl.ioctl(fd, _FS_IOC_SETFLAGS, struct.pack("l", flags & ~_IMMUTABLE_OR_APPEND))
    except OSError as error:
        # File systems without such attributes have nothing to clear.
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM):
            raise
    finally:
        os.close(fd)
