"""What uvicorn lacks: a bound on request heads, WebSockets refused without an error, and word of having started."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MOST_HEAD_BYTES = 128 * 1024
_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 35\r\nconnection: close\r\n\r\n"
    b"The head of this request is too big"
)

_log = logging.getLogger("skerry.island.server")


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
    """A uvicorn server that can be awaited.

    Attributes:
        answering: set once connections are accepted.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self.answering.set()
