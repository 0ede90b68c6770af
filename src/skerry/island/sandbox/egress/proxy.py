"""The way out of sandboxes: a proxy outside of them that connects where their policy allows, and nowhere else.

One port speaks HTTP (CONNECT and absolute addresses) and SOCKS 5; the first byte tells which. Names are resolved
here, and the connection goes to an address that was checked, never to a second answer of the name server.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from skerry.island.sandbox.egress import http, socks
from skerry.island.sandbox.egress.connect import Connector, Denied, Resolver, Unreachable, denied
from skerry.island.sandbox.egress.gate import EgressUsage, Gate, Link
from skerry.island.sandbox.egress.relay import close, refuse, relay
from skerry.island.sandbox.egress.rules import Rules
from skerry.island.sandbox.spec import NetworkPolicy

_BREATH = 0.1
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressTimes:
    """Patience, in seconds: for a request's head, for names, for one connect, and for a silent connection."""

    head: float = 30.0
    resolve: float = 30.0
    connect: float = 30.0
    idle: float = 900.0


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
        self._connector = Connector(resolver, resolve_seconds=self._times.resolve, connect_seconds=self._times.connect)
        self._gates: dict[str, Gate] = {}
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
        gate = Gate(listener, rules)
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
            if link.address is not None and denied(gate.rules, link.name, link.address, link.port):
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

    def _listen(self, gate: Gate) -> None:
        """Take connections in; not as a task, since a cancelled accept would lose what it just accepted."""
        if gate.listener.fileno() >= 0 and len(gate.links) < self._most_connections:
            asyncio.get_running_loop().add_reader(gate.listener.fileno(), self._accept, gate)

    def _pause(self, gate: Gate) -> None:
        if gate.listener.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(gate.listener.fileno())

    def _accept(self, gate: Gate) -> None:
        try:
            connection, _ = gate.listener.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                # Others must close theirs first.
                self._pause(gate)
                asyncio.get_running_loop().call_later(_BREATH, self._listen, gate)
            return
        connection.setblocking(False)
        link = Link([connection])

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

    async def _converse(self, gate: Gate, link: Link, connection: socket.socket) -> None:
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
            await close(writer)

    async def _socks(
        self,
        gate: Gate,
        link: Link,
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
            outside = await self._connector.connect(gate, link, host, port)
        except Denied:
            writer.write(socks.reply(socks.DENIED))
            return
        except Unreachable as error:
            writer.write(socks.reply(socks.REFUSED if error.refused else socks.UNREACHABLE))
            return
        writer.write(socks.reply(socks.OK))
        await relay(gate.usage, (reader, writer), outside, patience, self._times.idle)

    async def _http(
        self,
        gate: Gate,
        link: Link,
        first: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        patience: asyncio.Timeout,
    ) -> None:
        try:
            head = http.parse_head(first + await reader.readuntil(b"\r\n\r\n"))
        except (http.BadRequest, asyncio.LimitOverrunError) as error:
            text = str(error) if isinstance(error, http.BadRequest) else "the request's head is too long"
            await refuse(reader, writer, http.answer(400, f"skerry: {text}"))
            return
        patience.reschedule(None)
        try:
            outside = await self._connector.connect(gate, link, head.host, head.port)
        except Denied as error:
            where = f"{head.host}:{head.port}"
            text = f"skerry: no connection to {where}: {error}"
            await refuse(reader, writer, http.answer(403, text, {"X-Skerry-Denied": "policy"}))
            return
        except Unreachable as error:
            await refuse(reader, writer, http.answer(error.code, f"skerry: {error}"))
            return
        if head.tunnel:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await relay(gate.usage, (reader, writer), outside, patience, self._times.idle)
        else:
            await relay(gate.usage, (reader, writer), outside, patience, self._times.idle, head)
