"""Gives jobs nodes, meets deadlines, keeps this machine's heartbeat: one loop that sleeps until something happens.

The order of assignment: the oldest job first. A job that fits nowhere now is passed over, so it never holds up younger
ones that fit; it is looked at first again whenever something changes, until its assign deadline. Large jobs can thus be
overtaken by small ones, and fail at their deadline with the reason, rather than block the rest of the network.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, or_, select

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError, NoCapacity
from skerry.island.faces.dispersed import deadlines, rewards
from skerry.island.faces.dispersed.job_rows import course_of, find_job, live_runs, need_of, runs_of
from skerry.island.faces.dispersed.lifecycle import WANTING
from skerry.island.faces.dispersed.node_offers import all_offers, usual_memory
from skerry.island.faces.dispersed.placement import place, why_not
from skerry.island.faces.dispersed.progress import Progress
from skerry.island.faces.dispersed.tables import jobs, nodes
from skerry.island.faces.dispersed.worker import Worker
from skerry.island.store.values import micros

_SECOND = 1_000_000
_RETRY = _SECOND
_TOLERANCE = 2 * _SECOND
"""By how much the wall clock may go differently from time before that counts as a jump."""

log = logging.getLogger("skerry.island.dispersed")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a look at the waiting jobs came to.

    Args:
        fitting: jobs that have room somewhere now, oldest first.
        reasons: why others wait, where that has changed.
    """

    fitting: list[str]
    reasons: dict[str, str]


class Scheduler:
    """The network's own mind; make one per face, `start` it before requests come, `stop` it after.

    Attributes:
        progress: how jobs and runs move on.
        worker: carries the runs of this machine.
        stopping: nothing more will be given to anybody.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.progress = Progress(engine.capacity)
        self.worker = Worker(engine, self.progress, self.wake, self.keep_time)
        self._woken = asyncio.Event()
        self._changed = asyncio.Event()
        self._local = ""
        self._clocks = self._read_clocks()
        self.stopping = False
        self._loop: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up what a server before this one left, then begin. This machine must be among the nodes already."""
        local = await self._engine.store.read(_local_node)
        self._local = local.uuid
        await self.worker.start(local.last_seen_at)
        self._loop = asyncio.get_running_loop().create_task(self._forever(), name="dispersed scheduler")

    async def stop(self) -> None:
        """Do nothing more; runs go on by themselves and are found by the next start."""
        self.stopping = True
        self._tell()
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
        await self.worker.stop()

    def wake(self) -> None:
        """Something has happened that may matter to somebody; call it on the event loop, after the commit."""
        self._woken.set()
        self._tell()

    @property
    def change(self) -> asyncio.Event:
        """Set when something has happened since it was asked for; see `either`."""
        return self._changed

    async def _forever(self) -> None:
        while True:
            self._woken.clear()
            try:
                due = await self.tick()
            except EngineError as error:
                log.warning("the scheduler cannot go on now: %s", error)
                due = self._now() + _RETRY
            except Exception:
                log.exception("the scheduler failed, and tries again")
                due = self._now() + _RETRY
            await self.either(self._woken, partial(self._until, due))

    def _until(self, moment: int) -> float:
        return (moment - self._now()) / _SECOND

    async def tick(self) -> int:
        """Do everything that can be done now; returns when something is due next, microseconds since 1970."""
        store = self._engine.store
        await self.keep_time()
        if await store.read(self._due, self._now()) <= self._now():
            # Once more, so that nothing is judged by a clock that has jumped while this looked.
            await self.keep_time()
            await store.run(self._meet, self._now())
        while await self._assign():
            pass
        remote = False
        for run in await store.read(live_runs):
            if run.engine_run_id is not None:
                self.worker.attend(run)
            else:
                remote = True
        if remote:
            self._tell()
        return await store.read(self._due, self._now())

    def _tell(self) -> None:
        """Let nodes that wait for work look again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def keep_time(self) -> None:
        """Notice that the wall clock has jumped since this was last called; to be called before durations count."""
        wall, steady = self._clocks
        self._clocks = self._read_clocks()
        skew = (self._clocks[0] - wall) - round((self._clocks[1] - steady) * _SECOND)
        if abs(skew) > _TOLERANCE:
            log.info("the clock jumped by %.1f s; runs of this machine go on as if it had not", skew / _SECOND)
            await self._engine.store.run(deadlines.move_moments, skew)

    def _read_clocks(self) -> tuple[int, float]:
        return self._now(), self._engine.clock.monotonic()

    async def _assign(self) -> bool:
        """One round of assignments; whether another may find more."""
        store = self._engine.store
        plan = await store.read(self._plan, self._now())
        if plan.reasons:
            await store.run(_note, plan.reasons, self._now())
        moved = False
        for uuid in plan.fitting:
            moved |= await store.run(self._give, uuid, self._now())
        return moved

    def _plan(self, connection: Connection, now: int) -> _Plan:
        offers = all_offers(connection, self._engine, now)
        usual = usual_memory(self._engine)
        fitting: list[str] = []
        reasons: dict[str, str] = {}
        for job in connection.execute(_waiting(now)):
            need = need_of(job, usual)
            if place(need, offers) is not None:
                fitting.append(job.uuid)
            elif job.status == "PENDING" and job.status_reason != (reason := why_not(need, offers)):
                reasons[job.uuid] = reason
        return _Plan(fitting=fitting, reasons=reasons)

    def _give(self, connection: Connection, job_uuid: str, now: int) -> bool:
        """Give one slot of a job a node, in one transaction; whether anything came of it."""
        job = find_job(connection, job_uuid)
        if job is None or job.status not in WANTING:
            return False
        slot = next(course_of(job, runs_of(connection, job.uuid)).open_slots(), None)
        if slot is None:
            return False
        need = need_of(job, usual_memory(self._engine))
        found = place(need, all_offers(connection, self._engine, now))
        if found is None:
            return False
        try:
            with connection.begin_nested():
                run = self.progress.assign(connection, job, *slot, need, found, now)
        except NoCapacity:
            return False
        return run is not None

    def _due(self, connection: Connection, now: int) -> int:
        """When something is due, the next heartbeat at the latest."""
        last = _local_node(connection).last_seen_at
        # A clock that was set back must not make the heart wait until it has caught up.
        beat: int = now if last > now else last + round(rewards.BEAT_SECONDS * _SECOND)
        moment = deadlines.next_moment(connection)
        return beat if moment is None else min(beat, moment)

    def _meet(self, connection: Connection, now: int) -> None:
        rewards.seen(connection, self._local, now)
        deadlines.meet(connection, self.progress, now)

    async def either(self, event: asyncio.Event, left: Callable[[], float]) -> bool:
        """Wait for an event or a time; whether the event has come.

        Args:
            left: seconds of the island's clock to wait, asked at the moment at which the waiting begins.
        """

        async def sleep() -> None:
            seconds = left()
            if seconds > 0:
                await self._engine.clock.sleep(seconds)

        coming, sleeping = asyncio.ensure_future(event.wait()), asyncio.ensure_future(sleep())
        try:
            await asyncio.wait((coming, sleeping), return_when=asyncio.FIRST_COMPLETED)
            return event.is_set()
        finally:
            for one in (coming, sleeping):
                one.cancel()
            await asyncio.gather(coming, sleeping, return_exceptions=True)

    def _now(self) -> int:
        return micros(self._engine.clock.now())


def _waiting(now: int) -> Select[Any]:
    """Jobs that may be given a node, oldest first; those with runs that go on only within their assign time."""
    further = and_(
        jobs.c.status.in_(("ASSIGNED", "RUNNING")), jobs.c.max_node_count > 1, jobs.c.assign_by_ms > now // 1_000
    )
    return select(jobs).where(or_(jobs.c.status == "PENDING", further)).order_by(jobs.c.created_at, jobs.c.uuid)


def _note(connection: Connection, reasons: dict[str, str], now: int) -> None:
    for uuid, reason in reasons.items():
        connection.execute(
            jobs.update()
            .where(jobs.c.uuid == uuid, jobs.c.status == "PENDING")
            .values(status_reason=reason, updated_at=now)
        )


def _local_node(connection: Connection) -> Row[Any]:
    return connection.execute(select(nodes).where(nodes.c.node_id.is_not(None))).one()
