"""What a service does for its sessions; the carrier knows nothing else of machines, relays and workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Row

from skerry.island.engine.traffic import Moved

Tell = Callable[..., Awaitable[None]]
"""`await tell(state, message=None, **columns)`: the session has come so far."""


class StartFailed(Exception):
    """A session cannot be started; the message is for its system log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A session has ended by itself.

    Args:
        reason: see `states`.
        message: for its system log.
        at: when, microseconds since 1970; None for now.
    """

    reason: int
    message: str
    at: int | None = None


class Work(Protocol):
    """One service. Everything but `follow` may be repeated after a crash."""

    async def begin(self, session: Row[Any], tell: Tell) -> None:
        """Bring a session to where it is ready. Raises StartFailed, or EngineError."""

    async def alive(self, session: Row[Any]) -> bool:
        """Whether a ready session that an earlier server left goes on."""

    async def follow(self, session: Row[Any], *, adopted: bool) -> Ending:
        """Wait until a ready session ends by itself.

        Args:
            session: its row.
            adopted: an earlier server made it ready, so that it may have ended while nobody watched.
        """

    async def moved(self, session: Row[Any]) -> Moved:
        """Bytes since this server began to look at the session; never less than before."""

    async def quiet_since(self, session: Row[Any]) -> float | None:
        """Since when (monotonic) it has moved nothing; None while it is in use, or where nobody can tell."""

    async def halt(self, session: Row[Any]) -> None:
        """End what it runs and revoke every access, so that nothing moves any more; what it wrote stays."""

    async def log(self, session: Row[Any]) -> bytes:
        """The end of what it wrote."""

    async def end(self, session: Row[Any]) -> None:
        """Remove everything it had, after `halt`."""

    async def recover(self, wanted: Collection[str]) -> None:
        """At the start: remove what belongs to none of these sessions."""
