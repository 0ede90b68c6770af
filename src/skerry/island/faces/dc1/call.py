"""One request on its way through a handler, who made it, what handlers answer, and what routes say of themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from skerry.island.faces.dc1.access import Access
from skerry.island.faces.dc1.limits import Limit
from skerry.island.ground import answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks; all of it empty for somebody unknown.

    Args:
        renter: row of an active renter.
        provider: row of a provider.
        admin: the operator's token was presented.
        scopes: of a key beside the master key; None for a master key.
        key_id: what requests are counted by.
    """

    renter: Row[Any] | None = None
    provider: Row[Any] | None = None
    admin: bool = False
    scopes: frozenset[str] | None = None
    key_id: str = ""


@dataclass(slots=True, kw_only=True)
class Call:
    """What a handler may know of a request.

    Args:
        caller: who asks, as far as the route's access wanted to know.
        address: the client's IP address.
        query: decoded parameters; the first of each name counts.
        headers: with lower-case names.
        raw: the body as it came, for signatures.
        json: the parsed body; an empty object without one.
        root: address of this face, for URLs in answers, without a trailing slash.
        now: when it was judged, microseconds since 1970.
    """

    caller: Caller
    address: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = b""
    json: Any = field(default_factory=dict)
    root: str = ""
    now: int

    @property
    def renter(self) -> Row[Any]:
        """The renter, on a route that only renters may use."""
        assert self.caller.renter is not None
        return self.caller.renter

    @property
    def provider(self) -> Row[Any]:
        """The provider, on a route that only providers may use."""
        assert self.caller.provider is not None
        return self.caller.provider

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number of the query, held within bounds; the default where it is none."""
        try:
            found = int(self.query.get(name, ""))
        except ValueError:
            return default
        return min(max(found, least), most)


@dataclass(frozen=True, slots=True)
class Answer(answers.Answer):
    """JSON, bytes with their media type, or a stream of bytes: an async iterator of them."""

    media: str = "application/json; charset=utf-8"

    @classmethod
    def stream(cls, parts: AsyncIterator[bytes], media: str = "text/event-stream") -> Answer:
        """A stream, sent part by part; its iterator is closed when the client leaves."""
        return cls(
            parts, media=media, headers=((b"cache-control", b"no-cache, no-transform"), (b"x-accel-buffering", b"no"))
        )


Handler = Callable[..., Awaitable[Answer]]
"""Takes a call and the path's variable segments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One documented call.

    Args:
        method, path: as in the protocol's tables (section 3); the literal path wins over a variable one.
        handler: answers it.
        access: who may ask, and what others are told (section 2.2).
        limits: how often (section 2.7), beside the limit that all routes share.
        keyed: the first variable segment is the caller's key, and the handler is not given it.
        takes: a read that changes something, as the network has it; HEAD is refused there.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    limits: tuple[Limit, ...] = ()
    keyed: bool = False
    takes: bool = False
