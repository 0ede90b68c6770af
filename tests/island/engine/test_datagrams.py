"""UDP beside TCP on published ports, the entrance that is SSH alone, and what is counted of each."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from skerry.island.clock import VirtualClock
from skerry.island.engine import datagrams
from skerry.island.engine.errors import Invalid
from skerry.island.engine.forwarding import Address
from skerry.island.engine.ports import SSH_ONLY
from skerry.island.engine.records import PublishedPort
from skerry.island.engine.traffic import Moved, Traffic
from tests.island.engine.lab import PATIENCE, Lab

pytestmark = pytest.mark.anyio


class Reverse(asyncio.DatagramProtocol):
    """A program inside: it answers backwards, and knows who asked."""

    def __init__(self) -> None:
        self.peers: set[Any] = set()
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.peers.add(addr)
        self.transport.sendto(data[::-1], addr)


@contextlib.asynccontextmanager
async def inside() -> AsyncIterator[tuple[int, Reverse]]:
    """The double dials this machine's own loopback; a port that is free for both TCP and UDP."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Reverse, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1], protocol
    finally:
        transport.close()


async def ask(known: PublishedPort, *questions: bytes) -> list[bytes]:
    """Questions of one peer, and their answers."""
    return await ask_at((known.host, known.host_port), *questions)


async def ask_at(address: tuple[str, int], *questions: bytes) -> list[bytes]:
    """The same at any address."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setblocking(False)
        peer.connect(address)
        answers = []
        for question in questions:
            peer.send(question)
            async with asyncio.timeout(PATIENCE):
                answers.append(await loop.sock_recv(peer, 65_535))
        return answers


async def test_datagrams_go_in_and_come_back(double: Lab) -> None:
    async with inside() as (port, program):
        known = await double.engine.ports.publish(double.account, "box", port, udp=True)
        assert known.udp
        answers = await asyncio.gather(*(ask(known, b"ab", b"cd", b"x" * 9000) for _ in range(4)))
        assert answers == [[b"ba", b"dc", b"x" * 9000]] * 4
        # Each peer outside is a peer of its own inside.
        assert len(program.peers) == 4
        assert double.engine.traffic.moved("box") == Moved(4 * 9004, 4 * 9004)
        await double.engine.ports.withdraw("box", port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind((known.host, known.host_port))


async def test_both_protocols_keep_their_port_over_restarts(double: Lab) -> None:
    async with inside() as (port, _):
        known = await double.engine.ports.publish(double.account, "box", port, udp=True)
        await double.crash()
        (again,) = await double.engine.ports.of_sandbox("box")
        assert (again.host_port, again.udp) == (known.host_port, True)
        assert await ask(again, b"ab") == [b"ba"]


async def test_peers_from_elsewhere_are_not_heard(double: Lab) -> None:
    async with inside() as (port, program):
        known = await double.engine.ports.publish(double.account, "box", port, udp=True, allowed=["203.0.113.0/24"])
        carrier = double.engine.ports._datagrams["box", port]
        admits, asked = carrier._admits, asyncio.Event()

        def heard(peer: Address) -> bool:
            asked.set()
            return admits(peer)

        carrier._admits = heard
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"x", (known.host, known.host_port))
        await asyncio.wait_for(asked.wait(), PATIENCE)
        await double.engine.ports.publish(double.account, "box", port, udp=True)
        assert await ask(known, b"ab") == [b"ba"]
        assert len(program.peers) == 1


async def test_a_closed_port_inside_is_silence(double: Lab) -> None:
    known = await double.engine.ports.publish(double.account, "box", 9, udp=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect((known.host, known.host_port))
        for _ in range(20):
            peer.send(b"x")
            await asyncio.sleep(0)
    assert known.listening


async def test_flows_are_few_and_end_when_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    monkeypatch.setattr(datagrams, "MOST_FLOWS", 3)
    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    async with inside() as (port, program):

        async def dial() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.setblocking(False)
            made.connect(("127.0.0.1", port))
            return made

        listener = await datagrams.bound_datagrams("127.0.0.1", 0, allow_remote=False)
        address = listener.getsockname()
        forwarder = datagrams.DatagramForwarder(listener, dial, lambda _: True, lambda *_: None, clock)
        try:
            for _ in range(8):
                assert await ask_at(address, b"ab") == [b"ba"]
                clock.advance(1)
            assert len(forwarder._flows) == 3
            assert len(program.peers) == 8
            clock.advance(datagrams.IDLE_SECONDS)
            async with asyncio.timeout(PATIENCE):
                while forwarder._flows:
                    await asyncio.sleep(0)
        finally:
            await forwarder.close()


async def test_other_machines_need_leave() -> None:
    with pytest.raises(OSError, match="allow_remote"):
        await datagrams.bound_datagrams("0.0.0.0", 0, allow_remote=False)


async def test_the_entrance_that_is_ssh_alone(double: Lab) -> None:
    with pytest.raises(Invalid):
        await double.engine.ports.publish(double.account, "box", SSH_ONLY)
    with pytest.raises(Invalid):
        await double.engine.ports.publish(double.account, "box", SSH_ONLY, ssh=True, udp=True)
    known = await double.engine.ports.publish(double.account, "box", SSH_ONLY, ssh=True)
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(known.host, known.host_port)
        assert (await reader.readline()).startswith(b"SSH-2.0-")
        writer.close()

    async def counted() -> bool:
        return double.engine.traffic.moved("box").received > 0

    await double.until(counted)


async def test_tcp_is_counted_while_it_goes_on_and_after(double: Lab) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    known = await double.engine.ports.publish(double.account, "box", port)
    traffic = double.engine.traffic
    assert traffic.quiet_since("box") is not None
    reader, writer = await asyncio.open_connection(known.host, known.host_port)
    writer.write(b"x" * 10_000)
    await reader.readexactly(10_000)

    async def all_there() -> bool:
        moved = traffic.moved("box")
        return moved.sent >= 10_000 and moved.received >= 10_000

    await double.until(all_there)
    assert traffic.quiet_since("box") is None
    during = traffic.moved("box")
    writer.close()

    async def over() -> bool:
        return traffic.quiet_since("box") is not None

    await double.until(over)
    after = traffic.moved("box")
    assert during.sent <= after.sent <= during.sent + 2
    assert during.received <= after.received <= during.received + 2
    server.close()
    traffic.forget("box")
    assert traffic.moved("box") == Moved()


def test_what_goes_out_counts_too() -> None:
    from datetime import UTC, datetime

    class Usage:
        sent, received = 5, 7

    class Egress:
        def usage(self, sandbox_id: str) -> Usage:
            return Usage()

    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    traffic = Traffic(Egress(), clock)
    assert traffic.moved("box") == Moved(5, 7)
    assert traffic.quiet_since("box") == 0.0
    clock.advance(9)
    assert traffic.quiet_since("box") == 0.0
    Usage.sent = 6
    assert traffic.quiet_since("box") == 9.0
