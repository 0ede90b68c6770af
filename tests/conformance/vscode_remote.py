"""The back end of VS Code in a browser as its page speaks to it: frames, handshake, channels, over one WebSocket."""

from __future__ import annotations

import json
import struct
import uuid
from collections import deque
from typing import Any

from websockets.sync.client import ClientConnection

PATIENCE = 60.0

_REGULAR, _CONTROL = 1, 2
_UNDEFINED, _STRING, _BUFFER, _BYTES, _ARRAY, _OBJECT, _INTEGER = range(7)
_PROMISE, _LISTEN = 100, 102
_READY, _RESULT, _ERROR, _ERROR_OBJECT, _EVENT = range(200, 205)


class Remote:
    """A management connection, after its handshake.

    Args:
        socket: open, to the server's own path.
        commit: of the version that the page belongs to.
    """

    def __init__(self, socket: ClientConnection, commit: str) -> None:
        self._socket = socket
        self._unread = b""
        self._sent = self._seen = self._asked = 0
        self._events: dict[int, deque[Any]] = {}
        self._control({"type": "auth", "auth": "0" * 20, "data": "x"})
        signed = self._told(_CONTROL)
        assert json.loads(signed)["type"] == "sign", signed
        self._control(
            {
                "type": "connectionType",
                "commit": commit,
                "signedData": json.loads(signed)["data"],
                "desiredConnectionType": 1,
            }
        )
        ok = self._told(_CONTROL)
        assert json.loads(ok)["type"] == "ok", ok
        self._frame(_REGULAR, _packed({"remoteAuthority": "remote", "clientId": str(uuid.uuid4())}))
        assert _unpacked(self._told(_REGULAR))[0] == [_READY]

    def call(self, channel: str, name: str, argument: Any) -> Any:
        """The result of a command of a channel."""
        asked = self._ask(_PROMISE, channel, name, argument)
        while True:
            (kind, number, *_), result = self._answer()
            if number == asked and kind != _EVENT:
                assert kind == _RESULT, (kind, result)
                return result

    def listen(self, channel: str, name: str) -> int:
        """Ask for an event of a channel; its number."""
        number = self._ask(_LISTEN, channel, name, None)
        self._events[number] = deque()
        return number

    def event(self, number: int) -> Any:
        """The next event of that number."""
        while not self._events[number]:
            self._answer()
        return self._events[number].popleft()

    def _ask(self, kind: int, channel: str, name: str, argument: Any) -> int:
        self._asked += 1
        self._frame(_REGULAR, _packed([kind, self._asked, channel, name]) + _packed(argument))
        return self._asked

    def _answer(self) -> Any:
        head, body = _unpacked(self._told(_REGULAR))
        if head[0] == _EVENT and head[1] in self._events:
            self._events[head[1]].append(body)
        return head, body

    def _control(self, message: Any) -> None:
        self._frame(_CONTROL, json.dumps(message).encode())

    def _frame(self, kind: int, data: bytes) -> None:
        number = 0
        if kind == _REGULAR:
            number = self._sent = self._sent + 1
        self._socket.send(struct.pack(">BIII", kind, number, self._seen, len(data)) + data)

    def _told(self, wanted: int) -> bytes:
        """The next message of a kind; those that keep the connection alive are passed over."""
        while True:
            while len(self._unread) < 13 or len(self._unread) < 13 + struct.unpack(">I", self._unread[9:13])[0]:
                more = self._socket.recv(timeout=PATIENCE)
                assert isinstance(more, bytes), more
                self._unread += more
            kind, number, _, size = struct.unpack(">BIII", self._unread[:13])
            data, self._unread = self._unread[13 : 13 + size], self._unread[13 + size :]
            self._seen = max(self._seen, number)
            if kind == wanted:
                return data


def _length(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        out.append(low | (128 if value else 0))
        if not value:
            return bytes(out)


def _packed(value: Any) -> bytes:
    if value is None:
        return bytes((_UNDEFINED,))
    if isinstance(value, str):
        kind, data = _STRING, value.encode()
    elif isinstance(value, bytes):
        kind, data = _BYTES, value
    elif isinstance(value, list):
        return bytes((_ARRAY,)) + _length(len(value)) + b"".join(map(_packed, value))
    elif isinstance(value, int):
        return bytes((_INTEGER,)) + _length(value)
    else:
        kind, data = _OBJECT, json.dumps(value).encode()
    return bytes((kind,)) + _length(len(data)) + data


def _unpacked(data: bytes) -> list[Any]:
    """Head and body of a message; a body that is missing is None."""
    found, at = [], 0
    while at < len(data):
        value, at = _value(data, at)
        found.append(value)
    return [*found, None][:2]


def _value(data: bytes, at: int) -> tuple[Any, int]:
    kind, at = data[at], at + 1
    if kind == _UNDEFINED:
        return None, at
    size = shift = 0
    while True:
        low, at = data[at], at + 1
        size |= (low & 127) << shift
        shift += 7
        if low < 128:
            break
    if kind == _INTEGER:
        return size, at
    if kind == _ARRAY:
        items = []
        for _ in range(size):
            item, at = _value(data, at)
            items.append(item)
        return items, at
    part = data[at : at + size]
    value = part if kind in (_BUFFER, _BYTES) else part.decode() if kind == _STRING else json.loads(part)
    return value, at + size
