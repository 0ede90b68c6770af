"""Event streams: as the standard has them, cut anywhere, and without end."""

from __future__ import annotations

import itertools
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry._kernel import sse
from skerry._kernel.sse import Event, EventParser
from skerry.errors import ProtocolError


def parse(*pieces: bytes) -> list[Event]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [Event("a")]),
        (b"data:a\n\ndata:  b\n\n", [Event("a"), Event(" b")]),
        (b"data: a\r\ndata: b\r\n\r\n", [Event("a\nb")]),
        (b"data: a\rdata: b\r\rdata: c\r", [Event("a\nb")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event("a")]),
        (b": a comment\n\nevent: end\ndata: {}\n\n", [Event("{}", "end")]),
        (b"id: 7\ndata: a\n\ndata: b\n\n", [Event("a", id="7"), Event("b", id="7")]),
        (b"id: 7\x00\ndata: a\n\n", [Event("a")]),
        (b"event: nothing\n\nretry: 5\n\ndata\n\n", [Event("")]),
        (b"data: never ended", []),
    ],
)
def test_streams_are_read_as_the_standard_says(stream: bytes, events: list[Event]) -> None:
    assert parse(stream) == events


def test_a_carriage_return_at_the_end_waits_for_what_follows() -> None:
    assert parse(b"data: a\r", b"\n\r", b"\nx") == [Event("a")]
    assert parse(b"data: a\r\r", b"data: b\r\r", b"\n") == [Event("a"), Event("b")]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"))), st.data())
def test_it_does_not_matter_where_a_stream_is_cut(texts: list[str], data: st.DataObject) -> None:
    stream = "".join(f"data: {text}\n\n" for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[start:end] for start, end in itertools.pairwise([0, *cuts, len(stream)])]
    assert [event.data for event in parse(*pieces)] == texts


@given(st.binary())
def test_nothing_that_comes_breaks_it(stream: bytes) -> None:
    assert all(isinstance(event, Event) for event in parse(stream))


@pytest.mark.parametrize("piece", [b"x" * 100, b"data: " + b"x" * 20 + b"\n"])
def test_an_event_without_end_is_refused(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LONGEST_EVENT", 1000)
    parser = EventParser()
    with pytest.raises(ProtocolError, match="longer than 1000"):
        deque((list(parser.feed(piece)) for _ in range(100)), maxlen=0)
