"""Carrying out runs: turn by turn in their sessions, attempt by attempt, to a recorded end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import inf
from typing import TypeVar

from sqlalchemy import Connection

from skerry.island.engine import output
from skerry.island.engine.activity import Activity
from skerry.island.engine.core import Core
from skerry.island.engine.errors import EngineError, PaymentRequired, Unavailable
from skerry.island.engine.jobs import Job, Lanes, exec_id
from skerry.island.engine.leases import Leases
from skerry.island.engine.records import RunRecord, RunState
from skerry.island.engine.shell import HOME, ShellState, invocation
from skerry.island.engine.states import SessionStates
from skerry.island.sandbox.agent.pipes import STATE_LIMIT
from skerry.island.sandbox.driver import Process, SandboxError
from skerry.island.sandbox.spec import ExecResult, ExecSpec
from skerry.island.store import leases as lease_rows
from skerry.island.store import runs as rows
from skerry.island.store import sandboxes as sandbox_rows
from skerry.island.store.values import micros
from skerry.money import Money
from skerry.units import format_size

T = TypeVar("T")

MAX_ATTEMPTS = 5
_RETRY_SECONDS = 1.0
_STATES: dict[str, RunState] = {
    "exited": "completed",
    "signaled": "completed",
    "not_found": "completed",
    "cancelled": "cancelled",
}

_CANCELLED = ExecResult(exit_code=143, cause="cancelled")
_NOT_BEGUN_IN_TIME = ExecResult(exit_code=124, cause="timeout")

log = logging.getLogger("skerry.engine")


class Dispatcher:
    """Every job of this island that is not over."""

    def __init__(self, core: Core, leases: Leases, states: SessionStates, activity: Activity) -> None:
        self._core = core
        self._leases = leases
        self._states = states
        self._activity = activity
        self.lanes = Lanes()
        self.jobs: dict[str, Job] = {}
        self._held = False

    def enter(self, job: Job) -> None:
        """Take a place in the session's lane before the store accepts the run."""
        self.jobs[job.record.id] = job
        self._activity.begin(job.sandbox.id)
        self.lanes.enter(job)

    def withdraw(self, job: Job) -> None:
        """Forget a job that was not accepted, or is over."""
        if self.jobs.get(job.record.id) is job:
            del self.jobs[job.record.id]
            self._activity.end(job.sandbox.id)
        following = self.lanes.leave(job)
        if following is not None and following.ready:
            self._start(following)

    def release(self, job: Job) -> None:
        """Let an accepted job run when its turn comes."""
        job.ready = True
        if self.lanes.first(job):
            self._start(job)

    def of_sandbox(self, sandbox_id: str) -> list[Job]:
        """Its jobs, in the order they came."""
        return [job for job in self.jobs.values() if job.sandbox.id == sandbox_id]

    def of_session(self, session_id: str) -> list[Job]:
        """Its jobs, in the order they came."""
        return [job for job in self.jobs.values() if job.lane == session_id]

    async def stop(self, job: Job, *, grace: float, cause: str = "cancelled") -> bool:
        """End a job early and wait for its end; False when it had already ended.

        Args:
            job: which.
            grace: seconds between SIGTERM and SIGKILL.
            cause: what the record shall say; `cancelled` is the caller's own wish.
        """
        if job.done.done():
            return False
        job.grace = grace if job.stop is None else min(job.grace, grace)
        if job.stop is None:
            job.stop = cause
            await self._core.store.run(rows.mark_cancelling, job.record.id)
        if not job.started:
            self._start(job)
        elif job.process is not None:
            await _cancel(job.process, grace)
        record = await asyncio.shield(job.done)
        return record.cause == cause

    async def stop_all(self, jobs: Iterable[Job], *, grace: float, cause: str) -> None:
        """End several jobs early and wait for their ends."""
        # Backwards, so that none of a lane begins while those before it end.
        await asyncio.gather(
            *(self.stop(job, grace=grace, cause=cause) for job in reversed(list(jobs))), return_exceptions=True
        )

    def hold(self) -> None:
        """Let nothing begin any more: what waits for its turn is left to the next start."""
        self._held = True

    def abandon(self, reason: EngineError | None = None) -> list[asyncio.Task[None]]:
        """Let go of everything without recording anything; returns the tasks that are ending."""
        self.hold()
        tasks = []
        for job in list(self.jobs.values()):
            if job.task is not None:
                job.task.cancel()
                tasks.append(job.task)
            if not job.done.done():
                job.done.set_exception(reason or Unavailable("the island is stopping"))
        self.jobs.clear()
        return tasks

    def _start(self, job: Job) -> None:
        if job.started or self._held:
            return
        job.started = True
        job.task = asyncio.get_running_loop().create_task(self._carry_out(job), name=f"run {job.record.id}")
        job.task.add_done_callback(_report)

    async def _carry_out(self, job: Job) -> None:
        try:
            await self._begin(job)
            result, state = await self._attempt(job)
            while result.cause == "lost" and self._again(job) and await self._next_attempt(job, result):
                result, state = await self._attempt(job)
            await self._finish(job, result, state)
        except Exception as error:
            if not job.done.done():
                job.done.set_exception(error)
            raise
        finally:
            self.withdraw(job)

    async def _begin(self, job: Job) -> None:
        """Record that a queued run's turn has come."""
        if job.record.state != "pending" or job.stop is not None:
            return
        moment = self._core.clock.now()
        await self._persist(job, lambda connection: _begin_rows(connection, job.record.id, job.exec_id, micros(moment)))
        job.record = replace(job.record, state="running", started_at=moment)

    def _again(self, job: Job) -> bool:
        """Whether a lost attempt is followed by another."""
        return job.sandbox.durable and job.stop is None and job.record.attempts < MAX_ATTEMPTS

    async def _attempt(self, job: Job) -> tuple[ExecResult, ShellState | None]:
        """One attempt, from its start (or from where it was found) to its end."""
        if job.stop is not None and job.process is None:
            return _CANCELLED, None
        job.note = None
        before: ShellState | None = None
        try:
            before = await self._states.load(job.sandbox.id, job.lane) if job.lane is not None else None
            if job.process is None:
                job.process = await self._open(job, before)
                if job.process is None:
                    return _NOT_BEGUN_IN_TIME if job.stop is None else _CANCELLED, None
            job.begun.set()
            if job.stop is not None:
                await _cancel(job.process, job.grace)
            result = await job.process.wait()
        except (SandboxError, EngineError, OSError) as error:
            job.note = str(error)
            return ExecResult(exit_code=-1, cause="lost"), None
        finally:
            job.process = None
        if before is None or job.lane is None or result.cause != "exited":
            return result, None
        return result, self._states.after(job.lane, job.sandbox.image, before, result.state, job.request.env)

    async def _open(self, job: Job, state: ShellState | None) -> Process | None:
        """Start the attempt's program as soon as the disk has room for it.

        None if it was to end before that, or has waited for as long as it may run.

        Raises:
            SandboxError: it cannot be started, for any other reason.
        """
        spec, limit, monotonic = self._spec(job, state), job.request.timeout, self._core.clock.monotonic
        until = inf if limit is None else monotonic() + limit
        while True:
            await self._activity.passage(job.sandbox.id)
            job.began, job.found = monotonic(), False
            try:
                sandbox = await self._core.driver.open(job.sandbox.id)
                return await sandbox.exec(spec)
            except SandboxError as error:
                if error.reason != "disk_full":
                    raise
                if not job.held_up.is_set():
                    log.warning("run %s begins once there is room on the disk: %s", job.record.id, error)
            # Nothing runs meanwhile, and nothing is paid for.
            job.began = None
            job.held_up.set()
            await self._core.clock.sleep(min(_RETRY_SECONDS, max(0.0, until - monotonic())))
            if job.stop is not None or monotonic() >= until:
                return None

    def _spec(self, job: Job, state: ShellState | None) -> ExecSpec:
        request = job.request
        if request.text is None:
            env = {**self._states.base_env(job.sandbox.image), **request.env}
            return ExecSpec(
                id=job.exec_id,
                argv=request.argv,
                env=env,
                cwd=request.cwd or HOME,
                stdin=request.stdin,
                timeout=request.timeout,
                merge_output=request.merge_output,
                user=request.user,
            )
        fresh = ShellState(HOME, self._states.base_env(job.sandbox.image)) if state is None else state
        built = invocation(self._states.shell(job.sandbox.image), fresh, request.text, overrides=request.env)
        return ExecSpec(
            id=job.exec_id,
            argv=built.argv,
            env=built.env,
            cwd="/",
            stdin=request.stdin,
            timeout=request.timeout,
            state=built.state,
            keep_state=state is not None,
            warm=built.warm,
            merge_output=request.merge_output,
        )

    async def _next_attempt(self, job: Job, result: ExecResult) -> bool:
        """Close the books on a lost attempt and open them for the next; False when there is no money for it."""
        lost = job.record
        number = lost.attempts + 1
        wall = self._wall_ns(job, result)
        lease = self._leases.draft(
            lost.account_id,
            job.sandbox.id,
            job.sandbox.limits,
            id=exec_id(lost.id, number),
            purpose=f"run {lost.id}",
            seconds=job.request.timeout,
            now=self._core.clock.now(),
            gpus=len(job.sandbox.gpus),
        )
        now = micros(lease.opened_at)

        def write(connection: Connection) -> None:
            if job.request.metered:
                self._leases.close(connection, job.exec_id, wall, now)
                self._leases.open(connection, lease, now)
            rows.add_attempt(connection, lost, cause=result.cause, exit_code=result.exit_code, now=now)

        try:
            await self._persist(job, write)
        except PaymentRequired as error:
            job.note = str(error)
            return False
        log.info("run %s was lost and begins again, attempt %d", lost.id, number)
        job.record = replace(lost, state="running", attempts=number, started_at=lease.opened_at)
        return True

    async def _finish(self, job: Job, result: ExecResult, state: ShellState | None) -> None:
        text = job.note
        if result.cause == "timeout":
            did = "waited for room on the disk for" if job.began is None else "ended after"
            text = f"{did} {job.request.timeout or 0:g} seconds, its time limit"
        elif result.cause == "lost" and text is None:
            text = "the sandbox was lost while this ran; how it ended is unknown"
        elif text is None and len(result.state or b"") >= STATE_LIMIT:
            text = f"what this session remembers exceeds {format_size(STATE_LIMIT)}; it stays as before this command"
        if text is not None:
            merged = job.request.merge_output
            result = output.note(self._core.driver, job.sandbox.id, job.exec_id, text, result, merged=merged)
        cause = job.stop if job.stop is not None and result.cause == "cancelled" else result.cause
        moment = self._core.clock.now()
        wall = self._wall_ns(job, result)

        def write(connection: Connection) -> RunRecord:
            """Everything that a run's end changes, as one transaction."""
            now = micros(moment)
            ended = replace(
                job.record,
                state=_STATES.get(cause, "failed"),
                cause=cause,
                exit_code=result.exit_code,
                ended_at=moment,
                cpu_ns=result.cpu_ns,
                max_rss_bytes=result.max_rss_bytes,
                stdout_bytes=result.stdout_bytes,
                stderr_bytes=result.stderr_bytes,
                dropped_bytes=result.dropped_bytes,
                cost=self._settle(connection, job, wall, now),
            )
            rows.end(connection, ended)
            sandbox_rows.touch(connection, job.sandbox.id, now)
            if state is not None and job.lane is not None:
                self._states.save(connection, job.lane, state)
            return ended

        job.record = await self._persist(job, write)
        if state is not None and job.lane is not None:
            self._states.remember(job.lane, job.sandbox.id, state)
        if not job.done.done():
            job.done.set_result(job.record)

    def _settle(self, connection: Connection, job: Job, wall_ns: int, now: int) -> Money:
        """Close the lease of the last attempt; what all of them have cost."""
        if not job.request.metered:
            return Money(0, self._core.node.cpu_hour.currency)
        taken = self._leases.close(connection, job.exec_id, wall_ns, now)
        if taken is None or job.record.attempts > 1:
            return self._leases.spent(connection, job.record)
        return taken

    def _wall_ns(self, job: Job, result: ExecResult) -> int:
        """How long the attempt has run: by our clock, or by its agent's when it began before this server did."""
        if job.found and result.wall_ns > 0:
            return result.wall_ns
        return 0 if job.began is None else round((self._core.clock.monotonic() - job.began) * 1e9)

    async def _persist(self, job: Job, write: Callable[[Connection], T]) -> T:
        """Write what has happened, for as long as it takes: an end that is not recorded would be lost with us."""
        while True:
            try:
                return await self._core.store.run(write)
            except Unavailable as error:
                if self._core.closing:
                    raise
                log.error("cannot record run %s: %s", job.record.id, error)
                job.renew(error)
                await self._core.clock.sleep(_RETRY_SECONDS)


def _begin_rows(connection: Connection, run_id: str, lease_id: str, now: int) -> None:
    rows.start(connection, run_id, now)
    lease_rows.begin(connection, lease_id, now)


async def _cancel(process: Process, grace: float) -> None:
    try:
        await process.cancel(grace)
    except SandboxError:
        # It ended by itself just now, or its sandbox died; waiting for it tells which.
        return


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s ended badly", task.get_name(), exc_info=error)
