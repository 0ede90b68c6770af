"""Reading what bash's `declare -p` prints: names, attributes and values of variables; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_VALUE = rb"""(?:"[^"\\]*(?:\\.[^"\\]*)*"|\$'[^'\\]*(?:\\.[^'\\]*)*')"""
_KEY = rb"(?:" + _VALUE + rb"|[^\]]*)"
_DECLARATION = re.compile(
    rb"declare -([a-zA-Z-]+) ([A-Za-z_][A-Za-z0-9_]*)"
    rb"(?:=(" + _VALUE + rb"|\((?:\[" + _KEY + rb"\]=" + _VALUE + rb" ?)*\)))?\n",
    re.DOTALL,
)
_ELEMENT = re.compile(rb"\[(" + _KEY + rb")\]=(" + _VALUE + rb") ?", re.DOTALL)
_DOUBLE = re.compile(rb'\\(["$`\\])')
_ANSI = re.compile(rb"\\([0-7]{1,3}|x[0-9A-Fa-f]{1,2}|.)", re.DOTALL)
_LETTERS = {
    b"a": b"\a",
    b"b": b"\b",
    b"e": b"\x1b",
    b"E": b"\x1b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
}


@dataclass(frozen=True, slots=True)
class Declaration:
    """One variable.

    Args:
        flags: attribute letters such as `x` (exported), `a`, `A`, `i`, `r`, `n`; `-` for none.
        source: the line that declares it again.
        raw: the value as printed, None when it has none.
    """

    flags: str
    source: bytes
    raw: bytes | None

    def scalar(self) -> str | None:
        """The value, undecodable bytes as surrogate escapes; None for arrays, references and unset variables."""
        if self.raw is None or self.raw.startswith(b"(") or "n" in self.flags:
            return None
        return _unquote(self.raw).decode(errors="surrogateescape")

    def elements(self) -> dict[str, str]:
        """The elements of an array by key, as text."""
        found = _ELEMENT.findall(self.raw or b"")
        return {
            _unquote(key).decode(errors="surrogateescape"): _unquote(value).decode(errors="surrogateescape")
            for key, value in found
        }


def parse_declarations(text: bytes) -> dict[str, Declaration] | None:
    """Variables by name, in the order printed; None when the text is not wholly of this form."""
    found: dict[str, Declaration] = {}
    position = 0
    while position < len(text):
        match = _DECLARATION.match(text, position)
        if match is None:
            return None
        position = match.end()
        found[match[2].decode()] = Declaration(match[1].decode(), match[0].rstrip(b"\n"), match[3])
    return found


def _unquote(raw: bytes) -> bytes:
    if raw.startswith(b'"'):
        return _DOUBLE.sub(rb"\1", raw[1:-1])
    if raw.startswith(b"$'"):
        return _ANSI.sub(_ansi, raw[2:-1])
    return raw


def _ansi(match: re.Match[bytes]) -> bytes:
    body = match[1]
    if body[:1] in b"01234567":
        return bytes([int(body, 8) & 255])
    if body[:1] == b"x" and len(body) > 1:
        return bytes([int(body[1:], 16)])
    return _LETTERS.get(body, body)
