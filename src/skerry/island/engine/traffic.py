"""How many bytes sandboxes have moved since this server began: through published ports, the gateway, and outwards.

Everything is seen from the side that opens a connection: visitors of a sandbox, or the sandbox itself when it goes out.
TCP connections are counted by the kernel, so that SSH and WebSocket count like everything else.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from skerry.island.clock import Clock

# `struct tcp_info`: `tcpi_bytes_acked` and `tcpi_bytes_received`.
_COUNTERS = struct.Struct("=QQ")
_OFFSET = 120


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes of one sandbox.

    Args:
        sent: by whoever opened the connections.
        received: by whoever opened the connections.
    """

    sent: int = 0
    received: int = 0

    def __add__(self, other: Moved) -> Moved:
        return Moved(self.sent + other.sent, self.received + other.received)

    def __sub__(self, other: Moved) -> Moved:
        return Moved(self.sent - other.sent, self.received - other.received)


class _Gateway(Protocol):
    """What the egress proxy counts of one sandbox."""

    @property
    def sent(self) -> int: ...

    @property
    def received(self) -> int: ...


class Egress(Protocol):
    """Who carries what sandboxes send outwards."""

    def usage(self, sandbox_id: str) -> _Gateway:
        """What a sandbox moved so far."""


@dataclass(eq=False, slots=True)
class _Watched:
    socket: socket.socket
    accepted: bool

    def moved(self) -> Moved:
        try:
            info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        except OSError:
            return Moved()
        if len(info) < _OFFSET + _COUNTERS.size:
            return Moved()
        acknowledged, received = _COUNTERS.unpack_from(info, _OFFSET)
        return Moved(received, acknowledged) if self.accepted else Moved(acknowledged, received)


class Traffic:
    """Counts per sandbox, in memory: whoever keeps them notes the difference since it last looked.

    Args:
        egress: of this machine, None when a test replaces the driver.
        clock: tells since when nothing has moved.
    """

    def __init__(self, egress: Egress | None, clock: Clock) -> None:
        self._egress = egress
        self._clock = clock
        self._counted: dict[str, Moved] = {}
        self._watched: dict[str, set[_Watched]] = {}
        self._last: dict[str, tuple[Moved, float]] = {}

    def moved(self, sandbox_id: str) -> Moved:
        """Everything so far; it never becomes less while the server lives."""
        total = self._counted.get(sandbox_id, Moved())
        for watched in self._watched.get(sandbox_id, ()):
            total += watched.moved()
        if self._egress is not None:
            usage = self._egress.usage(sandbox_id)
            total += Moved(usage.sent, usage.received)
        return total

    def quiet_since(self, sandbox_id: str) -> float | None:
        """Since when (monotonic) no byte has moved, as far as was looked; None while a connection is open."""
        if self._watched.get(sandbox_id):
            return None
        moved, now = self.moved(sandbox_id), self._clock.monotonic()
        before = self._last.get(sandbox_id)
        if before is None or before[0] != moved:
            self._last[sandbox_id] = before = (moved, now)
        return before[1]

    def count(self, sandbox_id: str, *, sent: int = 0, received: int = 0) -> None:
        """Count bytes that nobody else does."""
        self._counted[sandbox_id] = self._counted.get(sandbox_id, Moved()) + Moved(sent, received)

    @contextlib.contextmanager
    def watch(self, sandbox_id: str, connection: socket.socket, *, accepted: bool) -> Iterator[None]:
        """Count what a TCP connection moves.

        Args:
            sandbox_id: whose.
            connection: may be closed meanwhile.
            accepted: it was accepted from the one who opened it, so that what it receives is what that one sent.
        """
        watched = _Watched(connection.dup(), accepted)
        known = self._watched.setdefault(sandbox_id, set())
        known.add(watched)
        try:
            yield
        finally:
            known.discard(watched)
            moved = watched.moved()
            watched.socket.close()
            self.count(sandbox_id, sent=moved.sent, received=moved.received)
            self._last[sandbox_id] = (self.moved(sandbox_id), self._clock.monotonic())

    def forget(self, sandbox_id: str) -> None:
        """It is gone."""
        self._counted.pop(sandbox_id, None)
        self._watched.pop(sandbox_id, None)
        self._last.pop(sandbox_id, None)
