"""How a request of Dispersed becomes text, and that text a signature (section 2.2).

Everything here is a pure function of its arguments and knows nothing of clients, so that a server can use the parts.
The text rules are those of JavaScript, the language of the official client: numbers, key order and escapes are what
`JSON.stringify` of a recursively key-sorted copy gives.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

EMPTY_HASH = hashlib.sha256(b"").hexdigest()
"""What stands for a request without body."""

AUTH_HEADERS = ("x-api-key", "x-time", "x-nonce", "x-signature")
"""The four headers that authenticate, in lower case."""

NONCE_BYTES = 16
"""How many random bytes the client's nonce has; it is sent as twice as many lower-case hex digits."""


def body_hash(body: bytes | None) -> str:
    """Lower-case hex SHA-256 of a body; no body counts as zero bytes."""
    return hashlib.sha256(body).hexdigest() if body else EMPTY_HASH


def canonical_string(
    public_key: str, time_ms: str, nonce: str, method: str, path: str, query: str, body_sha256: str
) -> str:
    """The text that is signed: seven parts joined by bars (section 2.2).

    Args:
        public_key: as in `X-API-Key`.
        time_ms: as in `X-Time`, Unix milliseconds in decimal.
        nonce: as in `X-Nonce`, its case kept.
        method: HTTP method in any case.
        path: raw path of the request target, percent-encoded as sent, without query.
        query: canonical query without question mark, empty for none.
        body_sha256: see `body_hash`.

    Example:
        >>> canonical_string("pk", "1706918400000", "a1b2", "get", "/v1/jobs", "limit=10", "e3b0")
        'pk|1706918400000|a1b2|GET|/v1/jobs|limit=10|e3b0'
    """
    return "|".join((public_key, time_ms, nonce, method.upper(), path, query, body_sha256))


def signature(secret_key: str, text: str) -> str:
    """Lower-case hex HMAC-SHA256 of a text; the key is the whole secret as it stands, prefix included."""
    return hmac.new(secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()


def target_of(url: str) -> tuple[str, str]:
    """Raw path and raw query of an absolute, already encoded URL; neither is decoded or changed."""
    parts = urlsplit(url)
    return parts.path or "/", parts.query


def auth_headers(
    public_key: str,
    secret_key: str,
    *,
    method: str,
    url: str,
    body: bytes | None,
    time_ms: int,
    nonce: str,
) -> tuple[tuple[str, str], ...]:
    """The four headers of one try (sections 2.1 and 2.2).

    Args:
        public_key: such as `pk_...`.
        secret_key: such as `sk_...`.
        method: HTTP method.
        url: absolute and encoded, its query canonical, exactly as it will be sent.
        body: exactly the bytes that will be sent, None for no body.
        time_ms: Unix milliseconds, fresh for every try.
        nonce: fresh for every try.
    """
    path, query = target_of(url)
    moment = str(time_ms)
    text = canonical_string(public_key, moment, nonce, method, path, query, body_hash(body))
    return tuple(zip(AUTH_HEADERS, (public_key, moment, nonce, signature(secret_key, text)), strict=True))
