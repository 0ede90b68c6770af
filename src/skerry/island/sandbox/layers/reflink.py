"""Copying a file's data as cheaply as the file system allows: shared extents, or only what is not a hole."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from pathlib import Path

_FICLONE = 0x40049409
_SMALL = 1 << 16
_CHUNK = 1 << 20
_NO_RANGE = {errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM}


def clone(source: int, target: int) -> bool:
    """Make the target share all extents of the source (both descriptors); False if this file system cannot."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        return False
    return True


def supported(directory: Path) -> bool:
    """Whether files in this directory can share extents, found out by trying."""
    with tempfile.TemporaryFile(dir=directory) as source, tempfile.TemporaryFile(dir=directory) as target:
        source.write(b"\0" * 4096)
        source.flush()
        return clone(source.fileno(), target.fileno())


def copy_data(source: int, target: int, *, reflink: bool) -> None:
    """Give an empty target the source's bytes and holes (both descriptors)."""
    status = os.fstat(source)
    size = status.st_size
    if not size:
        return
    if reflink and clone(source, target):
        return
    if size <= _SMALL and status.st_blocks * 512 >= size:
        _copy_by_hand(source, target, 0, size)
        return
    offset = 0
    while offset < size:
        try:
            start = os.lseek(source, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        offset = min(os.lseek(source, start, os.SEEK_HOLE), size)
        _copy_range(source, target, start, offset)
    os.ftruncate(target, size)


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        try:
            moved = os.copy_file_range(source, target, min(end - start, 1 << 30), start, start)
        except OSError as error:
            if error.errno not in _NO_RANGE:
                raise
            _copy_by_hand(source, target, start, end)
            return
        if not moved:
            return
        start += moved


def _copy_by_hand(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        data = os.pread(source, min(end - start, _CHUNK), start)
        if not data:
            return
        view = memoryview(data)
        while view:
            written = os.pwrite(target, view, start)
            start += written
            view = view[written:]
