"""How the face writes JSON, moments and amounts, and how it reads JSON (sections 2.1 and 2.10)."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any, NoReturn

from skerry.island.ground.texts import iso as iso
from skerry.island.ground.texts import maybe_iso as maybe_iso
from skerry.island.store.values import moment

MOST_BODY_BYTES = 50 << 20
SCHEMA_VERSION = "2026-03-20.v1"
MOST_VALUES = 400_000
"""Of JSON in one body: what is large here is a text, and a million small lists take seconds and a gigabyte to read."""

HALALA_PER_USD = 375
_MOST_DIGITS = 400
_MILLISECOND = timedelta(milliseconds=1)
_COUNTED = 1 << 20
"""Bytes from which on values are counted: less than that cannot take long."""

# What is not closed ends with the body, so that nothing is looked at twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


class Unreadable(Exception):
    """A body that is no JSON text."""


def encode(value: Any) -> bytes:
    """A body as compact JSON, nothing escaped that need not be."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_number).encode()


def text(value: Any) -> str:
    """A structure as compact JSON text, as it is stored and signed."""
    return encode(value).decode()


def too_many(body: bytes) -> bool:
    """Whether a body says more than `MOST_VALUES` values; found out without reading them."""
    if len(body) < _COUNTED:
        return False
    if body.count(b'"') - body.count(b'\\"') > 2 * MOST_VALUES:
        return True
    bare = _STRING.sub(b"", body)
    return sum(bare.count(mark) for mark in (b",", b"[", b"{")) > MOST_VALUES


def decode(body: bytes) -> Any:
    """A body's value; strings are kept to the byte, numbers with a fraction become floats.

    Raises:
        Unreadable: no JSON in UTF-8, or too deep.
    """
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_refuse, parse_int=_integer)
        # Half of a pair of surrogates, and a number beyond every float, can be read, but never be written again; and a
        # recursion ends here.
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from None
    return found


def stamp(micros: int | None, *, millis: bool = True) -> str | None:
    """A moment as databases write it: `2026-03-22 20:00:00.000`, in UTC without saying so."""
    if micros is None:
        return None
    found = moment(micros)
    return found.strftime("%Y-%m-%d %H:%M:%S") + (f".{found.microsecond // 1_000:03d}" if millis else "")


def sar(halala: int) -> int | float:
    """Halala in riyals, as a JSON number: the shortest that means the same."""
    whole, rest = divmod(halala, 100)
    return whole if rest == 0 else float(Decimal(halala) / 100)


def sar_text(halala: int, digits: int = 2) -> str:
    """Halala in riyals, with a fixed number of digits."""
    return f"{Decimal(halala) / 100:.{digits}f}"


def usd(halala: int) -> int | float:
    """Halala in US dollars, rounded to six places."""
    found = (Decimal(halala) / HALALA_PER_USD).quantize(Decimal("0.000001"))
    return int(found) if found == found.to_integral() else float(found)


def number(written: str) -> int | float:
    """A number that was stored as text."""
    found = float(written)
    return int(found) if found.is_integer() else found


def _number(value: Any) -> int | float:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral() else float(value)
    raise TypeError(f"{type(value).__name__} is nothing of JSON")


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError("a number has too many digits")
    return int(digits)


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
