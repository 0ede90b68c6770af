"""How the face writes JSON, moments and amounts, and how it reads JSON (protocol sections 2.4 and 2.5)."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any, NoReturn

MOST_BODY_BYTES = 1 << 20
LARGEST_EXACT = 9007199254740991
"""The largest integer that every client reads exactly."""

WEI = 10**18
_MOST_DEPTH = 64
_MOST_DIGITS = 78


class Unreadable(Exception):
    """A body that is no JSON text; the message is for who sent it."""


def encode(value: Any) -> bytes:
    """A body as compact JSON; integers of any size stay exact."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def decode(body: bytes) -> Any:
    """A body's value; numbers with a fraction or an exponent are exact decimals.

    Raises:
        Unreadable: no JSON in UTF-8, a name given twice, or too deep.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("The body is not UTF-8") from None
    if _depth(text) > _MOST_DEPTH:
        raise Unreadable(f"The body is nested more than {_MOST_DEPTH} deep")
    try:
        found = json.loads(
            text, parse_float=_number, parse_int=_integer, parse_constant=_refuse, object_pairs_hook=_once
        )
        if "\\u" in text:
            # Half of a pair of surrogates can be escaped, but never be written again.
            json.dumps(found, ensure_ascii=False, default=str).encode()
        return found
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"The body is not JSON: {error}") from None


def integral(value: Any) -> int | None:
    """A JSON number with a whole value, however it was spelled (`5`, `5.0`, `5e0`); None for anything else.

    Example:
        >>> integral(Decimal("5e16")), integral(7), integral(Decimal("1.5")), integral(True), integral("7")
        (50000000000000000, 7, None, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, Decimal) and (value == 0 or value.adjusted() < _MOST_DIGITS) and value == value.to_integral():
        return int(value)
    return None


def millis(micros: int) -> int:
    """A moment in milliseconds since 1970, as the wire has it."""
    return micros // 1_000


def octa(wei: int) -> float:
    """Wei in OCTA, as the nearest number with a point."""
    return float(Decimal(wei) / WEI)


def usd(wei: int, market_price: int) -> float:
    """What some Wei are worth in dollars.

    Args:
        wei: an amount.
        market_price: micros of a dollar for one OCTA.
    """
    return float(Decimal(wei) * market_price / WEI / 1_000_000)


def charge(wei: int, form: str) -> int | str:
    """`charge_amount` (section 2.5).

    Args:
        wei: an amount.
        form: `number`, `string`, or `auto`: a number while every client reads it exactly.

    Example:
        >>> charge(5, "auto"), charge(2**53, "auto"), charge(2**53, "number")
        (5, '9007199254740992', 9007199254740992)
    """
    return wei if form == "number" or (form == "auto" and wei <= LARGEST_EXACT) else str(wei)


def rounded(value: float, digits: int = 2) -> float | int:
    """A measured figure, without more digits than it deserves; whole ones without a point."""
    short = round(value, digits) if math.isfinite(value) else 0
    return int(short) if short == int(short) else short


def _number(text: str) -> Decimal:
    if len(text) > _MOST_DIGITS * 4:
        raise ValueError("a number has too many digits")
    return Decimal(text)


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS * 4:
        raise ValueError("a number has too many digits")
    return int(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice in one object")
    return found


def _depth(text: str) -> int:
    """How deep arrays and objects are nested, at most; what stands in strings is counted too low, never too high."""
    deepest = depth = 0
    quoted = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = quoted
        elif character == '"':
            quoted = not quoted
        elif not quoted and character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif not quoted and character in "]}":
            depth -= 1
    return deepest
