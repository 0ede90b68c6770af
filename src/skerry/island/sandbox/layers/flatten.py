"""Merging frozen layers into one by hard links, with overlay's rules about what hides what."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from skerry.island.sandbox.layers.treecopy import copy_directory_attributes, copy_file, is_whiteout
from skerry.island.sandbox.layers.trees import Cursor, regular_file

# Marks that change where an entry's content or name comes from; a merge by names would be wrong.
_UNMERGEABLE = ("redirect", "metacopy", "whiteout")

_DIRECTORY, _WHITEOUT, _OTHER = "directory", "whiteout", "other"


class Unmergeable(Exception):
    """A layer uses an overlay feature that a merge by names cannot honour."""


@dataclass(slots=True)
class _Frame:
    """One directory of the merged tree: the layers that show through (newest first) and what is still to be done.

    `beneath` is the path of the directory in the image under it, None where the image has none.
    """

    beneath: str | None
    layers: list[int]
    kinds: list[dict[str, str]]
    opaque: bool
    names: list[str]


class Merge:
    """Merges the layers above an image, newest first, into one that reads the same above it.

    Args:
        layers: directories that nobody changes.
        image: the directory that the oldest of them lies on.
        target: existing empty directory on the same file system.
        prefix: of overlay's extended attributes, `trusted.overlay.` or `user.overlay.`.
    """

    def __init__(self, layers: Sequence[Path], image: Path, target: Path, *, prefix: str) -> None:
        self._paths = layers
        self._image = image
        self._target_path = target
        self._prefix = prefix

    def run(self) -> None:
        """Do it.

        Raises:
            Unmergeable: it cannot be done by names; the target is then useless.
        """
        with ExitStack() as stack:
            self._layers = [stack.enter_context(Cursor(path, need=0o500)) for path in self._paths]
            self._target = stack.enter_context(Cursor(self._target_path, need=0o700))
            frames = [self._frame(str(self._image), list(range(len(self._layers))), opaque=False)]
            while True:
                frame = frames[-1]
                if frame.names:
                    below = self._entry(frame, frame.names.pop())
                    if below is not None:
                        frames.append(below)
                    continue
                frames.pop()
                if not frames:
                    break
                self._leave(frame)
            self._target.close(lambda fd: self._finish(fd, 0, opaque=False))

    def _frame(self, beneath: str | None, layers: list[int], *, opaque: bool) -> _Frame:
        kinds = [self._kinds(self._layers[index].fd) for index in layers]
        names = list({name for kind in kinds for name in kind})
        return _Frame(beneath, layers, kinds, opaque, names)

    def _kinds(self, fd: int) -> dict[str, str]:
        kinds: dict[str, str] = {}
        with os.scandir(fd) as listing:
            for entry in listing:
                if entry.is_dir(follow_symlinks=False):
                    kinds[entry.name] = _DIRECTORY
                elif not entry.is_file(follow_symlinks=False) and is_whiteout(entry.stat(follow_symlinks=False)):
                    kinds[entry.name] = _WHITEOUT
                else:
                    kinds[entry.name] = _OTHER
        return kinds

    def _entry(self, frame: _Frame, name: str) -> _Frame | None:
        """Put one name into the target; for a directory the frame to go on with, all cursors being in it."""
        position = next(at for at, kinds in enumerate(frame.kinds) if name in kinds)
        kind = frame.kinds[position][name]
        top = self._layers[frame.layers[position]]
        if kind == _DIRECTORY:
            return self._enter(frame, name, position)
        if kind == _WHITEOUT and (frame.opaque or frame.beneath is None):
            # Nothing shows through from below, so there is nothing to hide. Where one layer alone has a directory,
            # Linux lists even the marks in it, as names that cannot be opened.
            return None
        if kind == _OTHER:
            self._refuse_marks(f"/proc/self/fd/{top.fd}/{name}", name)
        self._link(top.fd, name)
        return None

    def _link(self, source: int, name: str) -> None:
        try:
            os.link(name, name, src_dir_fd=source, dst_dir_fd=self._target.fd, follow_symlinks=False)
        except OSError as error:
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if error.errno != errno.EMLINK:
                raise
            if is_whiteout(status):
                os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(0, 0), dir_fd=self._target.fd)
                return
            with regular_file(source, name, force=True) as data:
                copy_file(data, self._target.fd, name, share=False)

    def _enter(self, frame: _Frame, name: str, position: int) -> _Frame:
        inside: list[int] = []
        opaque = frame.opaque
        for index, kinds in zip(frame.layers[position:], frame.kinds[position:], strict=True):
            kind = kinds.get(name)
            if kind is None:
                continue
            if kind != _DIRECTORY:
                # What is deleted or replaced in a lower layer hides all that is further down.
                opaque = True
                break
            cursor = self._layers[index]
            cursor.down(name)
            inside.append(index)
            self._refuse_marks(cursor.fd, name)
            if self._is_opaque(cursor.fd):
                opaque = True
                break
        os.mkdir(name, 0o700, dir_fd=self._target.fd)
        self._target.down(name)
        beneath = None if frame.beneath is None or opaque else _directory(f"{frame.beneath}/{name}")
        return self._frame(beneath, inside, opaque=opaque)

    def _leave(self, frame: _Frame) -> None:
        self._target.up(lambda fd: self._finish(fd, frame.layers[0], opaque=frame.opaque))
        for index in frame.layers:
            self._layers[index].up()

    def _finish(self, fd: int, newest: int, *, opaque: bool) -> None:
        source = self._layers[newest]
        if opaque:
            os.setxattr(fd, self._prefix + "opaque", b"y")
        copy_directory_attributes(source.fd, fd, source.mode, without=self._prefix)

    def _is_opaque(self, fd: int) -> bool:
        try:
            return os.getxattr(fd, self._prefix + "opaque") == b"y"
        except OSError as error:
            if error.errno in (errno.ENODATA, errno.ENOTSUP):
                return False
            raise

    def _refuse_marks(self, entry: int | str, name: str) -> None:
        try:
            marks = os.listxattr(entry, follow_symlinks=isinstance(entry, int))
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                return
            raise
        for mark in _UNMERGEABLE:
            if self._prefix + mark in marks:
                raise Unmergeable(f"{name}: {self._prefix}{mark}")


def _directory(path: str) -> str | None:
    """The path, unless it is known to be no directory."""
    try:
        return path if stat.S_ISDIR(os.lstat(path).st_mode) else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return path
