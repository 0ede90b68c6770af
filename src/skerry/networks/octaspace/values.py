"""From the wire's numbers, which come as numbers or as text, to integers, money, moments and lists (section 2.5)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from skerry.errors import InvalidRequestError
from skerry.money import Money

_MICRO = Decimal("0.000001")
_WEI = Decimal("1e-18")
# Above this a bandwidth is bytes per second, whatever its name says; 1 Mbit/s is 125000 of them.
_PLAUSIBLE_MBITS = 100_000
_BYTES_PER_MBIT = 125_000
_LONGEST_NUMBER = 100


def whole(value: Any) -> int | None:
    """An exact integer from a JSON number or from decimal text; None for anything else.

    Example:
        >>> whole("31428028938060847852"), whole(28), whole("a"), whole(1.5)
        (31428028938060847852, 28, None, None)
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER:
        text = value.strip()
        digits = text.removeprefix("-")
        return int(text) if digits.isascii() and digits.isdigit() else None
    return None


def octa(wei: Any) -> Money | None:
    """So many Wei as money; 10**18 of them are one OCTA.

    Example:
        >>> str(octa("31428028938060847852"))
        '31.428028938060847852 OCTA'
    """
    amount = whole(wei)
    return None if amount is None else Money(amount, "OCTA")


def octa_of_coins(coins: Any) -> Money | None:
    """So many whole OCTA ("ether" in the network's field names) as money, rounded half up to the Wei."""
    return _money(coins, _WEI, "OCTA")


def usd(dollars: Any) -> Money | None:
    """Whole dollars as money, rounded half up to the micro."""
    return _money(dollars, _MICRO, "USD")


def usd_of_parts(parts: Any) -> Money | None:
    """So many 1/10,000 dollars, as `base_usd` and its like have them, as money.

    Example:
        >>> str(usd_of_parts(3400))
        '0.340000 USD'
    """
    amount = whole(parts)
    return None if amount is None else Money(amount * 100, "USD")


def _money(amount: Any, unit: Decimal, currency: str) -> Money | None:
    if amount is None or isinstance(amount, bool):
        return None
    try:
        return Money.of(Decimal(str(amount)).quantize(unit, ROUND_HALF_UP), currency)
    except (InvalidOperation, ValueError):
        return None


def wei(amount: int | Money, name: str) -> int:
    """The number of Wei that a caller means.

    Args:
        amount: Wei, or money in OCTA.
        name: what to call it in the error.

    Raises:
        InvalidRequestError: it is no whole number, or another currency.
    """
    if isinstance(amount, Money):
        if amount.currency != "OCTA":
            raise InvalidRequestError(f"{name} is priced in OCTA, not {amount.currency}", network="octaspace")
        return amount.amount
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise InvalidRequestError(
            f"{name} must be a whole number of Wei, or Money in OCTA, not {amount!r}", network="octaspace"
        )
    return amount


def moment_of(unix_ms: Any) -> datetime | None:
    """The moment that is so many milliseconds after 1970 began."""
    milliseconds = whole(unix_ms)
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def mbits(value: Any) -> float | None:
    """Mbit/s from a field that is named so but may hold bytes per second (section 2.5).

    Example:
        >>> mbits(62118848), mbits(940)
        (496.950784, 940.0)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value / _BYTES_PER_MBIT if value > _PLAUSIBLE_MBITS else float(value)


def numbers(value: Any) -> list[Any]:
    """A list that may come as JSON text, as a single value or as null (section 3.3).

    Example:
        >>> numbers("[5000,6000]"), numbers(None), numbers(22), numbers("oops")
        ([5000, 6000], [], [22], [])
    """
    if value is None:
        return []
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return []
        return parsed if isinstance(parsed, list) else []
    return [value]


def texts(values: Any) -> dict[str, str]:
    """A map whose values may be text, numbers, booleans or null, as text throughout; null is nothing (section 3.3)."""
    if not isinstance(values, dict):
        return {}
    return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
