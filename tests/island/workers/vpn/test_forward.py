"""The endpoint's two forwarders, over real sockets, without namespaces: they only ever see descriptors and a port."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from skerry.island.workers.vpn.forward_tcp import TcpForwarder
from skerry.island.workers.vpn.forward_udp import UdpForwarder
from skerry.island.workers.vpn.loop import Loop

PATIENCE = 60.0


@contextlib.contextmanager
def running(make: Callable[[Loop], TcpForwarder | UdpForwarder]) -> Iterator[TcpForwarder | UdpForwarder]:
    """A forwarder whose loop turns in a thread."""
    loop = Loop()
    forwarder = make(loop)
    thread = threading.Thread(target=loop.run, args=(lambda: 0.01,))
    thread.start()
    try:
        yield forwarder
    finally:
        loop.stop()
        thread.join()
        forwarder.close()
        loop.close()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        yield listener


@pytest.fixture
def outside() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def connect(to: socket.socket) -> socket.socket:
    return socket.create_connection(to.getsockname(), PATIENCE)


def port(of: socket.socket) -> int:
    return int(of.getsockname()[1])


def read_all(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as stream:
        return stream.read()


def test_tcp_carries_both_ways_and_half_closes(server: socket.socket, outside: socket.socket) -> None:
    data = random.Random(1).randbytes(3_000_000)
    heard: list[bytes] = []

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            heard.append(read_all(connection))
            connection.sendall(data[::-1])

    with running(lambda loop: TcpForwarder(loop, outside, port(server))):
        thread = threading.Thread(target=serve)
        thread.start()
        with connect(outside) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == data[::-1]
        thread.join()
    assert heard == [data]


def test_tcp_waits_for_the_slower_side(server: socket.socket, outside: socket.socket) -> None:
    with running(lambda loop: TcpForwarder(loop, outside, port(server))), connect(outside) as client:
        inner, _ = server.accept()
        with inner:
            client.setblocking(False)
            sent = misses = 0
            # Until nobody on the way has any room.
            while misses < 20:
                try:
                    sent += client.send(bytes(65_536))
                    misses = 0
                except BlockingIOError:
                    misses += 1
                    time.sleep(0.005)
            inner.settimeout(PATIENCE)
            received = 0
            while received < sent:
                received += len(inner.recv(1 << 20))
            assert received == sent


def test_tcp_refuses_when_nobody_listens(outside: socket.socket) -> None:
    with socket.socket() as deaf:
        # Bound and not listening: it refuses, and nobody else gets the port.
        deaf.bind(("127.0.0.1", 0))
        with (
            running(lambda loop: TcpForwarder(loop, outside, port(deaf))),
            connect(outside) as client,
            contextlib.suppress(ConnectionResetError),
        ):
            assert client.recv(1) == b""


def test_tcp_passes_a_reset_on(server: socket.socket, outside: socket.socket) -> None:
    with running(lambda loop: TcpForwarder(loop, outside, port(server))):
        client = connect(outside)
        inner, _ = server.accept()
        client.sendall(b"x")
        assert inner.recv(1) == b"x"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        inner.settimeout(PATIENCE)
        with inner, contextlib.suppress(ConnectionResetError):
            assert inner.recv(1) == b""


def test_tcp_has_a_limit_and_serves_the_rest_later(server: socket.socket, outside: socket.socket) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with running(lambda loop: TcpForwarder(loop, outside, port(server), most=2)):
        clients = [connect(outside) for _ in range(3)]
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
        inner = sorted((server.accept()[0] for _ in range(2)), key=lambda one: one.recv(1))
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()
        server.settimeout(PATIENCE)
        # A connection is over when both sides have said so.
        clients[0].close()
        inner[0].close()
        inner += [server.accept()[0]]
        for one in (*clients, *inner):
            one.close()
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.fixture
def echo() -> Iterator[socket.socket]:
    """A server that answers each datagram with its sender's port and the datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                data, peer = server.recvfrom(65_536)
                if data == b"stop":
                    return
                server.sendto(str(peer[1]).encode() + b":" + data, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"stop", server.getsockname())
        thread.join()


def udp() -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    one.settimeout(PATIENCE)
    return one


def test_udp_answers_go_to_whom_they_belong(echo: socket.socket) -> None:
    outer = udp()
    to = outer.getsockname()
    outer.setblocking(False)
    with running(lambda loop: UdpForwarder(loop, outer, port(echo))), contextlib.ExitStack() as undo:
        users = [undo.enter_context(udp()) for _ in range(5)]
        for round_ in range(20):
            for number, user in enumerate(users):
                user.sendto(b"%d %d" % (number, round_), to)
        flows = []
        for number, user in enumerate(users):
            answers = [user.recv(100).split(b":") for _ in range(20)]
            assert [text for _, text in answers] == [b"%d %d" % (number, round_) for round_ in range(20)]
            flows.append({flow for flow, _ in answers})
        # One socket each, and always the same one.
        assert len(set.union(*flows)) == len(users)
        assert all(len(each) == 1 for each in flows)


def test_udp_carries_the_largest_and_the_empty(echo: socket.socket) -> None:
    outer = udp()
    to = outer.getsockname()
    outer.setblocking(False)
    with running(lambda loop: UdpForwarder(loop, outer, port(echo))), udp() as user:
        for data in (b"", b"x", bytes(65_000)):
            user.sendto(data, to)
            assert user.recv(65_536).partition(b":")[2] == data


def test_udp_survives_a_server_that_is_away() -> None:
    outer = udp()
    to = outer.getsockname()
    outer.setblocking(False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as away, udp() as user:
        # Connected elsewhere: nothing reaches it, and nobody but us gets its port.
        away.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        away.bind(("127.0.0.1", 0))
        away.connect(user.getsockname())
        with (
            running(lambda loop: UdpForwarder(loop, outer, port(away))),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back,
        ):
            for _ in range(5):
                user.sendto(b"lost", to)
            back.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            back.bind(away.getsockname())
            back.settimeout(0.05)
            data = b""
            deadline = time.monotonic() + PATIENCE
            while not data and time.monotonic() < deadline:
                user.sendto(b"here", to)
                with contextlib.suppress(TimeoutError):
                    data = back.recv(100)
            assert data in (b"here", b"lost")


def test_udp_remembers_only_so_many(echo: socket.socket) -> None:
    outer = udp()
    to = outer.getsockname()
    outer.setblocking(False)
    with running(lambda loop: UdpForwarder(loop, outer, port(echo), most=3)) as forwarder:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            with udp() as user:
                user.sendto(b"x", to)
                assert user.recv(100).endswith(b":x")
        assert len(os.listdir("/proc/self/fd")) <= before + 3
        assert isinstance(forwarder, UdpForwarder)
