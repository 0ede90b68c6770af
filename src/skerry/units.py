"""Sizes: bytes as integers at the surface, parsed from and formatted as binary units."""

from __future__ import annotations

import re

from skerry.errors import InvalidRequestError

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

_SIZE = re.compile(r"(\d+)(?:\.(\d+))?\s*([kmgt]?)(i?b?)", re.IGNORECASE)
_FACTOR = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB}


def parse_size(value: str | int) -> int:
    """Bytes from an integer or text such as `4096`, `512M`, `1.5GiB`; units are binary.

    Raises:
        InvalidRequestError: not a size, or negative.

    Example:
        >>> parse_size("1.5GiB") == 1536 * MIB
        True
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise InvalidRequestError(f"a size cannot be negative: {value}")
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if not match:
        raise InvalidRequestError(f"{value!r} is not a size; write 4096, 512M or 1.5GiB")
    whole, fraction, unit, _ = match.groups()
    factor = _FACTOR[unit.lower()]
    return int(whole) * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)


def format_size(count: int) -> str:
    """A short human form in binary units, such as `1.5 GiB`."""
    for name, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if count >= factor:
            return f"{count / factor:.1f} {name}".replace(".0 ", " ")
    return f"{count} B"
