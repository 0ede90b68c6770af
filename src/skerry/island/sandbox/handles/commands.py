"""What callers hold of a started command: waiting, signalling, following its output."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.spec import ExecResult, RunFiles

if TYPE_CHECKING:
    from skerry.island.sandbox.handles.live import LiveAgent

_CHUNK = 65_536
_HANG_UP_SECONDS = 2.0


class _Ended:
    def __init__(self, run_id: str) -> None:
        self.id = run_id
        self._result: ExecResult | None = None
        self._discarded = False
        self._waiters: list[asyncio.Future[ExecResult]] = []

    def finish(self, result: ExecResult) -> None:
        """Record the end; the first one counts."""
        if self._result is None:
            self._result = result
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(result)

    def discard(self) -> None:
        """Nobody will learn its end from here."""
        self._discarded = True
        for waiter in self._waiters:
            waiter.cancel()

    async def wait(self) -> ExecResult:
        """The end of the command; repeatable, and cancelling one waiter disturbs no other."""
        if self._result is not None:
            return self._result
        if self._discarded:
            raise asyncio.CancelledError
        waiter: asyncio.Future[ExecResult] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        finally:
            self._waiters.remove(waiter)


class AgentProcess(_Ended):
    """A command with its output in log files; implements `driver.Process`.

    Args:
        run_id: its run.
        files: its logs.
        agent: who runs it; None for one that has ended.

    Attributes:
        shell: how its program was to be started, if another may be started so ahead of the next run.
    """

    def __init__(self, run_id: str, files: RunFiles, agent: LiveAgent | None) -> None:
        super().__init__(run_id)
        self.files: RunFiles = files
        self.shell: dict[str, object] | None = None
        self._agent = agent

    async def signal(self, number: int) -> None:
        """Send a signal to the command's whole session; nothing happens to one that has ended."""
        await _ask(self._agent, "signal", run=self.id, signal=int(number))

    async def cancel(self, grace: float = 2.0) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds, to the whole session."""
        await _ask(self._agent, "cancel", run=self.id, grace=grace)

    async def follow(self, stream: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Bytes of `stdout` or `stderr` from `offset` as they appear, ending with the command."""
        path = self.files.stdout if stream == "stdout" else self.files.stderr
        log = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while True:
                over = self._result is not None
                while chunk := os.pread(log, _CHUNK, offset):
                    offset += len(chunk)
                    yield chunk
                if over:
                    return
                await self._grown(stream, offset)
        finally:
            os.close(log)

    async def _grown(self, stream: str, offset: int) -> None:
        if self._agent is None:
            await self.wait()
            return
        try:
            answer, _ = await self._agent.channel.request("watch", run=self.id, stream=stream, offset=offset)
        except SandboxError:
            # The agent is gone, and the end of the run is settled by what it left behind.
            await self.wait()
            return
        if answer["ended"]:
            await self.wait()


class _Held(_Ended):
    """A command that ends with whoever holds its descriptors."""

    files: RunFiles | None = None

    def __init__(self, run_id: str, agent: LiveAgent) -> None:
        super().__init__(run_id)
        self._agent = agent

    async def signal(self, number: int) -> None:
        """Send a signal to the command's whole session; nothing happens to one that has ended."""
        await _ask(self._agent, "signal", run=self.id, signal=int(number))

    async def cancel(self) -> None:
        """Hang up, then kill."""
        await _ask(self._agent, "cancel", run=self.id, grace=_HANG_UP_SECONDS, hang_up=True)


class AgentTerminal(_Held):
    """A command on a pseudo-terminal; implements `driver.Terminal`."""

    def __init__(self, run_id: str, agent: LiveAgent) -> None:
        super().__init__(run_id, agent)
        self.fd = -1

    def hold(self, fds: list[int]) -> None:
        """Take over the descriptors of what was started."""
        (self.fd,) = fds
        os.set_blocking(self.fd, False)

    async def resize(self, columns: int, rows: int) -> None:
        """Set the window size in characters; the command is told by SIGWINCH."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Close the master descriptor, which hangs up on whoever still holds the terminal."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class AgentPiped(_Held):
    """A command whose standard streams are pipes in our hands; implements `driver.Piped`."""

    def __init__(self, run_id: str, agent: LiveAgent) -> None:
        super().__init__(run_id, agent)
        self.stdin = self.stdout = self.stderr = -1

    def hold(self, fds: list[int]) -> None:
        """Take over the descriptors of what was started."""
        self.stdin, self.stdout, self.stderr = fds
        for fd in fds:
            os.set_blocking(fd, False)

    def close_stdin(self) -> None:
        """End the command's standard input."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """Close what is left of the pipes."""
        self.close_stdin()
        for fd in (self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdout = self.stderr = -1


async def _ask(agent: LiveAgent | None, op: str, **fields: object) -> None:
    if agent is None:
        return
    try:
        await agent.channel.request(op, **fields)  # type: ignore[arg-type]
    except SandboxError as error:
        if error.reason not in ("not_found", "lost"):
            raise
