"""Mask secrets before anything is shown: in errors, hooks, logs and recordings."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"

_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-payment", "x-signature"}
    | {"x-renter-key", "x-provider-key", "x-admin-token", "x-dc1-signature", "x-dcp-signature"}
)
_TOKENS = re.compile(
    # Prose such as "missing bearer token" is no secret: what follows must be long and look made up.
    r"(?P<keep>\b(?:Bearer|Basic)\s+)(?:(?=[A-Za-z._~+/=-]*\d)[A-Za-z0-9._~+/=-]{6,}|[A-Za-z0-9._~+/=-]{20,})"
    # Keys begin in lower case; OCTA_API_KEY and its like are names of variables, sk-ssh-ed25519@... is one of an SSH
    # key's type.
    r"|\b(?-i:ark_live_|sk_live_|sk-(?!ssh-ed25519@|ecdsa-sha2-nistp256@)|dsp_|dc1_|octa_|r402_|whsec_)[A-Za-z0-9_-]{6,}"
    r"|\b(?:ark_|sk_|dcp_)(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{12,}"
    r"|\b(?:dc1|dcp)-(?:renter|provider|sk)-[A-Za-z0-9-]{6,}",
    re.IGNORECASE,
)
_SECRET_PARAMETER = re.compile(
    r"(?P<keep>[?&;](?:[\w.-]*(?:sig|signature|token|ticket|secret|credential|key|password))=)[^&#;]+", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=//)[^/@?#]+@")


def redact(text: str) -> str:
    """The text with bearer tokens and anything shaped like a key replaced by `***`."""
    return _TOKENS.sub(lambda match: (match.group("keep") or "") + MASK, text)


def redact_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Headers with the values of authenticating ones masked and the others scanned for keys."""
    return tuple((name, MASK if name.lower() in _SECRET_HEADERS else redact(value)) for name, value in headers)


def redact_url(url: str, *, secret: bool = False) -> str:
    """The URL without user information, signatures and keys.

    Args:
        url: absolute.
        secret: the URL as a whole is a credential; only its origin is shown.
    """
    url = _USERINFO.sub(f"{MASK}@", url)
    if secret:
        scheme, slashes, rest = url.partition("//")
        return f"{scheme}{slashes}{re.split('[/?#]', rest, maxsplit=1)[0]}/{MASK}"
    return redact(_SECRET_PARAMETER.sub(lambda match: match.group("keep") + MASK, url))
