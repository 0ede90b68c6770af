"""From a bound socket on the machine to a port inside the relay: UDP, many datagrams per system call.

Each user's address gets a socket of its own towards the server, whose answers thereby find the way back. Python's
sockets move one datagram per call, which would halve a tunnel's speed; recvmmsg(2) and sendmmsg(2) move dozens.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import time

from skerry.island.workers.vpn.loop import READ, Loop

_BATCH = 64
_LARGEST = 65_536
_NAME = 28
_MOST, _IDLE = 256, 180.0
_BUFFER = 4 << 20
# A round ends after so many batches, so that others get their turn.
_ROUNDS = 8

_libc = ctypes.CDLL(None, use_errno=True)


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _MessageHeader(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_IoVec)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    _fields_ = (("header", _MessageHeader), ("length", ctypes.c_uint))


class Batch:
    """Room for the datagrams of one call, in which they are received and from which they are sent on."""

    def __init__(self) -> None:
        self._room = ctypes.create_string_buffer(_BATCH * _LARGEST)
        self._names = ctypes.create_string_buffer(_BATCH * _NAME)
        self._in, self._out = (_Message * _BATCH)(), (_Message * _BATCH)()
        self._out_vectors = (_IoVec * _BATCH)()
        self._in_vectors = (_IoVec * _BATCH)()
        room, names = ctypes.addressof(self._room), ctypes.addressof(self._names)
        self._in_headers = [self._in[index].header for index in range(_BATCH)]
        self._out_headers = [self._out[index].header for index in range(_BATCH)]
        for index in range(_BATCH):
            for vectors, headers in ((self._in_vectors, self._in_headers), (self._out_vectors, self._out_headers)):
                vectors[index] = _IoVec(room + index * _LARGEST, _LARGEST)
                headers[index].vectors = ctypes.pointer(vectors[index])
                headers[index].vector_count = 1
            self._in_headers[index].name = names + index * _NAME
        self._vectors = [self._out_vectors[index] for index in range(_BATCH)]

    def receive(self, fd: int) -> int:
        """Take what is there, at most a batch; 0 when there is nothing (or an error left by an earlier send)."""
        for header in self._in_headers:
            header.name_length = _NAME
        count = _libc.recvmmsg(fd, self._in, _BATCH, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return 0
        for index in range(count):
            self._vectors[index].length = self._in[index].length
        return int(count)

    def senders(self, count: int) -> list[bytes]:
        """Who sent the first `count` datagrams."""
        names = self._names.raw
        return [names[index * _NAME : index * _NAME + self._in_headers[index].name_length] for index in range(count)]

    def send(self, fd: int, first: int, count: int, to: ctypes.Array[ctypes.c_char] | None) -> None:
        """Send datagrams on; what the kernel has no room for is lost, as datagrams are.

        Args:
            fd: the socket.
            first: index of the first one.
            count: how many.
            to: the receiver's address, None on a connected socket.
        """
        name, length = (ctypes.addressof(to), len(to)) if to is not None else (None, 0)
        for index in range(first, first + count):
            header = self._out_headers[index]
            header.name = name
            header.name_length = length
        while count > 0:
            rest = ctypes.byref(self._out, first * ctypes.sizeof(_Message))
            done = _libc.sendmmsg(fd, rest, count, socket.MSG_DONTWAIT)
            if done < 0:
                code = ctypes.get_errno()
                if code in (errno.EAGAIN, errno.ENOBUFS, errno.EBADF):
                    return
                # The first one cannot be sent (too long, or an answer to the one before it); the rest may.
                done = 1
            first, count = first + done, count - done


class _Flow:
    """One user's address and the socket towards the server on its behalf."""

    __slots__ = ("address", "inner", "used")

    def __init__(self, name: bytes, port: int, now: float) -> None:
        self.address = (ctypes.c_char * len(name)).from_buffer_copy(name)
        self.inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.used = now
        try:
            self.inner.setblocking(False)
            grow(self.inner)
            self.inner.connect(("127.0.0.1", port))
        except OSError:
            self.inner.close()
            raise


class UdpForwarder:
    """Serves one bound socket.

    Args:
        loop: who calls.
        outer: outside; bound and non-blocking.
        port: where the server listens inside, on 127.0.0.1.
        most: addresses remembered at a time; the one that was silent longest makes room.
        idle: seconds of silence after which an address is forgotten.
    """

    def __init__(self, loop: Loop, outer: socket.socket, port: int, *, most: int = _MOST, idle: float = _IDLE) -> None:
        self._loop = loop
        self._outer = outer
        self._port = port
        self._most = most
        self._idle = idle
        self._flows: dict[bytes, _Flow] = {}
        self._batch = Batch()
        grow(outer)
        loop.watch(outer.fileno(), READ, self._inwards)

    def close(self) -> None:
        """Move nothing more."""
        self._loop.forget(self._outer.fileno())
        self._outer.close()
        for name in list(self._flows):
            self._drop(name)

    def sweep(self) -> None:
        """Forget addresses that were silent for too long; to be called now and then."""
        limit = time.monotonic() - self._idle
        for name in [name for name, flow in self._flows.items() if flow.used < limit]:
            self._drop(name)

    def _inwards(self, _: int) -> None:
        batch, fd = self._batch, self._outer.fileno()
        for _ in range(_ROUNDS):
            count = batch.receive(fd)
            if not count:
                return
            names = batch.senders(count)
            start = 0
            for index in range(1, count + 1):
                if index == count or names[index] != names[start]:
                    flow = self._flow(names[start])
                    if flow is not None:
                        batch.send(flow.inner.fileno(), start, index - start, None)
                    start = index
            if count < _BATCH:
                return

    def _outwards(self, flow: _Flow) -> None:
        batch, fd = self._batch, flow.inner.fileno()
        for _ in range(_ROUNDS):
            count = batch.receive(fd)
            if not count:
                # Reading has also taken the error of a server that is just being started again.
                return
            flow.used = time.monotonic()
            batch.send(self._outer.fileno(), 0, count, flow.address)
            if count < _BATCH:
                return

    def _flow(self, name: bytes) -> _Flow | None:
        flow = self._flows.get(name)
        now = time.monotonic()
        if flow is None:
            if len(self._flows) >= self._most:
                self._drop(min(self._flows, key=lambda known: self._flows[known].used))
            try:
                flow = _Flow(name, self._port, now)
            except OSError:
                return None
            self._flows[name] = flow
            made = flow
            self._loop.watch(flow.inner.fileno(), READ, lambda _: self._outwards(made))
        flow.used = now
        return flow

    def _drop(self, name: bytes) -> None:
        flow = self._flows.pop(name)
        self._loop.forget(flow.inner.fileno())
        flow.inner.close()


def grow(socket_: socket.socket) -> None:
    """Ask for room for bursts; the machine's own limit may give less."""
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        socket_.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
