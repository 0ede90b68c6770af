"""Writing into a tree that may be hostile: every step is relative to an open directory, links lead back inside."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from skerry.island.engine.errors import Invalid

_MOST_LINKS = 40
_DEEPEST = 256
_MODE = 0o755
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """A directory as the root of all paths: `/`, `..` and symbolic links cannot lead out of it.

    Symbolic links in the middle of a path are followed the way a process whose root this is would follow them.

    Args:
        root: existing directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, _OPEN)
        # Entries of one directory come in a row: the last one is kept open. Its key is forgotten when something on
        # the way to it may have been replaced; its descriptor stays good until the next one is asked for.
        self._key: tuple[str, ...] | None = None
        self._descriptor = -1
        self._resolved: tuple[str, ...] = ()

    def close(self) -> None:
        """Release the open directories."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._key = None
        os.close(self._root)

    def directory(self, parts: tuple[str, ...], *, create: bool) -> tuple[int, tuple[str, ...]]:
        """The directory at a path: a descriptor good until the next call, and the path with all links resolved.

        Args:
            parts: components without separators.
            create: make what is missing, mode 0755.

        Raises:
            Invalid: a component is no directory, or the links never end. FileNotFoundError: missing.
        """
        if self._key != parts:
            descriptor, resolved = self._walk(parts, create=create)
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._key, self._descriptor, self._resolved = parts, descriptor, resolved
        return self._descriptor, self._resolved

    def remove(self, parent: int, name: str) -> None:
        """Remove an entry of an open directory with all below it; a missing one is fine."""
        try:
            status = os.lstat(name, dir_fd=parent)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode):
            self._key = None
            shutil.rmtree(name, dir_fd=parent)
        else:
            if not stat.S_ISREG(status.st_mode):
                self._key = None
            os.unlink(name, dir_fd=parent)

    def _walk(self, parts: tuple[str, ...], *, create: bool) -> tuple[int, tuple[str, ...]]:
        todo = list(reversed(parts))
        resolved: list[str] = []
        links = 0
        with _owned(os.dup(self._root)) as here:
            while todo:
                name = todo.pop()
                if name in ("", "."):
                    continue
                if name == "..":
                    del resolved[-1:]
                    here.replace(self._reopen(resolved))
                    continue
                inner = _enter(here.descriptor, name, create=create)
                if inner is not None:
                    here.replace(inner)
                    resolved.append(name)
                    if len(resolved) > _DEEPEST:
                        raise Invalid(f"a directory lies more than {_DEEPEST} levels deep")
                    continue
                links += 1
                if links > _MOST_LINKS:
                    raise Invalid(f"too many symbolic links on the way to {'/'.join(parts)!r}")
                target = os.readlink(name, dir_fd=here.descriptor)
                if target.startswith("/"):
                    resolved.clear()
                    here.replace(os.dup(self._root))
                todo.extend(reversed(target.split("/")))
            return here.release(), tuple(resolved)

    def _reopen(self, resolved: list[str]) -> int:
        with _owned(os.dup(self._root)) as here:
            for name in resolved:
                here.replace(os.open(name, _OPEN, dir_fd=here.descriptor))
            return here.release()


class _Owned:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def replace(self, descriptor: int) -> None:
        os.close(self.descriptor)
        self.descriptor = descriptor

    def release(self) -> int:
        descriptor, self.descriptor = self.descriptor, -1
        return descriptor


@contextlib.contextmanager
def _owned(descriptor: int) -> Iterator[_Owned]:
    """A descriptor that is closed in the end unless it was released."""
    owned = _Owned(descriptor)
    try:
        yield owned
    finally:
        if owned.descriptor >= 0:
            os.close(owned.descriptor)


def _enter(parent: int, name: str, *, create: bool) -> int | None:
    """Open a directory inside another, or return None where a symbolic link stands in its place."""
    for _ in range(2):
        try:
            return os.open(name, _OPEN, dir_fd=parent)
        except FileNotFoundError:
            if not create:
                raise
            os.mkdir(name, _MODE, dir_fd=parent)
            os.chmod(name, _MODE, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            if stat.S_ISLNK(os.lstat(name, dir_fd=parent).st_mode):
                return None
            raise Invalid(f"{name!r} is used as a directory, but it is a file") from None
    raise Invalid(f"{name!r} vanished while it was used")
