"""Every path of the face, aliases included (protocol section 3.0)."""

from __future__ import annotations

from collections.abc import Iterable

from skerry.island.faces.dispersed.call import Route
from skerry.island.faces.dispersed.errors import Fault, bad_request
from skerry.island.ground.faults import sentence
from skerry.island.ground.routes import BadPath, MethodNotAllowed, PathRefused, Resource, Router

Table = list[tuple[str, str, Route]]
"""Methods, patterns and what answers them; `{...}` in a pattern is one variable segment."""


def build(resources: Iterable[Resource[tuple[str, str, Route]]]) -> Router[Route]:
    """A router over everything that some resources answer."""
    router: Router[Route] = Router()
    for resource in resources:
        for method, pattern, route in resource.routes():
            router.add(method, pattern, route)
    return router


def find(router: Router[Route], method: str, path: bytes) -> tuple[Route, list[str]]:
    """The route of a request and the decoded variable segments; HEAD is answered wherever GET is.

    Raises:
        Fault: 404, 405 with `Allow`, or 400 for a path that is no text.
    """
    try:
        return router.find("GET" if method == "HEAD" else method, path)
    except MethodNotAllowed as error:
        allow = error.allow.replace("GET", "GET, HEAD")
        raise Fault(
            405, "METHOD_NOT_ALLOWED", f"This path answers {allow}", headers=[(b"allow", allow.encode())]
        ) from None
    except BadPath as error:
        raise bad_request(sentence(error)) from None
    except PathRefused:
        raise Fault(404, "NOT_FOUND", "There is no such path") from None
