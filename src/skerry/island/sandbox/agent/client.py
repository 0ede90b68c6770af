"""A server's connection as the agent holds it: packets with descriptors, both ways, without waiting."""

from __future__ import annotations

import array
import json
import os
import select
import socket

from skerry.island.sandbox.agent import processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from skerry.island.sandbox.agent.agent import Agent

LARGEST_PACKET = 60_000
# Room for the largest packet with its tail, and little enough for `malloc` to have it at hand.
_RECEIVE = 98_304
_MOST_FDS = 16


class Client:
    """One connected server."""

    def __init__(self, agent: Agent, connection: socket.socket) -> None:
        self.agent = agent
        self.socket = connection
        self.waiting: list[tuple[bytes, list[int]]] = []
        self.gone = False
        self.held_up = False
        self.frozen: list[int] | None = None
        self.program: dict[str, Any] = {}
        connection.setblocking(False)
        agent.watch(connection.fileno(), self._ready)

    def reply(self, n: int, answer: dict[str, Any], fds: list[int] | None = None) -> None:
        """Send a successful answer; the descriptors are the client's from here on."""
        self.send({"n": n, "ok": True, **answer}, fds or [])

    def send(self, message: dict[str, Any], fds: list[int]) -> None:
        """Send a packet now or when the server reads again."""
        self.send_packet(json.dumps(message).encode(), fds)

    def send_packet(self, packet: bytes, fds: list[int]) -> None:
        """As `send`, of what is encoded already."""
        if self.gone:
            _close_all(fds)
            return
        if len(packet) > LARGEST_PACKET:
            memory = os.memfd_create("packet", os.MFD_CLOEXEC)
            os.write(memory, packet)
            packet, fds = b'{"big":true}', [memory, *fds]
        self.waiting.append((packet, fds))
        if len(self.waiting) == 1:
            self._flush()

    def _flush(self) -> None:
        while self.waiting:
            packet, fds = self.waiting[0]
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                self.socket.sendmsg([packet], ancillary)
            except BlockingIOError:
                self.agent.change(self.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)
                self.held_up = True
                return
            except OSError:
                self.leave()
                return
            _close_all(fds)
            self.waiting.pop(0)
        if self.held_up:
            self.agent.change(self.socket.fileno(), select.EPOLLIN)
            self.held_up = False

    def _ready(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._flush()
        if self.gone or not events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            return
        try:
            packet, ancillary, _, _ = self.socket.recvmsg(
                _RECEIVE, socket.CMSG_SPACE(4 * _MOST_FDS), socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.leave()
            return
        fds = _descriptors(ancillary)
        if not packet:
            _close_all(fds)
            self.leave()
            return
        self.agent.handle(self, packet, fds)

    def leave(self) -> None:
        """The server is gone: take back what only it could finish."""
        if self.gone:
            return
        self.gone = True
        self.agent.unwatch(self.socket.fileno())
        self.socket.close()
        for _, fds in self.waiting:
            _close_all(fds)
        self.waiting.clear()
        if self.frozen is not None:
            processes.continue_all(self.frozen)
        self.agent.forget(self)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
