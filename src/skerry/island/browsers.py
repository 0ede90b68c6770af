"""Pages in browsers that call the networks: which may, what browsers ask beforehand, what they look for on answers.

Pages of any origin may, unless the owner has named some. Nothing is given away by that: no network knows a caller by
cookies, nor by anything else that a browser adds by itself. Where some are named, pages of others are refused whatever
they send, since a browser does not ask beforehand about what a form could send. Programs name no origin.
"""

from __future__ import annotations

import ipaddress
from collections.abc import MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from skerry.island.asgi import Scope, Send, header
from skerry.island.gateway import host_of

ALL = "*"
_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    # Callers add headers of their own, such as trace contexts; Authorization is the one that `*` leaves out.
    (b"access-control-allow-headers", b"Authorization, Content-Type, User-Agent, *"),
    (b"access-control-max-age", b"600"),
)
_READABLE = (b"access-control-expose-headers", b"*")


class Pages:
    """Which pages may call.

    Args:
        origins: of these, as browsers write them; `*` stands for all.
        names: host names of the island, whose own pages may always.
    """

    def __init__(self, origins: Sequence[str], names: Sequence[str]) -> None:
        self._origins = frozenset(origins)
        self._names = tuple(names)

    def refusal(self, scope: Scope) -> str | None:
        """What to tell a page that may not call; None for one that may, and for whatever is no page."""
        origin = header(scope["headers"], b"origin")
        if ALL in self._origins or origin is None or origin.lower() in self._origins or self._own(scope):
            return None
        return f"Pages of {origin[:200]} may not call this island; SKERRY_ORIGINS or --origin says which may.\n"

    async def consent(self, scope: Scope, send: Send) -> None:
        """Answer a browser that `asks_first`: it may."""
        await send({"type": "http.response.start", "status": 204, "headers": [*self._headers(scope), *_PREFLIGHT]})
        await send({"type": "http.response.body", "body": b""})

    def open(self, scope: Scope, send: Send) -> Send:
        """The same `send`, whose answers pages may read, headers included."""

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._headers(scope)]}
            await send(message)

        return sending

    def _headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        if ALL in self._origins:
            return [(b"access-control-allow-origin", b"*"), _READABLE]
        # What is kept on the way for one page is not for another.
        varies, origin = (b"vary", b"Origin"), header(scope["headers"], b"origin")
        if origin is None:
            return [varies]
        return [varies, (b"access-control-allow-origin", origin.encode("latin-1")), _READABLE]

    def _own(self, scope: Scope) -> bool:
        """Whether the page is the island's. A name that is not its own may have been made to lead here."""
        host = host_of(scope)
        named = any(host == name or host.endswith(f".{name}") for name in self._names) or _is_address(host)
        return named and own_origin(scope)


def asks_first(scope: Scope) -> bool:
    """Whether this is a browser's question whether it may send something; no key and no signature come with it."""
    return (
        scope["type"] == "http"
        and scope["method"] == "OPTIONS"
        and header(scope["headers"], b"access-control-request-method") is not None
    )


def own_origin(scope: Scope) -> bool:
    """Whether a request comes from a page at the very address that it goes to, or from no page at all.

    A browser names the page's origin and a page cannot lie about it; other programs name none.
    """
    origin = header(scope["headers"], b"origin")
    if origin is None:
        return True
    try:
        found = urlsplit(origin)
    except ValueError:
        return False
    host = header(scope["headers"], b"host") or ""
    return found.scheme in ("http", "https") and bool(host) and found.netloc.lower() == host.lower()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
