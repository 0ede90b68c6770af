"""A worker: lanes side by side, one for each GPU or one on the CPU, that take frames of a queue until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import replace

from skerry.island.sandbox.driver import SandboxError
from skerry.island.workers.render import book
from skerry.island.workers.render.attempt import Attempt, Means
from skerry.island.workers.render.values import Claim, RenderJob, WorkerRecord

log = logging.getLogger("skerry.render")

_RETRY_SECONDS = 1.0


class RenderWorker:
    """Made by `RenderWorkers.start`.

    Args:
        means: what it works with.
        record: who it is.
        sharers: tells how many lanes work on its queue now.
        on_change: called when frames were given back, with the job as it stands.
    """

    def __init__(
        self,
        means: Means,
        record: WorkerRecord,
        sharers: Callable[[str], int],
        on_change: Callable[[RenderJob | None], None],
    ) -> None:
        self.record = record
        self._means = means
        self._sharers = sharers
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._stopping = False
        self._attempts: dict[int, Attempt] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def id(self) -> str:
        """Chosen by who started it."""
        return self.record.id

    @property
    def rendering(self) -> bool:
        """Whether a Blender of it runs now."""
        return bool(self._attempts)

    @property
    def attempts(self) -> list[Attempt]:
        """What is being rendered now."""
        return list(self._attempts.values())

    async def begin(self) -> None:
        """Let every lane work, first on what it had taken before the server last stopped."""
        taken = await self._means.book.do(book.claims, self.id)
        loop = asyncio.get_running_loop()
        for lane in range(len(self.record.lanes)):
            mine = [claim for claim in taken if claim.lane == lane]
            task = loop.create_task(self._work(lane, mine), name=f"render {self.id} {lane}")
            task.add_done_callback(_report)
            self._tasks.append(task)

    def wake(self) -> None:
        """Look for work: there may be some."""
        self._wake.set()

    async def stop(self) -> None:
        """End every Blender of it; finished frames are brought in, the others wait for another worker."""
        self._stopping = True
        self._wake.set()
        await asyncio.gather(*(attempt.withdraw() for attempt in self.attempts), return_exceptions=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def abandon(self) -> None:
        """Let go without ending anything, as a crash would."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self, lane: int, taken: list[Claim]) -> None:
        # What was taken before is given back even by a worker that is stopped at once.
        while taken or not self._stopping:
            try:
                claim = taken[0] if taken else await self._take(lane)
                if claim is not None:
                    # Kept until it is given back: should that fail, it is tried again.
                    taken[:1] = [claim]
                    await self._render(lane, claim)
                    del taken[:1]
                    continue
            except (OSError, sqlite3.Error, SandboxError) as error:
                log.error("render worker %s cannot go on: %s", self.id, error)
                if self._stopping:
                    return
                await self._means.clock.sleep(_RETRY_SECONDS)
                continue
            await self._wake.wait()

    async def _take(self, lane: int) -> Claim | None:
        # Cleared first, so that what is handed in while we look wakes us again.
        self._wake.clear()
        claim_id = f"r{secrets.token_hex(12)}"
        return await self._means.book.do(book.claim, claim_id, self.id, lane, self._sharers(self.record.queue))

    async def _render(self, lane: int, claim: Claim) -> None:
        disk = self.record.disk_bytes
        limits = self._means.limits if disk is None else replace(self._means.limits, disk_bytes=disk)
        attempt = Attempt(self._means, claim, self.record.lanes[lane], self.record.envs, limits)
        self._attempts[lane] = attempt
        try:
            if self._stopping:
                await attempt.withdraw()
            job = await attempt.run()
        finally:
            del self._attempts[lane]
        self._on_change(job)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s ended badly", task.get_name(), exc_info=error)
