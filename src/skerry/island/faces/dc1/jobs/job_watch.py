"""What time alone does to jobs: their time is over, or what was paid for, or nobody begins them (section 5.4)."""

from __future__ import annotations

import asyncio
import logging

from sqlalchemy import BigInteger, ColumnElement, Connection, Double, and_, case, cast, func, literal, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1.jobs import claiming, ending, job_rows
from skerry.island.faces.dc1.jobs.changes import Changes, Watch
from skerry.island.faces.dc1.tables import jobs, providers
from skerry.island.ground.waiting import first_of, give_up
from skerry.island.provider.records import CHAT_TYPE
from skerry.island.store.values import micros

EVERY_SECONDS = 30.0
GONE_SECONDS = 300
"""Silence of a provider after which its jobs go to others."""

GRACE_SECONDS = 60
"""How much longer than was paid for a job may run, for what is rounded and for what comes late."""

_TIMED = ("running", "assigned", "pulling")
_BOUNDED_OTHERWISE = (claiming.SERVING, CHAT_TYPE, "llm_inference", "llm-inference", "image_generation")
"""A served model ends with the time that was paid for. A text or a picture is as long as was asked for, and much of its
first one's time may go by while a model is fetched, which is no work for the renter alone."""

_BREATH_SECONDS = 1.0
_SECOND = 1_000_000

_IS_TIMED = jobs.c.status.in_(_TIMED)
_IS_PAID_BY_TIME = and_(
    _IS_TIMED,
    jobs.c.assigned_at.is_not(None),
    jobs.c.job_type.not_in(_BOUNDED_OTHERWISE),
    func.coalesce(jobs.c.progress_phase, "") != job_rows.PULLING,
)
_PAID_SECONDS = cast(jobs.c.duration_minutes, Double) * 60 + GRACE_SECONDS
_WAITS = and_(jobs.c.status.in_(job_rows.WAITING), jobs.c.picked_up_at.is_(None))
# The hold of a job that was given to a provider is good for so long beyond its time limit (section 5.2).
_AWAITED_UNTIL = case(
    (jobs.c.status == "pending", jobs.c.timeout_at + claiming.WAIT_SECONDS * _SECOND),
    else_=func.coalesce(jobs.c.timeout_at, jobs.c.submitted_at + claiming.WAIT_SECONDS * _SECOND),
)

log = logging.getLogger("skerry.island.dc1")


class JobWatch:
    """Looks every half a minute, or when the next job's time is over; all it knows is in the rows.

    Args:
        engine: open.
        changes: runs transactions over jobs, and tells when another job may be the next.
    """

    def __init__(self, engine: Engine, changes: Changes) -> None:
        self._engine = engine
        self._changes = changes
        self._task: asyncio.Task[None] | None = None
        self._since = self._now()

    def start(self) -> None:
        """Begin to look. Providers have a while to be heard of again after the island itself was away."""
        self._since = self._now()
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="dc1 jobs")

    async def stop(self) -> None:
        """Look no longer."""
        task, self._task = self._task, None
        await give_up(task)

    async def look(self) -> int:
        """Do what is due; how many jobs it concerned."""
        now = self._now()
        if not await self._engine.store.read(due, now, self._since):
            return 0
        return await self._changes.run(meet, now, self._since)

    async def _watch(self) -> None:
        with self._changes.watching() as watch:
            while True:
                try:
                    await self.look()
                    seconds = await self._seconds()
                except Exception:
                    # A database that is busy now is asked again.
                    log.exception("jobs could not be looked after")
                    seconds = EVERY_SECONDS
                await self._pause(watch, seconds)

    async def _seconds(self) -> float:
        """How long nothing will be due, as far as is known now."""
        moment = await self._engine.store.read(next_moment, self._since)
        if moment is None:
            return EVERY_SECONDS
        return min(EVERY_SECONDS, max(0.0, (moment - self._now()) / _SECOND))

    async def _pause(self, watch: Watch, seconds: float) -> None:
        """Wait so long, or until some job has changed, but then no shorter than a breath."""
        async with first_of(self._engine.clock.sleep(seconds), watch.changed()) as (slept, changed):
            early = changed.done() and not slept.done()
        if early:
            await self._engine.clock.sleep(min(_BREATH_SECONDS, seconds))

    def _now(self) -> int:
        return micros(self._engine.clock.now())


def due(connection: Connection, now: int, since: int) -> bool:
    """Whether anything is to be done.

    Args:
        now: microseconds since 1970.
        since: when this island began to hear of providers.
    """
    ways = (_overdue(connection, now), _outlived(connection, now, since), _forsaken(connection, now, since))
    return any(ways) or bool(_not_taken(connection, now, since))


def meet(connection: Connection, now: int, since: int) -> int:
    """Do it; how many jobs it concerned."""
    overdue = _overdue(connection, now)
    for number in overdue:
        ending.time_over(connection, job_rows.get(connection, number), now=now)
    forsaken = _forsaken(connection, now, since)
    for number in forsaken:
        ending.provider_gone(connection, job_rows.get(connection, number), now=now)
    outlived = _outlived(connection, now, since)
    for number in outlived:
        ending.outlived(connection, job_rows.get(connection, number), now=now)
    not_taken = _not_taken(connection, now, since)
    for number, status in not_taken:
        job = job_rows.get(connection, number)
        # The end of another may have brought it forward just now, for which its provider is not to blame.
        ending.not_taken(connection, job, blamed=status == "pending", now=now)
    return len(overdue) + len(outlived) + len(forsaken) + len(not_taken)


def next_moment(connection: Connection, since: int) -> int | None:
    """When the next job's time is over, microseconds since 1970; None when none has one."""
    moments = [
        connection.execute(select(func.min(jobs.c.timeout_at)).where(_IS_TIMED)).scalar(),
        connection.execute(select(func.min(_paid_until(since))).where(_IS_PAID_BY_TIME)).scalar(),
    ]
    waiting = connection.execute(select(func.min(_AWAITED_UNTIL)).where(_WAITS)).scalar()
    if waiting is not None:
        moments.append(max(int(waiting), since + GONE_SECONDS * _SECOND))
    return min((int(moment) for moment in moments if moment is not None), default=None)


def _overdue(connection: Connection, now: int) -> list[int]:
    return _numbers(connection, _IS_TIMED, jobs.c.timeout_at <= now)


def _outlived(connection: Connection, now: int, since: int) -> list[int]:
    return _numbers(connection, _IS_PAID_BY_TIME, _paid_until(since) <= now, jobs.c.timeout_at > now)


def _paid_until(since: int) -> ColumnElement[int]:
    """Until when a job may run for what is held; one that ended while the island was away has a while to be told of."""
    began = func.coalesce(jobs.c.started_at, jobs.c.assigned_at)
    paid, back = began + cast(_PAID_SECONDS * _SECOND, BigInteger), since + GONE_SECONDS * _SECOND
    return case((and_(began < since, paid < back), literal(back, BigInteger)), else_=paid)


def _not_taken(connection: Connection, now: int, since: int) -> list[tuple[int, str]]:
    """Jobs that waited for too long and how, once there was time for providers to come back after the island was away.

    Queued ones are first, so that none of them takes a place that the end of another makes free.
    """
    if now - since < GONE_SECONDS * _SECOND:
        return []
    query = select(jobs.c.id, jobs.c.status).where(_WAITS, now >= _AWAITED_UNTIL)
    found = connection.execute(query.order_by(jobs.c.status != "queued", jobs.c.id))
    return [(int(row.id), str(row.status)) for row in found]


def _numbers(connection: Connection, *conditions: ColumnElement[bool]) -> list[int]:
    query = select(jobs.c.id).where(*conditions).order_by(jobs.c.id)
    return [int(row.id) for row in connection.execute(query)]


def _forsaken(connection: Connection, now: int, since: int) -> list[int]:
    """Jobs of providers that have been silent for so long that nobody waits for them any more."""
    if now - since < GONE_SECONDS * _SECOND:
        return []
    heard = func.coalesce(providers.c.last_heartbeat, 0)
    query = (
        select(jobs.c.id)
        .select_from(jobs.join(providers, jobs.c.provider_id == providers.c.id))
        .where(jobs.c.status.not_in(job_rows.TERMINAL), heard <= now - GONE_SECONDS * _SECOND)
        .order_by(jobs.c.id)
    )
    return [int(row.id) for row in connection.execute(query)]
