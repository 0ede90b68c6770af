"""Living terminals of sessions: many viewers, scrollback for whoever comes late (protocol section 6)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections import deque
from collections.abc import Awaitable, Callable

from skerry.island.sandbox.driver import Terminal

SCROLLBACK_BYTES = 256 * 1024
READ_BYTES = 64 * 1024
VIEWER_BYTES = 1024 * 1024
WRITE_BYTES = 1024 * 1024

Opener = Callable[[], Awaitable[Terminal]]


class Viewer:
    """One attached client: the bytes it still has to receive."""

    def __init__(self, replay: bytes) -> None:
        self._waiting: deque[bytes] = deque([replay] if replay else [])
        self._bytes = len(replay)
        self._changed = asyncio.Event()
        self._ended = False
        if replay:
            self._changed.set()
        self.drained = asyncio.Event()

    @property
    def behind(self) -> bool:
        """Whether it has so much to receive that the terminal should wait."""
        return self._bytes >= VIEWER_BYTES

    def push(self, data: bytes) -> None:
        """More terminal output."""
        self._waiting.append(data)
        self._bytes += len(data)
        self._changed.set()

    def end(self) -> None:
        """The terminal is gone."""
        self._ended = True
        self._changed.set()

    async def next(self) -> bytes | None:
        """The next output, or None once there will be no more."""
        while not self._waiting:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        self.drained.set()
        return data


class LiveTerminal:
    """A terminal and everyone who watches it.

    Args:
        terminal: opened by the engine; its descriptor is owned from now on.

    Attributes:
        exit_code: of its command, once that is over.
        visits: how often somebody attached.
        closing: whether somebody has decided its end.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._viewers: set[Viewer] = set()
        self._scrollback = bytearray()
        self._typed: deque[bytes] = deque()
        self._typed_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._reading = False
        self._writing = False
        self._gone = False
        self._end = asyncio.Event()
        self.visits = 0
        self.closing = False
        self.exit_code: int | None = None
        os.set_blocking(terminal.fd, False)
        self._read_on()
        self._waiter = asyncio.create_task(self._await_end())

    @property
    def ended(self) -> bool:
        """Whether its command is over."""
        return self._end.is_set()

    @property
    def watched(self) -> bool:
        """Whether anybody is attached."""
        return bool(self._viewers)

    def attach(self) -> Viewer:
        """Join: the scrollback first, then what comes."""
        viewer = Viewer(bytes(self._scrollback))
        self._viewers.add(viewer)
        self.visits += 1
        if self.ended:
            viewer.end()
        return viewer

    def detach(self, viewer: Viewer) -> None:
        """Leave; the terminal goes on."""
        self._viewers.discard(viewer)
        self._read_on()

    def type(self, data: bytes) -> None:
        """Keystrokes; beyond `WRITE_BYTES` unread by the command they are dropped, as a full terminal does."""
        if self._gone or self._typed_bytes + len(data) > WRITE_BYTES:
            return
        self._typed.append(data)
        self._typed_bytes += len(data)
        self._write_on()

    async def resize(self, columns: int, rows: int) -> None:
        """Set the window size."""
        await self._terminal.resize(columns, rows)

    async def close(self) -> None:
        """Hang up and wait for the end."""
        self.closing = True
        if not self.ended:
            await self._terminal.cancel()
        await self._waiter

    def caught_up(self) -> None:
        """A viewer has received its share; go on reading if all have."""
        self._read_on()

    def _read_on(self) -> None:
        if not self._reading and not self._gone and not any(viewer.behind for viewer in self._viewers):
            self._loop.add_reader(self._terminal.fd, self._readable)
            self._reading = True

    def _readable(self) -> None:
        try:
            data = os.read(self._terminal.fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            # A terminal whose last process has closed it reads as EIO on Linux.
            if error.errno != errno.EIO:
                raise
            data = b""
        if not data:
            self._hang_up()
            return
        self._scrollback += data
        if len(self._scrollback) > SCROLLBACK_BYTES:
            del self._scrollback[: len(self._scrollback) - SCROLLBACK_BYTES]
        for viewer in self._viewers:
            viewer.push(data)
        if any(viewer.behind for viewer in self._viewers):
            self._stop_reading()

    def _write_on(self) -> None:
        while self._typed and not self._gone:
            data = self._typed[0]
            try:
                written = os.write(self._terminal.fd, data)
            except BlockingIOError:
                if not self._writing:
                    self._loop.add_writer(self._terminal.fd, self._write_on)
                    self._writing = True
                return
            except OSError:
                # The command is gone or going; its end is noticed on the reading side.
                self._typed.clear()
                self._typed_bytes = 0
                break
            self._typed_bytes -= written
            if written == len(data):
                self._typed.popleft()
            else:
                self._typed[0] = data[written:]
        self._stop_writing()

    def _stop_reading(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._terminal.fd)
            self._reading = False

    def _stop_writing(self) -> None:
        if self._writing:
            self._loop.remove_writer(self._terminal.fd)
            self._writing = False

    def _hang_up(self) -> None:
        if not self._gone:
            self._stop_reading()
            self._stop_writing()
            self._gone = True
            self._terminal.close()

    async def _await_end(self) -> None:
        try:
            result = await self._terminal.wait()
            self.exit_code = result.exit_code
            # What the command wrote last is still in the terminal.
            with contextlib.suppress(OSError):
                while not self._gone and (data := os.read(self._terminal.fd, READ_BYTES)):
                    self._scrollback += data
                    for viewer in self._viewers:
                        viewer.push(data)
        finally:
            self._hang_up()
            self._end.set()
            for viewer in self._viewers:
                viewer.end()


class Terminals:
    """All living terminals, by VM and session."""

    def __init__(self) -> None:
        self._live: dict[tuple[str, str], LiveTerminal] = {}
        self._opening: dict[tuple[str, str], asyncio.Lock] = {}

    def find(self, vm_id: str, session_id: str) -> LiveTerminal | None:
        """The living terminal of a session."""
        live = self._live.get((vm_id, session_id))
        if live is not None and (live.ended or live.closing):
            del self._live[vm_id, session_id]
            return None
        return live

    async def open(self, vm_id: str, session_id: str, opener: Opener) -> LiveTerminal:
        """The living terminal of a session, opened if there is none; concurrent calls share one."""
        key = (vm_id, session_id)
        lock = self._opening.setdefault(key, asyncio.Lock())
        async with lock:
            live = self.find(vm_id, session_id)
            if live is None:
                live = self._live[key] = LiveTerminal(await opener())
        self._opening.pop(key, None)
        return live

    async def close(self, vm_id: str, session_id: str | None = None) -> None:
        """End the terminal of a session, or all of a VM."""
        keys = [key for key in self._live if key[0] == vm_id and session_id in (None, key[1])]
        await asyncio.gather(*(self._live.pop(key).close() for key in keys), return_exceptions=True)

    async def close_all(self) -> None:
        """End every terminal."""
        await asyncio.gather(*(live.close() for live in self._live.values()), return_exceptions=True)
        self._live.clear()
