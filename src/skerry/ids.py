"""Identifiers: ULIDs, and prefixed ids that say which kind of thing they name."""

from __future__ import annotations

import secrets
import time

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid_from(milliseconds: int, randomness: bytes) -> str:
    """Encode a ULID: 48 bits of Unix milliseconds (masked) and 80 random bits, 26 Crockford characters.

    Args:
        milliseconds: Unix time in milliseconds; only the low 48 bits are used.
        randomness: exactly 10 bytes.

    Example:
        >>> ulid_from(1469918176385, bytes.fromhex("00112233445566778899"))
        '01ARYZ6S41008J4CT4ANK7F24S'
    """
    if len(randomness) != 10:
        raise ValueError("a ULID takes exactly 10 random bytes")
    value = (milliseconds & ((1 << 48) - 1)) << 80 | int.from_bytes(randomness, "big")
    return "".join(CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


def new_ulid() -> str:
    """A fresh ULID from the system clock and the system's randomness."""
    return ulid_from(time.time_ns() // 1_000_000, secrets.token_bytes(10))


def new_id(prefix: str) -> str:
    """A fresh id such as `vmh-01k...`: the prefix, a dash, and a lower-case ULID (safe in host names)."""
    return f"{prefix}-{new_ulid().lower()}"
