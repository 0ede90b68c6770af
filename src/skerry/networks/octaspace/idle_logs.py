"""How logs of idle jobs travel: UTF-8 text, compressed with gzip, written in base64 (section 3.13)."""

from __future__ import annotations

import binascii
import re
import zlib

LONGEST = 256 << 20
"""Bytes of text; a few kilobytes of zeros could claim to be more than the machine has."""

_BLANKS = re.compile(r"[\t\n\f\r ]+")
_ALPHABET = re.compile(r"[A-Za-z0-9+/]*")
_GZIP = 16 + zlib.MAX_WBITS


def unpacked(data: str) -> str:
    """The text of a log.

    Args:
        data: base64 in the standard alphabet; blanks count for nothing, padding may be missing.

    Returns:
        The text, without a byte order mark, and with replacement characters where it is not UTF-8.

    Raises:
        ValueError: it is not base64 of gzip, or is larger than `LONGEST`.

    Example:
        >>> unpacked("H4sIAN6R2GkAA8tIzcnJVyjPL8pJAQCFEUoNCwAAAA==")
        'hello world'
    """
    return _inflated(_bytes_of(data)).decode("utf-8", "replace").removeprefix("\ufeff")


def _bytes_of(data: str) -> bytes:
    text = _BLANKS.sub("", data)
    if len(text) % 4 == 0:
        text = text[:-2] if text.endswith("==") else text.removesuffix("=")
    if len(text) % 4 == 1 or not _ALPHABET.fullmatch(text):
        raise ValueError("no base64")
    return binascii.a2b_base64(text + "=" * (-len(text) % 4))


def _inflated(packed: bytes) -> bytes:
    pieces: list[bytes] = []
    size, rest, first = 0, packed, True
    while rest or first:
        member = zlib.decompressobj(_GZIP)
        try:
            piece = member.decompress(rest, LONGEST + 1 - size)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        pieces.append(piece)
        size += len(piece)
        if size > LONGEST:
            raise ValueError(f"more than {LONGEST} bytes of text")
        if not member.eof:
            raise ValueError("it breaks off")
        # Some writers fill up with zeros behind the last member.
        rest, first = member.unused_data.lstrip(b"\0"), False
    return b"".join(pieces)
