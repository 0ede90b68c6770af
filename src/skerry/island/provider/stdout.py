"""What a job's program writes: lines for its log as they come, and the text that is its result. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable

from skerry.island.provider.records import PHASES
from skerry.island.provider.task_specs import MARKER
from skerry.units import MIB

MOST_RESULT = 2 * MIB
"""Bytes of standard output that are reported (section 5.7)."""

MOST_MARKED = 24 * MIB
"""Bytes that a result behind the marker may have beyond that: pictures are reported so."""

_MARKER = MARKER.encode()
_PHASE = re.compile(r"\[(?:dcp|dc1)-phase\]\s*([A-Za-z_]+)\s*$")
_ENDS = re.compile(rb"[\r\n]")
_MOST_LINE = 64 * 1024


def phase_of(line: str) -> str | None:
    """The phase that a line of output announces, None for every other line.

    Example:
        >>> phase_of("[dc1-phase] generating"), phase_of("generating")
        ('generating', None)
    """
    found = _PHASE.match(line.strip())
    return found[1] if found and found[1] in PHASES else None


def result_text(output: bytes, limit: int = MOST_RESULT) -> str:
    """Standard output as it is reported: whole if it is short, else its beginning, its end and its result.

    Args:
        output: everything that was written.
        limit: bytes, a result behind the marker not counted.
    """
    if len(output) <= limit:
        return _text(output)
    result = _result(output, limit)
    plain = output[: len(output) - len(result)] if output.endswith(result) else output
    if len(plain) <= limit:
        return _text(plain) + _text(result)
    half = limit // 2
    note = f"\n[{len(plain) - 2 * half} bytes of output are left out here]\n"
    return f"{_text(plain[:half])}{note}{_text(plain[-half:]).rstrip()}\n{_text(result)}"


def _result(output: bytes, limit: int) -> bytes:
    """From the last marker to the end; only its line where that is too much; nothing where there is none."""
    # Searched for as plain bytes: a pattern would hold everybody up where the output is long.
    start = output.rfind(b"\n" + _MARKER) + 1
    if not output.startswith(_MARKER, start):
        return b""
    rest = output[start:]
    if len(rest) > limit:
        line, end, _ = rest.partition(b"\n")
        rest = line + end if len(line) <= MOST_MARKED else b""
    return rest


def _text(content: bytes) -> str:
    # Databases have no NUL in their texts.
    return content.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


class Lines:
    """Cuts a stream into lines as it comes; a carriage return ends one too, as progress bars have it.

    Args:
        offset: bytes of the stream that were dealt with before.
    """

    def __init__(self, offset: int = 0) -> None:
        self._rest = b""
        self._offset = offset

    def feed(self, chunk: bytes) -> list[tuple[str, int]]:
        """Each line that is complete by now, and how many bytes of the stream are done with it."""
        data, begin, found = self._rest + chunk, 0, []
        for end in _ENDS.finditer(data):
            found.append((data[begin : end.start()], self._offset + end.end()))
            begin = end.end()
        self._offset += begin
        self._rest = data[begin:]
        if len(self._rest) > _MOST_LINE:
            # The rest of a line that long is in the result, not in the log.
            found.append((self._rest, self._offset + len(self._rest)))
            self._offset += len(self._rest)
            self._rest = b""
        return _worded(found)

    def end(self) -> list[tuple[str, int]]:
        """The last line, if it had no end."""
        rest, self._rest = self._rest, b""
        return _worded([(rest, self._offset + len(rest))])


def _worded(lines: Iterable[tuple[bytes, int]]) -> list[tuple[str, int]]:
    return [(_text(line), offset) for line, offset in lines if line.strip()]
