"""The parts of the face that hang together: made once when it starts, ended in reverse."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from skerry.island.asgi import Receive, Scope
from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1.authentication import Authentication
from skerry.island.faces.dc1.call import Answer
from skerry.island.faces.dc1.jobs.job_rows import TERMINAL
from skerry.island.faces.dc1.jobs.working import Working
from skerry.island.faces.dc1.models.serving import Serving
from skerry.island.faces.dc1.providers.local_work import LocalWork
from skerry.island.faces.dc1.providers.means import Means
from skerry.island.faces.dc1.providers.providing import Providing
from skerry.island.faces.dc1.renters.renting import Renting
from skerry.island.faces.dc1.routes import Resource
from skerry.island.faces.dc1.tables import jobs


class Service:
    """Every noun of the network, and what goes on behind them.

    Args:
        engine: open.
        authentication: for what finds keys in bodies.
        working: jobs, and who waits for them.
        means: of this machine.
    """

    def __init__(self, engine: Engine, authentication: Authentication, working: Working, means: Means) -> None:
        self._engine = engine
        self._authentication = authentication
        self.working = working
        self._renting = Renting(engine)
        self._providing = Providing(engine, working.changes, working.secret)
        self._serving = Serving(engine, working.changes, working.maker, working.submit, means)
        self._local = LocalWork(engine, working.changes, working.secret, means)

    @classmethod
    async def opened(cls, engine: Engine, authentication: Authentication) -> Service:
        """Made, with what must be measured or read first."""
        means = await Means.opened(engine)
        return cls(engine, authentication, await Working.opened(engine, authentication), means)

    def resources(self) -> Sequence[Resource]:
        """What the network's API has."""
        parts = (self.working, self._renting, self._providing, self._serving)
        return [resource for part in parts for resource in part.resources()]

    async def start(self) -> None:
        """Take up jobs."""
        await self.working.start()
        await self._renting.start()
        await self._providing.start()
        await self._serving.start()
        await self._local.start()

    async def stop(self) -> None:
        """Let go of them."""
        await self._local.stop()
        await self._serving.stop()
        await self._providing.stop()
        await self._renting.stop()
        await self.working.stop()

    async def busy(self) -> bool:
        """Whether any job goes on or waits."""
        return await self._engine.store.read(_any_live)

    async def served(self, scope: Scope, receive: Receive, path: bytes) -> Answer | None:
        """The answer of a model that a job serves, for a path below `/serve`; None for every other path."""
        return await self._serving.served(scope, receive, path)


def _any_live(connection: Connection) -> bool:
    return connection.execute(select(jobs.c.id).where(jobs.c.status.not_in(TERMINAL)).limit(1)).first() is not None
