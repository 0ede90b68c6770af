"""Walking a tree that others may be changing, or have made hostile, without ever leaving it.

A path is never resolved twice: a walk holds one descriptor, goes down by name without following links and comes up
through `..`, checking that it arrives where it came from. Depth costs neither descriptors nor stack.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REGULAR = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Moved(OSError):
    """The tree was rearranged under the walk."""


class Cursor:
    """A directory in a tree, by descriptor.

    Args:
        root: directory to start in.
        need: owner permissions (such as 0o500) to give ourselves for the time inside a directory of our own that
            lacks them; 0 to be content with what there is. Root needs none of this.
    """

    def __init__(self, root: Path, *, need: int = 0) -> None:
        self._need = need if os.geteuid() else 0
        self._above: list[tuple[int, int, int | None]] = []
        self.fd, self._mode = self._open(os.fspath(root), None)

    def __enter__(self) -> Cursor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def mode(self) -> int:
        """Permission bits of this directory as they are without us."""
        return stat.S_IMODE(os.fstat(self.fd).st_mode) if self._mode is None else self._mode

    def down(self, name: str) -> None:
        """Enter a directory. Raises OSError when it is none (a link, for instance) or is closed to us."""
        here = os.fstat(self.fd)
        fd, mode = self._open(name, self.fd)
        self._above.append((here.st_dev, here.st_ino, self._mode))
        os.close(self.fd)
        self.fd, self._mode = fd, mode

    def up(self, leave: Callable[[int], None] | None = None) -> None:
        """Go back to the parent; `leave` gets the descriptor of the directory that is left, at the last moment.

        Raises:
            Moved: the directory has another parent by now.
        """
        parent = os.open("..", _DIRECTORY, dir_fd=self.fd)
        device, inode, mode = self._above.pop()
        found = os.fstat(parent)
        if (found.st_dev, found.st_ino) != (device, inode):
            os.close(parent)
            raise Moved("directory moved during a walk")
        try:
            self._restore()
            if leave is not None:
                leave(self.fd)
        finally:
            os.close(self.fd)
            self.fd, self._mode = parent, mode

    def close(self, leave: Callable[[int], None] | None = None) -> None:
        """End the walk; repeatable."""
        if self.fd < 0:
            return
        try:
            # An aborted walk may be deep down; what was opened up for it must not stay open.
            while self._above:
                self.up()
            self._restore()
            if leave is not None:
                leave(self.fd)
        except Moved:
            pass
        finally:
            os.close(self.fd)
            self.fd = -1

    def _restore(self) -> None:
        if self._mode is not None:
            os.fchmod(self.fd, self._mode)

    def _open(self, name: str, parent: int | None) -> tuple[int, int | None]:
        if not self._need:
            return os.open(name, _DIRECTORY, dir_fd=parent), None
        handle = os.open(name, _HANDLE | os.O_DIRECTORY, dir_fd=parent)
        try:
            mode = _grant(handle, self._need)
            return os.open(f"/proc/self/fd/{handle}", _DIRECTORY & ~os.O_NOFOLLOW), mode
        finally:
            os.close(handle)


@contextmanager
def regular_file(directory: int, name: str, *, force: bool = False) -> Iterator[int]:
    """A regular file opened for reading without following links or waiting for a pipe.

    Args:
        directory: descriptor of its directory.
        name: its name there.
        force: open a file of our own even if its permissions forbid it; they are put back at once.

    Raises:
        Moved: it is no regular file (any more).
        OSError: it cannot be opened.
    """
    try:
        fd = os.open(name, _REGULAR, dir_fd=directory)
    except PermissionError:
        if not force:
            raise
        fd = _open_closed(directory, name)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Moved("file replaced during a walk")
        yield fd
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a tree is.

    Args:
        allocated: bytes of storage.
        complete: whether everything was counted; otherwise it is at least that large.
    """

    allocated: int
    complete: bool


def measure(root: Path, *, enough: int | None = None, entries: int = 500_000) -> Size:
    """Storage used below a directory, itself not counted, each hard-linked file once.

    Args:
        root: directory to measure; it may be in use.
        enough: stop as soon as there are more bytes than this.
        entries: stop after so many names.
    """
    seen: set[tuple[int, int]] = set()
    with Cursor(root, need=0o500) as cursor:
        names, total, count = _measure(cursor.fd, seen)
        pending = [names]
        while pending:
            if count > entries or (enough is not None and total > enough):
                return Size(total, False)
            if not pending[-1]:
                pending.pop()
                if pending:
                    try:
                        cursor.up()
                    except OSError:
                        return Size(total, False)
                continue
            try:
                cursor.down(pending[-1].pop())
            except OSError:
                continue
            names, more, read = _measure(cursor.fd, seen)
            pending.append(names)
            total += more
            count += read
    return Size(total, count <= entries and (enough is None or total <= enough))


def _measure(fd: int, seen: set[tuple[int, int]]) -> tuple[list[str], int, int]:
    names: list[str] = []
    total = count = 0
    with os.scandir(fd) as listing:
        for entry in listing:
            count += 1
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(status.st_mode):
                names.append(entry.name)
            elif status.st_nlink > 1:
                identity = (status.st_dev, status.st_ino)
                if identity in seen:
                    continue
                seen.add(identity)
            total += status.st_blocks * 512
    return names, total, count


def _grant(handle: int, need: int) -> int | None:
    """Give ourselves `need` on our own file; the mode to go back to, or None if nothing was changed."""
    status = os.fstat(handle)
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid() or mode & need == need:
        return None
    # An O_PATH handle takes no fchmod, and chmod by name would follow a link.
    os.chmod(f"/proc/self/fd/{handle}", mode | need)
    return mode


def _open_closed(directory: int, name: str) -> int:
    handle = os.open(name, _HANDLE, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Moved("file replaced during a walk")
        mode = _grant(handle, 0o400)
        path = f"/proc/self/fd/{handle}"
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            if mode is not None:
                os.chmod(path, mode)
    finally:
        os.close(handle)
