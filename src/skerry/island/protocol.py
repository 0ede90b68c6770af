"""What uvicorn lacks: a bound on request heads for its fast parser, word of having started, an end without delay."""

from __future__ import annotations

import asyncio
import socket
from types import FrameType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 128 * 1024
_LOOK_SECONDS = 0.005
_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 35\r\nconnection: close\r\n\r\n"
    b"The head of this request is too big"
)


class BoundedHttpProtocol(HttpToolsProtocol):
    """Ends a connection whose request line and headers do not fit `MOST_HEAD_BYTES`."""

    _head_bytes = 0
    _in_head = True

    def data_received(self, data: bytes) -> None:
        """Feed the parser; refuse once an unfinished head has grown too big."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MOST_HEAD_BYTES and not self._transport.is_closing():
            self._transport.write(_REFUSAL)
            self._transport.close()

    @property
    def _transport(self) -> asyncio.Transport:
        return self.transport

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next bytes belong to another head."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_complete()


class AnnouncedServer(uvicorn.Server):
    """A uvicorn server that can be awaited, and that sleeps until it is told to end instead of looking now and then.

    Attributes:
        answering: set once connections are accepted.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()
        self._ending = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self.answering.set()

    def end(self) -> None:
        """Stop serving; from the server's own thread."""
        self.should_exit = True
        self._ending.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop serving because of a signal."""
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._ending.set)

    async def main_loop(self) -> None:
        """Serve until the end."""
        await self._ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more, and wait for what is being answered, within the configured time."""
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        deadline = self._loop.time() + (self.config.timeout_graceful_shutdown or 0)
        # Nobody says when the last of them is gone.
        while self._unfinished and not self.force_exit and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        for task in self.server_state.tasks:
            task.cancel("the server is stopping")

    @property
    def _unfinished(self) -> bool:
        return bool(self.server_state.connections or self.server_state.tasks)
