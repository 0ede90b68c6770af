"""One HTTP request to the face, and the router that finds its handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from skerry.island.engine.records import Caller
from skerry.island.faces.arker import wire
from skerry.island.faces.arker.errors import ArkerFault

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


@dataclass(slots=True)
class Call:
    """A request on its way through a handler.

    Args:
        scope: the ASGI scope.
        receive: the ASGI receive function.
        legacy: whether it came below `/api/v1`, where 0.2.0 markers are understood.
        caller: who asks; None on paths without authentication.
        body_limit: most bytes of body that are read.
    """

    scope: Scope
    receive: Receive
    legacy: bool
    body_limit: int
    caller: Caller | None = None
    _body: bytes | None = field(default=None, init=False)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Raw headers, names in lower case."""
        headers: list[tuple[bytes, bytes]] = self.scope["headers"]
        return headers

    @property
    def account(self) -> str:
        """The account that asks; handlers behind authentication only."""
        assert self.caller is not None
        return self.caller.account_id

    async def body(self) -> bytes:
        """The whole request body.

        Raises:
            ArkerFault: `payload_too_large` as soon as it is known to exceed the limit.
            ClientGone: the client left in the middle.
        """
        if self._body is None:
            self._body = await self._read()
        return self._body

    async def _read(self) -> bytes:
        announced = wire.header(self.headers, b"content-length")
        if announced is not None and announced.isdigit() and int(announced[:20]) > self.body_limit:
            raise self._too_large()
        parts: list[bytes] = []
        total = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            total += len(part)
            if total > self.body_limit:
                raise self._too_large()
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self) -> ArkerFault:
        return ArkerFault("payload_too_large", f"the request body exceeds {self.body_limit} bytes")

    async def decode(self, kind: type[wire.T], *, empty_ok: bool = False) -> wire.T:
        """The body as its closed schema; see `wire.decode`."""
        return wire.decode(await self.body(), kind, empty_ok=empty_ok)


Handler = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What answers one method on one path.

    Args:
        handler: called with the `Call` and the path's variable segments.
        auth: whether a key is needed.
        body_limit: most bytes of request body.
    """

    handler: Handler
    auth: bool = True
    body_limit: int = 1 << 20


class Router:
    """Finds a route by the segments of the *undecoded* path.

    Segments are split before they are decoded, so an identifier holding an encoded slash stays one segment.
    """

    def __init__(self) -> None:
        self._routes: dict[tuple[str | None, ...], dict[str, Route]] = {}
        self._lengths: dict[int, list[tuple[str | None, ...]]] = {}

    def add(self, method: str, pattern: str, route: Route) -> None:
        """Register a route; `{...}` in the pattern is one variable segment."""
        shape = tuple(None if part.startswith("{") else part for part in pattern.strip("/").split("/"))
        if shape not in self._routes:
            self._routes[shape] = {}
            # Fixed words are tried before variables: /vms/list before /vms/{id}.
            known = self._lengths.setdefault(len(shape), [])
            known.append(shape)
            known.sort(key=lambda item: sum(part is None for part in item))
        self._routes[shape][method] = route

    def find(self, method: str, raw_path: bytes) -> tuple[Route, list[str]]:
        """The route and the decoded variable segments.

        Raises:
            ArkerFault: `not_found` for an unknown path, `method_not_allowed` for a known one.
        """
        segments = raw_path.strip(b"/").split(b"/")
        allowed: set[str] = set()
        for shape in self._lengths.get(len(segments), ()):
            if all(part is None or part.encode() == segment for part, segment in zip(shape, segments, strict=True)):
                methods = self._routes[shape]
                route = methods.get(method)
                if route is not None:
                    return route, [_text(s) for part, s in zip(shape, segments, strict=True) if part is None]
                allowed.update(methods)
        if allowed:
            listed = ", ".join(sorted(allowed))
            raise ArkerFault("method_not_allowed", f"this path answers {listed}", allow=listed)
        raise ArkerFault("not_found", "no such path")


def _text(segment: bytes) -> str:
    try:
        text = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        raise ArkerFault("bad_request", "the path is not valid UTF-8") from None
    if "\x00" in text:
        raise ArkerFault("bad_request", "the path contains a NUL character")
    return text
