"""What is done again and again beside the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from skerry.island.clock import Clock
from skerry.island.engine.errors import EngineError
from skerry.island.ground.waiting import give_up


class Rounds:
    """Something done now and then until it is stopped; a bad round, whatever the reason, does not end the later ones.

    Args:
        work: one round.
        clock: of the island.
        seconds: between two rounds.
        log: of the face.
        trouble: what a bad round is told as, such as `callbacks could not be sent`.
    """

    def __init__(
        self, work: Callable[[], Awaitable[object]], clock: Clock, seconds: float, log: logging.Logger, trouble: str
    ) -> None:
        self._work = work
        self._clock = clock
        self._seconds = seconds
        self._log = log
        self._trouble = trouble
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin with the first round."""
        self._task = asyncio.get_running_loop().create_task(self._go(), name=f"rounds of {self._log.name}")

    async def stop(self) -> None:
        """Begin no other; one that is going on is given up."""
        task, self._task = self._task, None
        await give_up(task)

    async def _go(self) -> None:
        while True:
            try:
                await self._work()
            except EngineError as error:
                self._log.warning("%s: %s", self._trouble, error)
            except Exception:
                self._log.exception("%s; it is tried again", self._trouble)
            await self._clock.sleep(self._seconds)
