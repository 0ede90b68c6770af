"""TCP (and UDP) ports of sandboxes, published on ports of this machine for the addresses that may use them."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Iterable, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

from skerry.island.engine.core import Core
from skerry.island.engine.datagrams import DatagramForwarder, bound_datagrams
from skerry.island.engine.errors import EngineError, Invalid, NoCapacity, NotFound, Unavailable
from skerry.island.engine.forwarding import CONNECT_SECONDS, Address, Forwarder, Link, bound
from skerry.island.engine.records import PublishedPort
from skerry.island.engine.sandboxes import Sandboxes
from skerry.island.engine.ssh import Ssh
from skerry.island.engine.traffic import Traffic
from skerry.island.store import ports as rows

MOST_CONNECTIONS = 256
MOST_EACH = 128
MOST_PORTS = 64
MOST_BLOCKS = 256
SSH_ONLY = 0
"""Published in place of a port inside: the island's SSH server answers for the sandbox, whatever listens there."""
_TRIES = 32

log = logging.getLogger("skerry.engine.ports")

Block = ipaddress.IPv4Network | ipaddress.IPv6Network


class Ports:
    """Every published port. Rows outlive the server; each start listens again, on the same port where it is free.

    Args:
        core: settings, store, clock.
        sandboxes: are dialled.
        ssh: answers on ports that say so.
        traffic: counts what is carried.
    """

    def __init__(self, core: Core, sandboxes: Sandboxes, ssh: Ssh, traffic: Traffic) -> None:
        self._core = core
        self._sandboxes = sandboxes
        self._ssh = ssh
        self._traffic = traffic
        self._datagrams: dict[tuple[str, int], DatagramForwarder] = {}
        self._published: dict[tuple[str, int], PublishedPort] = {}
        self._blocks: dict[tuple[str, int], tuple[Block, ...]] = {}
        self._forwarder: Forwarder[tuple[str, int]] = Forwarder(core.clock, most=MOST_CONNECTIONS, most_each=MOST_EACH)
        # Rows and listeners of a sandbox change together.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        sandboxes.on_removed(self._removed)
        ssh.limit(self.may_log_in)

    @property
    def connections(self) -> int:
        """How many there are now."""
        return self._forwarder.connections

    async def start(self) -> None:
        """Listen again for what was published before."""
        for known in await self._core.store.read(rows.every, self._core.settings.host):
            async with self._changing(known.sandbox_id):
                try:
                    await self._listen(known)
                except EngineError as error:
                    log.warning("port %s of sandbox %s is not published: %s", known.port, known.sandbox_id, error)
                    self._enter(replace(known, listening=False))

    async def close(self) -> None:
        """Close every listener and connection; the rows stay."""
        await self._forwarder.close()
        for key in list(self._datagrams):
            await self._datagrams.pop(key).close()

    async def publish(
        self,
        account_id: str,
        sandbox_id: str,
        port: int,
        *,
        allowed: Sequence[str] | None = None,
        ssh: bool = False,
        udp: bool = False,
    ) -> PublishedPort:
        """Publish a port of a sandbox, or change how it is published; the host port stays.

        Args:
            account_id: owner.
            sandbox_id: where it leads.
            port: inside, 1 to 65535; `SSH_ONLY` (with `ssh`) for the island's SSH server itself.
            allowed: CIDR blocks whose addresses may connect; without any, only this machine's loopback addresses.
            ssh: let the island's SSH server answer where nothing listens inside.
            udp: carry datagrams to the same host port too; cannot be changed later.

        Raises:
            NotFound: no such sandbox. Invalid: no port, or no CIDR block. NoCapacity: no host port is free.
        """
        if not 1 <= port <= 65535 and not (port == SSH_ONLY and ssh and not udp):
            raise Invalid(f"{port} is no port; ports are 1 to 65535")
        blocks = parse_blocks(allowed or ())
        await self._sandboxes.get(account_id, sandbox_id)
        async with self._changing(sandbox_id):
            before = self._published.get((sandbox_id, port))
            if before is None and len(self._of(sandbox_id)) >= MOST_PORTS:
                raise Invalid(f"at most {MOST_PORTS} ports of a sandbox can be published")
            wanted = PublishedPort(
                sandbox_id=sandbox_id,
                account_id=account_id,
                port=port,
                host=self._core.settings.host,
                host_port=0 if before is None else before.host_port,
                allowed=tuple(str(block) for block in blocks),
                ssh=ssh,
                udp=udp,
            )
            if self._forwarder.port((sandbox_id, port)) is not None:
                if not await self._core.store.run(rows.put, wanted, self._core.now()):
                    raise NotFound(f"there is no sandbox {sandbox_id}")
                self._enter(wanted)
                return wanted
            return await self._listen(wanted)

    async def of_sandbox(self, sandbox_id: str) -> list[PublishedPort]:
        """What is published of a sandbox, by port."""
        async with self._changing(sandbox_id):
            return self._of(sandbox_id)

    def may_log_in(self, sandbox_id: str, peer: Address) -> bool:
        """Whether an address may log in to a sandbox by a way other than its own port: not past that port's list."""
        known = [key for key, port in self._published.items() if key[0] == sandbox_id and port.ssh]
        return not known or any(admitted(self._blocks[key], peer) for key in known)

    async def withdraw(self, sandbox_id: str, port: int | None = None) -> None:
        """Stop publishing a port of a sandbox, or all, and cut the connections through it."""
        async with self._changing(sandbox_id):
            await self._core.store.run(rows.remove, sandbox_id, port)
            await self._silence(sandbox_id, port)

    async def _removed(self, sandbox_id: str) -> None:
        """A sandbox is being removed, and its rows went with the first step of that."""
        async with self._changing(sandbox_id):
            await self._silence(sandbox_id, None)

    async def _silence(self, sandbox_id: str, port: int | None) -> None:
        for known in self._of(sandbox_id):
            if port in (None, known.port):
                key = (sandbox_id, known.port)
                self._published.pop(key, None)
                self._blocks.pop(key, None)
                await self._forwarder.silence(key)
                datagrams = self._datagrams.pop(key, None)
                if datagrams is not None:
                    await datagrams.close()

    def _changing(self, sandbox_id: str) -> asyncio.Lock:
        return self._locks.setdefault(sandbox_id, asyncio.Lock())

    def _of(self, sandbox_id: str) -> list[PublishedPort]:
        found = [known for known in self._published.values() if known.sandbox_id == sandbox_id]
        return sorted(found, key=lambda known: known.port)

    def _enter(self, known: PublishedPort) -> None:
        key = (known.sandbox_id, known.port)
        self._published[key] = known
        self._blocks[key] = parse_blocks(known.allowed)

    async def _listen(self, wanted: PublishedPort) -> PublishedPort:
        """Take a host port, write it down, and only then let anybody in."""
        listener, datagrams = await self._take(wanted)
        try:
            known = replace(wanted, host_port=listener.getsockname()[1])
            if not await self._core.store.run(rows.put, known, self._core.now()):
                raise NotFound(f"there is no sandbox {wanted.sandbox_id}")
        except BaseException:
            listener.close()
            if datagrams is not None:
                datagrams.close()
            raise
        self._enter(known)
        key = (known.sandbox_id, known.port)

        async def serve(link: Link) -> None:
            await self._serve(key, link)

        self._forwarder.listen(key, listener, serve)
        if datagrams is not None:
            self._datagrams[key] = self._carrier(known, datagrams)
        return known

    def _carrier(self, known: PublishedPort, listener: socket.socket) -> DatagramForwarder:
        key = (known.sandbox_id, known.port)

        async def dial() -> socket.socket:
            return await self._sandboxes.dial(known.account_id, known.sandbox_id, known.port, udp=True)

        def count(sent: int, received: int) -> None:
            self._traffic.count(known.sandbox_id, sent=sent, received=received)
            self._sandboxes.touch(known.sandbox_id)

        return DatagramForwarder(
            listener, dial, lambda peer: admitted(self._blocks.get(key, ()), peer), count, self._core.clock
        )

    async def _take(self, wanted: PublishedPort) -> tuple[socket.socket, socket.socket | None]:
        """The port it had if that is free, else another; with UDP, one that is free for both."""
        settings = self._core.settings
        reason = "each is in use"
        for port in self._candidates(wanted.host_port):
            try:
                listener = await bound(settings.host, port, allow_remote=settings.allow_remote)
                if not wanted.udp:
                    return listener, None
                try:
                    number = listener.getsockname()[1]
                    return listener, await bound_datagrams(settings.host, number, allow_remote=settings.allow_remote)
                except BaseException:
                    listener.close()
                    raise
            except OSError as error:
                reason = str(error)
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    break
        raise NoCapacity(f"no port of this machine can be had for port {wanted.port}: {reason}")

    def _candidates(self, before: int) -> Iterable[int]:
        span = self._core.settings.port_range
        if before and (span is None or span[0] <= before <= span[1]):
            yield before
        if span is None:
            # The kernel chooses for TCP alone; what it chooses may be taken for UDP.
            yield from (0 for _ in range(_TRIES))
            return
        # Ports of others that are down for the moment are left to them while there are enough.
        kept = {known.host_port for known in self._published.values()}
        ports = range(span[0], span[1] + 1)
        yield from (port for port in ports if port not in kept)

    async def _serve(self, key: tuple[str, int], link: Link) -> None:
        known = self._published.get(key)
        if known is None or not admitted(self._blocks[key], link.peer):
            return
        with self._traffic.watch(known.sandbox_id, link.socket, accepted=True):
            await self._lead(known, link)

    async def _lead(self, known: PublishedPort, link: Link) -> None:
        if known.port == SSH_ONLY:
            await self._ssh.serve(link, known.sandbox_id)
            return
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                inside = await self._sandboxes.dial(known.account_id, known.sandbox_id, known.port)
        except Unavailable:
            if known.ssh:
                await self._ssh.serve(link, known.sandbox_id)
            return
        except (EngineError, OSError) as error:
            log.info("port %s of sandbox %s cannot be reached: %s", known.port, known.sandbox_id, error)
            return
        await link.carry(inside, lambda: self._sandboxes.touch(known.sandbox_id))


def parse_blocks(texts: Sequence[str]) -> tuple[Block, ...]:
    """CIDR blocks from text; blocks of IPv4 in IPv6 clothes are IPv4 blocks.

    Raises:
        Invalid: one is no CIDR block, or there are too many.
    """
    if len(texts) > MOST_BLOCKS:
        raise Invalid(f"at most {MOST_BLOCKS} CIDR blocks")
    return tuple(_block(text) for text in texts)


def _block(text: str) -> Block:
    try:
        block = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Invalid(f"{text!r} is no CIDR block such as 203.0.113.7/32 or 2001:db8::/32") from None
    if block.version == 6 and block.prefixlen >= 96 and block.network_address.ipv4_mapped is not None:
        return ipaddress.ip_network((block.network_address.ipv4_mapped, block.prefixlen - 96))
    return block


def admitted(blocks: Sequence[Block], peer: Address) -> bool:
    """Whether an address is inside one of the blocks; without any, whether it is a loopback address."""
    if not blocks:
        return peer.is_loopback
    return any(peer.version == block.version and peer in block for block in blocks)
