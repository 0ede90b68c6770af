"""The table of every call, and how a request finds its row (protocol section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from skerry.island.asgi import BadPath, MethodNotAllowed, PathRefused, Router
from skerry.island.faces.octaspace.call import Route
from skerry.island.faces.octaspace.errors import Fault, bad_request


class Resource(Protocol):
    """One noun of the network."""

    def routes(self) -> Sequence[Route]:
        """What it answers."""


class Routes:
    """Every row, and a router over them; literals win over variables, so `/services/mr` is no session.

    Args:
        resources: the nouns.

    Attributes:
        table: the rows, in the order of the resources.
    """

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.table = [route for resource in resources for route in resource.routes()]
        self._router: Router[Route] = Router()
        for route in self.table:
            self._router.add(route.method, route.path, route)

    def find(self, method: str, path: bytes) -> tuple[Route, list[str]]:
        """The row of a request and the decoded variable segments; `/v1` is another name of `/`.

        HEAD is answered wherever a GET that changes nothing is.

        Raises:
            Fault: 404, 405 with `Allow`, or 400 for a path that is no text.
        """
        if path == b"/v1" or path.startswith(b"/v1/"):
            path = path[3:]
        try:
            route, values = self._router.find("GET" if method == "HEAD" else method, path)
        except MethodNotAllowed as error:
            raise _not_allowed(error.allow) from None
        except BadPath as error:
            raise bad_request(f"{str(error)[:1].upper()}{str(error)[1:]}") from None
        except PathRefused:
            raise Fault(404, "NOT_FOUND", "There is no such path") from None
        if method == "HEAD" and route.changes:
            raise _not_allowed("GET")
        return route, values


def _not_allowed(allow: str) -> Fault:
    headers = [(b"allow", allow.encode())]
    return Fault(405, "METHOD_NOT_ALLOWED", f"This path answers {allow}", headers=headers)
