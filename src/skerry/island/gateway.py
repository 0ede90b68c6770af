"""The way in: which face a request is for, and the proxy into sandboxes for `<port>-<sandbox>.localhost` hosts.

The proxy adds nothing to an application's answers. It removes only what belongs to the island itself: an island key
in the Authorization header, and the pass of a private tunnel.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import h11

from skerry.island.asgi import Receive, Scope, Send
from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError

CONNECT_SECONDS = 15.0
IDLE_SECONDS = 900.0
MOST_CONNECTIONS = 256
_READ_BYTES = 256 * 1024
PASS = "skerry_pass"  # noqa: S105 - the name of a parameter, not its value

_TUNNEL_LABEL = re.compile(r"([1-9]\d{0,4})-([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)")
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

_log = logging.getLogger("skerry.island.gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """An inbound port that somebody opened.

    Args:
        account_id: owner.
        sandbox_id: where it leads.
        port: TCP port inside the sandbox.
        public: whether anybody may pass.
    """

    account_id: str
    sandbox_id: str
    port: int
    public: bool


class Face(Protocol):
    """One network's side of the island: an ASGI application with a life of its own."""

    name: str

    async def start(self) -> None:
        """Begin; called once, before the first request."""

    async def stop(self) -> None:
        """End; called once, after the last request."""

    async def busy(self) -> bool:
        """Whether there is work that nobody may be asking about, for which the server must stay."""

    def recognises(self, scope: Scope) -> bool:
        """Whether a request that names no network is plainly this one's, for clients that drop a base URL's path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the path below `root_path` is the network's own."""

    async def tunnel(self, label: str, port: int) -> Tunnel | None:
        """The open tunnel of a sandbox whose host label this is, if it is this face's."""

    def admits(self, tunnel: Tunnel, token: str) -> bool:
        """Whether a pass (from `?skerry_pass=` or the cookie of that name) opens a private tunnel."""


def host_of(scope: Scope) -> str:
    """The host name of a request, lower-case, without its port."""
    for name, value in scope["headers"]:
        if name == b"host":
            text: str = value.decode("latin-1").lower()
            return text if text.endswith("]") else text.rpartition(":")[0] or text
    return ""


def split_label(host: str, suffixes: Sequence[str]) -> str | None:
    """What stands before one of the island's own host names, or None.

    Example:
        >>> split_label("8000-vmh-1.localhost", ["localhost"])
        '8000-vmh-1'
    """
    for suffix in suffixes:
        if host.endswith("." + suffix):
            return host[: -len(suffix) - 1]
    return None


class TunnelProxy:
    """Carries HTTP/1.1 and WebSocket into sandboxes.

    Args:
        engine: dials the ports.
        faces: know which tunnels are open.
    """

    def __init__(self, engine: Engine, faces: Sequence[Face]) -> None:
        self._engine = engine
        self._faces = faces
        self._connections: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send, label: str) -> None:
        """Proxy one request whose host label is `<port>-<sandbox>`."""
        match = _TUNNEL_LABEL.fullmatch(label)
        found = await self._find(match.group(2), int(match.group(1))) if match else None
        if found is None:
            await refuse(scope, receive, send, 404, "No such tunnel: nothing is published here, or it has ended.\n")
            return
        face, tunnel = found
        visit = await self._admit(scope, face, tunnel)
        if visit is None:
            text = (
                "This tunnel is private. Send your key as a bearer token, or open its link with a pass "
                f"(?{PASS}=...).\n"
            )
            await refuse(scope, receive, send, 401, text, [(b"www-authenticate", b"Bearer")])
            return
        if visit.redirect is not None:
            await refuse(scope, receive, send, 303, "", [(b"location", visit.redirect), (b"set-cookie", visit.cookie)])
            return
        if self._connections[tunnel.sandbox_id] >= MOST_CONNECTIONS:
            await refuse(scope, receive, send, 503, "Too many connections into this VM at once.\n")
            return
        self._connections[tunnel.sandbox_id] += 1
        try:
            await self._carry(scope, receive, send, tunnel, visit)
        finally:
            self._connections[tunnel.sandbox_id] -= 1
            if not self._connections[tunnel.sandbox_id]:
                del self._connections[tunnel.sandbox_id]

    async def _find(self, label: str, port: int) -> tuple[Face, Tunnel] | None:
        for face in self._faces:
            tunnel = await face.tunnel(label, port)
            if tunnel is not None:
                return face, tunnel
        return None

    async def _admit(self, scope: Scope, face: Face, tunnel: Tunnel) -> _Visit | None:
        """Who comes, and what of the request is meant for the island and not for the application."""
        headers: list[tuple[bytes, bytes]] = []
        owner = False
        cookie_pass: str | None = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                account = await self._island_key(face, value)
                if account is not None:
                    owner = owner or account == tunnel.account_id
                    continue
            elif name == b"cookie":
                rest, cookie_pass = take_cookie(value)
                if not rest:
                    continue
                value = rest
            headers.append((name, value))
        query, query_pass = take_query(scope.get("query_string", b""))
        visit = _Visit(headers=headers, query=query)
        if tunnel.public or owner:
            return visit
        if query_pass is not None and face.admits(tunnel, query_pass):
            if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
                target = scope["raw_path"].split(b"?")[0] + (b"?" + query if query else b"")
                visit.redirect = b"/" + target.lstrip(b"/")
                visit.cookie = f"{PASS}={query_pass}; HttpOnly; SameSite=Lax; Path=/".encode()
            return visit
        if cookie_pass is not None and face.admits(tunnel, cookie_pass):
            return visit
        return None

    async def _island_key(self, face: Face, authorization: bytes) -> str | None:
        scheme, _, key = authorization.decode("latin-1").strip().partition(" ")
        if scheme.lower() != "bearer":
            return None
        for name in (face.name, *(other.name for other in self._faces if other is not face)):
            try:
                return (await self._engine.accounts.authenticate(name, key.strip())).account_id
            except EngineError:
                continue
        return None

    async def _carry(self, scope: Scope, receive: Receive, send: Send, tunnel: Tunnel, visit: _Visit) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await self._engine.sandboxes.dial(tunnel.account_id, tunnel.sandbox_id, tunnel.port)
        except (EngineError, OSError, TimeoutError) as error:
            reason = error.message if isinstance(error, EngineError) else "it does not answer"
            await refuse(scope, receive, send, 502, f"Port {tunnel.port} cannot be reached: {reason}.\n")
            return
        with self._engine.traffic.watch(tunnel.sandbox_id, connection, accepted=False):
            await self._exchange(scope, receive, send, connection, visit)

    async def _exchange(
        self, scope: Scope, receive: Receive, send: Send, connection: socket.socket, visit: _Visit
    ) -> None:
        if scope["type"] == "websocket":
            from skerry.island.gateway_websocket import carry_websocket

            await carry_websocket(scope, receive, send, connection, visit.headers, visit.query)
            return
        await carry_http(scope, receive, send, connection, visit.headers, visit.query)


@dataclass(slots=True, kw_only=True)
class _Visit:
    headers: list[tuple[bytes, bytes]]
    query: bytes
    redirect: bytes | None = None
    cookie: bytes = b""


def take_cookie(value: bytes) -> tuple[bytes, str | None]:
    """A Cookie header without the island's pass, and that pass."""
    kept, taken = [], None
    for part in value.split(b";"):
        name, _, content = part.strip().partition(b"=")
        if name == PASS.encode():
            taken = content.decode("latin-1")
        elif part.strip():
            kept.append(part.strip())
    return b"; ".join(kept), taken


def take_query(query: bytes) -> tuple[bytes, str | None]:
    """A query string without the island's pass, and that pass; every other byte stays as it was."""
    if PASS.encode() not in query:
        return query, None
    kept, taken = [], None
    for part in query.split(b"&"):
        name, _, content = part.partition(b"=")
        if name == PASS.encode():
            taken = content.decode("latin-1")
        else:
            kept.append(part)
    return b"&".join(kept), taken


def end_to_end(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers without the hop-by-hop ones, those that `Connection` names included."""
    dropped = set(_HOP_BY_HOP)
    for name, value in headers:
        if name.lower() == b"connection":
            dropped.update(token.strip().lower() for token in value.split(b","))
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def forwarded(scope: Scope) -> list[tuple[bytes, bytes]]:
    """What tells the application how its visitor came."""
    client = scope.get("client")
    fields = [(b"x-forwarded-proto", b"https" if scope.get("scheme") in ("https", "wss") else b"http")]
    if client:
        fields.append((b"x-forwarded-for", str(client[0]).encode("latin-1")))
    host = next((value for name, value in scope["headers"] if name == b"host"), None)
    if host is not None:
        fields.append((b"x-forwarded-host", host))
    return fields


async def carry_http(
    scope: Scope,
    receive: Receive,
    send: Send,
    connection: socket.socket,
    headers: Sequence[tuple[bytes, bytes]],
    query: bytes,
) -> None:
    """One HTTP/1.1 exchange over a connected, non-blocking socket, streaming in both directions at once."""
    with connection:
        await _Exchange(scope, receive, send, connection).run(headers, query)


class _Exchange:
    """One exchange; past asyncio's streams, which forget what has come as soon as something cannot be sent any more."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, connection: socket.socket) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.connection = connection
        self.loop = asyncio.get_running_loop()
        self.wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=256 * 1024)
        self.started = False

    async def run(self, headers: Sequence[tuple[bytes, bytes]], query: bytes) -> None:
        upload = asyncio.create_task(self._upload(headers, query))
        download = asyncio.create_task(self._download())
        try:
            await asyncio.wait({upload, download}, return_when=asyncio.FIRST_COMPLETED)
            if not download.done():
                trouble = upload.exception()
                if isinstance(trouble, _VisitorLeft):
                    return
                # An application may stop reading early and answer all the same; anything else ends the exchange.
                if trouble is not None and not isinstance(trouble, OSError):
                    raise trouble
            await download
        except h11.LocalProtocolError:
            await refuse(self.scope, self.receive, self.send, 400, "This request cannot be passed on.\n")
        except (OSError, h11.RemoteProtocolError, TimeoutError) as error:
            # Once the head is out, only a connection that ends early tells the visitor that the body is not whole.
            _log.debug("a tunnelled application broke off: %s", error)
            if not self.started:
                await refuse(self.scope, self.receive, self.send, 502, "The application broke off without an answer.\n")
        finally:
            for task in (upload, download):
                task.cancel()
            await asyncio.gather(upload, download, return_exceptions=True)

    async def _upload(self, headers: Sequence[tuple[bytes, bytes]], query: bytes) -> None:
        body_follows = any(name in (b"content-length", b"transfer-encoding") for name, _ in headers)
        fields = [*end_to_end(headers), *forwarded(self.scope), (b"connection", b"close")]
        if body_follows and not any(name == b"content-length" for name, _ in fields):
            fields.append((b"transfer-encoding", b"chunked"))
        target = self.scope["raw_path"].split(b"?")[0] + (b"?" + query if query else b"")
        await self._emit(h11.Request(method=self.scope["method"], target=target or b"/", headers=fields))
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise _VisitorLeft
            if message.get("body"):
                await self._emit(h11.Data(data=message["body"]))
            if not message.get("more_body", False):
                break
        await self._emit(h11.EndOfMessage())
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise _VisitorLeft

    async def _emit(self, event: h11.Event) -> None:
        data = self.wire.send(event)
        if data:
            await self.loop.sock_sendall(self.connection, data)

    async def _download(self) -> None:
        async for event in self._events():
            if isinstance(event, h11.Response):
                await self.send(
                    {
                        "type": "http.response.start",
                        "status": event.status_code,
                        "headers": end_to_end(event.headers.raw_items()),
                    }
                )
                self.started = True
            elif isinstance(event, h11.Data):
                await self.send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncIterator[h11.Event]:
        while True:
            event = self.wire.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout(IDLE_SECONDS):
                    data = await self.loop.sock_recv(self.connection, _READ_BYTES)
                self.wire.receive_data(data)
                # An application that always has more would let nobody else have a turn.
                await asyncio.sleep(0)
            elif isinstance(event, h11.EndOfMessage):
                return
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("closed without an answer")
            elif isinstance(event, h11.Event):
                yield event
            else:
                return


class _VisitorLeft(Exception):
    pass


async def refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    status: int,
    text: str,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Answer in plain text, on either kind of connection."""
    body = text.encode()
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": text[:100]})
            return
        kind = "websocket.http.response"
    fields = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": f"{kind}.start", "status": status, "headers": fields})
    await send({"type": f"{kind}.body", "body": body})
