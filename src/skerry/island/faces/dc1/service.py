"""The parts of the face that hang together: made once when it starts, ended in reverse."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from skerry.island.asgi import Receive, Scope
from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1.authentication import Authentication
from skerry.island.faces.dc1.call import Answer
from skerry.island.faces.dc1.job_rows import TERMINAL
from skerry.island.faces.dc1.routes import Resource
from skerry.island.faces.dc1.tables import jobs


class Service:
    """Every noun of the network, and what goes on behind them.

    Args:
        engine: open.
        authentication: for what finds keys in bodies.
    """

    def __init__(self, engine: Engine, authentication: Authentication) -> None:
        self._engine = engine
        self._authentication = authentication

    @classmethod
    async def opened(cls, engine: Engine, authentication: Authentication) -> Service:
        """Made, with what must be measured or read first."""
        return cls(engine, authentication)

    def resources(self) -> Sequence[Resource]:
        """What the network's API has."""
        return []

    async def start(self) -> None:
        """Take up jobs."""

    async def stop(self) -> None:
        """Let go of them."""

    async def busy(self) -> bool:
        """Whether any job goes on or waits."""
        return await self._engine.store.read(_any_live)

    async def served(self, scope: Scope, receive: Receive, path: bytes) -> Answer | None:
        """The answer of a model that a job serves, for a path below `/serve`; None for every other path."""
        return None


def _any_live(connection: Connection) -> bool:
    return connection.execute(select(jobs.c.id).where(jobs.c.status.not_in(TERMINAL)).limit(1)).first() is not None
