"""Pages of any origin may call the networks: what browsers ask beforehand, and what they want to see on answers.

Nothing is given away by that: no network knows a caller by cookies, nor by anything else that a browser adds by itself.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from skerry.island.asgi import Scope, Send, header

_ANSWERS = ((b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*"))
_PREFLIGHT = (
    *_ANSWERS,
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    # Callers add headers of their own, such as trace contexts; Authorization is the one that `*` leaves out.
    (b"access-control-allow-headers", b"Authorization, Content-Type, User-Agent, *"),
    (b"access-control-max-age", b"600"),
)


def asks_first(scope: Scope) -> bool:
    """Whether this is a browser's question whether it may send something; no key and no signature come with it."""
    return (
        scope["type"] == "http"
        and scope["method"] == "OPTIONS"
        and header(scope["headers"], b"access-control-request-method") is not None
    )


async def consent(send: Send) -> None:
    """Answer such a question: it may."""
    await send({"type": "http.response.start", "status": 204, "headers": list(_PREFLIGHT)})
    await send({"type": "http.response.body", "body": b""})


def open_to_pages(send: Send) -> Send:
    """The same `send`, whose answers pages may read, headers included."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *_ANSWERS]}
        await send(message)

    return sending
