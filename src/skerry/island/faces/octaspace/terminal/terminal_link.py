"""Joins a WebSocket with a terminal: bytes both ways, sizes, and the end of whichever ends first."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
from collections import deque
from collections.abc import Callable
from typing import Any

from skerry.island.asgi import Receive, Send
from skerry.island.ground.waiting import give_up
from skerry.island.sandbox.driver import SandboxError, Terminal

MOST_MESSAGE = 64 * 1024
MOST_UNREAD = 1 << 20
"""Bytes that were typed and that nobody reads; more are dropped, as a terminal does."""

_CHUNK = 64 * 1024
_TOO_BIG = 1009
_NO_SENSE = 1007
_NORMAL = 1000

Count = Callable[[int, int], None]


class TerminalLink:
    """One connection.

    Args:
        terminal: just opened; owned from now on.
        receive, send: of an accepted WebSocket.
    """

    def __init__(self, terminal: Terminal, receive: Receive, send: Send) -> None:
        self._terminal = terminal
        self._receive = receive
        self._send = send
        self._typed: deque[bytes] = deque()
        self._unread = 0
        self._arrived = asyncio.Event()

    async def carry(self, count: Count) -> None:
        """Until the command has ended or the visitor has left; then neither is there any more.

        Args:
            count: is told how many bytes were typed, and how many were shown.
        """
        os.set_blocking(self._terminal.fd, False)
        ending = asyncio.ensure_future(self._terminal.wait())
        inward = asyncio.ensure_future(self._inward(count))
        outward = asyncio.ensure_future(self._outward(count, ending))
        typing = asyncio.ensure_future(self._typing())
        try:
            await asyncio.wait((inward, outward), return_when=asyncio.FIRST_COMPLETED)
            if outward.done() and not outward.cancelled() and outward.exception() is None:
                await self._farewell(ending)
        finally:
            await give_up(inward, outward, typing, ending)
            self._terminal.close()
            with contextlib.suppress(SandboxError):
                await self._terminal.cancel()

    async def _inward(self, count: Count) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            text = message.get("text")
            if len(data or text or "") > MOST_MESSAGE:
                await self._close(_TOO_BIG, "A message is too long.")
                return
            if data is not None:
                count(len(data), 0)
                self._type(data)
            elif not await self._told(text or ""):
                await self._close(_NO_SENSE, "A message has no meaning here.")
                return

    async def _told(self, text: str) -> bool:
        """Do what the browser says in JSON; False when that is nothing known."""
        try:
            told: Any = json.loads(text)
        except (ValueError, RecursionError):
            return False
        if not isinstance(told, dict) or told.get("type") != "resize":
            return False
        columns, rows = told.get("cols"), told.get("rows")
        if type(columns) is not int or type(rows) is not int or not (1 <= columns <= 1000 and 1 <= rows <= 1000):
            return False
        with contextlib.suppress(SandboxError):
            await self._terminal.resize(columns, rows)
        return True

    def _type(self, data: bytes) -> None:
        """Keep what was typed until it is read: whoever leaves must be heard meanwhile."""
        if self._unread + len(data) <= MOST_UNREAD:
            self._typed.append(data)
            self._unread += len(data)
            self._arrived.set()

    async def _typing(self) -> None:
        """Type, as fast as the command reads; what comes after its end is dropped."""
        while True:
            while not self._typed:
                self._arrived.clear()
                await self._arrived.wait()
            rest = memoryview(self._typed[0])
            while rest:
                try:
                    written = os.write(self._terminal.fd, rest)
                except BlockingIOError:
                    await _ready(self._terminal.fd, writing=True)
                    continue
                except OSError:
                    break
                rest = rest[written:]
                self._unread -= written
            self._unread -= len(rest)
            self._typed.popleft()

    async def _outward(self, count: Count, ending: asyncio.Future[Any]) -> None:
        """Show what is written, to the end, and to the bottom once the command has ended."""
        while True:
            try:
                data = os.read(self._terminal.fd, _CHUNK)
            except BlockingIOError:
                if ending.done():
                    return
                await _ready(self._terminal.fd, unless=ending)
                continue
            except OSError as error:
                # A terminal whose last process has closed it reads as EIO on Linux.
                if error.errno != errno.EIO:
                    raise
                return
            if not data:
                return
            count(0, len(data))
            await self._send({"type": "websocket.send", "bytes": data})

    async def _farewell(self, ending: asyncio.Future[Any]) -> None:
        try:
            code = (await asyncio.shield(ending)).exit_code
        except SandboxError:
            code = -1
        await self._send({"type": "websocket.send", "text": json.dumps({"type": "exit", "code": code})})
        await self._close(_NORMAL, "The shell has ended.")

    async def _close(self, code: int, reason: str) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason})


async def _ready(fd: int, *, writing: bool = False, unless: asyncio.Future[Any] | None = None) -> None:
    """Until a descriptor can be read or written, or something has ended."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    if writing:
        loop.add_writer(fd, event.set)
    else:
        loop.add_reader(fd, event.set)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiting, *([unless] if unless is not None else [])}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if writing:
            loop.remove_writer(fd)
        else:
            loop.remove_reader(fd)
