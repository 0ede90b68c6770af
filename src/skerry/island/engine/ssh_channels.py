"""What is carried in an SSH connection: commands with their streams or terminal, and TCP into the sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import signal as signals
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import asyncssh

from skerry.island.engine.errors import EngineError
from skerry.island.engine.records import SshGrants
from skerry.island.engine.sandboxes import Sandboxes
from skerry.island.sandbox.driver import Piped, SandboxError, Terminal
from skerry.island.sandbox.spec import ExecResult

_CHUNK = 65_536
_BEHIND = 256 * 1024
_HANG_UP_SECONDS = 2.0
_FAILED = 255
_LONGEST_VALUE = 1024
_TERM = re.compile(r"[A-Za-z0-9._+-]{1,64}")
_LOCALE = re.compile(r"LANG|LANGUAGE|LC_[A-Z]{1,32}")
_SIGNALS = ("ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2")
# The image's own program, wherever distributions put it; the protocol is nothing that the island would have to parse.
_SFTP = (
    "for p in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server "
    "/usr/libexec/sftp-server /usr/lib/sftp-server; do [ -x $p ] && exec $p; done; "
    "echo 'skerry: the image has no sftp-server; Debian calls the package openssh-sftp-server' >&2; exit 127"
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a channel has of its connection.

    Args:
        writable: whether the connection takes more.
        spawn: runs what must end in order.
        left: called when the channel is gone.
    """

    writable: asyncio.Event
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    left: Callable[[], None]


class _Flow:
    """What comes from a client, kept until it is taken, and whether more can be sent to it."""

    _chan: Any

    def __init__(self, around: Surroundings) -> None:
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.lost = asyncio.Event()
        self._around = around
        self._spawn = around.spawn

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """More from the client; beyond `_BEHIND` it is told to wait."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= _BEHIND:
            self._chan.pause_reading()
        self._arrived.set()

    def eof_received(self) -> bool:
        """The client has said all; it still listens."""
        self._ended = True
        self._arrived.set()
        return True

    def pause_writing(self) -> None:
        """The client's window is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It takes more."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone, with or without its connection."""
        self._ended = True
        for event in (self.lost, self._arrived, self._writable):
            event.set()
        self._around.left()

    async def receive(self) -> bytes:
        """The next bytes; none at the end."""
        while not self._waiting:
            if self._ended:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        if not self.lost.is_set():
            self._chan.resume_reading()
        return data

    async def send(self, data: bytes, datatype: int | None = None) -> None:
        """Send when the client has taken the rest. Raises BrokenPipeError when it is gone."""
        await self._writable.wait()
        await self._around.writable.wait()
        if self.lost.is_set():
            raise BrokenPipeError
        self._chan.write(data, datatype)
        await asyncio.sleep(0)


class Command(_Flow, asyncssh.SSHServerSession[bytes]):
    """A command or a shell, on pipes or on a terminal.

    Args:
        sandboxes: start it.
        grants: whose it is.
        around: its connection.
    """

    def __init__(self, sandboxes: Sandboxes, grants: SshGrants, around: Surroundings) -> None:
        super().__init__(around)
        self._sandboxes = sandboxes
        self._grants = grants
        self._command: str | None = None
        self._term: str | None = None
        self._window = (80, 24)
        self._terminal: Terminal | None = None
        self._piped: Piped | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """The channel is open."""
        self._chan = chan

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        """What follows shall run on a terminal."""
        self._term = term_type if _TERM.fullmatch(term_type) else "dumb"
        self._resize(term_size[0], term_size[1])
        return True

    def shell_requested(self) -> bool:
        """A login shell."""
        return True

    def exec_requested(self, command: str) -> bool:
        """A command, as text for the shell."""
        self._command = command
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """SFTP, by the program of the image; nothing else."""
        self._command = _SFTP
        return subsystem == "sftp"

    def session_started(self) -> None:
        """Everything that was asked for has been granted: begin."""
        self._spawn(self._run())

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """The window has another size."""
        self._resize(width, height)
        if self._terminal is not None:
            self._spawn(self._terminal.resize(*self._window))

    def signal_received(self, signal: str) -> None:
        """A signal for the command."""
        held = self._terminal or self._piped
        if signal in _SIGNALS and held is not None:
            self._spawn(held.signal(signals.Signals[f"SIG{signal}"]))

    def _resize(self, width: int, height: int) -> None:
        if width and height:
            self._window = (min(width, 65535), min(height, 65535))

    async def _run(self) -> None:
        try:
            held = await self._open()
        except EngineError as error:
            self._fail(error.message)
            return
        over = asyncio.ensure_future(self._work())
        lost = asyncio.ensure_future(self.lost.wait())
        try:
            await asyncio.wait((over, lost), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._terminal = self._piped = None
            over.cancel()
            lost.cancel()
            await asyncio.gather(over, lost, return_exceptions=True)
            held.close()
        if over.cancelled() or isinstance(over.exception(), OSError):
            await _hang_up(held)
        else:
            self._report(over.result())

    async def _open(self) -> Terminal | Piped:
        given = self._chan.get_environment().items()
        locale = {name: value for name, value in given if _LOCALE.fullmatch(name) and len(value) <= _LONGEST_VALUE}
        env = {**locale, **self._grants.env}
        wanted: dict[str, Any] = {"command": self._command, "cwd": "~", "metered": self._grants.metered}
        owner, sandbox = self._grants.account_id, self._grants.sandbox_id
        if self._term is None:
            self._piped = await self._sandboxes.open_pipes(owner, sandbox, env=env, **wanted)
            return self._piped
        env["TERM"] = self._term
        columns, rows = self._window
        self._terminal = await self._sandboxes.open_terminal(
            owner, sandbox, env=env, columns=columns, rows=rows, **wanted
        )
        if (columns, rows) != self._window:
            await self._terminal.resize(*self._window)
        return self._terminal

    async def _work(self) -> ExecResult:
        if self._terminal is not None:
            return await self._typing(self._terminal)
        assert self._piped is not None
        return await self._piping(self._piped)

    async def _piping(self, piped: Piped) -> ExecResult:
        """As OpenSSH does it: over when nobody can write any more and the command has ended."""
        feeding = asyncio.ensure_future(self._feed(piped.stdin, piped.close_stdin))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pour(piped.stdout))
                group.create_task(self._pour(piped.stderr, asyncssh.EXTENDED_DATA_STDERR))
            return await piped.wait()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def _typing(self, terminal: Terminal) -> ExecResult:
        """Over when the command has ended; what others still write to the terminal is nobody's concern."""
        feeding = asyncio.ensure_future(self._feed(terminal.fd, None))
        ending = asyncio.ensure_future(terminal.wait())
        try:
            await self._pour(terminal.fd, until=ending)
            return await ending
        finally:
            feeding.cancel()
            ending.cancel()
            await asyncio.gather(feeding, ending, return_exceptions=True)

    async def _feed(self, fd: int, end: Callable[[], None] | None) -> None:
        """What the client sends; once the command no longer reads, the rest is dropped."""
        try:
            while data := await self.receive():
                await _write(fd, data)
            if end is not None:
                end()
        except OSError:
            while await self.receive():
                continue

    async def _pour(
        self, fd: int, datatype: int | None = None, *, until: asyncio.Future[ExecResult] | None = None
    ) -> None:
        """Send what can be read, to its end, or to the bottom once `until` is done."""
        while True:
            try:
                data = os.read(fd, _CHUNK)
            except BlockingIOError:
                if until is not None and until.done():
                    return
                await _readable(fd, until)
                continue
            except OSError as error:
                # A terminal whose last process has closed it reads as EIO on Linux.
                if error.errno != errno.EIO:
                    raise
                return
            if not data:
                return
            await self.send(data, datatype)

    def _report(self, result: ExecResult) -> None:
        code = result.exit_code
        if code < 0:
            self._fail("the sandbox was lost, and with it the end of the command")
        elif code > 128 and result.cause in ("signaled", "cancelled", "out_of_memory", "disk_full"):
            try:
                name = signals.Signals(code - 128).name.removeprefix("SIG")
            except ValueError:
                name = "KILL"
            self._chan.exit_with_signal(name, msg=result.cause.replace("_", " "))
        else:
            self._chan.exit(code)

    def _fail(self, message: str) -> None:
        with contextlib.suppress(OSError):
            if self._term is None:
                self._chan.write(f"skerry: {message}\n".encode(), asyncssh.EXTENDED_DATA_STDERR)
            else:
                self._chan.write(f"skerry: {message}\r\n".encode())
            self._chan.exit(_FAILED)


class Tunnel(_Flow, asyncssh.SSHTCPSession[bytes]):
    """A TCP connection into the sandbox (`ssh -L`).

    Args:
        inside: connected and non-blocking; owned.
        on_traffic: called whenever bytes have come.
        around: its connection.
    """

    def __init__(self, inside: socket.socket, on_traffic: Callable[[], None], around: Surroundings) -> None:
        super().__init__(around)
        self._inside = inside
        self._on_traffic = on_traffic
        self._started = False

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        """The channel is open."""
        self._chan = chan

    def session_started(self) -> None:
        """Everything that was asked for has been granted: begin."""
        self._started = True
        self._spawn(self._run())

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone, with or without its connection."""
        super().connection_lost(exc)
        if not self._started:
            self._inside.close()

    async def _run(self) -> None:
        both = asyncio.gather(self._inwards(), self._outwards())
        lost = asyncio.ensure_future(self.lost.wait())
        try:
            await asyncio.wait((both, lost), return_when=asyncio.FIRST_COMPLETED)
        finally:
            both.cancel()
            lost.cancel()
            await asyncio.gather(both, lost, return_exceptions=True)
            self._inside.close()
            if not self.lost.is_set():
                self._chan.close()

    async def _inwards(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await self.receive():
            self._on_traffic()
            await loop.sock_sendall(self._inside, data)
        with contextlib.suppress(OSError):
            self._inside.shutdown(socket.SHUT_WR)

    async def _outwards(self) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._inside, _CHUNK):
            self._on_traffic()
            await self.send(data)
        self._chan.write_eof()


async def _hang_up(held: Terminal | Piped) -> None:
    """Tell a command that its user has left; what ignores that, as under nohup(1), is ended with its shell."""
    with contextlib.suppress(SandboxError):
        await held.signal(signals.SIGHUP)
        try:
            async with asyncio.timeout(_HANG_UP_SECONDS):
                await held.wait()
        except TimeoutError:
            await held.cancel()


async def _readable(fd: int, until: asyncio.Future[Any] | None) -> None:
    """Return when `fd` can be read, or `until` is done."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake(*_: object) -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, wake)
    if until is not None:
        until.add_done_callback(wake)
    try:
        await ready
    finally:
        loop.remove_reader(fd)
        if until is not None:
            until.remove_done_callback(wake)


async def _write(fd: int, data: bytes) -> None:
    """Write everything, waiting as often as needed."""
    loop = asyncio.get_running_loop()
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            ready = asyncio.Event()
            loop.add_writer(fd, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_writer(fd)
