"""What the head of a GGUF file says, read with bounds: model files come from anywhere.

Only the head is read, never a weight. A file that was cut short is told from a whole one, so that the engine is not
started on it.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from skerry.island.engine.errors import Invalid
from skerry.units import format_size

MAGIC = b"GGUF"
U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)

_SCALARS = {
    U8: struct.Struct("<B"),
    I8: struct.Struct("<b"),
    U16: struct.Struct("<H"),
    I16: struct.Struct("<h"),
    U32: struct.Struct("<I"),
    I32: struct.Struct("<i"),
    F32: struct.Struct("<f"),
    BOOL: struct.Struct("<?"),
    U64: struct.Struct("<Q"),
    I64: struct.Struct("<q"),
    F64: struct.Struct("<d"),
}
_U32, _U64 = _SCALARS[U32], _SCALARS[U64]
_VERSIONS = (2, 3)
_MOST_KEYS, _MOST_TENSORS, _LONGEST_KEPT = 100_000, 1_000_000, 65_536

BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 36),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
    40: (64, 36),
    41: (128, 18),
}
"""Weights of a block, and its bytes, by the number of a tensor's type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is known of a model without loading it.

    Args:
        architecture: such as `llama`.
        name, description: what its makers call it; empty when they do not.
        context_length: tokens that it was trained on at once, 0 when it does not say.
        layers: of attention.
        cache_width: numbers that a token takes in the cache, over all layers.
        vocabulary: how many tokens it knows.
        longest_token: bytes of the longest of them.
        weights_bytes: of the tensors in this file.
        has_template: whether it says how a chat is written.
    """

    architecture: str
    name: str
    description: str
    context_length: int
    layers: int
    cache_width: int
    vocabulary: int
    longest_token: int
    weights_bytes: int
    has_template: bool


def read(path: Path) -> Header:
    """The head of a file.

    Raises:
        Invalid: it is no GGUF file, or not a whole one; the message says which.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise Invalid(f"{path.name} is no GGUF file; llama.cpp loads no other kind")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as room:
                return _Reader(room, path.name).header()
    except OSError as error:
        raise Invalid(f"{path.name} cannot be read: {error.strerror or error}") from None


class _Texts(NamedTuple):
    """What is known of an array of texts.

    Args:
        number: how many.
        longest: bytes of the longest.
    """

    number: int
    longest: int


class _Reader:
    """Walks over the head of one file."""

    def __init__(self, room: mmap.mmap, name: str) -> None:
        self._room = room
        self._name = name
        self._at = 4

    def header(self) -> Header:
        version = self._number(_U32)
        if version not in _VERSIONS:
            raise Invalid(f"{self._name} is of GGUF version {version}, which is none of {_VERSIONS}")
        tensors, keys = self._number(_U64), self._number(_U64)
        if keys > _MOST_KEYS or tensors > _MOST_TENSORS:
            raise self._bad(f"it claims {keys} keys and {tensors} tensors")
        values: dict[str, Any] = {}
        for _ in range(keys):
            key = self._text()
            values[key] = self._value(self._number(_U32))
        weights = self._tensors(tensors, values)
        return _header(values, weights)

    def _tensors(self, count: int, values: dict[str, Any]) -> int:
        """Bytes of all tensors, each of which must lie in the file."""
        places = []
        for _ in range(count):
            self._text()
            shape = [self._number(_U64) for _ in range(self._dimensions())]
            kind, offset = self._number(_U32), self._number(_U64)
            size = 1
            for length in shape:
                size *= length
            block, width = BLOCKS.get(kind, (size or 1, 0))
            places.append((offset, -(-size // block) * width))
        alignment = values.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise self._bad("its alignment is impossible")
        start = -(-self._at // alignment) * alignment
        end = max((start + offset + size for offset, size in places), default=start)
        if end > len(self._room):
            raise Invalid(
                f"{self._name} is cut short: {format_size(len(self._room))} of {format_size(end)} are there; "
                f"fetch it again"
            )
        return sum(size for _, size in places)

    def _dimensions(self) -> int:
        count: int = self._number(_U32)
        if count > 8:
            raise self._bad(f"a tensor of {count} dimensions")
        return count

    def _number(self, form: struct.Struct) -> Any:
        try:
            (found,) = form.unpack_from(self._room, self._at)
        except struct.error:
            raise self._short() from None
        self._at += form.size
        return found

    def _skip(self, count: int) -> int:
        """Where what is passed over began."""
        start = self._at
        if count > len(self._room) - start:
            raise self._short()
        self._at = start + count
        return start

    def _text(self) -> str:
        length = self._number(_U64)
        start = self._skip(length)
        return self._room[start : start + min(length, _LONGEST_KEPT)].decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._text()
        if kind == ARRAY:
            return self._array(self._number(_U32), self._number(_U64))
        if kind not in _SCALARS:
            raise self._bad(f"a value of unknown type {kind}")
        return self._number(_SCALARS[kind])

    def _array(self, kind: int, count: int) -> Any:
        """A short list of numbers as it is; of anything else only how much there is of it, and of texts the longest."""
        if kind in _SCALARS:
            form = _SCALARS[kind]
            start = self._skip(form.size * count)
            if form.size * count > _LONGEST_KEPT:
                return range(count)
            return [found for (found,) in form.iter_unpack(self._room[start : self._at])]
        if kind != STRING:
            raise self._bad(f"an array of unknown type {kind}")
        room, at, end, longest = self._room, self._at, len(self._room), 0
        unpack = _U64.unpack_from
        for _ in range(count):
            if at > end - 8:
                raise self._short()
            length = unpack(room, at)[0]
            at += 8 + length
            if length > longest:
                longest = length
        if at > end:
            raise self._short()
        self._at = at
        return _Texts(count, longest)

    def _short(self) -> Invalid:
        return Invalid(f"{self._name} is cut short within its head; fetch it again")

    def _bad(self, why: str) -> Invalid:
        return Invalid(f"{self._name} is a damaged GGUF file: {why}")


def _header(values: dict[str, Any], weights: int) -> Header:
    architecture = _word(values, "general.architecture")

    def number(key: str, default: int = 0) -> int:
        found = values.get(f"{architecture}.{key}", default)
        return found if isinstance(found, int) and 0 <= found < 1 << 32 else default

    layers, heads = number("block_count"), number("attention.head_count", 1)
    per_layer = values.get(f"{architecture}.attention.head_count_kv", heads)
    kv_heads = sum(per_layer) if isinstance(per_layer, list) else layers * number("attention.head_count_kv", heads)
    width = number("embedding_length") // max(1, heads)
    tokens = values.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, _Texts):
        tokens = _Texts(0, 0)
    return Header(
        architecture=architecture,
        name=_word(values, "general.name"),
        description=_word(values, "general.description"),
        context_length=number("context_length"),
        layers=layers,
        cache_width=kv_heads * (number("attention.key_length", width) + number("attention.value_length", width)),
        vocabulary=tokens.number,
        longest_token=tokens.longest,
        weights_bytes=weights,
        has_template="tokenizer.chat_template" in values,
    )


def _word(values: dict[str, Any], key: str) -> str:
    found = values.get(key, "")
    return found if isinstance(found, str) else ""
