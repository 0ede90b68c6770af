"""One authenticated request on its way through a handler, and what kinds of handlers there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from skerry.island.faces.dispersed.callers import ApiKey, Profile

Need = Literal["CONSUMER", "COMPUTE_NODE", "ANY"]


@dataclass(slots=True, kw_only=True)
class Call:
    """What a handler may know of a request.

    Args:
        method: HTTP method.
        path: raw path below the mount.
        key: what it was signed with.
        query: decoded pairs in their order.
        json: the parsed body, None without one.
        has_body: tells no body from a body that is `null`.
        now: when it was judged, microseconds since 1970.
        operator: whether it carries the island owner's key as well.
        followers: see `after_commit`.
    """

    method: str
    path: str
    key: ApiKey
    query: Sequence[tuple[str, str]] = ()
    json: Any = None
    has_body: bool = False
    now: int
    operator: bool = False
    followers: list[Callable[[], None]] = field(default_factory=list)

    @property
    def account_id(self) -> str:
        """The engine's account that asks."""
        return self.key.profile.account_id

    @property
    def profile(self) -> Profile:
        """The same in the network's words."""
        return self.key.profile

    def after_commit(self, follower: Callable[[], None]) -> None:
        """Have something done on the event loop once the work is kept; not when it is undone, nor for a replay."""
        self.followers.append(follower)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler that writes gives.

    Args:
        status: HTTP status of the success.
        body: its JSON-able body; ignored for 204.
    """

    status: int
    body: Any = None


ReadHandler = Callable[..., Awaitable[Any]]
"""`async (call, *path values) -> JSON-able body`; its status is 200."""

WriteHandler = Callable[..., Answer]
"""`(connection, call, *path values) -> Answer`, inside one transaction with its replay row; it may run twice."""


@dataclass(frozen=True, slots=True)
class Route:
    """What answers one method on one path.

    Args:
        handler: a `ReadHandler` or a `WriteHandler`.
        kind: which of them.
        preset: which keys may ask.
        body: whether a JSON body is required; without, one is accepted all the same.
    """

    handler: Callable[..., Any]
    kind: Literal["read", "write"] = "read"
    preset: Need = "CONSUMER"
    body: bool = False
