"""The data directory: made, marked with its version, and checked before anything is kept in it."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path

from skerry.island.store.errors import StoreError
from skerry.island.store.modes import close_to_others

VERSION = 1
_MARK = "layout.json"
_ELSEWHERE = "choose another with --data-dir or SKERRY_DATA_DIR"


def prepare(data_dir: Path) -> None:
    """Make the directory (closed to others, and so is what it holds), check that it can be written, and mark it.

    Raises:
        StoreError: it cannot be used.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = data_dir / _MARK
        if mark.exists():
            _check(mark)
        with tempfile.NamedTemporaryFile(dir=data_dir, prefix=".probe-") as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
        if not mark.exists():
            write_private(mark, json.dumps({"version": VERSION}).encode())
        close_to_others(data_dir)
    except OSError as error:
        raise explained(error, data_dir) from None


def write_private(path: Path, content: bytes) -> None:
    """Replace a file atomically by one that only its owner can read."""
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def explained(error: OSError, path: Path) -> StoreError:
    """What an operating system error about the data directory means to its owner."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError("full", f"no space is left for {path}; free some, or {_ELSEWHERE}")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreError(
            "read_only",
            f"{path} cannot be written ({error.strerror}); change its owner or mode, or {_ELSEWHERE}",
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return StoreError("damaged", f"{path} is not a directory; {_ELSEWHERE}")
    return StoreError("unreachable", f"{path} cannot be used: {error.strerror}")


def _check(mark: Path) -> None:
    try:
        version = json.loads(mark.read_bytes())["version"]
    except (ValueError, KeyError, TypeError):
        raise StoreError(
            "damaged", f"{mark} is unreadable; restore it from a backup or choose another --data-dir"
        ) from None
    if not isinstance(version, int) or version > VERSION:
        raise StoreError(
            "newer",
            f"{mark.parent} was made by a later Skerry (layout {version}, this one knows {VERSION}); upgrade"
            " Skerry or choose another --data-dir",
        )
