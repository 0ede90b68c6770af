"""The way out of sandboxes: a proxy outside of them that connects where their policy allows, and nowhere else.

One port speaks HTTP (CONNECT and absolute addresses) and SOCKS 5; the first byte tells which. Names are resolved
here, and the connection goes to an address that was checked, never to a second answer of the name server.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from skerry.island.sandbox import egress_http as http
from skerry.island.sandbox import egress_socks as socks
from skerry.island.sandbox.egress_rules import Address, Rules, normalise_name
from skerry.island.sandbox.spec import NetworkPolicy

_PIECE = 64 * 1024
_MOST_ADDRESSES = 4
_LINGER = 1.0
# As long as whoever is told goes on sending, it has not read what it is told.
_HEAR_OUT = 10.0
# For documentation only. A machine that lets us bind even to this one (ip_nonlocal_bind) cannot tell its own.
_NOBODYS = ipaddress.IPv4Address("192.0.2.1")
_LONGEST_LEFTOVER = 1 << 20
_BREATH = 0.1
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(slots=True)
class EgressUsage:
    """What a sandbox moved through its proxy, in bytes and connections, since it was attached.

    Args:
        sent: bytes from the sandbox to the outside.
        received: bytes from the outside.
        connections: connections made.
        denied: connections refused by policy.
    """

    sent: int = 0
    received: int = 0
    connections: int = 0
    denied: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressTimes:
    """Patience, in seconds: for a request's head, for names, for one connect, and for a silent connection."""

    head: float = 30.0
    resolve: float = 10.0
    connect: float = 10.0
    idle: float = 900.0


class Denied(Exception):
    """The policy forbids it; the message is for the person in the sandbox."""


class Unreachable(Exception):
    """Allowed, but it did not work: `code` is 502 or 504, `refused` when the other side said no."""

    def __init__(self, message: str, *, code: int = 502, refused: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.refused = refused


@dataclass(slots=True, eq=False)
class _Link:
    """One open connection: where it leads, and the task that serves it."""

    sockets: list[socket.socket]
    task: asyncio.Task[None] | None = None
    name: str | None = None
    address: Address | None = None
    port: int = 0

    def cut(self) -> None:
        if self.task is not None:
            self.task.cancel()


@dataclass(slots=True, eq=False)
class _Gate:
    """One sandbox's door."""

    listener: socket.socket
    rules: Rules
    usage: EgressUsage = field(default_factory=EgressUsage)
    links: set[_Link] = field(default_factory=set)


class EgressProxy:
    """Serves any number of sandboxes, each on a listener of its own.

    Args:
        private_ok: CIDR blocks that may be reached although they are private or loopback.
        times: patience.
        most_connections: per sandbox at a time; more wait in the listener's backlog.
        resolver: turns a name and port into addresses; the system's by default.

    Raises:
        BadRule: a block cannot be read.
    """

    def __init__(
        self,
        *,
        private_ok: Sequence[str] = (),
        times: EgressTimes | None = None,
        most_connections: int = 256,
        resolver: Resolver | None = None,
    ) -> None:
        self._private_ok = tuple(private_ok)
        Rules(NetworkPolicy(), self._private_ok)
        self._times = times or EgressTimes()
        self._most_connections = most_connections
        self._resolve = resolver or _system_resolver
        self._gates: dict[str, _Gate] = {}
        self._tasks: set[asyncio.Task[None] | None] = set()

    def attach(self, sandbox_id: str, listener: socket.socket, policy: NetworkPolicy) -> None:
        """Serve a sandbox from now on; must be called within the event loop. An earlier listener is closed.

        Args:
            sandbox_id: whose traffic it is.
            listener: bound and listening stream socket inside the sandbox's network; ours from here on.
            policy: what it may reach.

        Raises:
            BadRule: an entry of the policy cannot be read; the listener is closed.
        """
        try:
            rules = Rules(policy, self._private_ok)
        except ValueError:
            listener.close()
            raise
        self.detach(sandbox_id)
        listener.setblocking(False)
        gate = _Gate(listener, rules)
        self._gates[sandbox_id] = gate
        self._listen(gate)

    def update(self, sandbox_id: str, policy: NetworkPolicy) -> None:
        """Apply another policy at once: open connections that it forbids are cut. Unknown sandboxes are ignored.

        Raises:
            BadRule: an entry of the policy cannot be read; the old one stays.
        """
        gate = self._gates.get(sandbox_id)
        if gate is None:
            return
        gate.rules = Rules(policy, self._private_ok)
        for link in list(gate.links):
            if link.address is not None and _denied(gate.rules, link.name, link.address, link.port):
                link.cut()

    def usage(self, sandbox_id: str) -> EgressUsage:
        """What a sandbox moved so far; zeros for one that is not attached."""
        gate = self._gates.get(sandbox_id)
        return gate.usage if gate is not None else EgressUsage()

    def detach(self, sandbox_id: str) -> EgressUsage:
        """Stop serving a sandbox, cut its connections, and return what it moved."""
        gate = self._gates.pop(sandbox_id, None)
        if gate is None:
            return EgressUsage()
        self._pause(gate)
        gate.listener.close()
        for link in list(gate.links):
            link.cut()
        return gate.usage

    async def aclose(self) -> None:
        """Stop serving all; returns when every connection is closed."""
        for sandbox_id in list(self._gates):
            self.detach(sandbox_id)
        while self._tasks:
            await asyncio.wait([task for task in self._tasks if task is not None])

    def _listen(self, gate: _Gate) -> None:
        """Take connections in; not as a task, since a cancelled accept would lose what it just accepted."""
        if gate.listener.fileno() >= 0 and len(gate.links) < self._most_connections:
            asyncio.get_running_loop().add_reader(gate.listener.fileno(), self._accept, gate)

    def _pause(self, gate: _Gate) -> None:
        if gate.listener.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(gate.listener.fileno())

    def _accept(self, gate: _Gate) -> None:
        try:
            connection, _ = gate.listener.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                # Others must close theirs first.
                self._pause(gate)
                asyncio.get_running_loop().call_later(_BREATH, self._listen, gate)
            return
        connection.setblocking(False)
        link = _Link([connection])

        def over(_: asyncio.Task[None]) -> None:
            for used in link.sockets:
                used.close()
            gate.links.discard(link)
            self._tasks.discard(link.task)
            if len(gate.links) == self._most_connections - 1:
                self._listen(gate)

        link.task = asyncio.get_running_loop().create_task(self._converse(gate, link, connection))
        gate.links.add(link)
        self._tasks.add(link.task)
        # Not in the task itself: one that is cancelled before its first step never gets to its own clean-up.
        link.task.add_done_callback(over)
        if len(gate.links) >= self._most_connections:
            self._pause(gate)

    async def _converse(self, gate: _Gate, link: _Link, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=http.LONGEST_HEAD)
        try:
            async with asyncio.timeout(self._times.head) as patience:
                first = await reader.readexactly(1)
                talk = self._socks if first[0] == socks.VERSION else self._http
                await talk(gate, link, first, reader, writer, patience)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, http.BadRequest, TimeoutError):
            # Whoever is inside hung up, sent nonsense or fell asleep; there is nobody to tell.
            return
        finally:
            await _close(writer)

    async def _socks(
        self,
        gate: _Gate,
        link: _Link,
        _: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        patience: asyncio.Timeout,
    ) -> None:
        try:
            host, port = await socks.negotiate(reader, writer)
        except socks.SocksError as error:
            writer.write(error.reply)
            return
        patience.reschedule(None)
        try:
            outside = await self._connect(gate, link, host, port)
        except Denied:
            writer.write(socks.reply(socks.DENIED))
            return
        except Unreachable as error:
            writer.write(socks.reply(socks.REFUSED if error.refused else socks.UNREACHABLE))
            return
        writer.write(socks.reply(socks.OK))
        await self._relay(gate, (reader, writer), outside, patience)

    async def _http(
        self,
        gate: _Gate,
        link: _Link,
        first: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        patience: asyncio.Timeout,
    ) -> None:
        try:
            head = http.parse_head(first + await reader.readuntil(b"\r\n\r\n"))
        except (http.BadRequest, asyncio.LimitOverrunError) as error:
            text = str(error) if isinstance(error, http.BadRequest) else "the request's head is too long"
            await _refuse(reader, writer, http.answer(400, f"skerry: {text}"))
            return
        patience.reschedule(None)
        try:
            outside = await self._connect(gate, link, head.host, head.port)
        except Denied as error:
            where = f"{head.host}:{head.port}"
            text = f"skerry: no connection to {where}: {error}"
            await _refuse(reader, writer, http.answer(403, text, {"X-Skerry-Denied": "policy"}))
            return
        except Unreachable as error:
            await _refuse(reader, writer, http.answer(error.code, f"skerry: {error}"))
            return
        if head.tunnel:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await self._relay(gate, (reader, writer), outside, patience)
        else:
            await self._relay(gate, (reader, writer), outside, patience, head)

    async def _connect(
        self, gate: _Gate, link: _Link, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Judge, resolve, judge again, connect.

        Raises:
            Denied: the policy forbids it. Unreachable: it does not work.
        """
        loop = asyncio.get_running_loop()
        try:
            name, addresses = await self._addresses(gate.rules, host, port)
        except Denied:
            gate.usage.denied += 1
            raise
        reason = ""
        failure: Unreachable | None = None
        for address in addresses[:_MOST_ADDRESSES]:
            # The policy may have been changed while a name was looked up or an address did not answer.
            denial = _denied(gate.rules, name, address, port)
            if denial:
                reason = reason or denial
                continue
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            connection = socket.socket(family, socket.SOCK_STREAM)
            link.sockets.append(connection)
            try:
                connection.setblocking(False)
                link.name, link.address, link.port = name, address, port
                async with asyncio.timeout(self._times.connect):
                    await loop.sock_connect(connection, (str(address), port))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                streams = await asyncio.open_connection(sock=connection)
            except TimeoutError:
                connection.close()
                failure = Unreachable(f"{host}:{port} does not answer", code=504)
            except OSError as error:
                connection.close()
                refused = error.errno == errno.ECONNREFUSED
                why = os.strerror(error.errno) if error.errno else str(error)
                failure = Unreachable(f"cannot connect to {host}:{port}: {why}", refused=refused)
            else:
                gate.usage.connections += 1
                return streams
        if failure is None:
            gate.usage.denied += 1
            raise Denied(reason)
        raise failure

    async def _addresses(self, rules: Rules, host: str, port: int) -> tuple[str | None, list[Address]]:
        try:
            return None, [ipaddress.ip_address(host)]
        except ValueError:
            pass
        try:
            name = normalise_name(host)
        except ValueError:
            raise Unreachable(f"{host!r} is not a host name") from None
        denial = rules.denies_name(name, port)
        if denial:
            raise Denied(denial)
        try:
            async with asyncio.timeout(self._times.resolve):
                found = await self._resolve(name, port)
        except TimeoutError:
            raise Unreachable(f"the name server does not answer for {name}", code=504) from None
        except OSError as error:
            raise Unreachable(f"the name {name} is unknown: {error.strerror}") from None
        if not found:
            raise Unreachable(f"the name {name} is unknown")
        return name, [ipaddress.ip_address(text) for text in dict.fromkeys(found)]

    async def _relay(
        self,
        gate: _Gate,
        inside: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        outside: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        patience: asyncio.Timeout,
        head: http.Head | None = None,
    ) -> None:
        """Move bytes both ways until both sides are done, one breaks, or both are silent for too long."""
        loop = asyncio.get_running_loop()

        def sent(count: int) -> None:
            gate.usage.sent += count
            patience.reschedule(loop.time() + self._times.idle)

        def received(count: int) -> None:
            gate.usage.received += count
            patience.reschedule(loop.time() + self._times.idle)

        sent(0)
        up = asyncio.ensure_future(
            _pump(inside[0], outside[1], sent) if head is None else _send_request(head, inside[0], outside[1], sent)
        )
        down = asyncio.ensure_future(_pump(outside[0], inside[1], received))
        # The answer to one HTTP request is its end, even if the rest of a body is never wanted.
        last = down if head is not None and head.body != "stream" else None
        try:
            await asyncio.wait(
                (up, down), return_when=asyncio.FIRST_EXCEPTION if last is None else asyncio.FIRST_COMPLETED
            )
            if last is not None and not last.done() and (not up.done() or up.exception() is None):
                await asyncio.wait((last,))
        finally:
            up.cancel()
            down.cancel()
            # Before anything is awaited: a second cancellation may come at any such point.
            outside[1].close()
            await asyncio.gather(up, down, return_exceptions=True)
            await _close(outside[1])


def _denied(rules: Rules, name: str | None, address: Address, port: int) -> str | None:
    return rules.denies_address(name, address, port, own=is_own(address))


def is_own(address: Address) -> bool:
    """Whether this machine itself answers to an address: the kernel lets us bind to no other."""
    return _can_bind(address) and not _can_bind(_NOBODYS)


def _can_bind(address: Address) -> bool:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], None]) -> None:
    while piece := await reader.read(_PIECE):
        count(len(piece))
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _send_request(
    head: http.Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], None]
) -> None:
    """Send one request on, its body to the end and not a byte more."""
    writer.write(head.forward)
    count(len(head.forward))
    await writer.drain()
    if head.body == "stream":
        await _pump(reader, writer, count)
    elif head.body == "length":
        await _copy(reader, writer, head.length, count)
    elif head.body == "chunked":
        while True:
            line = await reader.readuntil(b"\r\n")
            size = http.chunk_size(line)
            count(len(line))
            writer.write(line)
            if size == 0:
                break
            await _copy(reader, writer, size + 2, count)
        trailer = b""
        while trailer != b"\r\n":
            trailer = await reader.readuntil(b"\r\n")
            writer.write(trailer)
            await writer.drain()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int, count: Callable[[int], None]
) -> None:
    while length > 0:
        piece = await reader.read(min(length, _PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(piece)
        count(len(piece))
        writer.write(piece)
        await writer.drain()


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Send an answer and see it off: closing on unread input would take it back before it is read."""
    writer.write(answer)
    writer.write_eof()
    left = _LONGEST_LEFTOVER
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_HEAR_OUT):
            while left > 0 and (piece := await reader.read(_PIECE)):
                left -= len(piece)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close when what was written is gone, or at once when nobody takes it."""
    writer.close()
    try:
        async with asyncio.timeout(_LINGER):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        return
    finally:
        writer.transport.abort()


async def _system_resolver(name: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]
