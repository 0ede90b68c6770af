"""The proxy over loopback: what is allowed gets through whole, what is not gets an answer that says why."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from skerry.island.sandbox.egress import relay
from skerry.island.sandbox.egress.proxy import EgressProxy, EgressTimes
from skerry.island.sandbox.egress.rules import BadRule
from skerry.island.sandbox.spec import NetworkPolicy
from tests.addresses import own_address

pytestmark = pytest.mark.anyio
OPEN = NetworkPolicy(mode="open")
LOOPBACK = ("127.0.0.0/8", "::1")
PATIENCE = 60.0
# Of sandboxes' doors: nobody else gets a port that one of them has had.
HERE = own_address()


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops that the server may run on; they differ in how sockets end."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


class World:
    """A target server, a proxy and a fake name server."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {"target.example": ["127.0.0.1"]}
        self.lookups: list[str] = []
        self.requests: list[bytes] = []
        self.port = 0
        self.proxy = self.make_proxy()

    def make_proxy(self, private_ok: Sequence[str] = LOOPBACK, **options: object) -> EgressProxy:
        times = EgressTimes(head=PATIENCE, resolve=PATIENCE, connect=PATIENCE, idle=PATIENCE)
        return EgressProxy(private_ok=private_ok, resolver=self.resolve, **{"times": times, **options})  # type: ignore[arg-type]

    async def resolve(self, name: str, port: int) -> list[str]:
        self.lookups.append(name)
        if name == "slow.example":
            await asyncio.sleep(60)
        if name not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.names[name]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """An HTTP server that keeps whole requests, or an echo server for anything else."""
        try:
            first = await reader.readexactly(4)
            if first == b"echo":
                while piece := await reader.read(65536):
                    writer.write(piece)
                    await writer.drain()
                writer.write(b"<end>")
                return
            head = first + await reader.readuntil(b"\r\n\r\n")
            body = b""
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    body = await reader.readexactly(int(line.split(b":")[1]))
                if line.lower() == b"transfer-encoding: chunked":
                    body = await reader.readuntil(b"0\r\n\r\n")
            self.requests.append(head + body)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    await made.proxy.aclose()
    server.close()
    await server.wait_closed()
    assert made.proxy._tasks == set()


def attach(world: World, policy: NetworkPolicy = OPEN, sandbox: str = "s1", proxy: EgressProxy | None = None) -> int:
    listener = socket.create_server((HERE, 0))
    port: int = listener.getsockname()[1]
    (proxy or world.proxy).attach(sandbox, listener, policy)
    return port


@asynccontextmanager
async def dial(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HERE, port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ask(port: int, request: bytes) -> bytes:
    async with dial(port) as (reader, writer):
        writer.write(request)
        return await asyncio.wait_for(reader.read(), PATIENCE)


async def socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: bytes, port: int) -> int:
    writer.write(b"\x05\x01\x00")
    assert await reader.readexactly(2) == b"\x05\x00"
    writer.write(b"\x05\x01\x00" + address + port.to_bytes(2, "big"))
    return (await reader.readexactly(10))[1]


def named(name: str) -> bytes:
    return b"\x03" + bytes((len(name),)) + name.encode()


async def test_connect_tunnels_both_ways(world: World) -> None:
    async with dial(attach(world)) as (reader, writer):
        # The first bytes of the tunnel may come along with the request.
        writer.write(f"CONNECT target.example:{world.port} HTTP/1.1\r\n\r\necho".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        payload = bytes(range(256)) * 4096
        writer.write(payload)
        writer.write_eof()
        came = await asyncio.wait_for(reader.read(-1), PATIENCE)
        assert came == payload + b"<end>", "a half-closed tunnel still answers"
    usage = world.proxy.usage("s1")
    assert usage.connections == 1
    assert usage.sent == len(payload) + 4
    assert usage.received == len(payload) + 5


async def test_plain_http_is_forwarded_once(world: World) -> None:
    port = attach(world)
    request = (
        f"POST http://target.example:{world.port}/x?y HTTP/1.1\r\nHost: forged\r\nProxy-Connection: keep-alive\r\n"
        "Content-Length: 4\r\n\r\nbodyGET http://other.example/ HTTP/1.1\r\n\r\n"
    )
    assert (await ask(port, request.encode())).endswith(b"\r\n\r\nhello")
    expected = (
        f"POST /x?y HTTP/1.1\r\nHost: target.example:{world.port}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
    )
    assert world.requests == [expected.encode()], "what follows the first request goes nowhere"
    assert world.lookups == ["target.example"]


async def test_chunked_bodies(world: World) -> None:
    body = b"4\r\nbody\r\n5;x=y\r\n, all\r\n0\r\n\r\n"
    start = f"PUT http://target.example:{world.port}/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert (await ask(attach(world), start + body)).endswith(b"hello")
    assert world.requests[0].endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize("kind", ["name", "address"])
async def test_socks(world: World, kind: str) -> None:
    async with dial(attach(world)) as (reader, writer):
        address = named("target.example") if kind == "name" else b"\x01\x7f\x00\x00\x01"
        assert await socks(reader, writer, address, world.port) == 0
        writer.write(b"echohi")
        writer.write_eof()
        assert await reader.read() == b"hi<end>"


async def test_socks_refusals(world: World) -> None:
    port = attach(world, NetworkPolicy(mode="allow", hosts=("target.example",)))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        silent = closed.getsockname()[1]
        for address, target, code in (
            (named("denied.example"), 80, 2),
            (b"\x01\x0a\x00\x00\x01", 80, 2),
            (named("target.example"), silent, 5),
            (b"\x09", 80, 8),
            (named("target.example"), 0, 1),
        ):
            async with dial(port) as (reader, writer):
                assert await socks(reader, writer, address, target) == code
    async with dial(port) as (reader, writer):
        writer.write(b"\x05\x01\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50")
        assert (await reader.read())[3] == 7, "BIND is not offered"
    async with dial(port) as (reader, writer):
        writer.write(b"\x05\x01\x02")
        assert await reader.read() == b"\x05\xff", "passwords are not asked for"


async def test_denials_say_why(world: World) -> None:
    port = attach(world, NetworkPolicy(mode="allow", hosts=("good.example:443", "*.fine.example")))
    for request in (b"CONNECT bad.example:443 HTTP/1.1\r\n\r\n", b"GET http://good.example/ HTTP/1.1\r\n\r\n"):
        answer = await ask(port, request)
        assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert b"X-Skerry-Denied: policy" in answer
        assert b"allows only: good.example:443, *.fine.example" in answer
    assert world.lookups == [], "a denied name is not even looked up"
    assert world.proxy.usage("s1").denied == 2
    none = attach(world, NetworkPolicy(mode="none"), "s2")
    assert b"403 Forbidden" in await ask(none, b"CONNECT 1.1.1.1:443 HTTP/1.1\r\n\r\n")


async def test_a_body_that_nobody_reads_does_not_eat_the_denial(world: World) -> None:
    port = attach(world, NetworkPolicy(mode="none"))
    request = b"POST http://a.example/ HTTP/1.1\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000)
    assert b"403 Forbidden" in await ask(port, request)


async def test_names_that_lead_inside_are_denied(world: World) -> None:
    world.names |= {
        "metadata.example": ["169.254.169.254"],
        "rebind.example": ["10.0.0.1", "::ffff:192.168.1.1", "fd00::1"],
        "mixed.example": ["10.0.0.1", "127.0.0.1"],
    }
    port = attach(world)
    for name in ("metadata.example", "rebind.example"):
        answer = await ask(port, f"CONNECT {name}:80 HTTP/1.1\r\n\r\n".encode())
        assert b"403 Forbidden" in answer
        assert b"private or reserved" in answer
    async with dial(port) as (reader, writer):
        writer.write(f"CONNECT mixed.example:{world.port} HTTP/1.1\r\n\r\n".encode())
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n"), "only addresses that pass are tried"
    assert world.lookups.count("mixed.example") == 1, "a second look-up could answer otherwise"


async def test_without_the_operators_word_loopback_is_closed(world: World) -> None:
    proxy = world.make_proxy(private_ok=())
    port = attach(world, NetworkPolicy(mode="allow", hosts=("*", "127.0.0.1")), proxy=proxy)
    try:
        for target in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "target.example"):
            answer = await ask(port, f"CONNECT {target}:{world.port} HTTP/1.1\r\n\r\n".encode())
            assert b"403 Forbidden" in answer, target
    finally:
        await proxy.aclose()


async def test_numbers_in_disguise_are_judged_by_where_they_lead(world: World) -> None:
    # Of numbers, the system's resolver answers in a thread of its own.
    proxy = EgressProxy(times=EgressTimes(resolve=PATIENCE))
    port = attach(world, proxy=proxy)
    try:
        for target in ("2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost"):
            answer = await ask(port, f"CONNECT {target}:{world.port} HTTP/1.1\r\n\r\n".encode())
            assert answer.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 502 ")), target
    finally:
        await proxy.aclose()


async def test_block_lists(world: World) -> None:
    world.names |= {"bad.example": ["127.0.0.1"], "sneaky.example": ["127.0.0.2"]}
    port = attach(world, NetworkPolicy(mode="block", hosts=("bad.example", "127.0.0.2")))
    for name, status in (("bad.example", b"403"), ("sneaky.example", b"403"), ("target.example", b"200")):
        async with dial(port) as (reader, writer):
            writer.write(f"CONNECT {name}:{world.port} HTTP/1.1\r\n\r\n".encode())
            assert status in await reader.readuntil(b"\r\n\r\n")


async def test_failures_outside_are_told_apart(world: World) -> None:
    port = attach(world)
    hasty = world.make_proxy(times=EgressTimes(resolve=0.05))
    waits_little = attach(world, proxy=hasty)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        silent = closed.getsockname()[1]
        for through, target, status, text in (
            (port, "unknown.example:80", b"502", b"is unknown"),
            (waits_little, "slow.example:80", b"504", b"name server does not answer"),
            (port, f"target.example:{silent}", b"502", b"Connection refused"),
        ):
            answer = await ask(through, f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
            assert status in answer.split(b"\r\n")[0]
            assert text in answer
    await hasty.aclose()


async def test_nonsense_is_answered_or_dropped(world: World) -> None:
    port = attach(world)
    assert b"400 Bad Request" in await ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"400 Bad Request" in await ask(port, b"GET http://" + b"a" * 70_000 + b"/ HTTP/1.1\r\n\r\n")
    assert await ask(port, b"\x05\x00") == b"\x05\xff"
    async with dial(port) as (_, writer):
        writer.write(b"GET ht")
    async with dial(port):
        pass
    assert world.proxy.usage("s1").connections == 0


async def test_silence_ends(world: World) -> None:
    before, within = (world.make_proxy(times=EgressTimes(**times)) for times in ({"head": 0.1}, {"idle": 0.2}))
    try:
        assert await ask(attach(world, proxy=before), b"CONN") == b""
        async with dial(attach(world, proxy=within)) as (reader, writer):
            writer.write(f"CONNECT target.example:{world.port} HTTP/1.1\r\n\r\necho".encode())
            await reader.readuntil(b"\r\n\r\n")
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    finally:
        await before.aclose()
        await within.aclose()


async def test_whoever_reads_slowly_gets_all_of_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_LINGER", 0.0)
    pump = relay._pump
    writers: list[asyncio.StreamWriter] = []
    said, over = 0, asyncio.Event()

    async def seen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *rest: Any) -> None:
        writers.append(writer)
        await pump(reader, writer, *rest)

    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal said
        # Until the kernel has no room for more, and the proxy holds some of it.
        while not any(inside.transport.get_write_buffer_size() for inside in writers):
            writer.write(bytes(8192))
            said += 8192
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.close()
        await writer.wait_closed()
        over.set()

    monkeypatch.setattr(relay, "_pump", seen)
    port = attach(world)
    async with await asyncio.start_server(say, "127.0.0.1", 0) as server, dial(port) as (reader, writer):
        target = server.sockets[0].getsockname()[1]
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(f"CONNECT target.example:{target} HTTP/1.1\r\n\r\n".encode())
        writer.write_eof()
        async with asyncio.timeout(60):
            await over.wait()
            # As long as it takes the proxy to see that.
            for _ in range(100):
                await asyncio.sleep(0)
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            await reader.readuntil(b"\r\n\r\n")
            assert len(await reader.read()) == said


async def test_a_new_policy_cuts_what_it_forbids(world: World) -> None:
    world.names["other.example"] = ["127.0.0.1"]
    port = attach(world)
    async with dial(port) as (reader, writer), dial(port) as (other_reader, other_writer):
        for name, ends in (("target", (reader, writer)), ("other", (other_reader, other_writer))):
            ends[1].write(f"CONNECT {name}.example:{world.port} HTTP/1.1\r\n\r\necho".encode())
            await ends[0].readuntil(b"\r\n\r\n")
        world.proxy.update("s1", NetworkPolicy(mode="allow", hosts=("target.example",)))
        assert await asyncio.wait_for(other_reader.read(), PATIENCE) == b""
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        with pytest.raises(BadRule):
            world.proxy.update("s1", NetworkPolicy(mode="allow", hosts=("no:such:rule",)))
        world.proxy.update("unknown", OPEN)
    assert b"403" in await ask(port, f"CONNECT other.example:{world.port} HTTP/1.1\r\n\r\n".encode())


async def test_connections_are_capped_per_sandbox(world: World) -> None:
    proxy = world.make_proxy(most_connections=2)
    port = attach(world, proxy=proxy)
    try:
        async with dial(port) as first, dial(port) as second:
            for reader, writer in (first, second):
                writer.write(f"CONNECT target.example:{world.port} HTTP/1.1\r\n\r\necho".encode())
                await reader.readuntil(b"\r\n\r\n")
            async with dial(port) as (reader, writer):
                writer.write(f"CONNECT target.example:{world.port} HTTP/1.1\r\n\r\n".encode())
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(reader.readexactly(1), 0.2)
                first[1].close()
                assert b"200" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    finally:
        await proxy.aclose()


async def test_detaching_cuts_one_sandbox_and_counts(world: World) -> None:
    ports = [attach(world, sandbox=name) for name in ("s1", "s2")]
    async with dial(ports[0]) as (reader, writer), dial(ports[1]) as (other_reader, other_writer):
        for ends in ((reader, writer), (other_reader, other_writer)):
            ends[1].write(f"CONNECT target.example:{world.port} HTTP/1.1\r\n\r\necho".encode())
            await ends[0].readuntil(b"\r\n\r\n")
        usage = world.proxy.detach("s1")
        assert (usage.connections, usage.sent) == (1, 4)
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        other_writer.write(b"x")
        assert await other_reader.readexactly(1) == b"x"
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(HERE, ports[0])
    assert world.proxy.detach("s1").connections == 0


async def test_closing_at_once_leaves_nothing(world: World) -> None:
    port = attach(world)
    async with dial(port) as (reader, _):
        await world.proxy.aclose()
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    listener = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(BadRule):
        world.proxy.attach("s3", listener, NetworkPolicy(mode="allow", hosts=("a b",)))
    assert listener.fileno() == -1


async def test_a_bad_operator_list_is_refused_at_once() -> None:
    with pytest.raises(BadRule):
        EgressProxy(private_ok=("nonsense",))


async def test_whoever_hangs_up_rudely_after_all_was_said_breaks_nothing(world: World) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"all")
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with dial(attach(world)) as (reader, writer):
            writer.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nhost: x\r\n\r\n" % port)
            assert (await reader.read()).endswith(b"\r\n\r\nall")
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            async with asyncio.timeout(PATIENCE):
                while world.proxy._tasks:
                    await asyncio.sleep(0.01)
    gc.collect()
    assert faults == []
