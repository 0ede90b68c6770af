"""Tokens that open a session's terminal in a browser: bound to the session, and good for some hours.

A token is its end and a mark of that end which only the session's secret makes, so that none is kept anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

LIFETIME_SECONDS = 12 * 3600
_MOST_CHARACTERS = 100


def make(secret: bytes, uuid: str, now: int) -> str:
    """A token.

    Args:
        secret: of the session.
        uuid: of the session.
        now: seconds since 1970.
    """
    end = now + LIFETIME_SECONDS
    return f"{end:x}.{_mark(secret, uuid, end)}"


def admits(secret: bytes, uuid: str, token: str, now: int) -> bool:
    """Whether a token was made for this session and is still good; compared in constant time.

    Example:
        >>> token = make(b"secret", "a-session", 1_700_000_000)
        >>> [admits(b"secret", name, token, 1_700_000_001) for name in ("a-session", "another")]
        [True, False]
        >>> admits(b"secret", "a-session", token, 1_700_000_000 + LIFETIME_SECONDS)
        False
    """
    digits, _, mark = token.partition(".")
    if len(token) > _MOST_CHARACTERS or not token.isascii():
        return False
    try:
        end = int(digits, 16)
    except ValueError:
        return False
    # The mark is of the number: a token has one spelling that is made here, and others are not needed.
    return hmac.compare_digest(mark.encode(), _mark(secret, uuid, end).encode()) and now < end


def _mark(secret: bytes, uuid: str, end: int) -> str:
    digest = hmac.new(secret, f"octaspace terminal:{uuid}:{end}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
