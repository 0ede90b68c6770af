"""One request on its way through a handler, and what routes say of themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from skerry.island.ground.answers import Answer

Access = Literal["key", "optional", "public"]
"""Whether a key is needed, looked at when there is one, or of no interest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How the caller reached the island, for the URLs in its answers.

    Args:
        scheme: `http` or `https`.
        host: as in its address, with the port.
        suffix: what stands behind a session's label in the gateway's host names, with the port.
        root: address of this face.
    """

    scheme: str
    host: str
    suffix: str
    root: str


@dataclass(slots=True, kw_only=True)
class Call:
    """What a handler may know of a request.

    Args:
        account_id: the engine's account that asks; empty where none does.
        query: decoded parameters; the first of each name counts.
        json: the parsed body, None without one.
        has_body: tells no body from a body that is `null`.
        place: where the answer's URLs lead.
        now: when it was judged, microseconds since 1970.
    """

    account_id: str
    query: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    has_body: bool = False
    place: Place
    now: int

    def flag(self, name: str) -> bool:
        """A parameter that is true when it is there and not `false` or `0`."""
        return self.query.get(name, "false").lower() not in ("false", "0", "")


Handler = Callable[..., Awaitable[Answer]]
"""Takes a call and the path's variable segments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One documented call.

    Args:
        method, path: as in the protocol's table (section 3).
        handler: answers it.
        summary: one line for the document.
        answer: name of the schema of its answer; empty for bytes.
        listed: the answer is a list of these.
        body: name of the schema of its body; empty where none is read.
        needs_body: whether the body must be there.
        access: who may ask.
        changes: whether it does something, so that HEAD must not reach it.
        status: of its success.
        parameters: of the query, by name, with what they mean.
        faults: statuses beside those that every call may answer.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answer: str = ""
    listed: bool = False
    body: str = ""
    needs_body: bool = False
    access: Access = "key"
    changes: bool = False
    status: int = 200
    parameters: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[int, ...] = ()
