"""From the wire's numbers to money, moments and seconds; whatever is no number becomes None."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from skerry.money import Money

_MICRO = Decimal("0.000001")


def usd(amount: Any) -> Money | None:
    """Whole dollars as money, rounded half up to the micro, as the network itself rounds (section 5.3).

    Example:
        >>> str(usd(Decimal("0.0745575")))
        '0.074558 USD'
    """
    if amount is None or isinstance(amount, bool):
        return None
    try:
        return Money.of(Decimal(str(amount)).quantize(_MICRO, ROUND_HALF_UP), "USD")
    except (InvalidOperation, ValueError):
        return None


def seconds_of(milliseconds: Any) -> float | None:
    """Seconds."""
    return milliseconds / 1000 if _is_number(milliseconds) else None


def moment_of(unix_ms: Any) -> datetime | None:
    """The moment that is so many milliseconds after 1970 began."""
    if not _is_number(unix_ms):
        return None
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def first_token(tokens: Any) -> str | None:
    """The first access token of a list whose items are `{"token": ...}` or bare text (section 3.3.1)."""
    for item in tokens if isinstance(tokens, list) else []:
        token = item.get("token") if isinstance(item, dict) else item
        if isinstance(token, str):
            return token
    return None
