"""What the island needs of ASGI: its types, raw paths, headers, and bodies of bounded size."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class BodyTooLarge(Exception):
    """The body exceeds what is read of it."""


def raw_path(scope: Scope) -> bytes:
    """The undecoded path below the face's mount, without a query."""
    path: bytes = scope["raw_path"].split(b"?")[0]
    # The mount is plain ASCII, so it can be cut from the undecoded path.
    return path[len(scope.get("root_path", "")) :]


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """The first header of that lower-case name, as Latin-1 text."""
    for key, value in headers:
        if key == name:
            return value.decode("latin-1")
    return None


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole request body.

    Args:
        limit: most bytes that are read.

    Raises:
        BodyTooLarge: as soon as it is known to exceed the limit.
        ClientGone: the client left in the middle.
    """
    announced = header(scope["headers"], b"content-length")
    if announced is not None and announced.isdigit() and int(announced[:20]) > limit:
        raise BodyTooLarge
    parts: list[bytes] = []
    total = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        total += len(part)
        if total > limit:
            raise BodyTooLarge
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
