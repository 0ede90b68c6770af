"""Carries the runs that were assigned to this machine, from their assignment to their recorded end.

Every step may be repeated. After a crash each living run is taken up where its row and the engine have it: a program
that goes on is followed, one that ended meanwhile ends with its true time, one that was lost has failed. The row's end
is one transaction; only then is the sandbox removed, and a start looks for sandboxes whose run has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError, NotFound, RateLimited, Unavailable
from skerry.island.engine.records import RunRecord
from skerry.island.faces.dispersed.jobs import deadlines, preparing
from skerry.island.faces.dispersed.jobs.job_rows import find_run, live_runs
from skerry.island.faces.dispersed.jobs.job_views import MOST_LOGS
from skerry.island.faces.dispersed.jobs.lifecycle import TERMINAL
from skerry.island.faces.dispersed.jobs.preparing import NETWORK, Task
from skerry.island.faces.dispersed.jobs.progress import Progress
from skerry.island.ground.runs import agents_end, goes_on, tail
from skerry.island.ground.waiting import give_up, unless
from skerry.island.sandbox.driver import SandboxError
from skerry.island.store import runs as run_rows
from skerry.island.store.values import micros

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL when a run is ended early."""

_MOST_LEAVING = 16
"""Ended runs whose sandboxes are being removed at once."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_PATIENCE = 60.0
"""Seconds after the first failure within which the preparation of a run, which holds its part of the machine, is begun
anew."""
_LONGEST_TIMER = 14 * 86_400.0
"""Seconds beyond which a sandbox's agent does not watch the time itself; the deadlines do."""

log = logging.getLogger("skerry.island.dispersed")


@dataclass(slots=True)
class _Carried:
    """A run that is being carried.

    Args:
        stop: set once it must end.
        looked: set once the first look at it has come to something.
        adopted: it began before this server did.
        patience_ends: until when its preparation is tried again, seconds of the steady clock; None before it failed.
    """

    adopted: bool
    patience_ends: float | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Worker:
    """Every run of this machine that has not ended.

    Args:
        engine: open.
        progress: how runs move on.
        wake: called when a run has ended, so that others may have its place.
        look: called when one has moved on.
        keep_time: called before a run is billed, in case the clock has jumped.
    """

    def __init__(
        self,
        engine: Engine,
        progress: Progress,
        wake: Callable[[], None],
        look: Callable[[], None],
        keep_time: Callable[[], Awaitable[None]],
    ) -> None:
        self._engine = engine
        self._progress = progress
        self._wake = wake
        self._look = look
        self._keep_time = keep_time
        self._leaving = asyncio.Semaphore(_MOST_LEAVING)
        self._carried: dict[str, _Carried] = {}
        self._last_alive = 0

    async def start(self, last_alive: int) -> None:
        """Take up what is going on, finish what ended meanwhile, remove what was left.

        Args:
            last_alive: when the server before this one was last known to live, microseconds since 1970.
        """
        self._last_alive = last_alive
        runs = [run for run in await self._engine.store.read(live_runs) if run.engine_run_id is not None]
        await self._remove_leftovers({run.sandbox_id for run in runs})
        found = [(run, self._begin(run.uuid, adopted=True)) for run in runs]
        # Those that have ended must have their end before anybody bills them an hour.
        await asyncio.gather(*(self._found(run, carried) for run, carried in found if run.status == "RUNNING"))

    async def _found(self, run: Row[Any], carried: _Carried) -> None:
        """Until a run that was left going on does so, or has its end."""
        if await self._goes_on(run):
            return
        # It has ended; or the server before this one died before its program began, which then does so now or once
        # there is room on the disk.
        cause: str | None = "lost"
        with contextlib.suppress(EngineError, SandboxError):
            cause = await unless(carried.looked, self._engine.runs.begun(run.engine_run_id, patient=False))
        if cause is not None:
            await carried.looked.wait()

    async def _goes_on(self, run: Row[Any]) -> bool:
        return await goes_on(self._engine.driver, run.sandbox_id, run.engine_run_id)

    async def stop(self) -> None:
        """Let go of every run; the next start finds them."""
        await give_up(*(carried.task for carried in self._carried.values()))
        self._carried.clear()

    def attend(self, run: Row[Any]) -> None:
        """Carry a run, if that is not being done, and end it if its row says so."""
        carried = self._carried.get(run.uuid) or self._begin(run.uuid, adopted=False)
        if run.status in ("CANCELLING", "FAILING"):
            carried.stop.set()

    async def logs(self, run: Row[Any]) -> bytes:
        """The last part of what a run has written so far."""
        return await tail(self._engine.driver, run.sandbox_id, run.engine_run_id, MOST_LOGS)

    def _begin(self, uuid: str, *, adopted: bool) -> _Carried:
        carried = self._carried[uuid] = _Carried(adopted)
        carried.task = asyncio.get_running_loop().create_task(self._carry(uuid, carried), name=f"job run {uuid}")
        return carried

    async def _carry(self, uuid: str, carried: _Carried) -> None:
        try:
            pause = _FIRST_PAUSE
            while not await self._try(uuid, carried):
                carried.looked.set()
                await self._pause(carried, min(pause, self._patience(carried)))
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            carried.looked.set()
            if self._carried.get(uuid) is carried:
                del self._carried[uuid]
        self._look()

    async def _try(self, uuid: str, carried: _Carried) -> bool:
        """Carry a run to its end; False when something stood in the way that may pass."""
        try:
            try:
                await self._steps(uuid, carried)
            except (Unavailable, RateLimited):
                raise
            except EngineError as error:
                await self._give_up(uuid, error.message)
            except Exception:
                log.exception("job run %s failed for a reason of the island's own", uuid)
                await self._give_up(uuid, "The island could not carry out this run; its log says more")
        except (Unavailable, RateLimited) as error:
            log.warning("job run %s cannot go on now: %s", uuid, error)
            with contextlib.suppress(EngineError):
                return await self._out_of_patience(uuid, carried, error.message)
            return False
        return True

    async def _out_of_patience(self, uuid: str, carried: _Carried, trouble: str) -> bool:
        """Whether a run has ended because its preparation failed for too long; else what holds it up is noted."""
        run = await self._engine.store.read(find_run, uuid)
        if run is None or run.status != "PREPARING":
            carried.patience_ends = None
            return False
        if carried.patience_ends is None:
            carried.patience_ends = self._engine.clock.monotonic() + _PATIENCE
        elif self._patience(carried) <= 0:
            await self._finish(run, "FAILED", reason=trouble)
            return True
        await self._engine.store.run(self._progress.describe, uuid, self._now(), trouble=trouble)
        return False

    def _patience(self, carried: _Carried) -> float:
        """Seconds left of it; without end before it is needed."""
        return inf if carried.patience_ends is None else carried.patience_ends - self._engine.clock.monotonic()

    async def _pause(self, carried: _Carried, seconds: float) -> None:
        """Wait before something is tried again; not at all once the run must end."""
        if carried.stop.is_set():
            await self._engine.clock.sleep(_FIRST_PAUSE)
        else:
            await unless(carried.stop, self._engine.clock.sleep(seconds))

    async def _give_up(self, uuid: str, reason: str) -> None:
        run = await self._engine.store.read(find_run, uuid)
        if run is not None:
            await self._finish(run, "FAILED", reason=reason)

    async def _steps(self, uuid: str, carried: _Carried) -> None:
        engine = self._engine
        run, task, started = await engine.store.read(self._known, uuid)
        if run is not None and run.status == "ASSIGNED":
            await engine.store.run(self._progress.prepare, uuid, self._now())
            run, task, started = await engine.store.read(self._known, uuid)
        if run is None or run.status in TERMINAL:
            return
        record = await self._record(run) if started else None
        if task is not None:
            record, image_size = (record, None) if record is not None else await self._prepare(task, carried)
            if record is not None:
                await self._running(task, record, image_size)
        elif run.status == "RUNNING" and record is not None:
            await self._renew_urls(run)
        if record is None:
            await self._finish(run, "FAILED", reason=deadlines.NODE_LOST, ended_at=self._last_word(run, carried))
        else:
            await self._follow(run, record, carried)

    def _known(self, connection: Connection, uuid: str) -> tuple[Row[Any] | None, Task | None, bool]:
        """A run, what must be known to prepare it if that is its state, and whether its program was ever started."""
        run = find_run(connection, uuid)
        if run is None or run.status in TERMINAL:
            return run, None, False
        task = preparing.load(connection, self._engine, run) if run.status == "PREPARING" else None
        return run, task, run_rows.get(connection, run.engine_run_id) is not None

    async def _prepare(self, task: Task, carried: _Carried) -> tuple[RunRecord | None, int | None]:
        """Everything up to the program's start, None when it shall not be started any more; the image's size."""
        fetched = await unless(carried.stop, preparing.fetch(self._engine, task))
        if fetched is None:
            return None, None
        image, volumes = fetched
        await preparing.set_up(self._engine, task, image, volumes)
        if carried.stop.is_set():
            return None, None
        record = await preparing.start(self._engine, task, image, longest_timer=_LONGEST_TIMER)
        return record, image.size_bytes

    async def _running(self, task: Task, record: RunRecord, image_size: int | None) -> None:
        urls = await preparing.node_urls(self._engine, task.run.sandbox_id, task.docker)
        started = micros(record.started_at or record.created_at)
        await self._engine.store.run(
            self._progress.run, task.run.uuid, started, self._now(), node_urls=urls, image_size_bytes=image_size
        )
        self._look()

    async def _renew_urls(self, run: Row[Any]) -> None:
        """After a restart a port may be another one."""
        task = await self._engine.store.read(preparing.load, self._engine, run)
        urls = await preparing.node_urls(self._engine, run.sandbox_id, task.docker)
        await self._engine.store.run(self._progress.describe, run.uuid, self._now(), node_urls=urls)

    async def _follow(self, run: Row[Any], record: RunRecord, carried: _Carried) -> None:
        ended = await unless(carried.stop, self._engine.runs.wait(record.id))
        if ended is None:
            await self._engine.runs.cancel(run.account_id, run.sandbox_id, record.id, grace=GRACE)
            ended = await self._engine.runs.wait(record.id)
        status, reason = await self._verdict(run, ended)
        await self._finish(
            run,
            status,
            reason=reason,
            exit_code=None if ended.cause in ("lost", "timeout") else ended.exit_code,
            begun=ended.cause != "not_found",
            ended_at=await self._true_end(run, ended, carried),
        )

    async def _verdict(self, known: Row[Any], ended: RunRecord) -> tuple[str, str | None]:
        """How a run went whose program ended so, and why."""
        cause = ended.cause
        if cause in ("exited", "signaled"):
            return ("COMPLETED", None) if ended.exit_code == 0 else ("FAILED", f"Exit code {ended.exit_code}")
        if cause == "timeout":
            run = await self._engine.store.read(find_run, known.uuid)
            return "FAILED", None if run is None or run.run_by is None else deadlines.too_long(run)
        if cause == "not_found":
            # All that there is of its output is what its sandbox says.
            said = (await self.logs(known)).decode(errors="replace").strip().removeprefix("skerry: ")
            return "FAILED", f"could not be started: {said or 'it is not there'}"
        if cause == "lost":
            return "FAILED", deadlines.NODE_LOST
        if cause == "stopped":
            return "FAILED", deadlines.ISLAND_STOPPED
        reasons = {
            "out_of_memory": "Used more memory than it was given",
            "disk_full": "Used more storage than it was given",
        }
        return "FAILED", reasons.get(cause or "", f"Ended by the island: {(cause or 'unknown').replace('_', ' ')}")

    async def _true_end(self, run: Row[Any], ended: RunRecord, carried: _Carried) -> int:
        """When a program ended, also if nobody watched then: by its agent's clock, or by the server's last word."""
        noticed = micros(ended.ended_at) if ended.ended_at is not None else self._now()
        if not carried.adopted:
            return noticed
        if ended.cause == "lost":
            return min(noticed, self._last_word(run, carried))
        known = await agents_end(self._engine.driver, run.sandbox_id, run.engine_run_id, ended)
        return noticed if known is None else min(noticed, known)

    def _last_word(self, run: Row[Any], carried: _Carried) -> int:
        return max(run.created_at, self._last_alive) if carried.adopted else self._now()

    async def _finish(self, run: Row[Any], status: str, **what: Any) -> None:
        logs = await self.logs(run)
        # The next run has its place before the sandbox is removed, but only so many may be on their way out.
        async with self._leaving:
            await self._end(run.uuid, status, logs=logs, **what)
            await self._remove_sandbox(run)

    async def _remove_sandbox(self, run: Row[Any]) -> None:
        await self._engine.removals.discard(run.account_id, run.sandbox_id)

    async def _end(self, uuid: str, status: str, **what: Any) -> None:
        await self._keep_time()
        await self._engine.store.run(self._progress.end, uuid, status, now=self._now(), **what)
        self._wake()

    async def _record(self, run: Row[Any]) -> RunRecord | None:
        """The engine's run, if the program was ever started."""
        try:
            return await self._engine.runs.get(run.account_id, run.sandbox_id, run.engine_run_id)
        except NotFound:
            return None

    async def _remove_leftovers(self, living: set[str]) -> None:
        """Remove sandboxes of runs that have ended: a crash came between the two."""
        for account in await self._engine.accounts.list():
            found, _ = await self._engine.sandboxes.list(account.id, network=NETWORK)
            for sandbox in found:
                if sandbox.id not in living:
                    log.info("removing sandbox %s, whose job run has ended", sandbox.id)
                    await self._engine.removals.discard(account.id, sandbox.id)

    def _now(self) -> int:
        return micros(self._engine.clock.now())
