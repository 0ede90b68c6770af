"""JSON values in Erlang's external term format, in which a node keeps its ident file (protocol section 7.3)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

_VERSION = b"\x83"
_COMPRESSED = b"P"
_LEVEL = 6
_SMALL_MAP = 32
"""Up to so many members Erlang keeps a map's keys in order, and writes them so."""


def term_to_binary(value: Any, *, compressed: bool = False) -> bytes:
    """A JSON value as one term: texts and keys as binaries in UTF-8, true, false and null as atoms.

    Args:
        value: what `json.loads` can give.
        compressed: deflate it, if that makes it smaller.

    Raises:
        TypeError: it is no JSON value.

    Example:
        >>> term_to_binary({"a": [1, None]}).hex()
        '8374000000016d00000001616c0000000261017704' + 'nullj'.encode().hex()
    """
    term = _encoded(value)
    if compressed:
        packed = zlib.compress(term, _LEVEL)
        if len(_COMPRESSED) + 4 + len(packed) < len(term):
            return _VERSION + _COMPRESSED + struct.pack(">I", len(term)) + packed
    return _VERSION + term


def _encoded(value: Any) -> bytes:
    if value is None or isinstance(value, bool):
        return _atom({None: b"null", True: b"true", False: b"false"}[value])
    if isinstance(value, str):
        return _binary(value)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return b"F" + struct.pack(">d", value)
    if isinstance(value, Mapping):
        return _map(value)
    if isinstance(value, list | tuple):
        items = b"".join(_encoded(item) for item in value)
        return b"l" + struct.pack(">I", len(value)) + items + b"j" if value else b"j"
    raise TypeError(f"{type(value).__name__} is no value of JSON")


def _map(value: Mapping[str, Any]) -> bytes:
    names = list(value)
    if len(names) <= _SMALL_MAP:
        names.sort(key=str.encode)
    return b"t" + struct.pack(">I", len(names)) + b"".join(_binary(name) + _encoded(value[name]) for name in names)


def _binary(text: str) -> bytes:
    data = text.encode()
    return b"m" + struct.pack(">I", len(data)) + data


def _atom(name: bytes) -> bytes:
    return b"w" + bytes([len(name)]) + name


def _integer(value: int) -> bytes:
    if 0 <= value <= 255:
        return b"a" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"b" + struct.pack(">i", value)
    digits = abs(value).to_bytes((abs(value).bit_length() + 7) // 8, "little")
    sign = b"\x01" if value < 0 else b"\x00"
    if len(digits) <= 255:
        return b"n" + bytes([len(digits)]) + sign + digits
    return b"o" + struct.pack(">I", len(digits)) + sign + digits
