"""Published ports: who gets through, what is carried, what outlives what."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.clock import VirtualClock
from skerry.island.engine import forwarding, ports
from skerry.island.engine.errors import Invalid, NoCapacity, NotFound
from skerry.island.engine.forwarding import Forwarder, bound, peer_address
from skerry.island.engine.ports import admitted, parse_blocks
from skerry.island.engine.records import PublishedPort
from skerry.island.store import ports as rows
from tests.addresses import own_address
from tests.island.engine.lab import PATIENCE, Lab

pytestmark = pytest.mark.anyio

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[int]:
    """A server 'inside': the double dials this machine's own loopback."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def reverse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers only when it has seen the end of the question."""
    writer.write((await reader.read())[::-1])
    await writer.drain()


def place(published: PublishedPort) -> tuple[str, int]:
    """Where it is published."""
    return published.host, published.host_port


async def ask(published: PublishedPort, question: bytes = b"hello", *, source: str | None = None) -> bytes:
    """Everything that comes back, empty when the connection is closed or reset at once."""
    return await ask_at(*place(published), question, source=source)


async def ask_at(host: str, port: int, question: bytes = b"hello", *, source: str | None = None) -> bytes:
    """The same of any port."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(host, port, local_addr=None if source is None else (source, 0))
        try:
            with contextlib.suppress(OSError):
                writer.write(question)
                writer.write_eof()
            with contextlib.suppress(ConnectionError):
                return await reader.read()
            return b""
        finally:
            writer.close()


async def refused(published: PublishedPort) -> bool:
    try:
        _, writer = await asyncio.open_connection(*place(published))
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_bytes_pass_both_ways_and_half_closed(double: Lab) -> None:
    async with listening(echo) as inside:
        published = await double.engine.ports.publish(double.account, "box", inside)
        assert (published.sandbox_id, published.port, published.host, published.ssh) == (
            "box",
            inside,
            double.settings.host,
            False,
        )
        big = bytes(range(256)) * 8000
        answers = await asyncio.gather(*(ask(published, big) for _ in range(5)))
        assert answers == [big] * 5
    async with listening(reverse) as inside:
        published = await double.engine.ports.publish(double.account, "box", inside)
        assert await ask(published, b"abc") == b"cba"
    assert await ask(published) == b""


async def test_a_cut_transfer_does_not_look_like_a_whole_one(double: Lab) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half")
        await writer.drain()
        await reader.readexactly(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with listening(cut) as inside:
        published = await double.engine.ports.publish(double.account, "box", inside)
        reader, writer = await asyncio.open_connection(*place(published))
        assert await reader.readexactly(4) == b"half"
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()


async def test_back_pressure_reaches_the_sender(double: Lab) -> None:
    held = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held.wait()
        total = 0
        while data := await reader.read(1 << 20):
            total += len(data)
        writer.write(str(total).encode())

    async with listening(hold) as inside:
        published = await double.engine.ports.publish(double.account, "box", inside)
        sender = socket.create_connection(place(published))
        sender.setblocking(False)
        loop, chunk, sent = asyncio.get_running_loop(), bytes(1 << 20), 0
        # Until a whole second passes in which not one more byte finds room.
        last = loop.time()
        while sent < 1 << 28 and loop.time() < last + 1:
            with contextlib.suppress(BlockingIOError):
                sent += sender.send(chunk)
                last = loop.time()
            await asyncio.sleep(0.001)
        assert sent < 1 << 27
        held.set()
        sender.shutdown(socket.SHUT_WR)
        assert int(await asyncio.wait_for(loop.sock_recv(sender, 100), PATIENCE)) == sent
        sender.close()


async def test_only_allowed_addresses_get_through(double: Lab) -> None:
    dialled = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal dialled
        dialled += 1
        await echo(reader, writer)

    async with listening(count) as inside:
        publish, seen = double.engine.ports.publish, []
        for allowed in (
            None,
            [],
            ["127.0.0.2/32"],
            ["127.0.0.1", "::/0"],
            ["10.0.0.0/8"],
            ["0.0.0.0/0"],
            ["::ffff:7f00:1/128"],
        ):
            published = await publish(double.account, "box", inside, allowed=allowed)
            seen.append([await ask(published, source=ip) == b"hello" for ip in ("127.0.0.1", "127.0.0.2")])
        assert seen == [
            [True, True],
            [True, True],
            [False, True],
            [True, False],
            [False, False],
            [True, True],
            [True, False],
        ]
        assert dialled == sum(map(sum, seen)), "nothing is dialled for those who are turned away"


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.0/33", "10.0.0", "::/129", "1.2.3.4/8/8", "10.0.0.0/8 "])
async def test_no_cidr_block(double: Lab, text: str) -> None:
    with pytest.raises(Invalid, match="CIDR"):
        await double.engine.ports.publish(double.account, "box", 80, allowed=[text])
    assert await double.engine.ports.of_sandbox("box") == []


@given(st.ip_addresses(v=4), st.integers(0, 32), st.ip_addresses(v=4))
async def test_mapped_addresses_are_their_ipv4_selves(base, prefix: int, address) -> None:  # type: ignore[no-untyped-def]
    inside = address in ipaddress.ip_network((base, prefix), strict=False)
    plain = parse_blocks([f"{base}/{prefix}"])
    mapped = parse_blocks([f"::ffff:{base}/{96 + prefix}"])
    for blocks in (plain, mapped):
        assert admitted(blocks, peer_address(str(address))) is inside
        assert admitted(blocks, peer_address(f"::ffff:{address}")) is inside


def test_loopback_alone_without_blocks() -> None:
    for text, loopback in (("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True)):
        assert admitted((), peer_address(text)) is loopback
    for text in ("128.0.0.1", "0.0.0.0", "::", "fe80::1%eth0", "::ffff:10.0.0.1", "10.0.0.1"):
        assert not admitted((), peer_address(text))


async def test_publishing_again_changes_and_keeps_the_host_port(double: Lab) -> None:
    publish = double.engine.ports.publish
    first = await publish(double.account, "box", 80)
    second = await publish(double.account, "box", 80, allowed=["10.0.0.1/8"], ssh=True)
    assert (second.host_port, second.allowed, second.ssh) == (first.host_port, ("10.0.0.0/8",), True)
    other = await publish(double.account, "box", 22)
    assert await double.engine.ports.of_sandbox("box") == [other, second]
    await double.engine.ports.withdraw("box", 80)
    assert await double.engine.ports.of_sandbox("box") == [other]
    assert await refused(first)
    await double.engine.ports.withdraw("box", 80)


async def test_only_the_owner_publishes(double: Lab) -> None:
    stranger = await double.engine.accounts.create("stranger")
    publish = double.engine.ports.publish
    for account, sandbox in ((stranger.id, "box"), (double.account, "nobox")):
        with pytest.raises(NotFound):
            await publish(account, sandbox, 80)
    for port in (0, 65536, -1):
        with pytest.raises(Invalid):
            await publish(double.account, "box", port)
    assert await double.engine.store.read(rows.every, "") == []


@pytest.mark.parametrize("how", ["close", "crash"])
async def test_ports_outlive_the_server(double: Lab, how: str) -> None:
    async with listening(echo) as inside:
        before = await double.engine.ports.publish(double.account, "box", inside, allowed=["127.0.0.1/32"])
        lost = await double.engine.ports.publish(double.account, "box", 9)
        await (double.engine.close() if how == "close" else double.engine.crash())
        assert await refused(before)
        # Somebody else takes one of the ports meanwhile.
        with socket.create_server(place(lost)):
            await double.open()
            after = {port.port: port for port in await double.engine.ports.of_sandbox("box")}
        assert after[inside] == before
        assert after[9].host_port != lost.host_port
        assert after[9].listening
        assert await ask(before) == b"hello"
        assert await ask(before, source="127.0.0.2") == b""


async def test_deletion_closes_ports_and_connections(double: Lab) -> None:
    async with listening(echo) as inside:
        published = await double.engine.ports.publish(double.account, "box", inside)
        reader, writer = await asyncio.open_connection(*place(published))
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        await double.engine.sandboxes.delete(double.account, "box")
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()
        assert await refused(published)
        assert await double.engine.ports.of_sandbox("box") == []
        assert await double.engine.store.read(rows.every, "") == []
    with pytest.raises(NotFound):
        await double.engine.ports.publish(double.account, "box", 80)


async def test_a_deletion_and_a_publication_at_once(double: Lab) -> None:
    for number in range(20):
        id = await double.sandbox(f"box{number}")
        outcome = await asyncio.gather(
            double.engine.ports.publish(double.account, id, 80),
            double.engine.sandboxes.delete(double.account, id),
            return_exceptions=True,
        )
        assert isinstance(outcome[0], ports.PublishedPort | NotFound)
        assert outcome[1] is True
        assert await double.engine.ports.of_sandbox(id) == []
        if isinstance(outcome[0], ports.PublishedPort):
            assert await refused(outcome[0])


async def test_a_range_of_ports(tmp_path: Path) -> None:
    host = own_address()
    with socket.create_server((host, 0)) as taken:
        port = taken.getsockname()[1]
        lab = Lab(tmp_path, port_range=(port, port), host=host)
        await lab.open()
        await lab.sandbox()
        with pytest.raises(NoCapacity, match="port 80"):
            await lab.engine.ports.publish(lab.account, "box", 80)
        assert await lab.engine.store.read(rows.every, "") == []
        taken.close()
        assert (await lab.engine.ports.publish(lab.account, "box", 80)).host_port == port
        with pytest.raises(NoCapacity):
            await lab.engine.ports.publish(lab.account, "box", 81)
    await lab.engine.close()
    with socket.create_server((host, port)):
        await lab.open()
        (known,) = await lab.engine.ports.of_sandbox("box")
        assert (known.port, known.listening) == (80, False)
    assert (await lab.engine.ports.publish(lab.account, "box", 80)).listening
    await lab.end()


async def test_other_machines_only_with_leave(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="allow_remote"):
        await bound("0.0.0.0", 0, allow_remote=False)
    lab = Lab(tmp_path, host="0.0.0.0")
    await lab.open()
    await lab.sandbox()
    with pytest.raises(NoCapacity, match="allow_remote"):
        await lab.engine.ports.publish(lab.account, "box", 80)
    await lab.end()


async def test_connections_are_bounded(double: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "MOST_EACH", 3)
    monkeypatch.setattr(ports, "MOST_CONNECTIONS", 5)
    await double.engine.close()
    await double.open()
    async with listening(echo) as inside, listening(echo) as another:
        first = await double.engine.ports.publish(double.account, "box", inside)
        second = await double.engine.ports.publish(double.account, "box", another)
        streams = []

        async def opened(published: PublishedPort) -> bool:
            reader, writer = await asyncio.open_connection(*place(published))
            streams.append(writer)
            with contextlib.suppress(ConnectionError):
                writer.write(b"x")
                return await asyncio.wait_for(reader.read(1), PATIENCE) == b"x"
            return False

        assert [await opened(first) for _ in range(4)] == [True, True, True, False]
        assert [await opened(second) for _ in range(3)] == [True, True, False]
        streams[0].close()

        async def room() -> bool:
            return await opened(first)

        await double.until(room)
        for writer in streams:
            writer.close()


async def test_idle_connections_end_and_traffic_keeps_a_sandbox_awake(timeless: Lab, clock: VirtualClock) -> None:
    async with listening(echo) as inside:
        published = await timeless.engine.ports.publish(timeless.account, "box", inside)
        reader, writer = await asyncio.open_connection(*place(published))

        async def say() -> None:
            writer.write(b"x")
            assert await asyncio.wait_for(reader.readexactly(1), PATIENCE) == b"x"

        await say()
        for _ in range(4):
            clock.advance(forwarding.IDLE_SECONDS / 4)
            await say()
        used = (await timeless.engine.sandboxes.get(timeless.account, "box")).last_active_at
        assert used == clock.now()
        for _ in range(6):
            clock.advance(forwarding.IDLE_SECONDS / 4)
            await asyncio.sleep(0.01)
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        writer.close()


async def test_a_forwarder_leaves_nothing_behind() -> None:
    ended = asyncio.Event()

    async def serve(link: forwarding.Link) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    from skerry.island.clock import SystemClock

    forwarder: Forwarder[str] = Forwarder(SystemClock(), most=10, most_each=10)
    forwarder.listen("one", await bound("localhost", 0, allow_remote=False), serve)
    port = forwarder.port("one")
    assert port is not None
    _, writer = await asyncio.open_connection("localhost", port)
    async with asyncio.timeout(PATIENCE):
        while not forwarder.count("one"):
            await asyncio.sleep(0)
        await forwarder.close()
    assert (ended.is_set(), forwarder.count("one"), forwarder.listeners()) == (True, 0, [])
    writer.close()


async def test_one_connections_trouble_is_nobody_elses(caplog: pytest.LogCaptureFixture) -> None:
    from skerry.island.clock import SystemClock

    async def serve(link: forwarding.Link) -> None:
        raise RuntimeError("deliberate")

    forwarder: Forwarder[str] = Forwarder(SystemClock(), most=10, most_each=10)
    forwarder.listen("one", await bound("127.0.0.1", 0, allow_remote=False), serve)
    port = forwarder.port("one")
    assert port is not None
    assert [await ask_at("127.0.0.1", port) for _ in range(3)] == [b""] * 3
    assert caplog.text.count("RuntimeError: deliberate") == 3
    await forwarder.close()
