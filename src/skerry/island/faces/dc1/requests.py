"""Reading a request: who sent it, its parameters and its body (section 2.1)."""

from __future__ import annotations

from typing import Any

from skerry.island.asgi import BodyTooLarge, Receive, Scope, header, read_body
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.errors import Fault
from skerry.island.ground.requests import NoText, parameters, query_text


def address_of(scope: Scope) -> str:
    """The client's IP address."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def headers_of(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name; the first of each name counts."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return found


def query_of(scope: Scope) -> dict[str, str]:
    """The parameters of a request; the first of each name counts.

    Raises:
        Fault: 400 for what is no percent-encoding of UTF-8.
    """
    return _pairs(query_text(scope), "The query is not percent-encoding of UTF-8")


async def read(scope: Scope, receive: Receive) -> tuple[bytes, Any]:
    """The body of a request as it came, and what it says; an empty object without one.

    Raises:
        Fault: 400 for what is no JSON, 413 for too many bytes or values.
    """
    try:
        raw = await read_body(scope, receive, wire.MOST_BODY_BYTES)
    except BodyTooLarge:
        raise Fault(413, f"A body has at most {wire.MOST_BODY_BYTES >> 20} MB") from None
    if not raw.strip():
        return raw, {}
    said = header(scope["headers"], b"content-type") or ""
    # `curl -d` says so of JSON, too; no member of any body here begins with a brace.
    if said.startswith("application/x-www-form-urlencoded") and not raw.lstrip().startswith(b"{"):
        return raw, _pairs(raw.decode("latin-1"), "Invalid form")
    if wire.too_many(raw):
        raise Fault(413, f"A body has at most {wire.MOST_VALUES:,} values")
    try:
        return raw, wire.decode(raw)
    except wire.Unreadable:
        raise Fault(400, "Invalid JSON") from None


def _pairs(text: str, refusal: str) -> dict[str, str]:
    try:
        found = parameters(text)
    except NoText:
        raise Fault(400, refusal) from None
    # Also in a parameter that counts for nothing because its name came before.
    if "%00" in text or "\x00" in text:
        raise Fault(400, "NUL characters are not accepted")
    return found
