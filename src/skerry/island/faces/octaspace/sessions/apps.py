"""Templates (protocol section 3.3): those that the island ships and that run here, and those that were made here."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.faces.octaspace.sessions import templates
from skerry.island.faces.octaspace.tables import apps
from skerry.island.ground.answers import Answer
from skerry.island.workers.apps import installed


class Apps:
    """What can be started without knowing how.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route(
                method="GET",
                path="/apps",
                handler=self.list,
                summary="Templates; without a key those that are nobody's own",
                answer="App",
                listed=True,
                access="optional",
            )
        ]

    async def list(self, call: Call) -> Answer:
        """GET /apps."""
        return Answer(await self._engine.store.read(every, self._engine, call.account_id))


def every(connection: Connection, engine: Engine, account_id: str) -> list[dict[str, Any]]:
    """The templates that an account sees; an empty account sees the public ones."""
    query = select(apps).where(or_(apps.c.account_id.is_(None), apps.c.account_id == account_id)).order_by(apps.c.name)
    shipped = templates.offered(installed.place(engine.settings.data_dir))
    return [*shipped, *(view(row) for row in connection.execute(query))]


def find(connection: Connection, engine: Engine, account_id: str, uuid: str) -> dict[str, Any] | None:
    """One template that an account sees."""
    return next((app for app in every(connection, engine, account_id) if app["uuid"] == uuid), None)


def view(row: Row[Any]) -> dict[str, Any]:
    """A row in the network's words."""
    return {
        "uuid": row.uuid,
        "name": row.name,
        "category": row.category,
        "description": row.description,
        "image": row.image,
        "envs": json.loads(row.envs),
        "extra": json.loads(row.extra),
        "ports": json.loads(row.ports),
        "http_ports": json.loads(row.http_ports),
        "personal": row.account_id is not None,
        "start_command": row.start_command,
    }
