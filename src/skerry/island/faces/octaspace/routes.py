"""The table of every call, and how a request finds its row (protocol section 3)."""

from __future__ import annotations

from skerry.island.faces.octaspace.call import Route
from skerry.island.faces.octaspace.errors import Fault, bad_request
from skerry.island.ground import routes
from skerry.island.ground.faults import sentence
from skerry.island.ground.routes import BadPath, MethodNotAllowed, PathRefused

Resource = routes.Resource[Route]
"""One noun of the network."""


class Routes(routes.Routes[Route]):
    """Every row; literals win over variables, so `/services/mr` is no session."""

    def find(self, method: str, path: bytes) -> tuple[Route, list[str]]:
        """The row of a request and the decoded variable segments; `/v1` is another name of `/`.

        HEAD is answered wherever a GET that changes nothing is.

        Raises:
            Fault: 404, 405 with `Allow`, or 400 for a path that is no text.
        """
        if path == b"/v1" or path.startswith(b"/v1/"):
            path = path[3:]
        try:
            route, values = self.look(method, path)
        except MethodNotAllowed as error:
            raise _not_allowed(error.allow) from None
        except BadPath as error:
            raise bad_request(sentence(error)) from None
        except PathRefused:
            raise Fault(404, "NOT_FOUND", "There is no such path") from None
        if method == "HEAD" and route.changes:
            raise _not_allowed("GET")
        return route, values


def _not_allowed(allow: str) -> Fault:
    headers = [(b"allow", allow.encode())]
    return Fault(405, "METHOD_NOT_ALLOWED", f"This path answers {allow}", headers=headers)
