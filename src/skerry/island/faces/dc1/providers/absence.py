"""Providers that fall silent are offline after 90 s (section 5.4)."""

from __future__ import annotations

import logging

from sqlalchemy import Connection, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1.jobs.changes import OFFERS, Changes
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.tables import providers
from skerry.island.ground.rounds import Rounds
from skerry.island.store.values import micros

EVERY_SECONDS = 5.0
_THERE = ("online", "degraded")

log = logging.getLogger("skerry.island.dc1")


class Absence:
    """Looks every few seconds who has not been heard of; all it knows is in the rows, so a restart loses nothing.

    Args:
        engine: open.
        changes: wakes those who wait for jobs: a silent provider's jobs may go elsewhere.

    Attributes:
        rounds: of looking.
    """

    def __init__(self, engine: Engine, changes: Changes) -> None:
        self._engine = engine
        self._changes = changes
        self.rounds = Rounds(self.look, engine.clock, EVERY_SECONDS, log, "providers could not be looked after")

    async def look(self) -> list[int]:
        """Put every silent provider offline; their numbers."""
        now = micros(self._engine.clock.now())
        if not await self._engine.store.read(silent, now):
            return []
        gone = await self._engine.store.run(put_offline, now)
        if gone:
            log.info("providers %s have not been heard of for %d s", gone, provider_rows.OFFLINE_SECONDS)
            self._changes.changed(OFFERS)
        return gone


def silent(connection: Connection, now: int) -> list[int]:
    """Providers that count as there and have not been heard of for too long, by number."""
    since = now - provider_rows.OFFLINE_SECONDS * 1_000_000
    query = select(providers.c.id).where(
        providers.c.status.in_(_THERE), (providers.c.last_heartbeat.is_(None)) | (providers.c.last_heartbeat < since)
    )
    return [int(row.id) for row in connection.execute(query.order_by(providers.c.id))]


def put_offline(connection: Connection, now: int) -> list[int]:
    """Mark them; their numbers."""
    gone = silent(connection, now)
    for provider_id in gone:
        provider_rows.change(connection, provider_id, now, status="offline")
    return gone
