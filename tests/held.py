"""Programs in sandboxes that go on until the test says so, also while there is no server that could be asked."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from pathlib import Path

PATIENCE = 60.0
_PYTHON = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGUSR1}})
{before}
with open("/proc/self/comm", "w") as comm:
    comm.write("{name}")
signal.sigwait({{signal.SIGUSR1}})
{after}
"""
_SHELL = "{before}; trap '{after}' USR1; echo {name} >/proc/self/comm; while :; do sleep 0.02; done"


class Held:
    """A program that does one thing, waits, and does another; found by what it calls itself.

    Args:
        before: statements in its language.
        after: statements, in a shell the last ones, without single quotes.
    """

    def __init__(self, before: str, after: str) -> None:
        self._parts = {"name": f"held{secrets.token_hex(5)}", "before": before, "after": after}

    @property
    def python(self) -> str:
        """Its text in Python."""
        return _PYTHON.format(**self._parts)

    @property
    def shell(self) -> str:
        """Its text for sh."""
        return _SHELL.format(**self._parts)

    def release(self) -> None:
        """Wait until it has done the one thing, and let it go on."""
        deadline = time.monotonic() + PATIENCE
        while not self._signalled():
            assert time.monotonic() < deadline, "no program waits to be released"
            time.sleep(0.01)

    def _signalled(self) -> bool:
        # What a shell has just started is still called like it; to that the signal does no good, and no harm.
        found = False
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (entry / "comm").read_text().strip() == self._parts["name"]:
                    os.kill(int(entry.name), signal.SIGUSR1)
                    found = True
        return found
