"""Installing programs from the command line: its errors, and an end that leaves nothing behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from skerry.cli import exits
from skerry.errors import ConflictError, SkerryError, UnsupportedError

_ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def making() -> Iterator[None]:
    """For a block that installs: every polite end is one by Ctrl-C, and what went wrong says what to do itself.

    Raises:
        ConflictError: another command makes the same. UnsupportedError: something is missing here.
    """
    from skerry.island.engine.errors import Conflict, EngineError

    # What `nohup` ignores stays ignored.
    usual = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in usual:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    except EngineError as error:
        ended: SkerryError = (ConflictError if isinstance(error, Conflict) else UnsupportedError)(error.message)
        exits.suggest(ended, "")  # the words say it, and no balance has to do with it
        raise ended from None
    finally:
        for number in usual:
            signal.signal(number, signal.SIG_DFL)
