"""One HTTP request to the face, and the router that finds its handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from skerry.island import asgi
from skerry.island.asgi import BodyTooLarge, Receive, Scope
from skerry.island.engine.records import Caller
from skerry.island.faces.arker import wire
from skerry.island.faces.arker.errors import ArkerFault
from skerry.island.ground import routes
from skerry.island.ground.routes import MethodNotAllowed, NoSuchPath, PathRefused


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
            try:
                self._body = await asgi.read_body(self.scope, self.receive, self.body_limit)
            except BodyTooLarge:
                message = f"the request body exceeds {self.body_limit} bytes"
                raise ArkerFault("payload_too_large", message) from None
        return self._body

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


class Router(routes.Router[Route]):
    """The shared router, refusing in Arker's words."""

    def find(self, method: str, raw_path: bytes) -> tuple[Route, list[str]]:
        """The route and the decoded variable segments.

        Raises:
            ArkerFault: `not_found` for an unknown path, `method_not_allowed` for a known one, `bad_request` for none.
        """
        try:
            return super().find(method, raw_path)
        except MethodNotAllowed as error:
            raise ArkerFault("method_not_allowed", str(error), allow=error.allow) from None
        except PathRefused as error:
            raise ArkerFault("not_found" if isinstance(error, NoSuchPath) else "bad_request", str(error)) from None
