"""A shell started before it is asked for: it waits at descriptor 8 for what a run gives it to begin with.

It knows nothing of any session: the state and the command come at once, with the run, exactly as a shell that is
started for that run would read them. So it can be wrong in one way only, by being another program, in other
circumstances, than the one that would be started now; it is used only while all of that is the same.

It writes to descriptor 9 before it begins: one that ends with nothing written there has done nothing of its run. (That
it took what waited at descriptor 8 would not tell: a process that is being killed still does.)
"""

from __future__ import annotations

import os
import signal
import time

from skerry.island.sandbox.agent.pipes import Pipes
from skerry.island.sandbox.agent.refusal import Refusal
from skerry.island.sandbox.agent.spawn import NotStarted, Spawner, circumstances

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from skerry.island.sandbox.agent.agent import Agent

# Fits a pipe of the usual size at once; what is longer has its shell started for it.
_MOST_STATE = 32_768
_OF_THE_RUN = ("n", "op", "run", "timeout", "grace", "cap", "tail", "warm", "like")
_IDLE_SECONDS = 60.0
_GONE_SECONDS = 20.0


class Waiting:
    """One such shell.

    Attributes:
        pid: its process, first of its session.
        pipes: what it writes to.
        source: the read end of its descriptor 8, until it has it.
        cpu_ns: processor time before its run began; 0 until then.
    """

    __slots__ = ("circumstances", "cpu_ns", "gate", "pid", "pipes", "source", "wish")

    def __init__(self, wish: dict[str, object], around: tuple[object, ...], pipes: Pipes) -> None:
        self.wish = wish
        self.circumstances = around
        self.pipes = pipes
        self.source, self.gate = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.gate, False)
        self.pid = 0
        self.cpu_ns = 0

    def begin(self, state: bytes) -> bool:
        """Let it go on with its run; False when it cannot."""
        try:
            self.cpu_ns = time.clock_gettime_ns(_cpu_clock(self.pid))
            if os.write(self.gate, state) != len(state):
                return False
        except OSError:
            return False
        os.close(self.gate)
        self.gate = -1
        return True

    def close(self) -> None:
        """Close everything of it."""
        self.pipes.close()
        for fd in (self.source, self.gate):
            if fd >= 0:
                os.close(fd)
        self.source = self.gate = -1


class WarmShell:
    """At most one shell that waits, for a minute at most.

    Args:
        agent: timers.
        spawner: starts it.
        null: `/dev/null`, open.
    """

    def __init__(self, agent: Agent, spawner: Spawner, null: int) -> None:
        self._agent = agent
        self._spawner = spawner
        self._null = null
        self._waiting: Waiting | None = None
        self._until = 0.0
        self._timed = False

    @property
    def pid(self) -> int:
        """Its process; 0 when none waits."""
        return 0 if self._waiting is None else self._waiting.pid

    def start(self, request: dict[str, Any]) -> None:
        """Have one waiting as a request says (`argv`, `env`, `cwd`, `keep`); none without `argv`, or if none can be."""
        if request["argv"] is None:
            self.discard()
            return
        wish = _wish(request)
        if self._waiting is None or self._waiting.wish != wish:
            self.discard()
            self._waiting = self._start(wish, request)
        self._until = time.monotonic() + _IDLE_SECONDS
        if not self._timed:
            self._timed = True
            self._agent.after(_IDLE_SECONDS, self._expire)

    def _start(self, wish: dict[str, object], request: dict[str, Any]) -> Waiting | None:
        try:
            around = circumstances(request)
            pipes = Pipes(keep=True)
        except OSError:
            return None
        try:
            waiting = Waiting(wish, around, pipes)
        except OSError:
            pipes.close()
            return None
        actions = [(os.POSIX_SPAWN_DUP2, self._null, 0), (os.POSIX_SPAWN_DUP2, waiting.source, 8), *pipes.actions]
        try:
            waiting.pid = self._spawner.spawn(request, actions)
        except (NotStarted, Refusal):
            # The run that wants it will say why.
            waiting.close()
            return None
        pipes.given()
        os.close(waiting.source)
        waiting.source = -1
        return waiting

    def take(self, request: dict[str, Any]) -> Waiting | None:
        """The waiting shell, going on with the run that an `exec` asks for; None when one must be started for it."""
        waiting = self._waiting
        if waiting is None or not 0 < len(request["tail"]) <= _MOST_STATE:
            return None
        try:
            same = waiting.wish == _wish(request) and waiting.circumstances == circumstances(request)
        except OSError:
            same = False
        if not same or not _lives(waiting.pid) or not waiting.begin(request["tail"]):
            self.discard()
            return None
        self._waiting = None
        return waiting

    def reaped(self, pid: int) -> None:
        """A process was seen to end."""
        if self._waiting is not None and self._waiting.pid == pid:
            self._waiting.close()
            self._waiting = None

    def discard(self, *, wait: bool = False) -> None:
        """End it; with `wait`, return once it is gone."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        try:
            os.kill(waiting.pid, signal.SIGKILL)
            # Not before: the end of its descriptor 8 would let it begin with nothing.
            waiting.close()
            deadline = time.monotonic() + _GONE_SECONDS
            while wait and os.waitpid(waiting.pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
                time.sleep(0.0002)
        except (ProcessLookupError, ChildProcessError):
            waiting.close()

    def _expire(self) -> None:
        left = self._until - time.monotonic()
        if self._waiting is not None and left > 0:
            self._agent.after(left, self._expire)
            return
        self._timed = False
        self.discard()


def _wish(request: dict[str, Any]) -> dict[str, object]:
    """What a request says of how its program is started: all of it that is not known to be of the run alone."""
    return {name: value for name, value in request.items() if value and name not in _OF_THE_RUN}


def _lives(pid: int) -> bool:
    """Whether a child of ours has not ended; its end stays to be collected."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _cpu_clock(pid: int) -> int:
    """The kernel's number for the clock of a process's processor time."""
    return (~pid << 3) | 2
