"""What uvicorn lacks: bounds on request heads, refused WebSockets that are no errors, an end without delay."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MOST_HEAD_BYTES = 128 * 1024
LEAVING_SECONDS = 30.0
"""For how long the rest of a body is read whose answer was given already."""
_LOOK_SECONDS = 0.005
_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 35\r\nconnection: close\r\n\r\n"
    b"The head of this request is too big"
)

_log = logging.getLogger("skerry.island.server")


class BoundedHttpProtocol(HttpToolsProtocol):
    """Ends a connection whose request line and headers do not fit `MOST_HEAD_BYTES`.

    No connection is closed on a client that is still sending a body: what it has sent unread would have the kernel
    reset the connection, and the client lose its answer. What is left of the body is read and dropped for a while.
    """

    _head_bytes = 0
    _in_head = True
    _leaving: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Feed the parser; refuse once an unfinished head has grown too big."""
        if self._leaving is not None:
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MOST_HEAD_BYTES and not self._transport.is_closing():
            self._transport.write(_REFUSAL)
            self._leave()

    @property
    def _transport(self) -> asyncio.Transport:
        return self.transport

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        super().on_headers_complete()
        # There is none for the first request of a WebSocket.
        if self.cycle is not None:
            self.cycle.transport = _Ending(self._transport, self._end)  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        """The next bytes belong to another head."""
        self._in_head = True
        self._head_bytes = 0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        if self._leaving is not None:
            self._leaving.cancel()
        super().connection_lost(exc)

    def _end(self) -> None:
        """The answer is written, and the connection shall go."""
        if self._in_head:
            self._transport.close()
        else:
            self._leave()

    def _leave(self) -> None:
        if self._leaving is None:
            self._leaving = self.loop.call_later(LEAVING_SECONDS, self._transport.close)
            self._transport.write_eof()
            self.flow.resume_reading()


class _Ending:
    """A transport, for one exchange, whose end is the protocol's to judge."""

    def __init__(self, transport: asyncio.Transport, end: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = end


class RefusableWebSocketProtocol(WebSocketsSansIOProtocol):
    """Takes an HTTP answer for the end of a handshake.

    uvicorn goes on waiting for one that was accepted, and logs an error of the application for each that was not.
    """

    async def send(self, message: Any) -> None:
        """Pass a message on; note a refusal once it is whole."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.initial_response and self.close_sent:
            self.handshake_complete = True
            # Without its query, which may hold a ticket.
            path = self.scope["raw_path"].decode("latin-1")
            _log.info("refused a WebSocket with status %d: %s", self.initial_response[0], path)


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
