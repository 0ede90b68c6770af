"""WebSocket through a tunnel: both handshakes are the gateway's, every message in between is the application's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.typing import Origin, Subprotocol

from skerry.island.asgi import Receive, Scope, Send
from skerry.island.gateway import CONNECT_SECONDS, end_to_end, forwarded, refuse

_HANDSHAKE = frozenset(
    {b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions", b"sec-websocket-protocol"}
)
_OWN = frozenset({b"host", b"origin", b"user-agent", b"content-length"})
# Codes that may not travel in a close frame (RFC 6455, section 7.4.1).
_SILENT_CODES = frozenset({1005, 1006, 1015})


async def carry_websocket(
    scope: Scope,
    receive: Receive,
    send: Send,
    connection: socket.socket,
    headers: Sequence[tuple[bytes, bytes]],
    query: bytes,
) -> None:
    """Join a visitor's WebSocket with one to the application over a connected socket."""
    fields = {name: value for name, value in headers if name in _OWN}
    extra = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in (*end_to_end(headers), *forwarded(scope))
        if name not in _HANDSHAKE and name not in _OWN
    ]
    host = fields.get(b"host", b"localhost").decode("latin-1")
    target = scope["raw_path"].split(b"?")[0].decode("latin-1") + ("?" + query.decode("latin-1") if query else "")
    origin = fields.get(b"origin")
    agent = fields.get(b"user-agent")
    try:
        upstream = await connect(
            f"ws://{host}{target}",
            sock=connection,
            origin=Origin(origin.decode("latin-1")) if origin is not None else None,
            user_agent_header=agent.decode("latin-1") if agent is not None else None,
            subprotocols=[Subprotocol(name) for name in scope.get("subprotocols", ())] or None,
            additional_headers=extra,
            compression=None,
            proxy=None,
            max_size=None,
            ping_interval=None,
            open_timeout=CONNECT_SECONDS,
            close_timeout=2.0,
        )
    except InvalidStatus as error:
        response = error.response
        text = (response.body or b"").decode("utf-8", "replace")
        await refuse(scope, receive, send, response.status_code, text)
        return
    except (InvalidHandshake, InvalidMessage, OSError, TimeoutError, EOFError):
        await refuse(scope, receive, send, 502, "The application does not speak WebSocket here.\n")
        return
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(upstream.close)
        await receive()
        await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
        inward = asyncio.create_task(_inward(receive, upstream))
        outward = asyncio.create_task(_outward(upstream, send))
        try:
            await asyncio.wait({inward, outward}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (inward, outward):
                task.cancel()
            await asyncio.gather(inward, outward, return_exceptions=True)


async def _inward(receive: Receive, upstream: ClientConnection) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            code = message.get("code") or 1000
            await upstream.close(1000 if code in _SILENT_CODES else code, message.get("reason") or "")
            return
        text = message.get("text")
        # What an application that has gone said before that is still on its way out.
        with contextlib.suppress(ConnectionClosed):
            await upstream.send(text if text is not None else message["bytes"])


async def _outward(upstream: ClientConnection, send: Send) -> None:
    try:
        async for message in upstream:
            if isinstance(message, str):
                await send({"type": "websocket.send", "text": message})
            else:
                await send({"type": "websocket.send", "bytes": message})
    except ConnectionClosed:
        pass
    code = upstream.close_code or 1000
    await send(
        {
            "type": "websocket.close",
            "code": 1011 if code in _SILENT_CODES else code,
            "reason": upstream.close_reason or "",
        }
    )
