"""A disk without room, told as what it is."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from skerry.island.sandbox.driver import SandboxError

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def space() -> Iterator[None]:
    """Turn the system's word that no room is left into `disk_full`; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise SandboxError("disk_full", "no space left for the sandbox's files") from error
        raise
