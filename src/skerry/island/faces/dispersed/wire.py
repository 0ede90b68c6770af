"""How the face writes identifiers, money and JSON, and how it reads JSON."""

from __future__ import annotations

import itertools
import json
import math
import secrets
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

MOST_BODY_BYTES = 1 << 20
MOST_DEPTH = 64
LARGEST_INTEGER = 9007199254740991
"""The largest number that every client reads exactly."""

_MICROS = 1_000_000
_encoder = msgspec.json.Encoder(decimal_format="number")
_order = itertools.count()


class Unreadable(Exception):
    """A body that is no JSON text, or one that nobody should take apart; the message is for who sent it."""


def new_uuid(now: int) -> str:
    """A UUID of version 7: whoever sorts them as text has them in the order in which they were made.

    Args:
        now: microseconds since 1970, of the island's clock.
    """
    milliseconds, rest = divmod(now, 1000)
    # The fraction of the millisecond comes next, then a count for clocks that stand still.
    fraction = rest * 4096 // 1000
    low = (next(_order) & 0x3FFFFFF) << 36 | secrets.randbits(36)
    value = (milliseconds & ((1 << 48) - 1)) << 80 | 7 << 76 | fraction << 64 | 2 << 62 | low
    return str(UUID(int=value))


def usd(micros: int) -> Decimal:
    """An amount of whole micros (of a dollar, or of a RENDER token) as the exact number that goes over the wire.

    Example:
        >>> [str(usd(n)) for n in (350_000, 1, 2_000_000, -74_558)]
        ['0.35', '0.000001', '2', '-0.074558']
    """
    return fixed(micros, 6)


def fixed(count: int, digits: int) -> Decimal:
    """So many units of the last of `digits` decimals, without zeros at its end, exact.

    Example:
        >>> str(fixed(1810, 3))
        '1.81'
    """
    whole, fraction = divmod(abs(count), 10**digits)
    text = f"{whole}.{fraction:0{digits}d}".rstrip("0").rstrip(".")
    return Decimal(f"-{text}" if count < 0 else text)


def micros_of(amount: Decimal) -> int | None:
    """An amount of dollars in micros; None when it has more than six decimals or is no number."""
    if not amount.is_finite() or not -18 <= amount.adjusted() <= 18:
        return 0 if amount == 0 else None
    scaled = amount * _MICROS
    return int(scaled) if scaled == int(scaled) else None


def encode(value: Any) -> bytes:
    """A body as JSON text; decimals become exact numbers."""
    return _encoder.encode(value)


def decode(body: bytes) -> Any:
    """A body's value.

    Args:
        body: at most `MOST_BODY_BYTES`, not empty.

    Raises:
        Unreadable: it is no JSON in UTF-8; or it holds a number that is not finite, a member twice in one object, a
            NUL character, half a surrogate pair, or is nested deeper than `MOST_DEPTH`.
    """
    try:
        value = json.loads(
            body.decode("utf-8"), parse_constant=_constant, parse_float=_float, object_pairs_hook=_members
        )
    except RecursionError:
        raise Unreadable(f"the body is nested deeper than {MOST_DEPTH} levels") from None
    except UnicodeDecodeError:
        raise Unreadable("the body is not UTF-8") from None
    except ValueError:
        raise Unreadable("the body is not valid JSON") from None
    _examine(value)
    return value


def _constant(word: str) -> Any:
    raise Unreadable(f"{word} is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Unreadable("a number in the body is too large")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("an object in the body has the same member twice")
    return found


def _examine(value: Any) -> None:
    """Refuse what no database keeps and what is too deep, without recursion of its own."""
    level, depth = [value], 0
    while level:
        depth += 1
        inner: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _check_text(item)
            elif isinstance(item, dict | list):
                if depth > MOST_DEPTH:
                    raise Unreadable(f"the body is nested deeper than {MOST_DEPTH} levels")
                if isinstance(item, dict):
                    for name in item:
                        _check_text(name)
                    inner += item.values()
                else:
                    inner += item
        level = inner


def _check_text(text: str) -> None:
    if text.isascii():
        if "\x00" in text:
            raise Unreadable("the body contains a NUL character")
        return
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Unreadable("the body contains a character that is none")
