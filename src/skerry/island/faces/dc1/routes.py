"""The table of every call, and how a request finds its row (section 3)."""

from __future__ import annotations

from skerry.island.faces.dc1.call import Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.ground import routes
from skerry.island.ground.faults import sentence
from skerry.island.ground.routes import BadPath, PathRefused

Resource = routes.Resource[Route]
"""One noun of the network."""


class Routes(routes.Routes[Route]):
    """Every row; literals win over variables, so `/api/jobs/history` is no job."""

    def find(self, method: str, path: bytes) -> tuple[Route, list[str]]:
        """The row of a request and the decoded variable segments; HEAD is answered as GET.

        Raises:
            Fault: 404, also where only another method would do, as the network has it; 400 for a path that is no text.
        """
        while b"//" in path:
            # What clients make of a base URL that ends in a slash.
            path = path.replace(b"//", b"/")
        try:
            found, values = self.look(method, path)
        except BadPath as error:
            raise Fault(400, sentence(error)) from None
        except PathRefused:
            raise Fault(404, "Not found") from None
        if method == "HEAD" and found.takes:
            raise Fault(404, "Not found")
        return found, values
