"""TCP from outside into sandboxes: listening within bounds, and carrying bytes both ways.

Tunnels of faces, published ports and the SSH server's own entrance all stand on this.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from skerry.island.clock import Clock

CONNECT_SECONDS = 15.0
IDLE_SECONDS = 900.0
_BACKLOG = 128
_CHUNK = 65_536
_PAUSE_SECONDS = 0.2
_RESET = struct.pack("ii", 1, 0)

log = logging.getLogger("skerry.engine.forwarding")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Link:
    """One accepted connection.

    Attributes:
        socket: connected and non-blocking; closed when its server returns.
        peer: where it comes from; an IPv4 address that arrived as IPv6 is an IPv4 address.
        last: monotonic time of the last byte; None switches the idle time-out off.
    """

    def __init__(self, connection: socket.socket, peer: Address, clock: Clock) -> None:
        self.socket = connection
        self.peer = peer
        self.last: float | None = clock.monotonic()
        self._clock = clock

    async def carry(self, inside: socket.socket, on_traffic: Callable[[], None] | None = None) -> None:
        """Carry bytes both ways until both directions have ended; what breaks on one side is reset on the other.

        Args:
            inside: connected and non-blocking; closed at the end.
            on_traffic: called whenever bytes have come.
        """

        def seen() -> None:
            self.last = self._clock.monotonic()
            if on_traffic is not None:
                on_traffic()

        _no_delay(inside)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(self.socket, inside, seen))
                group.create_task(_pump(inside, self.socket, seen))
        except* OSError:
            # A transfer that was cut must not look like one that has ended.
            for end in (self.socket, inside):
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        finally:
            inside.close()


Key = TypeVar("Key", bound=Hashable)
Serve = Callable[[Link], Awaitable[None]]


class Forwarder(Generic[Key]):
    """Listeners of one kind, by key, and the connections that came through them.

    Args:
        clock: tells how long a connection has been idle.
        most: connections at once; further ones are closed as they come.
        most_each: the same for each listener.
        idle: seconds without a byte after which a connection is closed.
    """

    def __init__(self, clock: Clock, *, most: int, most_each: int, idle: float = IDLE_SECONDS) -> None:
        self._clock = clock
        self._most = most
        self._most_each = most_each
        self._idle = idle
        self._listeners: dict[Key, tuple[socket.socket, asyncio.Task[None]]] = {}
        self._links: dict[asyncio.Task[None], tuple[Key, Link]] = {}
        self._sweeper: asyncio.Task[None] | None = None

    def listen(self, key: Key, listener: socket.socket, serve: Serve) -> None:
        """Accept on a bound socket from now on.

        Args:
            key: names the listener.
            listener: from `bound`; owned from here on.
            serve: is given each connection, which ends when it returns.
        """
        loop = asyncio.get_running_loop()
        self._listeners[key] = (listener, loop.create_task(self._accept(key, listener, serve)))
        if self._sweeper is None:
            self._sweeper = loop.create_task(self._sweep())

    def port(self, key: Key) -> int | None:
        """The port that a listener has; None when there is none of that key."""
        entry = self._listeners.get(key)
        return None if entry is None else int(entry[0].getsockname()[1])

    def listeners(self) -> list[Key]:
        """Every listener."""
        return list(self._listeners)

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._links)

    def count(self, key: Key) -> int:
        """Connections that a listener has now."""
        return sum(1 for owner, _ in self._links.values() if owner == key)

    async def silence(self, key: Key) -> None:
        """Close a listener and its connections."""
        entry = self._listeners.pop(key, None)
        tasks = [task for task, (owner, _) in self._links.items() if owner == key]
        await _end([*([entry[1]] if entry else ()), *tasks])
        if entry is not None:
            entry[0].close()

    async def close(self) -> None:
        """Close every listener and connection."""
        sweeper, self._sweeper = self._sweeper, None
        await _end([sweeper] if sweeper else [])
        for key in list(self._listeners):
            await self.silence(key)
        await _end(list(self._links))

    async def _accept(self, key: Key, listener: socket.socket, serve: Serve) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                # Not `sock_accept`: who is cancelled the moment it has accepted loses what it has accepted.
                connection, address = listener.accept()
            except BlockingIOError:
                await _readable(listener)
                continue
            except OSError as error:
                # Out of descriptors, or the client has left already; neither ends the listener.
                log.warning("cannot accept on port %s: %s", listener.getsockname()[1], error)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._links) >= self._most or self.count(key) >= self._most_each:
                connection.close()
                await asyncio.sleep(0)
                continue
            connection.setblocking(False)
            link = Link(connection, peer_address(address[0]), self._clock)
            task = loop.create_task(self._serve(link, serve))
            self._links[task] = (key, link)
            task.add_done_callback(self._forget)
            await asyncio.sleep(0)

    async def _serve(self, link: Link, serve: Serve) -> None:
        try:
            with contextlib.suppress(OSError):
                _no_delay(link.socket)
            await serve(link)
        except Exception:
            # One connection's trouble is nobody else's.
            log.exception("a connection from %s failed", link.peer)
        finally:
            link.socket.close()

    def _forget(self, task: asyncio.Task[None]) -> None:
        entry = self._links.pop(task, None)
        # A task that was cancelled before its first step has closed nothing.
        if entry is not None:
            entry[1].socket.close()

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(self._idle / 4)
            late = self._clock.monotonic() - self._idle
            for task, (_, link) in list(self._links.items()):
                if link.last is not None and link.last <= late:
                    task.cancel()


async def bound(host: str, port: int, *, allow_remote: bool) -> socket.socket:
    """A socket that listens.

    Args:
        host: address or name of this machine.
        port: 0 for any free one.
        allow_remote: whether other machines may reach it.

    Raises:
        OSError: not free, no address of this machine, or reachable by others without leave.
    """
    loop = asyncio.get_running_loop()
    family, _, _, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    if not allow_remote and not ipaddress.ip_address(address[0]).is_loopback:
        raise OSError(f"{host} can be reached by other machines, which allow_remote has to permit")
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def peer_address(text: str) -> Address:
    """A peer's address, without zone, and as IPv4 when it is IPv4 in IPv6 clothes."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


async def _pump(source: socket.socket, target: socket.socket, seen: Callable[[], None]) -> None:
    """Copy until the source ends, then end the target's direction; the other direction goes on."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, _CHUNK):
        seen()
        await loop.sock_sendall(target, data)
        # Both may have been possible at once, again and again; the loop has others to serve.
        await asyncio.sleep(0)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


async def _readable(listener: socket.socket) -> None:
    """Return when somebody waits at the door."""
    loop = asyncio.get_running_loop()
    knocked = asyncio.Event()
    loop.add_reader(listener, knocked.set)
    try:
        await knocked.wait()
    finally:
        loop.remove_reader(listener)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _no_delay(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
