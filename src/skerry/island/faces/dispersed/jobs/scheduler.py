"""Gives jobs nodes, meets deadlines, keeps this machine's heartbeat: one loop that sleeps until something happens.

The order of assignment: the oldest job first. A job that fits nowhere now is passed over, so it never holds up younger
ones that fit; it is looked at first again whenever room may have come, until its assign deadline. Large jobs can
thus be overtaken by small ones, and fail at their deadline with the reason, rather than block the rest of the network.

A look costs as much as it gives, however many wait: jobs that need the same stand in one line, of which the oldest
speaks for all; what was refused is not asked for again until a run has ended or a node has changed; a new job makes
nobody look at others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError, NoCapacity
from skerry.island.faces.dispersed.jobs import deadlines
from skerry.island.faces.dispersed.jobs.job_rows import attended_runs, course_of, find_job, latest_runs, need_of
from skerry.island.faces.dispersed.jobs.lifecycle import LONGEST_PAUSE, WANTING
from skerry.island.faces.dispersed.jobs.placement import Need, Offer, place, why_not
from skerry.island.faces.dispersed.jobs.progress import Progress
from skerry.island.faces.dispersed.jobs.waiting import Waiting
from skerry.island.faces.dispersed.jobs.waiting_rows import noted_jobs, tell, wanting_jobs
from skerry.island.faces.dispersed.jobs.worker import Worker
from skerry.island.faces.dispersed.nodes import rewards
from skerry.island.faces.dispersed.nodes.node_offers import all_offers, usual_memory
from skerry.island.faces.dispersed.tables import nodes
from skerry.island.ground.waiting import first_of, give_up
from skerry.island.store.values import micros

_SECOND = 1_000_000
_RETRY = _SECOND
_TOLERANCE = 2 * _SECOND
"""By how much the wall clock may go differently from time before that counts as a jump."""
_AT_ONCE = 16
"""Runs made in one transaction, so that others need not wait long for theirs."""

log = logging.getLogger("skerry.island.dispersed")


@dataclass(slots=True, kw_only=True)
class _Round:
    """What a round of assignments came to.

    Args:
        offers: nodes by their UUIDs, with what is left of them.
        refused: what there is no room for now.
        given: how many runs were made.
        gone: jobs that wait no longer.
        resting: jobs of which no slot may be given a node before a moment, microseconds since 1970.
        unpaid: jobs of which further runs cannot be paid now.
        told: jobs that know why they wait.
        more: whether another round may find more.
        crowded: whether something idle has what one of them would get.
    """

    offers: dict[str, Offer]
    refused: set[Need]
    given: int = 0
    gone: list[str] = field(default_factory=list)
    resting: dict[str, int] = field(default_factory=dict)
    unpaid: list[str] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    more: bool = False
    crowded: bool = False

    @property
    def lasting(self) -> tuple[object, ...]:
        """What nodes are like apart from what is free of them."""
        return tuple(offer.lasting for offer in self.offers.values())


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
        self.worker = Worker(engine, self.progress, self.wake, self.look, self.keep_time)
        self._waiting = Waiting()
        self._usual = usual_memory(engine)
        self._refused: set[Need] = set()
        self._nodes: tuple[object, ...] = ()
        self._unpaid: set[str] = set()
        self._room = True
        self._due_at = 0
        self._turn = asyncio.Lock()
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
        now = self._now()
        for job in await self._engine.store.read(wanting_jobs):
            if _wants(job, now):
                self._enter(job, now)
        await self.worker.start(local.last_seen_at)
        self._loop = asyncio.get_running_loop().create_task(self._forever(), name="dispersed scheduler")

    async def stop(self) -> None:
        """Do nothing more; runs go on by themselves and are found by the next start."""
        self.stopping = True
        self._tell()
        loop, self._loop = self._loop, None
        await give_up(loop)
        await self.worker.stop()

    def wake(self) -> None:
        """Something has happened that may matter to somebody; call it on the event loop, after the commit."""
        self._room = True
        self.look()

    def look(self) -> None:
        """As `wake`, where nothing has happened that could make room: a job was created."""
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
        async with self._turn:
            await self.keep_time()
            if self._due_at <= self._now():
                # Once more, so that nothing is judged by a clock that has jumped while this looked.
                await self.keep_time()
                await self._meet()
            await self._look()
            if self._due_at <= self._now():
                await self._meet()
                await self._look()
            return self._due_at

    async def _look(self) -> None:
        """Give nodes to those who wait, see that each run is carried, and find what is due next."""
        while await self._assign():
            pass
        runs, due = await self._engine.store.read(self._state, self._now())
        for run in runs:
            if run.engine_run_id is not None:
                self.worker.attend(run)
        if len(runs) > sum(run.engine_run_id is not None for run in runs):
            self._tell()
        moments = (due, self._waiting.deadline(), self._waiting.rested())
        self._due_at = min(moment for moment in moments if moment is not None)

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
        """One round of assignments, in one transaction; whether another may find more."""
        if self._room:
            self._room = False
            self._refused.clear()
            self._unpaid.clear()
        elif not self.progress.noted:
            return False
        done = await self._engine.store.run(self._give, self._now())
        for uuid in done.gone:
            self._waiting.leave(uuid)
        for uuid, until in done.resting.items():
            self._waiting.rest(uuid, until)
        self._refused = done.refused
        self._unpaid.update(done.unpaid)
        if not done.more:
            self._nodes = done.lasting
            self._waiting.untold -= done.told
        if done.crowded and not done.more and await self._engine.lending.make_room():
            self._room = True
            return True
        return done.more

    def _give(self, connection: Connection, now: int) -> _Round:
        """Give nodes to jobs in their order while there is room, and tell others why they wait."""
        for uuid, job in noted_jobs(connection, self.progress.notes()).items():
            if job is not None and _wants(job, now):
                self._enter(job, now)
            else:
                self._waiting.leave(uuid)
        self._waiting.line_up(now)
        offers = {offer.node_uuid: offer for offer in all_offers(connection, self._engine, now)}
        done = _Round(offers=offers, refused=set(self._refused))
        if all(offer.full for offer in offers.values()):
            done.refused.update(self._waiting.needs())
        for uuid, need in self._waiting.in_turn(done.refused):
            if done.given >= _AT_ONCE:
                done.more = True
                return done
            if uuid not in self._unpaid:
                self._give_one(connection, uuid, need, done, now)
        self._tell_why(connection, done, now)
        return done

    def _enter(self, job: Row[Any], now: int) -> None:
        self._waiting.enter(job, need_of(job, self._usual))
        # With one slot, the job's assign time begins when that has rested; with more, others may be free before.
        begins = (job.assign_by_ms - job.max_timeout_assign_ms) * 1_000
        if job.max_node_count == 1 and begins > now:
            self._waiting.rest(job.uuid, min(begins, now + LONGEST_PAUSE * _SECOND))

    def _give_one(self, connection: Connection, uuid: str, need: Need, done: _Round, now: int) -> None:
        """Give each open slot of a job a node, as far as there is room."""
        while (found := place(need, done.offers.values())) is not None:
            job = find_job(connection, uuid)
            if job is None or not _wants(job, now):
                done.gone.append(uuid)
                return
            course = course_of(job, latest_runs(connection, uuid))
            slot = next(course.open_slots(now), None)
            if slot is None:
                until = course.rested_at(now)
                if until is None:
                    done.gone.append(uuid)
                else:
                    done.resting[uuid] = until
                return
            if any(card.idle for card in found.cards):
                done.crowded = True
                break
            try:
                run = self.progress.assign(connection, job, *slot, need, found, now, further=course.live)
            except NoCapacity:
                break
            if run is not None:
                done.given += 1
                done.offers[found.node_uuid] = done.offers[found.node_uuid].without(need, found)
            if job.max_node_count == 1:
                done.gone.append(uuid)
                return
            if run is None:
                done.unpaid.append(uuid)
                return
        done.refused.add(need)

    def _tell_why(self, connection: Connection, done: _Round, now: int) -> None:
        """Tell those who wait why: whoever is new, and everybody once nodes are others than before."""
        offers = list(done.offers.values())
        whom: dict[Need, list[str]] = {}
        if done.lasting != self._nodes:
            whom = {need: self._waiting.of(need) for need in self._waiting.needs()}
        else:
            for uuid in self._waiting.untold.difference(done.gone, done.resting):
                if (need := self._waiting.need(uuid)) is not None:
                    whom.setdefault(need, []).append(uuid)
        for need, waiting in whom.items():
            # Those who rest say already after what they are tried again.
            uuids = [uuid for uuid in waiting if uuid not in done.resting]
            tell(connection, uuids, why_not(need, offers), now)
            done.told.update(uuids)

    async def _meet(self) -> None:
        now = self._now()
        await self._engine.store.run(self._meet_due, now)
        self._waiting.met(now)
        self._room = True

    def _meet_due(self, connection: Connection, now: int) -> None:
        rewards.seen(connection, self._local, now)
        deadlines.meet(connection, self.progress, now)

    def _state(self, connection: Connection, now: int) -> tuple[Sequence[Row[Any]], int]:
        """Runs that go on, and when something is due for others than waiting jobs: the next heartbeat at the latest."""
        last = _local_node(connection).last_seen_at
        # A clock that was set back must not make the heart wait until it has caught up.
        beat: int = now if last > now else last + round(rewards.BEAT_SECONDS * _SECOND)
        moment = deadlines.next_moment(connection)
        return attended_runs(connection), beat if moment is None else min(beat, moment)

    async def either(self, event: asyncio.Event, left: Callable[[], float]) -> bool:
        """Wait for an event or a time; whether the event has come.

        Args:
            left: seconds of the island's clock to wait, asked at the moment at which the waiting begins.
        """

        async def sleep() -> None:
            seconds = left()
            if seconds > 0:
                await self._engine.clock.sleep(seconds)

        async with first_of(event.wait(), sleep()):
            return event.is_set()

    def _now(self) -> int:
        return micros(self._engine.clock.now())


def _wants(job: Row[Any], now: int) -> bool:
    """Whether a job may be given a node; one with runs that go on only within its assign time."""
    if job.status == "PENDING":
        return True
    return job.status in WANTING and job.max_node_count > 1 and job.assign_by_ms > now // 1_000


_LOCAL: Select[Any] = select(nodes.c.uuid, nodes.c.last_seen_at).where(nodes.c.node_id.is_not(None))


def _local_node(connection: Connection) -> Row[Any]:
    return connection.execute(_LOCAL).one()
