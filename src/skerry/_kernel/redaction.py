"""Mask secrets before anything is shown: in errors, hooks, logs and recordings."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"

_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-payment"})
_TOKENS = re.compile(
    r"(?P<keep>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{4,}"
    r"|\b(?:ark_live_|ark_|sk_live_|sk-|dsp_|dc1_|octa_|whsec_)[A-Za-z0-9_-]{6,}",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """The text with bearer tokens and anything shaped like a key replaced by `***`."""
    return _TOKENS.sub(lambda match: (match.group("keep") or "") + MASK, text)


def redact_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Headers with the values of authenticating ones masked and the others scanned for keys."""
    return tuple((name, MASK if name.lower() in _SECRET_HEADERS else redact(value)) for name, value in headers)
