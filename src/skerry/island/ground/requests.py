"""What of a request reads the same in every network: where it came to, its parameters, its bearer token."""

from __future__ import annotations

from urllib.parse import parse_qsl

from skerry.island.asgi import Scope, header

_MOST_PARAMETERS = 100


class NoText(Exception):
    """Parameters that are no percent-encoding of UTF-8, or too many."""


def server_of(scope: Scope) -> tuple[str, int]:
    """Address and port at which the island was reached."""
    host, port = scope.get("server") or ("127.0.0.1", 80)
    return host, port


def host_of(scope: Scope) -> str:
    """Host and port by which the island was called, the server's own where nothing says."""
    host, port = server_of(scope)
    return header(scope["headers"], b"host") or f"{host}:{port}"


def root_of(scope: Scope) -> str:
    """Address of the face as the caller reached it, without a trailing slash."""
    return f"{scope.get('scheme', 'http')}://{host_of(scope)}{scope.get('root_path', '')}"


def parameters(text: str) -> dict[str, str]:
    """What a query or a form says; the first of each name counts.

    Raises:
        NoText: it cannot be read.
    """
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except ValueError:
        raise NoText from None
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def query_text(scope: Scope) -> str:
    """The query of a request as it was sent, without its question mark."""
    text: bytes = scope.get("query_string", b"")
    return text.decode("latin-1")


def bearer(authorization: str | None) -> str:
    """The token of an `authorization` header; empty without one."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
