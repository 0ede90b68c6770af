"""What an island does by itself: lets idle sandboxes sleep, watches disks, holds money ahead, forgets what is old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sqlalchemy import Connection

from skerry.island.engine import output
from skerry.island.engine.activity import Activity
from skerry.island.engine.core import Core
from skerry.island.engine.dispatch import Dispatcher
from skerry.island.engine.errors import PaymentRequired
from skerry.island.engine.jobs import exec_id
from skerry.island.engine.leases import HOLD_SECONDS, Leases
from skerry.island.engine.lending import Lending
from skerry.island.engine.removals import Removals
from skerry.island.engine.terminals import Terminals
from skerry.island.sandbox.driver import SandboxError
from skerry.island.store import idempotency as bindings
from skerry.island.store import leases as lease_rows
from skerry.island.store import runs as run_rows
from skerry.island.store import sandboxes as sandbox_rows

_DISK_SECONDS = 2.0
_REMOVAL_SECONDS = 5.0
_RETENTION_SECONDS = 600.0
_PER_SWEEP = 500

log = logging.getLogger("skerry.engine")


class Upkeep:
    """Loops that belong to one engine; each step can also be called by itself."""

    def __init__(
        self,
        core: Core,
        leases: Leases,
        dispatcher: Dispatcher,
        terminals: Terminals,
        activity: Activity,
        removals: Removals,
        lending: Lending,
    ) -> None:
        self._core = core
        self._leases = leases
        self._dispatcher = dispatcher
        self._terminals = terminals
        self._activity = activity
        self._removals = removals
        self._lending = lending
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin every loop."""
        idle = max(0.5, min(30.0, self._core.settings.idle_suspend / 4))
        for name, seconds, step in (
            ("holds", HOLD_SECONDS / 4, self.extend_holds),
            ("disks", _DISK_SECONDS, self.check_disks),
            ("idle", idle, self.suspend_idle),
            ("removals", _REMOVAL_SECONDS, self._removals.again),
            ("gpus", _REMOVAL_SECONDS, self._lending.again),
            ("retention", _RETENTION_SECONDS, self.forget_old),
        ):
            self._tasks.append(asyncio.get_running_loop().create_task(self._forever(name, seconds, step)))

    async def stop(self) -> None:
        """End every loop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def extend_holds(self) -> None:
        """Note that leases live, and hold money for their next minute; work that cannot pay it is ended."""
        walls = self._terminals.walls()
        now = self._core.clock.monotonic()
        jobs = {job.exec_id: job for job in self._dispatcher.jobs.values() if job.began is not None}
        walls.update({id: round((now - job.began) * 1e9) for id, job in jobs.items() if job.began is not None})
        if not walls:
            return
        await self._core.store.run(lease_rows.seen, list(walls), self._core.now())
        for lease_id, wall in walls.items():
            try:
                await self._core.store.run(self._leases.extend, lease_id, wall, self._core.now())
            except PaymentRequired as error:
                log.info("ending %s: %s", lease_id, error)
                if lease_id in jobs:
                    jobs[lease_id].note = str(error)
                    await self._dispatcher.stop(jobs[lease_id], grace=2.0, cause="payment_required")
                else:
                    await self._terminals.cut(lease_id)

    async def check_disks(self) -> None:
        """End what runs in a sandbox that has outgrown its disk."""
        for sandbox_id in self._activity.in_use():
            jobs = self._dispatcher.of_sandbox(sandbox_id)
            bound = jobs[0].sandbox.limits.disk_bytes if jobs else None
            if bound is None:
                continue
            try:
                live = await self._core.driver.find(sandbox_id)
                used = (await live.usage()).disk_bytes if live is not None else None
            except SandboxError as error:
                log.info("cannot measure sandbox %s: %s", sandbox_id, error)
                continue
            if used is not None and used > bound:
                running = [job for job in jobs if job.process is not None]
                for job in running:
                    job.note = f"the sandbox's disk is full: {used} of {bound} bytes"
                await self._dispatcher.stop_all(running, grace=0.0, cause="disk_full")

    async def suspend_idle(self) -> None:
        """End the processes of sandboxes that nobody has used for long."""
        for sandbox_id in self._activity.idle_for(self._core.settings.idle_suspend):
            async with self._activity.closed(sandbox_id) as idle:
                if not idle:
                    continue
                try:
                    if not await self._core.driver.suspend(sandbox_id):
                        # What a run left behind in the background ends with the rest.
                        await self._core.driver.kill(sandbox_id)
                except SandboxError as error:
                    log.info("cannot suspend sandbox %s: %s", sandbox_id, error)
                self._activity.sleeps(sandbox_id)
                await self._core.store.run(sandbox_rows.mark_suspended, sandbox_id)

    async def forget_old(self) -> None:
        """Drop ended runs with their logs, keys and removed sandboxes that are older than the owner wants."""
        before = self._core.now() - round(self._core.settings.run_retention * 1e6)
        while expired := await self._core.store.read(run_rows.expired, before, _PER_SWEEP):
            await asyncio.to_thread(self._discard, expired)
            await self._core.store.run(run_rows.remove, [id for id, _, _ in expired])
        await self._core.store.run(_purge, before)

    def _discard(self, expired: list[tuple[str, str, int]]) -> None:
        for run_id, sandbox_id, attempts in expired:
            for number in range(1, attempts + 1):
                try:
                    output.discard(self._core.driver, sandbox_id, exec_id(run_id, number))
                except SandboxError:
                    break  # the sandbox is gone, and its logs with it

    async def _forever(self, name: str, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._core.clock.sleep(seconds)
            try:
                await step()
            except Exception:
                # One bad round, whatever the reason, must not end all later ones.
                log.exception("upkeep of %s failed; it is tried again", name)


def _purge(connection: Connection, before: int) -> None:
    bindings.purge(connection, before)
    sandbox_rows.purge_removed(connection, before)
