"""How a server judges a signed request, without any store: the pure half of section 2.5.

Checks 1 to 4 and 6 are here; whether a key is known, revoked or bound to addresses, whether its nonce was used, and
what its preset permits is for the server to look up in between, in the order of that section.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, quote_plus, unquote_to_bytes

from skerry.networks.dispersed.canonical import joined, json_text, quoted, sorted_pairs
from skerry.networks.dispersed.signing import body_hash, canonical_string, signature

SKEW_MS = 300_000
"""How far a client's clock may be off, either way, inclusive."""

NONCE_LIFETIME_S = 86_400
"""Seconds for which a nonce may not come again."""

Refusal = Literal["MISSING_AUTH_HEADERS", "INVALID_TIMESTAMP", "TIMESTAMP_OUT_OF_RANGE", "INVALID_NONCE"]
"""Codes of checks 1 to 4; all of them are answered with status 401."""

_TIME = re.compile(r"[0-9]{1,16}")
_NONCE = re.compile(r"[0-9A-Za-z_-]{16,128}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The four headers of a request, well-formed but not yet believed.

    Attributes:
        public_key: whom the request claims to be from.
        time_ms: the client's clock as text.
        nonce: to be used once.
        signature: as received, of any form.
    """

    public_key: str
    time_ms: str
    nonce: str
    signature: str


def read_credentials(headers: Iterable[tuple[str, str]], now_ms: int) -> Credentials | Refusal:
    """Checks 1 to 4: the headers are there, the time is near, the nonce has the right form.

    Args:
        headers: of the request, names in any case.
        now_ms: the server's clock, Unix milliseconds.

    Returns:
        The credentials, or the code of the first check that failed.
    """
    found = {name.lower(): value for name, value in headers}
    public_key, moment, nonce, mark = (found.get(f"x-{name}", "") for name in ("api-key", "time", "nonce", "signature"))
    if not (public_key and moment and nonce and mark):
        return "MISSING_AUTH_HEADERS"
    if not _TIME.fullmatch(moment):
        return "INVALID_TIMESTAMP"
    if abs(now_ms - int(moment)) > SKEW_MS:
        return "TIMESTAMP_OUT_OF_RANGE"
    if not _NONCE.fullmatch(nonce):
        return "INVALID_NONCE"
    return Credentials(public_key, moment, nonce, mark)


def signature_matches(
    credentials: Credentials, secret_key: str, *, method: str, target: str, body: bytes, prefix: str = ""
) -> bool:
    """Check 6: the signature is the one of this request, in one of the spellings that clients use.

    All spellings denote the same decoded request, so accepting any of them lets nothing else through. Each comparison
    takes the same time wherever the texts differ.

    Args:
        credentials: of the request.
        secret_key: of the key they name.
        method: of the request.
        target: raw path and query as received; a decoded path must not verify.
        body: as received, empty for none.
        prefix: path the service is mounted below, such as `/dispersed`; clients may sign with or without it.
    """
    if not _SIGNATURE.fullmatch(credentials.signature):
        return False
    path, _, query = target.partition("?")
    queries = list(query_candidates(query))
    for body_sha256 in _body_hashes(body):
        for one_path in path_candidates(path, prefix):
            for one_query in queries:
                text = canonical_string(
                    credentials.public_key,
                    credentials.time_ms,
                    credentials.nonce,
                    method,
                    one_path,
                    one_query,
                    body_sha256,
                )
                if hmac.compare_digest(signature(secret_key, text), credentials.signature):
                    return True
    return False


def path_candidates(path: str, prefix: str = "") -> tuple[str, ...]:
    """The raw path as received, and without the prefix of the mount where it has that."""
    prefix = prefix.rstrip("/")
    if prefix and path.startswith(f"{prefix}/"):
        return path, path[len(prefix) :]
    return (path,)


def query_pairs(query: str) -> list[tuple[str, str]] | None:
    """Decoded pairs of a raw query in their order, a plus sign being a blank; None when it cannot be decoded."""
    if _BAD_ESCAPE.search(query):
        return None
    try:
        return [(_decoded(name), _decoded(value)) for name, _, value in (part.partition("=") for part in _parts(query))]
    except UnicodeDecodeError:
        return None


def _decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8")


def _parts(query: str) -> list[str]:
    return [part for part in query.split("&") if part]


def query_candidates(query: str) -> tuple[str, ...]:
    """What a client that sent this raw query may have signed, likeliest first (section 2.5)."""
    if not query:
        return ("",)
    found: list[str] = []
    pairs = query_pairs(query)
    if pairs is not None:
        ordered = sorted_pairs(pairs)
        found += [joined(ordered, encode) for encode in (quoted, _web_form, quote_plus, _component)]
    found += ["&".join(sorted(_parts(query))), query]
    return tuple(dict.fromkeys(found))


def _web_form(text: str) -> str:
    # `URLSearchParams` keeps the asterisk and escapes the tilde.
    return quote_plus(text, safe="*").replace("~", "%7E")


def _component(text: str) -> str:
    return quote(text, safe="!~*'()")


def body_candidates(body: bytes) -> tuple[str, ...]:
    """Hashes that a client that sent these bytes may have signed (section 2.5)."""
    return tuple(dict.fromkeys(_body_hashes(body)))


def _body_hashes(body: bytes) -> Iterator[str]:
    # One by one: most clients sign the bytes they send, and whoever signed something else has the larger bill.
    yield body_hash(body)
    if body:
        yield from map(body_hash, _spellings(body))


def _spellings(body: bytes) -> Iterator[bytes]:
    try:
        value = json.loads(body, parse_constant=_refuse)
        canonical = json_text(value)
        by_point = _plain(value, ascii_only=False)
        escaped_by_point = _plain(value, ascii_only=True)
    except (ValueError, RecursionError):
        return
    yield canonical.encode()
    yield _NOT_ASCII.sub(_escape, canonical).encode()
    yield by_point.encode("utf-8", "surrogatepass")
    yield escaped_by_point.encode()


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _plain(value: Any, *, ascii_only: bool) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only)


def _escape(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
