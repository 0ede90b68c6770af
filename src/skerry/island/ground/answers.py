"""What a handler answers, and how a whole answer is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skerry.island.asgi import Scope, Send

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """JSON, or bytes with their media type.

    Args:
        value: JSON, or bytes.
        status: HTTP status.
        media: of the bytes.
        headers: beside the usual ones.
    """

    value: Any
    status: int = 200
    media: str = "application/json"
    headers: tuple[Header, ...] = ()


async def reply(
    scope: Scope, send: Send, status: int, headers: Sequence[Header], body: bytes, media: str = "application/json"
) -> None:
    """Send an answer: 204 has neither type nor length, and HEAD is told the length of what it does not get."""
    told = [*headers]
    if status != 204:
        told += [(b"content-type", media.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
