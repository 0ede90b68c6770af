"""The table of every call, and how a request finds its row (section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from skerry.island.asgi import BadPath, PathRefused, Router
from skerry.island.faces.dc1.call import Route
from skerry.island.faces.dc1.errors import Fault


class Resource(Protocol):
    """One noun of the network."""

    def routes(self) -> Sequence[Route]:
        """What it answers."""


class Routes:
    """Every row, and a router over them; literals win over variables, so `/api/jobs/history` is no job.

    Args:
        resources: the nouns.
    """

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.table = [route for resource in resources for route in resource.routes()]
        self._router: Router[Route] = Router()
        for route in self.table:
            self._router.add(route.method, route.path, route)

    def find(self, method: str, path: bytes) -> tuple[Route, list[str]]:
        """The row of a request and the decoded variable segments; HEAD is answered as GET.

        Raises:
            Fault: 404, also where only another method would do, as the network has it; 400 for a path that is no text.
        """
        while b"//" in path:
            # What clients make of a base URL that ends in a slash.
            path = path.replace(b"//", b"/")
        try:
            found, values = self._router.find("GET" if method == "HEAD" else method, path)
        except BadPath as error:
            raise Fault(400, f"{str(error)[:1].upper()}{str(error)[1:]}") from None
        except PathRefused:
            raise Fault(404, "Not found") from None
        if method == "HEAD" and found.takes:
            raise Fault(404, "Not found")
        return found, values
