"""Which handler answers a request: a router over the segments of an undecoded path, and a table of rows over that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar
from urllib.parse import unquote_to_bytes

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


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


class Row(Protocol):
    """One documented call."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...


W = TypeVar("W", bound=Row)


class Resource(Protocol[R_co]):
    """One noun of a network."""

    def routes(self) -> Sequence[R_co]:
        """What it answers."""


class Routes(Generic[W]):
    """Every row of a network, found by method and path; literals win over variables.

    Args:
        resources: the nouns.

    Attributes:
        table: the rows, in the order of the resources.
    """

    def __init__(self, resources: Iterable[Resource[W]]) -> None:
        self.table = [route for resource in resources for route in resource.routes()]
        self._router: Router[W] = Router()
        for route in self.table:
            self._router.add(route.method, route.path, route)

    def look(self, method: str, path: bytes) -> tuple[W, list[str]]:
        """The row of a request and the decoded variable segments; HEAD is answered as GET.

        Raises:
            PathRefused: `NoSuchPath`, `MethodNotAllowed` or `BadPath`.
        """
        return self._router.find("GET" if method == "HEAD" else method, path)
