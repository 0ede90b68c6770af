"""What renders here, for the face: opened where Blender can run, with the farm in front of it, and its figures."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError
from skerry.island.faces.octaspace.authentication import authenticate
from skerry.island.faces.octaspace.errors import Fault
from skerry.island.faces.octaspace.farm.app import Farm
from skerry.island.faces.octaspace.sessions.helpers import Helpers
from skerry.island.ground.rounds import Rounds
from skerry.island.sandbox.driver import SandboxError
from skerry.island.workers.render import RenderWorkers

_TIDY_SECONDS = 3600.0
_KEEP = timedelta(days=7)

log = logging.getLogger("skerry.island.octaspace")


class Rendering:
    """Make it with `await Rendering.opened(...)`, end with `close`.

    Attributes:
        workers: None where Blender cannot run.
        farm: the same.
        reason: why there is no rendering; None where there is.
    """

    def __init__(self, engine: Engine, workers: RenderWorkers | None, reason: str | None) -> None:
        self._engine = engine
        self.workers = workers
        self.reason = reason
        self.farm: Farm | None = None
        self._tidying = Rounds(self._tidy, engine.clock, _TIDY_SECONDS, log, "old render jobs could not be removed")
        self._counts: dict[str, Any] = {"frames_24h": 0, "frames_total": 0, "frames_by_week": []}
        if workers is not None:
            self.farm = Farm(workers, engine.settings.data_dir / "farm", self._account)
            self._tidying.start()

    @classmethod
    async def opened(cls, engine: Engine, helpers: Helpers) -> Rendering:
        """Open what this machine has."""
        reason = await asyncio.to_thread(helpers.unready)
        if reason is not None or helpers.open_workers is None:
            return cls(engine, None, reason or "this island has no renderer")
        try:
            return cls(engine, await helpers.open_workers(), None)
        except (EngineError, SandboxError, OSError) as error:
            log.warning("nothing renders here: %s", error)
            return cls(engine, None, str(error))

    async def close(self) -> None:
        """End every process; what waits goes on at the next start."""
        await self._tidying.stop()
        if self.workers is not None:
            await self.workers.close()

    def unready(self) -> str | None:
        """Why rendering cannot be had; None when it can."""
        return self.reason

    def score(self) -> float:
        """The machine's measured score, 0 where nobody has measured it."""
        return 0.0 if self.workers is None else self.workers.score()

    async def figures(self) -> dict[str, Any]:
        """Frames rendered here, as `/network` tells them (section 3.2)."""
        if self.workers is None:
            return self._counts
        counts = await self.workers.counts()
        return {
            "frames_24h": counts.last_day,
            "frames_total": counts.total,
            "frames_by_week": [{unpadded(day): frames} for day, frames in sorted(counts.by_week.items())],
        }

    async def _account(self, token: str) -> str | None:
        try:
            return (await authenticate(self._engine.accounts, token)).account_id
        except Fault:
            return None

    async def _tidy(self) -> None:
        if self.farm is not None:
            await self.farm.tidy(self._engine.clock.now(), _KEEP)


def unpadded(day: str) -> str:
    """An ISO date as the network writes it.

    Example:
        >>> unpadded("2026-08-03")
        '2026-8-3'
    """
    return "-".join(str(int(part)) for part in day.split("-"))
