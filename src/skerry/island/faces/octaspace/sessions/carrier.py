"""Carries every session from its acceptance to its recorded end, and meets the ticks of their bills.

Every step may be repeated. After a crash each session is taken up where its row has it. A session that must end is
marked so in one transaction, with the reason and the end of its bill; then its log and the last bill are kept, what it
had is removed, and only then is it finished and its node free.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError, Unavailable
from skerry.island.engine.traffic import Moved
from skerry.island.faces.octaspace.nodes import node_rows, shares
from skerry.island.faces.octaspace.sessions import billing, session_rows, states
from skerry.island.faces.octaspace.sessions.works import StartFailed, Work
from skerry.island.ground.waiting import came, give_up, unless
from skerry.island.store.values import micros

BEAT_SECONDS = 60.0
_RETRY_SECONDS = 1.0
_SECOND = 1_000_000

log = logging.getLogger("skerry.island.octaspace")


@dataclass(slots=True)
class _Carried:
    """A session that is being carried.

    Args:
        work: of its service.
        stop: set once it must end.
        done: set once it is finished.
        adopted: it was ready before this server began.
        gone: it ended before this server began, so that nothing more is billed.
        counted: bytes that its row knows of, as its work counts them; changed together with the row.
    """

    work: Work
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    adopted: bool = False
    gone: bool = False
    counted: Moved = field(default_factory=Moved)
    counting: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: asyncio.Task[None] | None = None


class Carrier:
    """Every session that has not ended.

    Args:
        engine: open.
        works: by service.
    """

    def __init__(self, engine: Engine, works: Mapping[str, Work]) -> None:
        self._engine = engine
        self._works = works
        self._carried: dict[str, _Carried] = {}
        self._woken = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._freed: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back whenever a session was accepted or has finished, on the event loop."""
        self._freed.append(callback)

    async def start(self) -> None:
        """Remove what belongs to no session, take up those that go on, and let the clock tick."""
        going = await self._engine.store.read(session_rows.active)
        for name, work in self._works.items():
            await work.recover({session.uuid for session in going if session.service == name})
        for session in going:
            ready = session.state == states.READY and session.ending is None
            gone = ready and not await self._works[session.service].alive(session)
            self.take_up(session, adopted=ready, gone=gone)
        self._loop = asyncio.get_running_loop().create_task(self._forever(), name="octaspace ticks")

    async def stop(self) -> None:
        """Let go of every session; the next start finds them."""
        await give_up(self._loop, *(carried.task for carried in self._carried.values()))
        self._carried.clear()
        self._loop = None

    def take_up(self, session: Row[Any], *, adopted: bool = False, gone: bool = False) -> None:
        """Carry a session, if that is not being done; call it once its row is kept.

        Args:
            session: its row.
            adopted: it was ready before this server began.
            gone: it ended before this server began.
        """
        if session.uuid in self._carried:
            return
        carried = _Carried(self._works[session.service], adopted=adopted, gone=gone)
        self._carried[session.uuid] = carried
        if session.ending is not None:
            carried.stop.set()
        carried.task = asyncio.get_running_loop().create_task(
            self._carry(session.uuid, carried), name=f"session {session.uuid}"
        )
        self._changed()

    async def end(self, uuid: str, reason: int, *, message: str | None = None, **values: Any) -> bool:
        """Let a session end; False when it has ended, or is ending already.

        Args:
            reason: see `states`.
            message: for its system log.
            values: columns that are set in the same transaction.
        """
        marked = await self._engine.store.run(_mark, uuid, reason, self._now(), message, values)
        self._attend(uuid)
        return marked

    async def finished(self, uuid: str, patience: float) -> bool:
        """Whether a session has finished within so many seconds."""
        carried = self._carried.get(uuid)
        return carried is None or await came(carried.done, self._engine.clock, patience)

    async def moved(self, session: Row[Any]) -> Moved:
        """Bytes of a session that its row does not know of yet."""
        carried = self._carried.get(session.uuid)
        return Moved() if carried is None else await carried.work.moved(session) - carried.counted

    async def log_of(self, session: Row[Any]) -> bytes:
        """What a session has written so far."""
        return await self._works[session.service].log(session)

    def _attend(self, uuid: str) -> None:
        carried = self._carried.get(uuid)
        if carried is not None:
            carried.stop.set()

    def _changed(self) -> None:
        self._woken.set()
        for callback in self._freed:
            callback()

    async def _carry(self, uuid: str, carried: _Carried) -> None:
        try:
            while not await self._try(uuid, carried):
                await self._engine.clock.sleep(_RETRY_SECONDS)
        finally:
            carried.done.set()
            self._carried.pop(uuid, None)
        self._changed()

    async def _try(self, uuid: str, carried: _Carried) -> bool:
        """Carry a session to its end; False when something stood in the way that may pass."""
        try:
            await self._steps(uuid, carried)
        except Unavailable as error:
            log.warning("session %s cannot go on now: %s", uuid, error)
            return False
        except Exception:
            log.exception("session %s failed for a reason of the island's own", uuid)
            ready = (await self._read(uuid)).ready_at is not None
            reason = states.NODE_LOST if ready else states.START_FAILED
            await self.end(uuid, reason, message="The island failed; its log says more")
            return False
        return True

    async def _steps(self, uuid: str, carried: _Carried) -> None:
        session = await self._read(uuid)
        if session.state == states.FINISHED:
            return
        if session.ending is None and states.ORDER.index(session.state) < states.ORDER.index(states.READY):
            await self._begin(session, carried)
            session = await self._read(uuid)
        if session.ending is None:
            ending = await unless(carried.stop, carried.work.follow(session, adopted=carried.adopted))
            if ending is not None:
                at = self._now() if ending.at is None else ending.at
                await self._engine.store.run(
                    session_rows.end_soon, uuid, ending.reason, at, self._now(), message=ending.message
                )
            session = await self._read(uuid)
        await self._finish(session, carried)

    async def _begin(self, session: Row[Any], carried: _Carried) -> None:
        async def tell(state: str, message: str | None = None, **columns: Any) -> None:
            await self._engine.store.run(session_rows.move, session.uuid, state, self._now(), message, columns)

        try:
            begun = await unless(carried.stop, _true(carried.work.begin(session, tell)))
        except (StartFailed, EngineError) as error:
            text = error.message if isinstance(error, EngineError) else str(error)
            await self.end(session.uuid, states.START_FAILED, message=f"{states.REASONS[states.START_FAILED]}: {text}")
            return
        if begun:
            now = self._now()
            begun_at = {"ready_at": now, "seen_at": now}
            await self._engine.store.run(session_rows.move, session.uuid, states.READY, now, None, begun_at)
            self._changed()

    async def _finish(self, session: Row[Any], carried: _Carried) -> None:
        await carried.work.halt(session)
        written = await carried.work.log(session) if session.log is None else session.log
        async with carried.counting:
            moved = await carried.work.moved(session)
            await self._engine.store.run(self._settle, session.uuid, written, moved - carried.counted, self._now())
            carried.counted = moved
        await carried.work.end(session)
        await self._engine.store.run(self._close, session.uuid, self._now())

    def _settle(self, connection: Connection, uuid: str, written: bytes, moved: Moved, now: int) -> None:
        """Keep the log, and post the last bill."""
        session = session_rows.find(connection, uuid)
        assert session is not None, uuid
        at = session.seen_at
        billing.bill(connection, self._engine, uuid, at, now, sent=moved.sent, received=moved.received)
        session_rows.put(connection, uuid, now, log=written[-session_rows.MOST_LOG_BYTES :])

    def _close(self, connection: Connection, uuid: str, now: int) -> None:
        """The session has finished, and its node is free."""
        session = session_rows.find(connection, uuid)
        assert session is not None, uuid
        at = max(session.seen_at, session.ready_at or session.started_at)
        reason = states.NORMAL if session.ending is None else session.ending
        shares.give_back(connection, self._engine, uuid)
        session_rows.move(connection, uuid, states.FINISHED, now, None, {"reason": reason, "finished_at": at})

    async def _forever(self) -> None:
        while True:
            self._woken.clear()
            try:
                seconds = await self.tick()
            except EngineError as error:
                log.warning("sessions cannot be billed now: %s", error)
                seconds = _RETRY_SECONDS
            except Exception:
                log.exception("the ticks of the sessions failed, and go on")
                seconds = _RETRY_SECONDS
            await came(self._woken, self._engine.clock, seconds)

    async def tick(self) -> float:
        """Do what is due now; returns for how many seconds nothing more is."""
        chosen, now = self._engine.settings.octaspace, self._now()
        beat = await self._engine.store.read(_last_beat, self._engine)
        if not beat <= now < beat + round(BEAT_SECONDS * _SECOND):
            await self._engine.store.run(node_rows.beat, self._engine, now)
            beat = now
        due = [beat + round(BEAT_SECONDS * _SECOND)]
        for session in await self._engine.store.read(session_rows.active):
            # Whoever accepted it may have gone before it was taken up.
            self.take_up(session)
            carried = self._carried[session.uuid]
            moment = billing.next_due(session, chosen.tick)
            if moment is None or carried.gone:
                continue
            if moment <= now:
                await self._bill(session, carried, now)
                moment = now + chosen.tick * _SECOND
            due.append(moment)
            if chosen.idle_limit is not None:
                due.append(await self._idle(session, carried, chosen.idle_limit, now))
        return max(0.0, (min(due) - now) / _SECOND)

    async def _bill(self, session: Row[Any], carried: _Carried, now: int) -> None:
        async with carried.counting:
            moved = await carried.work.moved(session)
            new = moved - carried.counted
            goes_on = await self._engine.store.run(
                billing.tick, self._engine, session.uuid, now, sent=new.sent, received=new.received
            )
            carried.counted = moved
        if not goes_on:
            carried.stop.set()

    async def _idle(self, session: Row[Any], carried: _Carried, limit: float, now: int) -> int:
        """End a session that has been idle for too long; when to look again."""
        since = await carried.work.quiet_since(session)
        if since is None:
            return now + round(limit * _SECOND)
        left = since + limit - self._engine.clock.monotonic()
        if left > 0:
            return now + max(1, round(left * _SECOND))
        await self.end(session.uuid, states.IDLE_LIMIT)
        return now + round(limit * _SECOND)

    async def _read(self, uuid: str) -> Row[Any]:
        session = await self._engine.store.read(session_rows.find, uuid)
        assert session is not None, uuid
        return session

    def _now(self) -> int:
        return micros(self._engine.clock.now())


def _mark(
    connection: Connection, uuid: str, reason: int, now: int, message: str | None, values: Mapping[str, Any]
) -> bool:
    if not session_rows.end_soon(connection, uuid, reason, now, now, message=message):
        return False
    if values:
        session_rows.put(connection, uuid, now, **values)
    return True


def _last_beat(connection: Connection, engine: Engine) -> int:
    return min(
        (int(node_rows.marks(node).get("seen_at", 0)) for node in node_rows.every(connection, engine)), default=0
    )


async def _true(work: Awaitable[None]) -> bool:
    await work
    return True
