"""Reading a request: its parameters, its body, and how it reached the island."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skerry.island.asgi import BodyTooLarge, Receive, Scope, read_body
from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace import wire
from skerry.island.faces.octaspace.call import Call, Place, Route
from skerry.island.faces.octaspace.errors import Fault, bad_request
from skerry.island.ground.requests import NoText, host_of, parameters, query_text, root_of, server_of
from skerry.island.store.values import micros


def place_of(scope: Scope, public_host: str | None) -> Place:
    """How a request reached the island.

    Args:
        public_host: of the settings.
    """
    return Place(
        scheme=scope.get("scheme", "http"),
        host=host_of(scope),
        suffix=public_host or f"localhost:{server_of(scope)[1]}",
        root=root_of(scope),
    )


def query_of(scope: Scope) -> dict[str, str]:
    """The parameters of a request; the first of each name counts."""
    try:
        return parameters(query_text(scope))
    except NoText:
        raise bad_request("The query is not valid percent-encoding of UTF-8") from None


async def call_of(
    engine: Engine, scope: Scope, receive: Receive, route: Route, account_id: str, query: Mapping[str, str]
) -> Call:
    """A request of an account as its handler gets it. Raises Fault."""
    call = Call(
        account_id=account_id,
        query=query,
        place=place_of(scope, engine.settings.public_host),
        now=micros(engine.clock.now()),
    )
    call.json, call.has_body = await read_json(scope, receive, route)
    return call


async def read_json(scope: Scope, receive: Receive, route: Route) -> tuple[Any, bool]:
    """The body of a request, and whether there is one; a call that reads none takes any.

    Raises:
        Fault: 400 for what is no JSON or missing, 413 for too much.
    """
    try:
        body = await read_body(scope, receive, wire.MOST_BODY_BYTES)
    except BodyTooLarge:
        raise Fault(413, "PAYLOAD_TOO_LARGE", f"A body has at most {wire.MOST_BODY_BYTES} bytes") from None
    if not route.body:
        return None, False
    if not body.strip():
        if route.needs_body:
            raise bad_request("This needs a JSON body")
        return None, False
    try:
        return wire.decode(body), True
    except wire.Unreadable as error:
        raise bad_request(str(error)) from None
