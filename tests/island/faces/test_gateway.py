"""The proxy into sandboxes: what passes unchanged, what belongs to the island, how either side may leave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus

from skerry.island.clock import SystemClock
from skerry.island.engine.errors import Unauthorized, Unavailable
from skerry.island.engine.records import Caller
from skerry.island.engine.traffic import Traffic
from skerry.island.gateway import (
    Tunnel,
    TunnelProxy,
    carry_http,
    end_to_end,
    host_of,
    split_label,
    take_cookie,
    take_query,
)
from skerry.island.gateway_websocket import carry_websocket
from skerry.island.protocol import AnnouncedServer, BoundedHttpProtocol, RefusableWebSocketProtocol
from tests.island.engine.lab import PATIENCE

pytestmark = pytest.mark.anyio
OWNER, OTHER = "ark_live_owner", "ark_live_other"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Accounts:
    async def authenticate(self, network: str, key: str) -> Caller:
        accounts = {OWNER: "owner", OTHER: "other"}
        if key not in accounts:
            raise Unauthorized("no")
        return Caller(account_id=accounts[key], key_id="k", network=network)


class Sandboxes:
    """Dials a port of this test instead of one in a sandbox."""

    def __init__(self) -> None:
        self.ports: dict[int, int] = {}

    async def dial(self, account_id: str, sandbox_id: str, port: int) -> socket.socket:
        if port not in self.ports:
            raise Unavailable("nothing listens there")
        connection = socket.create_connection(("127.0.0.1", self.ports[port]))
        connection.setblocking(False)
        return connection


class Engine:
    def __init__(self) -> None:
        self.accounts = Accounts()
        self.sandboxes = Sandboxes()
        self.traffic = Traffic(None, SystemClock())


class OneFace:
    """Ports below 9000 are private, others public; the pass is the port."""

    name = "arker"

    async def tunnel(self, label: str, port: int) -> Tunnel | None:
        if label != "vmh-1" or port == 1:
            return None
        return Tunnel(account_id="owner", sandbox_id="vmh-1", port=port, public=port >= 9000)

    def admits(self, tunnel: Tunnel, token: str) -> bool:
        return token == str(tunnel.port)


class Site:
    """A gateway on a real socket and raw conversations with it."""

    def __init__(self, engine: Engine, port: int) -> None:
        self.engine = engine
        self.port = port

    async def app(self, port: int, talk: Talk, stack: contextlib.AsyncExitStack) -> None:
        """An application behind a tunnel port that does just what `talk` says."""

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                await talk(reader, writer)
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        stack.push_async_callback(_close, server)
        self.engine.sandboxes.ports[port] = server.sockets[0].getsockname()[1]

    async def send(self, text: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(text)
        return reader, writer

    async def ask(self, head: str, body: bytes = b"") -> tuple[bytes, bytes]:
        """A whole exchange: the answer's head and body, unchunked."""
        reader, writer = await self.send(head.replace("\n", "\r\n").encode("latin-1") + body)
        async with asyncio.timeout(PATIENCE):
            answer = await reader.readuntil(b"\r\n\r\n")
            if b"transfer-encoding: chunked" in answer.lower():
                content = b""
                while size := int(await reader.readline(), 16):
                    content += (await reader.readexactly(size + 2))[:-2]
            else:
                length = [line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                content = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        writer.close()
        return answer, content


async def _close(server: asyncio.Server) -> None:
    server.close()


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    engine = Engine()
    proxy = TunnelProxy(engine, [OneFace()])  # type: ignore[arg-type, list-item]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await proxy(scope, receive, send, split_label(host_of(scope), ["localhost"]) or "")

    listener = socket.create_server(("127.0.0.1", 0))
    server = AnnouncedServer(
        uvicorn.Config(
            app,
            http=BoundedHttpProtocol,
            ws=RefusableWebSocketProtocol,
            lifespan="off",
            log_config=None,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    task = asyncio.create_task(server._serve([listener]))
    await server.answering.wait()
    yield Site(engine, listener.getsockname()[1])
    server.end()
    await task


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the request head it got."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nX-App: 1\r\nContent-Length: %d\r\n\r\n" % len(head) + head)
    await writer.drain()


async def test_a_request_and_its_answer_pass_unchanged(site: Site, stack: contextlib.AsyncExitStack) -> None:
    await site.app(9000, echo, stack)
    answer, head = await site.ask(
        "GET /a%2Fb/../c?x=%20&y HTTP/1.1\nHost: 9000-vmh-1.localhost:99\nAuthorization: Basic abc\n"
        "Connection: keep-alive, X-Hop\nX-Hop: 1\nKeep-Alive: 5\nTE: trailers\nUpgrade: h2c\nCookie: a=b\nX-Own: ü\n\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nx-app: 1\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"GET /a%2Fb/../c?x=%20&y HTTP/1.1"
    assert b"host: 9000-vmh-1.localhost:99" in lines
    assert b"authorization: Basic abc" in lines
    assert b"cookie: a=b" in lines
    assert "x-own: ü".encode("latin-1") in lines
    assert b"x-forwarded-proto: http" in lines
    assert b"x-forwarded-for: 127.0.0.1" in lines
    for hop in (b"x-hop", b"keep-alive:", b"te:", b"upgrade"):
        assert not any(line.lower().startswith(hop) for line in lines), hop


async def test_a_body_streams_up_while_the_answer_streams_down(site: Site, stack: contextlib.AsyncExitStack) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(await reader.readline(), 16):
            data = (await reader.readexactly(size + 2))[:-2]
            writer.write(b"%x\r\n%b\r\n" % (len(data), data.upper()))
            await writer.drain()
        await reader.readline()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    await site.app(9000, talk, stack)
    reader, writer = await site.send(
        b"POST / HTTP/1.1\r\nHost: 9000-vmh-1.localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    async with asyncio.timeout(PATIENCE):
        for word in (b"first", b"second"):
            writer.write(b"%x\r\n%b\r\n" % (len(word), word))
            await reader.readuntil(word.upper())
        writer.write(b"0\r\n\r\n")
        await reader.readuntil(b"0\r\n\r\n")
    writer.close()


async def test_a_large_body_with_a_length_arrives_whole(site: Site, stack: contextlib.AsyncExitStack) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert b"transfer-encoding" not in head
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        writer.write(
            b"HTTP/1.1 201 Made\r\nContent-Length: 7\r\nSet-Cookie: s=1\r\nDate: x\r\n\r\n%07d" % sum(body[:70])
        )
        await writer.drain()

    await site.app(9000, talk, stack)
    answer, content = await site.ask(
        f"PUT /x HTTP/1.1\nHost: 9000-vmh-1.localhost\nContent-Length: {8 << 20}\n\n", b"\x01" * (8 << 20)
    )
    assert answer.startswith(b"HTTP/1.1 201")
    assert b"set-cookie: s=1" in answer
    assert answer.lower().count(b"date:") == 1
    assert content == b"0000070"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET / HTTP/1.1\nHost: 8000-vmh-1.localhost\n\n", b"401"),
        (f"GET / HTTP/1.1\nHost: 8000-vmh-1.localhost\nAuthorization: Bearer {OTHER}\n\n", b"401"),
        ("GET /?skerry_pass=9999 HTTP/1.1\nHost: 8000-vmh-1.localhost\n\n", b"401"),
        ("GET / HTTP/1.1\nHost: 8000-vmh-1.localhost\nCookie: skerry_pass=1\n\n", b"401"),
        (f"GET / HTTP/1.1\nHost: 8000-vmh-1.localhost\nAuthorization: Bearer {OWNER}\n\n", b"200"),
        ("GET / HTTP/1.1\nHost: 8000-vmh-1.localhost\nCookie: a=b; skerry_pass=8000\n\n", b"200"),
        ("POST /?skerry_pass=8000 HTTP/1.1\nHost: 8000-vmh-1.localhost\nContent-Length: 0\n\n", b"200"),
        ("GET / HTTP/1.1\nHost: 1-vmh-1.localhost\n\n", b"404"),
        ("GET / HTTP/1.1\nHost: 9000-vmh-2.localhost\n\n", b"404"),
        ("GET / HTTP/1.1\nHost: vmh-1.localhost\n\n", b"404"),
        ("GET / HTTP/1.1\nHost: 0-vmh-1.localhost\n\n", b"404"),
        ("GET / HTTP/1.1\nHost: 99999-vmh-1.localhost\n\n", b"502"),
        ("GET / HTTP/1.1\nHost: 9001-vmh-1.localhost\n\n", b"502"),
    ],
)
async def test_who_may_pass(site: Site, stack: contextlib.AsyncExitStack, head: str, status: bytes) -> None:
    await site.app(8000, echo, stack)
    answer, content = await site.ask(head)
    assert answer.split()[1] == status
    if status == b"200":
        assert b"authorization" not in content
        assert b"skerry_pass" not in content
    else:
        assert b"text/plain" in answer


async def test_an_island_key_never_reaches_an_application(site: Site, stack: contextlib.AsyncExitStack) -> None:
    await site.app(9000, echo, stack)
    for key, kept in ((OWNER, False), (OTHER, False), ("the-app's-own", True)):
        _, head = await site.ask(f"GET / HTTP/1.1\nHost: 9000-vmh-1.localhost\nAuthorization: Bearer {key}\n\n")
        assert (b"authorization" in head) is kept


async def test_a_pass_in_a_link_becomes_a_cookie(site: Site) -> None:
    answer, _ = await site.ask("GET //x/y?a=1&skerry_pass=8000&b=%20 HTTP/1.1\nHost: 8000-vmh-1.localhost\n\n")
    lines = answer.split(b"\r\n")
    assert lines[0].split()[1] == b"303"
    assert b"location: /x/y?a=1&b=%20" in lines
    assert any(line.startswith(b"set-cookie: skerry_pass=8000; HttpOnly") for line in lines)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
)
async def test_an_application_that_breaks_off_is_a_bad_gateway(
    site: Site, stack: contextlib.AsyncExitStack, answer: bytes
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    await site.app(9000, talk, stack)
    head, _ = await site.ask("GET / HTTP/1.1\nHost: 9000-vmh-1.localhost\n\n")
    assert head.split()[1] == b"502"


async def test_half_an_answer_is_not_passed_off_as_a_whole_one(site: Site, stack: contextlib.AsyncExitStack) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await writer.drain()

    await site.app(9000, talk, stack)
    reader, writer = await site.send(b"GET / HTTP/1.1\r\nHost: 9000-vmh-1.localhost\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        everything = await reader.read()
    assert everything.endswith(b"half")
    writer.close()


async def test_an_early_answer_to_a_large_upload_arrives(site: Site, stack: contextlib.AsyncExitStack) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        await writer.drain()

    await site.app(9000, talk, stack)
    reader, writer = await site.send(
        b"PUT / HTTP/1.1\r\nHost: 9000-vmh-1.localhost\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 100_000
    )
    async with asyncio.timeout(PATIENCE):
        assert b"413" in await reader.readline()
    writer.close()


async def test_an_answer_arrives_though_the_application_hung_up_on_the_upload() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.setblocking(False)
    passed: list[Any] = []

    async def receive() -> dict[str, Any]:
        # At the last moment before the next part of the body, which nobody takes: the connection is reset.
        far.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        return {"type": "http.request", "body": b"more", "more_body": True}

    async def send(message: Any) -> None:
        passed.append(message.get("status") or message["body"])

    scope = {"type": "http", "method": "PUT", "raw_path": b"/", "headers": [(b"host", b"x"), (b"content-length", b"9")]}
    async with asyncio.timeout(PATIENCE):
        await carry_http(scope, receive, send, near, scope["headers"], b"")  # type: ignore[arg-type]
    assert passed == [413, b"no", b""]


async def test_a_visitor_who_leaves_is_noticed_by_the_application(site: Site, stack: contextlib.AsyncExitStack) -> None:
    left = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await writer.drain()
        assert await reader.read() == b""
        left.set()

    await site.app(9000, talk, stack)
    reader, writer = await site.send(b"GET / HTTP/1.1\r\nHost: 9000-vmh-1.localhost\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        await reader.readuntil(b"hi")
        writer.close()
        await left.wait()


async def test_websocket_messages_and_close_codes_pass(site: Site, stack: contextlib.AsyncExitStack) -> None:
    seen: dict[str, Any] = {}

    async def app(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen["path"] = connection.request.path
        seen["headers"] = dict(connection.request.headers.raw_items())
        async for message in connection:
            if message == "bye":
                await connection.close(4001, "so long")
                return
            await connection.send(message)

    server = await stack.enter_async_context(
        serve(app, "127.0.0.1", 0, subprotocols=["b"], open_timeout=PATIENCE)  # type: ignore[list-item]
    )
    site.engine.sandboxes.ports[8000] = next(iter(server.sockets)).getsockname()[1]
    async with asyncio.timeout(PATIENCE):
        async with connect(
            f"ws://8000-vmh-1.localhost:{site.port}/ws?x=1",
            sock=socket.create_connection(("127.0.0.1", site.port)),
            additional_headers={"Authorization": f"Bearer {OWNER}", "X-Own": "1"},
            subprotocols=["a", "b"],  # type: ignore[list-item]
            origin="http://page.example",  # type: ignore[arg-type]
            proxy=None,
            open_timeout=PATIENCE,
        ) as visitor:
            assert visitor.subprotocol == "b"
            await visitor.send("text")
            assert await visitor.recv() == "text"
            await visitor.send(b"\x00\xff" * 100_000)
            assert await visitor.recv() == b"\x00\xff" * 100_000
            await visitor.send("bye")
            await visitor.wait_closed()
            assert (visitor.close_code, visitor.close_reason) == (4001, "so long")
    assert seen["path"] == "/ws?x=1"
    names = {name.lower(): value for name, value in seen["headers"].items()}
    assert names["x-own"] == "1"
    assert names["origin"] == "http://page.example"
    assert names["host"] == f"8000-vmh-1.localhost:{site.port}"
    assert "authorization" not in names


async def test_an_applications_last_message_passes_whatever_the_visitor_still_sends() -> None:
    gone, refused = asyncio.Event(), asyncio.Event()
    coming: list[dict[str, Any]] = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "late"}]
    passed: list[tuple[Any, ...]] = []

    async def app(connection: ServerConnection) -> None:
        await connection.send("last")
        await connection.close(4001, "so long")
        gone.set()

    async def receive() -> dict[str, Any]:
        if len(coming) == 1:
            await gone.wait()
        elif not coming:
            refused.set()
            await asyncio.Event().wait()
        return coming.pop(0)

    async def send(message: Any) -> None:
        if "text" in message:
            await refused.wait()
        passed.append((message.get("text"), message.get("code"), message.get("reason")))

    async with asyncio.timeout(PATIENCE), serve(app, "127.0.0.1", 0, open_timeout=PATIENCE) as server:
        near = socket.create_connection(next(iter(server.sockets)).getsockname())
        near.setblocking(False)
        scope = {"type": "websocket", "raw_path": b"/", "headers": [(b"host", b"x")]}
        await carry_websocket(scope, receive, send, near, scope["headers"], b"")  # type: ignore[arg-type]
    assert passed == [(None, None, None), ("last", None, None), (None, 4001, "so long")]


async def test_a_refused_websocket_says_why(site: Site, stack: contextlib.AsyncExitStack) -> None:
    await site.app(9000, echo, stack)
    for port, status in ((8000, 401), (1, 404), (9001, 502), (9000, 200)):
        with pytest.raises(InvalidStatus) as caught:
            await connect(
                f"ws://{port}-vmh-1.localhost:{site.port}/",
                sock=socket.create_connection(("127.0.0.1", site.port)),
                proxy=None,
                open_timeout=PATIENCE,
            )
        # An application that answers without upgrading is passed on as it is.
        assert caught.value.response.status_code == status


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"431"),
        (b"POST / HTTP/1.1\r\nHost: 1-x.localhost\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n", b"404"),
    ],
    ids=["an endless head", "a body that nobody wants"],
)
async def test_a_client_that_goes_on_sending_can_read_its_answer(site: Site, head: bytes, status: bytes) -> None:
    reader, writer = await site.send(head)
    async with asyncio.timeout(PATIENCE):
        # More than the buffers of both sides hold.
        for _ in range(256):
            writer.write(b"a" * 65536)
            await writer.drain()
        assert (await reader.read()).startswith(b"HTTP/1.1 " + status)
    writer.close()


def test_labels_cookies_and_queries() -> None:
    assert split_label("8000-a.localhost", ["localhost"]) == "8000-a"
    assert split_label("localhost", ["localhost"]) is None
    assert split_label("evil-localhost", ["localhost"]) is None
    assert split_label("a.island.example", ["localhost", "island.example"]) == "a"
    assert take_cookie(b"a=1; skerry_pass=x; b=2") == (b"a=1; b=2", "x")
    assert take_cookie(b"skerry_pass=x") == (b"", "x")
    assert take_query(b"a=%20&skerry_pass=x&&b") == (b"a=%20&&b", "x")
    assert take_query(b"skerry_passes=1") == (b"skerry_passes=1", None)
    assert end_to_end([(b"Connection", b"close, X-A"), (b"x-a", b"1"), (b"X-B", b"2")]) == [(b"X-B", b"2")]
    for host, name in ((b"A.localhost:1", "a.localhost"), (b"[::1]:5", "[::1]"), (b"[::1]", "[::1]"), (b"h", "h")):
        assert host_of({"headers": [(b"host", host)]}) == name
