"""From a listening socket on the machine to a port inside the relay: TCP, moved by the kernel without copying.

The listener was made outside and keeps belonging there; connections to the server are made here, inside.
"""

from __future__ import annotations

import errno
import os
import socket

from skerry.island.workers.vpn.loop import READ, WRITE, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE = 1 << 20
_MOST = 512
# After so many pieces or connections the others get their turn.
_ROUNDS = 16


class TcpForwarder:
    """Serves one listener.

    Args:
        loop: who calls.
        listener: outside; listening and non-blocking.
        port: where the server listens inside, on 127.0.0.1.
        most: connections at a time; more wait in the listener's backlog.
    """

    def __init__(self, loop: Loop, listener: socket.socket, port: int, *, most: int = _MOST) -> None:
        self._loop = loop
        self._listener = listener
        self._port = port
        self._most = most
        self._paused = False
        self._links: set[_Link] = set()
        loop.watch(listener.fileno(), READ, self._accept)

    def close(self) -> None:
        """Take no more connections and cut those that are open."""
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        for link in list(self._links):
            link.close()

    def _accept(self, _: int) -> None:
        for _ in range(_ROUNDS):
            if len(self._links) >= self._most:
                self._paused = True
                self._loop.forget(self._listener.fileno())
                return
            try:
                outer, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                    return
                continue
            try:
                self._links.add(_Link(self._loop, outer, self._port, self._ended))
            except OSError:
                outer.close()

    def _ended(self, link: _Link) -> None:
        self._links.discard(link)
        if self._paused and self._listener.fileno() >= 0:
            self._paused = False
            self._loop.watch(self._listener.fileno(), READ, self._accept)


class _Way:
    """One direction: from a socket through a pipe to the other socket."""

    __slots__ = ("ended", "held", "pipe", "source", "target")

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        self.ended = False

    def move(self) -> None:
        """Move what can be moved now. Raises OSError when either side is broken."""
        for _ in range(_ROUNDS):
            if not self.held:
                if self.ended:
                    return
                try:
                    self.held = os.splice(self.source.fileno(), self.pipe[1], _PIECE, flags=os.SPLICE_F_NONBLOCK)
                except BlockingIOError:
                    return
                if not self.held:
                    self.ended = True
                    self.target.shutdown(socket.SHUT_WR)
                    return
            try:
                self.held -= os.splice(self.pipe[0], self.target.fileno(), self.held, flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                return

    def close(self) -> None:
        for fd in self.pipe:
            os.close(fd)


class _Link:
    """One connection and its counterpart inside."""

    def __init__(self, loop: Loop, outer: socket.socket, port: int, ended: Callable[[_Link], None]) -> None:
        self._loop = loop
        self._ended = ended
        self._closed = False
        self._outer = outer
        self._inner = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._ways: list[_Way] = []
        try:
            for side in (outer, self._inner):
                side.setblocking(False)
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                side.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            try:
                self._inner.connect(("127.0.0.1", port))
            except BlockingIOError:
                pass
            self._ways.append(_Way(outer, self._inner))
            self._ways.append(_Way(self._inner, outer))
        except OSError:
            self._inner.close()
            for way in self._ways:
                way.close()
            raise
        self._watched = {outer.fileno(): 0, self._inner.fileno(): 0}
        self._watch(self._inner, WRITE)

    def _ready(self, _: int) -> None:
        try:
            for way in self._ways:
                way.move()
        except OSError:
            self.close()
            return
        if all(way.ended for way in self._ways):
            self.close()
            return
        up, down = self._ways
        for side, out, into in ((self._outer, up, down), (self._inner, down, up)):
            # A side is read when what it said before is gone, and written when something for it is held.
            self._watch(side, (READ if not out.ended and not out.held else 0) | (WRITE if into.held else 0))

    def _watch(self, side: socket.socket, wanted: int) -> None:
        fd = side.fileno()
        watched, self._watched[fd] = self._watched[fd], wanted
        if not wanted:
            # Not with an empty set of events: a side that is gone would be reported for ever.
            self._loop.forget(fd)
        elif not watched:
            self._loop.watch(fd, wanted, self._ready)
        elif wanted != watched:
            self._loop.change(fd, wanted)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for side in (self._outer, self._inner):
            self._loop.forget(side.fileno())
            side.close()
        for way in self._ways:
            way.close()
        self._ended(self)
