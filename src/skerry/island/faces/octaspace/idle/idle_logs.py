"""How logs of idle jobs travel: compressed text in base64, short enough for every client (protocol section 3.13)."""

from __future__ import annotations

import base64
import zlib

MOST_BYTES = 16_383
"""One byte more, and the network's TypeScript client never comes back from reading it."""

_GZIP = 31


def packed(written: bytes, most: int | None = MOST_BYTES) -> str:
    """The end of a log as `data` has it.

    Args:
        written: the log; what is no UTF-8 is replaced.
        most: bytes of text that are sent, None for all.

    Example:
        >>> packed(b"hello world")
        'H4sIAAAAAAACA8tIzcnJVyjPL8pJAQCFEUoNCwAAAA=='
    """
    text = written.decode("utf-8", "replace").encode()
    return base64.b64encode(_compressed(text if most is None else last(text, most))).decode()


def last(text: bytes, most: int) -> bytes:
    """The end of some UTF-8, of at most so many bytes and beginning with a whole character."""
    end = text[max(0, len(text) - most) :]
    start = 0
    while start < len(end) and end[start] & 0xC0 == 0x80:
        start += 1
    return end[start:]


def _compressed(text: bytes) -> bytes:
    # Not by gzip.compress, whose header differs between releases of Python.
    packer = zlib.compressobj(zlib.Z_BEST_COMPRESSION, zlib.DEFLATED, _GZIP)
    return packer.compress(text) + packer.flush()
