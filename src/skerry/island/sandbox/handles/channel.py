"""The server's end of an agent's socket: requests with replies, and events, on asyncio."""

from __future__ import annotations

import array
import asyncio
import json
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from skerry.island.sandbox.driver import SandboxError

LARGEST_PACKET = 60_000
LONGEST_TAIL = 32_768
# Room for the largest packet with its tail, and little enough for `malloc` to have it at hand.
_RECEIVE = 98_304
_MOST_FDS = 16
_MOST_PER_WAKE = 64


class ChannelClosed(SandboxError):
    """The agent went away before it answered; what was asked may or may not have happened."""

    def __init__(self) -> None:
        super().__init__("lost", "the sandbox's agent ended")


class AgentChannel:
    """One connection to one agent (see `agent.agent` for the protocol); belongs to the loop it was made on.

    Args:
        connection: a connected `SOCK_SEQPACKET` socket; the channel owns it.
        on_event: called with each packet that answers no request, and its tail.
        on_close: called once when the agent's end is gone, not after `close`.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        on_event: Callable[[dict[str, Any], bytes], None],
        on_close: Callable[[], None],
    ) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._fd = connection.fileno()
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._on_close = on_close
        self._next = 0
        self._pending: dict[int, asyncio.Future[tuple[dict[str, Any], list[int]]]] = {}
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self.closed = False
        self._loop.add_reader(self._fd, self._readable)

    async def request(
        self, op: str, fds: Sequence[int] = (), *, tail: bytes = b"", within: float | None = None, **fields: Any
    ) -> tuple[dict[str, Any], list[int]]:
        """Ask and wait for the answer; its descriptors are the caller's.

        Args:
            op: the operation.
            fds: descriptors to send along; they stay the caller's.
            tail: plain bytes to send along, at most `LONGEST_TAIL`.
            within: seconds to wait for the answer.
            fields: the operation's fields.

        Raises:
            SandboxError: what the agent refused.
            ChannelClosed: it is gone.
            TimeoutError: no answer in time.
        """
        if self.closed:
            raise ChannelClosed
        self._next += 1
        number = self._next
        future: asyncio.Future[tuple[dict[str, Any], list[int]]] = self._loop.create_future()
        self._pending[number] = future
        taken = False
        try:
            self.send({"n": number, "op": op, **fields}, fds, tail)
            if within is None:
                answer, received = await future
            else:
                async with asyncio.timeout(within):
                    answer, received = await future
            taken = True
        finally:
            self._pending.pop(number, None)
            # The answer may have come in the very moment in which its caller was cancelled.
            if not taken and future.done() and not future.cancelled() and future.exception() is None:
                _close_all(future.result()[1])
        if not answer["ok"]:
            raise SandboxError(str(answer["reason"]), str(answer["message"]))
        return answer, received

    def tell(self, op: str, **fields: Any) -> None:
        """Ask for something whose answer nobody waits for."""
        if not self.closed:
            self._next += 1
            self.send({"n": self._next, "op": op, **fields})

    def send(self, message: dict[str, Any], fds: Sequence[int] = (), tail: bytes = b"") -> None:
        """Send a packet, now or as soon as the agent reads."""
        packet = _encode(message)
        extra: list[int] = []
        if len(packet) > LARGEST_PACKET:
            extra = [memory_file(packet)]
            # Its number outside, so that an agent without room for the descriptor can still answer.
            packet = _encode({"big": True, "n": message.get("n")})
        if tail:
            packet = b"%s\n%s" % (packet, tail)
        try:
            if self._unsent or not self._send(packet, [*extra, *fds]):
                self._unsent.append((packet, [os.dup(fd) for fd in (*extra, *fds)]))
                if len(self._unsent) == 1:
                    self._loop.add_writer(self._fd, self._writable)
        finally:
            _close_all(extra)

    def _send(self, packet: bytes, fds: Sequence[int]) -> bool:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._socket.sendmsg([packet], ancillary)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            # Whatever the agent said last is still to be read; its end is noticed there.
            return True
        return True

    def _writable(self) -> None:
        while self._unsent:
            packet, fds = self._unsent[0]
            if not self._send(packet, fds):
                return
            self._unsent.popleft()
            _close_all(fds)
        self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        for _ in range(_MOST_PER_WAKE):
            if not self._receive():
                return

    def _receive(self) -> bool:
        """Handle one packet; False when there is none."""
        if self.closed:
            return False
        try:
            packet, ancillary, _, _ = self._socket.recvmsg(
                _RECEIVE, socket.CMSG_SPACE(4 * _MOST_FDS), socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            packet, ancillary = b"", []
        if not packet:
            self.close()
            self._on_close()
            return False
        self._dispatch(packet, _descriptors(ancillary))
        return True

    def _dispatch(self, packet: bytes, fds: list[int]) -> None:
        head, _, tail = packet.partition(b"\n")
        message = _decode(head)
        if message.get("big") and fds:
            memory = fds.pop(0)
            with open(memory, "rb") as file:
                file.seek(0)
                message = json.load(file)
        number = message.get("n")
        if number is None:
            _close_all(fds)
            self._on_event(message, tail)
            return
        future = self._pending.get(number)
        if future is None or future.done():
            _close_all(fds)
        else:
            future.set_result((message, fds))

    def drain(self) -> None:
        """Take what has arrived already, so that nothing an agent said before it ended is lost."""
        while self._receive():
            continue

    def close(self) -> None:
        """Close our end; the agent lives on. Requests under way end with ChannelClosed."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._socket.close()
        for _, fds in self._unsent:
            _close_all(fds)
        self._unsent.clear()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(ChannelClosed())


def _encode(message: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(message)
    except UnicodeEncodeError:
        # Bytes that are no text, as surrogate escapes: only this one writes them.
        return json.dumps(message, separators=(",", ":")).encode()


def _decode(packet: bytes) -> dict[str, Any]:
    try:
        message: dict[str, Any] = msgspec.json.decode(packet)
    except msgspec.DecodeError:
        # The same the other way.
        message = json.loads(packet)
    return message


def memory_file(content: bytes) -> int:
    """A file in memory that holds `content`, positioned at its start."""
    fd = os.memfd_create("skerry", os.MFD_CLOEXEC)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
