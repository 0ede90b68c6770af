"""Runs idle jobs on nodes that nobody rents (protocol section 5.4).

Each job has one task, which begins an attempt whenever its node is idle and ends it as soon as it is not. An attempt is
written down before it is begun, under an id of its own, so that after a crash it is either found or begun, never twice.
What fails is begun again after a pause that doubles.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError, NotFound
from skerry.island.engine.records import RunRecord
from skerry.island.faces.octaspace.idle import idle_rows
from skerry.island.faces.octaspace.idle.idle_work import IdleWork
from skerry.island.faces.octaspace.nodes import node_rows
from skerry.island.faces.octaspace.sessions.carrier import Carrier
from skerry.island.faces.octaspace.sessions.works import StartFailed
from skerry.island.ground.waiting import came, give_up, unless
from skerry.island.sandbox.driver import SandboxError
from skerry.island.store.values import micros

LOOK_SECONDS = 5.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
WELL_SECONDS = 60.0
"""An attempt that lasted so long was no failure at once: the pauses begin anew."""

_SECOND = 1_000_000

log = logging.getLogger("skerry.island.octaspace")


@dataclass(slots=True)
class _Drive:
    """What is done about one job.

    Args:
        allowed: its node is idle.
        denied: the opposite.
        told: set whenever either was looked at.
        quiet: nothing of it runs.
        failures: in a row.
    """

    allowed: asyncio.Event = field(default_factory=asyncio.Event)
    denied: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    quiet: asyncio.Event = field(default_factory=asyncio.Event)
    failures: int = 0
    task: asyncio.Task[None] | None = None

    def allow(self, allowed: bool) -> None:
        """Say whether it may run now."""
        for event, on in ((self.allowed, allowed), (self.denied, not allowed)):
            if on:
                event.set()
            else:
                event.clear()
        self.told.set()


class IdleRunner:
    """Every idle job.

    Args:
        engine: open.
        carrier: tells when sessions begin and end.
    """

    def __init__(self, engine: Engine, carrier: Carrier) -> None:
        self._engine = engine
        self._carrier = carrier
        self._work = IdleWork(engine)
        self._drives: dict[str, _Drive] = {}
        self._woken = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up every job, and look whenever something has changed."""
        self._carrier.on_change(self.wake)
        await self.look()
        self._loop = asyncio.get_running_loop().create_task(self._forever(), name="octaspace idle jobs")

    async def stop(self) -> None:
        """Let go of every job; the next start finds them."""
        await give_up(self._loop, *(drive.task for drive in self._drives.values()))
        self._drives.clear()
        self._loop = None

    def wake(self) -> None:
        """Something has changed: look."""
        self._woken.set()

    async def look(self) -> None:
        """Let each job know whether it may run."""
        for job, idle in await self._engine.store.read(_outlook, self._engine):
            drive = self._drives.get(job.sandbox_id)
            if drive is None:
                drive = self._drives[job.sandbox_id] = _Drive()
                drive.task = asyncio.get_running_loop().create_task(
                    self._drive(job.node_id, job.job_id, job.sandbox_id, drive), name=f"idle job {job.sandbox_id}"
                )
            drive.allow(idle)

    async def take_down(self, node_id: int) -> None:
        """End what runs on a node that is offline by now, agents included; `wake` once it is back."""
        await self.look()
        for job in await self._engine.store.read(idle_rows.every):
            if job.node_id != node_id:
                continue
            drive = self._drives.get(job.sandbox_id)
            if drive is not None:
                await drive.quiet.wait()
            with contextlib.suppress(SandboxError):
                await self._engine.driver.kill(job.sandbox_id)

    async def log_of(self, job: Row[Any]) -> bytes:
        """What a job has written lately."""
        return await self._work.log(job)

    async def _forever(self) -> None:
        while True:
            await came(self._woken, self._engine.clock, LOOK_SECONDS)
            self._woken.clear()
            try:
                await self.look()
            except Exception:
                log.exception("idle jobs could not be looked after; it is tried again")

    async def _drive(self, node_id: int, job_id: int, name: str, drive: _Drive) -> None:
        try:
            while True:
                try:
                    if not await self._step(node_id, job_id, name, drive):
                        return
                except EngineError as error:
                    log.warning("idle job %s cannot go on now: %s", name, error)
                    await self._engine.clock.sleep(LOOK_SECONDS)
                except Exception:
                    log.exception("idle job %s failed for a reason of the island's own", name)
                    await self._engine.clock.sleep(LOOK_SECONDS)
        finally:
            drive.quiet.set()
            self._drives.pop(name, None)

    async def _step(self, node_id: int, job_id: int, name: str, drive: _Drive) -> bool:
        """One attempt, or the wait for it; False once the job is no more."""
        drive.told.clear()
        job = await self._engine.store.read(idle_rows.find, node_id, job_id)
        if job is None or job.sandbox_id != name:
            return False
        if job.run_id is not None:
            drive.quiet.clear()
            await self._attempt(job, drive)
            drive.quiet.set()
            return True
        drive.quiet.set()
        if job.deleted_at is not None:
            await self._work.remove(job)
            await self._engine.store.run(idle_rows.drop, job)
            return False
        if not await self._may_begin(drive):
            await drive.told.wait()
            return True
        drive.quiet.clear()
        await self._engine.store.run(_begin, self._engine, node_id, job_id, self._now())
        return True

    async def _may_begin(self, drive: _Drive) -> bool:
        """Whether the node is idle, and stays so for as long as the job must pause."""
        if drive.allowed.is_set() and drive.failures:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(drive.failures - 1, 16))
            await came(drive.denied, self._engine.clock, pause)
        return drive.allowed.is_set()

    async def _attempt(self, job: Row[Any], drive: _Drive) -> None:
        began = self._engine.clock.monotonic()
        try:
            ended = await self._follow(job, drive)
        except (StartFailed, SandboxError) as error:
            await self._settle(job, drive, began, str(error))
        except EngineError as error:
            await self._settle(job, drive, began, error.message)
        else:
            if ended is None or ended.cause == "stopped":
                await self._engine.store.run(_end, job, None, self._now())
            else:
                await self._settle(job, drive, began, _failure(ended))

    async def _settle(self, job: Row[Any], drive: _Drive, began: float, error: str | None) -> None:
        well = self._engine.clock.monotonic() - began >= WELL_SECONDS
        drive.failures = 1 if well else drive.failures + 1
        log.info("idle job %s has ended: %s", job.sandbox_id, error or "done")
        await self._engine.store.run(_end, job, error, self._now())

    async def _follow(self, job: Row[Any], drive: _Drive) -> RunRecord | None:
        """An attempt to its end; None when it was ended from here."""
        image = await unless(drive.denied, self._work.image(job))
        if image is not None:
            await self._work.begin(job, image)
            if await unless(drive.denied, self._work.begun(job)):
                await self._engine.store.run(_up, job, self._now())
            ended: RunRecord | None = await unless(drive.denied, self._engine.runs.wait(job.run_id))
            if ended is not None:
                return ended
        with contextlib.suppress(NotFound):
            await self._work.end(job)
        return None

    def _now(self) -> int:
        return micros(self._engine.clock.now())


def _outlook(connection: Connection, engine: Engine) -> list[tuple[Row[Any], bool]]:
    """Every job, and whether its node is idle."""
    busy = node_rows.occupied(connection)
    idle = {node.id for node in node_rows.every(connection, engine) if node_rows.state(node, busy) == "idle"}
    return [(job, job.deleted_at is None and job.node_id in idle) for job in idle_rows.every(connection)]


def _begin(connection: Connection, engine: Engine, node_id: int, job_id: int, now: int) -> None:
    """Write the next attempt down, unless the node has been rented or the job removed meanwhile."""
    for job, idle in _outlook(connection, engine):
        if (job.node_id, job.job_id) == (node_id, job_id) and idle and job.run_id is None:
            attempt = job.attempt + 1
            values = {"attempt": attempt, "run_id": idle_rows.run_id(job, attempt), "up_since": None}
            idle_rows.put(connection, job, now, state=idle_rows.RUNNING, **values)


def _up(connection: Connection, job: Row[Any], now: int) -> None:
    present = idle_rows.find(connection, job.node_id, job.job_id)
    if present is not None and present.run_id == job.run_id and present.up_since is None:
        idle_rows.put(connection, present, now, up_since=now, error=None)


def _end(connection: Connection, job: Row[Any], error: str | None, now: int) -> None:
    values = {"state": idle_rows.WAITING, "run_id": None, "up_since": None}
    idle_rows.put(connection, job, now, error=error[: idle_rows.MOST_ERROR] if error else None, **values)


def _failure(ended: RunRecord) -> str | None:
    """Why a job is down; None when it has done its work."""
    if ended.cause == "exited":
        return None if ended.exit_code == 0 else f"the program has exited with code {ended.exit_code}"
    if ended.cause == "not_found":
        return "the program is not in the image"
    return f"the program has ended: {str(ended.cause).replace('_', ' ')}"
