"""Server-sent events, as the HTML standard has them: a parser that is fed bytes as they come and gives whole events."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

from skerry.errors import ProtocolError

LONGEST_EVENT = 8 << 20
"""Characters one event may have; a server that sends more without an end is not one to go on reading."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        data: its lines of data, joined.
        event: its type, `message` unless the server says otherwise.
        id: the last id the server gave, None when it gave none.
    """

    data: str
    event: str = "message"
    id: str | None = None


class EventParser:
    """Takes the bytes of an event stream in any pieces, and gives its events.

    Example:
        >>> [event.data for event in EventParser().feed(b"data: one\\n\\ndata: tw")]
        ['one']
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self._started = False
        self._data: list[str] = []
        self._size = 0
        self._event = ""
        self._id: str | None = None

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that are whole once these bytes are there.

        Raises:
            ProtocolError: an event has no end.
        """
        text = self._rest + self._decode(piece)
        if not self._started and text:
            self._started = True
            text = text.removeprefix("\ufeff")
        # A carriage return at the very end may be the first half of a line end.
        held = "\r" if text.endswith("\r") else ""
        lines = (text[:-1] if held else text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._rest = lines.pop() + held
        if self._size + len(self._rest) > LONGEST_EVENT:
            raise ProtocolError(f"an event of the stream is longer than {LONGEST_EVENT} characters")
        for line in lines:
            if (event := self._line(line)) is not None:
                yield event

    def _line(self, line: str) -> Event | None:
        if not line:
            event = Event("\n".join(self._data), self._event or "message", self._id) if self._data else None
            self._data, self._size, self._event = [], 0, ""
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(value) + 1
            if self._size > LONGEST_EVENT:
                raise ProtocolError(f"an event of the stream is longer than {LONGEST_EVENT} characters")
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None
