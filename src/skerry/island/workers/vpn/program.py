"""The server program of a relay, started again when it ends by itself, and given up when it does nothing but end."""

from __future__ import annotations

import os
import signal
import time

from skerry.island.workers.vpn.loop import READ, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_RESTARTS, _WINDOW = 5, 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_TAIL = 4096
_PIECE = 65_536


class Program:
    """One program that is meant to run for ever; its parent must be process 1 of a process namespace.

    Args:
        argv: what to run; the first is a path.
        environment: all of it.
        loop: who reads what it prints.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], loop: Loop) -> None:
        self._argv = list(argv)
        self._environment = dict(environment)
        self._loop = loop
        self._pid = 0
        self._status = 0
        self._tail = bytearray()
        self._ends: list[float] = []
        self._next = 0.0
        self.name = os.path.basename(self._argv[0])
        self.restarts = 0
        self.given_up = False
        self._output, self._printed = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._output, False)
        loop.watch(self._output, READ, self._listen)

    def start(self) -> None:
        """Start it; `ended` tells when that did not work."""
        self.restarts += bool(self._ends)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._pid = os.posix_spawn(
                self._argv[0],
                self._argv,
                self._environment,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, null, 0),
                    (os.POSIX_SPAWN_DUP2, self._printed, 1),
                    (os.POSIX_SPAWN_DUP2, self._printed, 2),
                ],
                setsid=True,
                setsigdef=[signal.SIGPIPE],
            )
        except OSError as error:
            self._tail += f"{self._argv[0]}: {error.strerror}".encode()
            self._over(0)
        finally:
            os.close(null)

    def ended(self) -> bool:
        """Collect what has ended, the program or orphans of it; whether the program does not run now."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == self._pid:
                self._listen(READ)
                self._over(status)
        return self._pid == 0

    def may_start(self, now: float) -> bool:
        """Whether its pause is over."""
        return now >= self._next

    def kill(self) -> None:
        """End it now."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)

    def cause(self) -> str:
        """How it ended last, with the last it said."""
        code = os.waitstatus_to_exitcode(self._status)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        said = self.tail().strip()
        return f"{how}: {said}" if said else how

    def tail(self) -> str:
        """The last it printed."""
        return self._tail.decode(errors="replace")

    def _over(self, status: int) -> None:
        now = time.monotonic()
        self._pid = 0
        self._status = status
        self._ends = [*(end for end in self._ends if now - end < _WINDOW), now]
        self.given_up = len(self._ends) > _MOST_RESTARTS
        self._next = now + min(_FIRST_PAUSE * 2 ** (len(self._ends) - 1), _LONGEST_PAUSE)

    def _listen(self, _: int) -> None:
        try:
            self._tail += os.read(self._output, _PIECE)
        except BlockingIOError:
            return
        del self._tail[:-_TAIL]
