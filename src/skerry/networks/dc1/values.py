"""From the wire's numbers to money, moments and bytes; whatever makes no sense becomes None or nothing."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from skerry.money import Money

NOTHING = Money(0, "SAR")


def halala(amount: Any) -> Money:
    """A whole number of halala as money; what is missing is nothing, as both official SDKs have it.

    Example:
        >>> str(halala(75))
        '0.75 SAR'
    """
    return halala_or_none(amount) or NOTHING


def halala_or_none(amount: Any) -> Money | None:
    """A whole number of halala as money, None where there is no number."""
    if isinstance(amount, float) and amount.is_integer():
        amount = int(amount)
    return Money(amount, "SAR") if isinstance(amount, int) and not isinstance(amount, bool) else None


def image_bytes(text: Any) -> bytes | None:
    """The bytes of base64 text; None when it is none."""
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


def gigabytes(mebibytes: Any) -> float:
    """Mebibytes as gigabytes with one decimal place, halves rounded up; 0 when it is no number.

    Example:
        >>> gigabytes(24564), gigabytes(8188)
        (24.0, 8.0)
    """
    if not isinstance(mebibytes, int) or isinstance(mebibytes, bool):
        return 0.0
    return (mebibytes * 20 + 1024) // 2048 / 10
