"""What every face needs of ASGI: raw paths, bounded bodies, and a router over the segments of an undecoded path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Generic, TypeVar
from urllib.parse import unquote_to_bytes

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

R = TypeVar("R")


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class BodyTooLarge(Exception):
    """The body exceeds what is read of it."""


class PathRefused(Exception):
    """No route answers; the message is for the person who made the request."""


class NoSuchPath(PathRefused):
    """Nothing is there."""


class MethodNotAllowed(PathRefused):
    """Something is there, but not for this method; `allow` lists those it has."""

    def __init__(self, allow: str) -> None:
        super().__init__(f"this path answers {allow}")
        self.allow = allow


class BadPath(PathRefused):
    """The path is no text."""


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


class Router(Generic[R]):
    """Finds a route by the segments of the *undecoded* path.

    Segments are split before they are decoded, so an identifier holding an encoded slash stays one segment.
    """

    def __init__(self) -> None:
        self._routes: dict[tuple[str | None, ...], dict[str, R]] = {}
        self._lengths: dict[int, list[tuple[str | None, ...]]] = {}

    def add(self, method: str, pattern: str, route: R) -> None:
        """Register a route; `{...}` in the pattern is one variable segment."""
        shape = tuple(None if part.startswith("{") else part for part in pattern.strip("/").split("/"))
        if shape not in self._routes:
            self._routes[shape] = {}
            # Fixed words are tried before variables: /vms/list before /vms/{id}.
            known = self._lengths.setdefault(len(shape), [])
            known.append(shape)
            known.sort(key=lambda item: sum(part is None for part in item))
        self._routes[shape][method] = route

    def find(self, method: str, raw_path: bytes) -> tuple[R, list[str]]:
        """The route and the decoded variable segments.

        Raises:
            PathRefused: `NoSuchPath`, `MethodNotAllowed` or `BadPath`.
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
            raise MethodNotAllowed(", ".join(sorted(allowed)))
        raise NoSuchPath("no such path")


def _text(segment: bytes) -> str:
    try:
        text = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        raise BadPath("the path is not valid UTF-8") from None
    if "\x00" in text:
        raise BadPath("the path contains a NUL character")
    return text
