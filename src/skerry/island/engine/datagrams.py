"""UDP from outside into sandboxes: one socket for the world, and one inside for each address that talks."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable

from skerry.island.clock import Clock
from skerry.island.engine.forwarding import Address, peer_address

IDLE_SECONDS = 120.0
MOST_FLOWS = 256
_MOST_WAITING = 32
_LARGEST = 65_535
_AT_ONCE = 64

log = logging.getLogger("skerry.engine.datagrams")

Peer = tuple[str, int]


class _Flow:
    """What one address says, and what it is answered."""

    def __init__(self, now: float) -> None:
        self.inside: socket.socket | None = None
        self.waiting: list[bytes] = []
        self.last = now
        self.task: asyncio.Task[None] | None = None


class DatagramForwarder:
    """Carries datagrams between a bound socket and a port inside.

    Args:
        listener: bound and non-blocking; owned from here on.
        dial: gives a connected datagram socket inside.
        admits: whether an address may talk.
        count: told of bytes, from outside and to it.
        clock: tells how long a flow has been idle.
    """

    def __init__(
        self,
        listener: socket.socket,
        dial: Callable[[], Awaitable[socket.socket]],
        admits: Callable[[Address], bool],
        count: Callable[[int, int], None],
        clock: Clock,
    ) -> None:
        self._listener = listener
        self._dial = dial
        self._admits = admits
        self._count = count
        self._clock = clock
        self._flows: dict[Peer, _Flow] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listener, self._arrived)
        self._sweeper = self._loop.create_task(self._sweep())

    async def close(self) -> None:
        """Stop, and forget every flow."""
        self._loop.remove_reader(self._listener)
        self._listener.close()
        tasks = [self._sweeper, *(flow.task for flow in self._flows.values() if flow.task is not None)]
        for peer in list(self._flows):
            self._end(peer)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _arrived(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, address = self._listener.recvfrom(_LARGEST)
            except OSError:
                return
            peer = (address[0], address[1]) if len(address) == 2 else address
            if self._admits(peer_address(peer[0])):
                self._deliver(peer, data)

    def _deliver(self, peer: Peer, data: bytes) -> None:
        now = self._clock.monotonic()
        flow = self._flows.get(peer)
        if flow is None:
            if len(self._flows) >= MOST_FLOWS:
                # Whoever has been silent longest makes room.
                self._end(min(self._flows, key=lambda known: self._flows[known].last))
            flow = self._flows[peer] = _Flow(now)
            flow.task = self._loop.create_task(self._open(peer, flow))
        flow.last = now
        self._count(len(data), 0)
        if flow.inside is None:
            if len(flow.waiting) < _MOST_WAITING:
                flow.waiting.append(data)
            return
        with contextlib.suppress(OSError):
            flow.inside.send(data)

    async def _open(self, peer: Peer, flow: _Flow) -> None:
        try:
            inside = await self._dial()
        except Exception as error:
            log.info("datagrams of %s go nowhere: %s", peer[0], error)
            if self._flows.get(peer) is flow:
                del self._flows[peer]
            return
        if self._flows.get(peer) is not flow:
            inside.close()
            return
        flow.inside = inside
        self._loop.add_reader(inside, self._answered, peer, flow)
        for data in flow.waiting:
            with contextlib.suppress(OSError):
                inside.send(data)
        flow.waiting.clear()

    def _answered(self, peer: Peer, flow: _Flow) -> None:
        assert flow.inside is not None
        for _ in range(_AT_ONCE):
            try:
                data = flow.inside.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError:
                # Nobody listens inside (yet); the next datagram is another try.
                return
            flow.last = self._clock.monotonic()
            self._count(0, len(data))
            with contextlib.suppress(OSError):
                self._listener.sendto(data, peer)

    def _end(self, peer: Peer) -> None:
        flow = self._flows.pop(peer)
        if flow.inside is not None:
            self._loop.remove_reader(flow.inside)
            flow.inside.close()

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(IDLE_SECONDS / 4)
            late = self._clock.monotonic() - IDLE_SECONDS
            for peer, flow in list(self._flows.items()):
                if flow.last <= late:
                    self._end(peer)


async def bound_datagrams(host: str, port: int, *, allow_remote: bool) -> socket.socket:
    """A datagram socket on an address of this machine.

    Args:
        host: address or name of this machine.
        port: which.
        allow_remote: whether other machines may reach it.

    Raises:
        OSError: not free, no address of this machine, or reachable by others without leave.
    """
    loop = asyncio.get_running_loop()
    family, _, _, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM))[0]
    if not allow_remote and not ipaddress.ip_address(address[0]).is_loopback:
        raise OSError(f"{host} can be reached by other machines, which allow_remote has to permit")
    listener = socket.socket(family, socket.SOCK_DGRAM)
    try:
        listener.setblocking(False)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener
