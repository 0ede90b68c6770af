"""Reading a request: its parameters, its body, and how it reached the island."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from skerry.island.asgi import BodyTooLarge, Receive, Scope, header, read_body
from skerry.island.faces.octaspace import wire
from skerry.island.faces.octaspace.call import Place, Route
from skerry.island.faces.octaspace.errors import Fault, bad_request


def place_of(scope: Scope, public_host: str | None) -> Place:
    """How a request reached the island.

    Args:
        public_host: of the settings.
    """
    server = scope.get("server") or ("127.0.0.1", 80)
    scheme = scope.get("scheme", "http")
    host = header(scope["headers"], b"host") or f"{server[0]}:{server[1]}"
    return Place(
        scheme=scheme,
        host=host,
        suffix=public_host or f"localhost:{server[1]}",
        root=f"{scheme}://{host}{scope.get('root_path', '')}",
    )


def query_of(scope: Scope) -> dict[str, str]:
    """The parameters of a request; the first of each name counts."""
    found: dict[str, str] = {}
    text = scope.get("query_string", b"").decode("latin-1")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=100)
    except (ValueError, UnicodeDecodeError):
        raise bad_request("The query is not valid percent-encoding of UTF-8") from None
    for name, value in pairs:
        found.setdefault(name, value)
    return found


async def read_json(scope: Scope, receive: Receive, route: Route) -> tuple[Any, bool]:
    """The body of a request, and whether there is one; a call that reads none takes any.

    Raises:
        Fault: 400 for what is no JSON or missing, 413 for too much.
    """
    try:
        body = await read_body(scope, receive, wire.MOST_BODY_BYTES)
    except BodyTooLarge:
        raise Fault(413, "PAYLOAD_TOO_LARGE", f"A body has at most {wire.MOST_BODY_BYTES} bytes") from None
    if not route.body:
        return None, False
    if not body.strip():
        if route.needs_body:
            raise bad_request("This needs a JSON body")
        return None, False
    try:
        return wire.decode(body), True
    except wire.Unreadable as error:
        raise bad_request(str(error)) from None
