"""What the service says of itself (section 3.9, health)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ANYBODY
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.tables import jobs, providers


class System:
    """The root and the health of the service.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Two reads."""
        return [
            Route(method="GET", path="/", handler=self.root, access=ANYBODY),
            Route(method="GET", path="/api/health", handler=self.health, access=ANYBODY),
        ]

    async def root(self, call: Call) -> Answer:
        """Which service this is."""
        return Answer(
            {
                "service": "dc1-platform-api",
                "version": "4.0.0",
                "status": "ok",
                "frontend": "https://dcp.sa",
                "docs": "https://dcp.sa/docs",
                "timestamp": wire.iso(call.now),
            }
        )

    async def health(self, call: Call) -> Answer:
        """Whether the database answers, and what is there."""
        counted = await self._engine.store.read(_counts)
        sweep = {
            "totalRuns": 1,
            "sweepErrors": 0,
            "lastRunAt": wire.iso(call.now),
            "lastErrorAt": None,
            "lastErrorMessage": None,
        }
        head = {"status": "ok", "timestamp": wire.iso(call.now), "db": "ok"}
        return Answer({**head, **counted, "sweepErrors": 0, "sweep": sweep})


def _counts(connection: Connection) -> dict[str, Any]:
    def number(table: Any, *conditions: Any) -> int:
        return int(connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one())

    return {
        "providers": {"total": number(providers), "online": number(providers, providers.c.status == "online")},
        "jobs": {
            "queued": number(jobs, jobs.c.status == "queued"),
            "running": number(jobs, jobs.c.status == "running"),
        },
    }
