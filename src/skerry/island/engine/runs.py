"""Runs: commands accepted once, found again after any crash, read while they go on."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import fields

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from skerry.island.engine import output
from skerry.island.engine.core import Core
from skerry.island.engine.dispatch import Dispatcher
from skerry.island.engine.errors import Conflict, EngineError, Invalid, NotFound, Unavailable, Unsupported
from skerry.island.engine.idempotency import IdempotencyKey
from skerry.island.engine.jobs import Job, Request, check_command, encode_request, exec_id
from skerry.island.engine.leases import Leases
from skerry.island.engine.records import Lease, RunRecord
from skerry.island.engine.refusals import translated
from skerry.island.engine.sandboxes import Sandboxes
from skerry.island.engine.shell import is_name
from skerry.island.engine.states import SessionStates
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.spec import Limits, UserIds
from skerry.island.store import idempotency as bindings
from skerry.island.store import runs as rows
from skerry.island.store.values import micros

_ID = re.compile(r"[A-Za-z0-9_-]{1,60}")
_POLL = 0.05


class Runs:
    """Every call takes the account that asks, except those that take a run id or record got from one that does."""

    def __init__(
        self, core: Core, sandboxes: Sandboxes, states: SessionStates, leases: Leases, dispatcher: Dispatcher
    ) -> None:
        self._core = core
        self._sandboxes = sandboxes
        self._states = states
        self._leases = leases
        self._dispatcher = dispatcher
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(
        self,
        account_id: str,
        sandbox_id: str,
        *,
        id: str,
        command: str | Sequence[str],
        session_id: str | None = None,
        background: bool = False,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        limits: Limits | None = None,
        idempotency: IdempotencyKey | None = None,
        labels: Mapping[str, str] | None = None,
        sessionless: bool = False,
        metered: bool = True,
        cwd: str | None = None,
        merge_output: bool = False,
        user: str | None = None,
    ) -> RunRecord:
        """Accept a command: recorded, paid for in advance, queued in its session, and on its way.

        A bound idempotency key with the same fingerprint returns the original record and starts nothing.

        Args:
            account_id: owner.
            sandbox_id: where.
            id: chosen by the face, unique, `[A-Za-z0-9_-]{1,60}`.
            command: text for the session's shell, or a program with arguments, which runs without one.
            session_id: the default session when None.
            background: kept with the record; a face decides what it means to its caller.
            timeout: seconds from its start after which it is ended (exit code 124); as long does it wait for room on
                the disk to begin.
            env: variables for this run only.
            stdin: what it reads on standard input.
            limits: other bounds than the sandbox's for this run: `Unsupported` unless they are the same.
            idempotency: binds the caller's key in the same transaction; not bound when this call raises.
            labels: kept and returned.
            sessionless: run text in a fresh shell beside every session, keeping nothing.
            metered: False when the caller bills by a rule of its own: nothing is held or captured, the cost is zero.
            cwd: absolute directory in which a program with arguments starts, the home directory when None; text
                starts where its session is.
            merge_output: standard error goes into standard output, in the order written.
            user: as whom a program with arguments runs, by name or number in the sandbox's image, `user:group` too;
                root when None or empty, and wherever a sandbox has only one user id.

        Raises:
            NotFound: sandbox or session. Invalid: impossible command. Conflict: key bound to another request, or the
            id is taken. PaymentRequired: not enough to begin. Unavailable: the disk is full, or stopping.
        """
        if self._core.closing:
            raise Unavailable("the island is stopping")
        sandbox = await self._sandboxes.stored(account_id, sandbox_id)
        _check(id, command, timeout, env, cwd)
        request = Request(
            text=command if isinstance(command, str) else None,
            argv=() if isinstance(command, str) else tuple(command),
            env=dict(env or {}),
            timeout=timeout,
            stdin=stdin,
            cwd=cwd,
            metered=metered,
            merge_output=merge_output,
            user=await self._user(sandbox.image, command, user),
        )
        _same_limits(limits, sandbox.limits)
        lane = None
        if request.text is not None and not sessionless:
            lane = session_id or await self._states.default_id(sandbox_id)
            await self._states.load(sandbox_id, lane)
        elif session_id is not None:
            await self._states.load(sandbox_id, session_id)
        if id in self._dispatcher.jobs:
            raise Conflict(f"the run id {id} is taken")
        now = self._core.clock.now()
        its_turn = self._dispatcher.lanes.free(lane)
        record = RunRecord(
            id=id,
            sandbox_id=sandbox_id,
            session_id=lane,
            account_id=account_id,
            command=command if isinstance(command, str) else shlex.join(command),
            background=background,
            state="running" if its_turn else "pending",
            cause=None,
            exit_code=None,
            attempts=1,
            created_at=now,
            started_at=now if its_turn else None,
            ended_at=None,
            cpu_ns=0,
            max_rss_bytes=0,
            stdout_bytes=0,
            stderr_bytes=0,
            dropped_bytes=0,
            cost=None,
            labels=dict(labels or {}),
        )
        job = Job(record, request, sandbox, lane)
        self._dispatcher.enter(job)
        lease = self._leases.draft(
            account_id,
            sandbox_id,
            sandbox.limits,
            id=job.exec_id,
            purpose=f"run {id}",
            seconds=timeout,
            now=now,
            gpus=len(sandbox.gpus),
        )
        try:
            accepted = await self._core.store.run(self._accept, record, request, lease, idempotency)
        except IntegrityError as error:
            self._dispatcher.withdraw(job)
            if "foreign" in str(error.orig).lower():
                raise NotFound(f"there is no sandbox {sandbox_id}") from None
            raise Conflict(f"the run id {id} is taken") from None
        except asyncio.CancelledError:
            # The caller gave up, the store did not: whether the run was accepted is known only after the queue.
            self._hand_over(job)
            raise
        except BaseException:
            self._dispatcher.withdraw(job)
            raise
        if accepted is not None:
            self._dispatcher.withdraw(job)
            return accepted
        self._dispatcher.release(job)
        return job.record

    async def wait(self, run_id: str, timeout: float | None = None) -> RunRecord:
        """The run once it has ended, or as it is after `timeout` seconds.

        Raises:
            NotFound: no such run. Unavailable: its end cannot be recorded now, or the island stops.
        """
        job = self._dispatcher.jobs.get(run_id)
        if job is None:
            found = await self._core.store.read(rows.get, run_id)
            if found is None:
                raise NotFound(f"there is no run {run_id}")
            return found
        if timeout is None:
            return await asyncio.shield(job.done)
        sleeper = asyncio.ensure_future(self._core.clock.sleep(timeout))
        try:
            await asyncio.wait((job.done, sleeper), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
        return job.done.result() if job.done.done() else job.record

    async def begun(self, run_id: str, *, patient: bool = True) -> str | None:
        """Wait until a run's program runs; why it has ended where it has ended by then (see `RunRecord.cause`).

        Args:
            run_id: which.
            patient: wait also for as long as there is no room on the disk for it to begin.

        Raises:
            NotFound: no such run. Unavailable: its end cannot be recorded now, or the island stops.
        """
        job = self._dispatcher.jobs.get(run_id)
        if job is None:
            return (await self.wait(run_id)).cause
        beginning = asyncio.ensure_future(job.begun.wait())
        holding_up = asyncio.ensure_future(job.held_up.wait())
        awaited = (job.done, beginning) if patient else (job.done, beginning, holding_up)
        try:
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            beginning.cancel()
            holding_up.cancel()
        if job.done.done():
            return job.done.result().cause
        if not job.begun.is_set():
            return None
        try:
            live = await self._core.driver.find(job.sandbox.id)
            if live is not None:
                # An agent answers before it notes that nothing could be started, and does what it is asked next after.
                await live.usage()
        except SandboxError:
            pass
        ended = await self._core.driver.result(job.sandbox.id, job.exec_id)
        return None if ended is None else ended.cause

    async def get(self, account_id: str, sandbox_id: str | None, run_id: str) -> RunRecord:
        """One run; in any of the account's sandboxes when `sandbox_id` is None. Raises NotFound."""
        job = self._dispatcher.jobs.get(run_id)
        found = job.record if job is not None and job.ready else await self._core.store.read(rows.get, run_id)
        if found is None or found.account_id != account_id or sandbox_id not in (None, found.sandbox_id):
            raise NotFound(f"there is no run {run_id}")
        return found

    async def list(
        self, account_id: str, sandbox_id: str | None = None, *, limit: int = 1000, active: bool = False
    ) -> list[RunRecord]:
        """The account's runs, newest first; only those not yet ended with `active`."""
        return await self._core.store.read(rows.of_account, account_id, sandbox_id, limit=limit, active=active)

    async def output(self, run: RunRecord) -> tuple[bytes, bytes]:
        """Standard output and standard error so far, of the latest attempt."""
        # Of one that ended by itself it is known how much there is.
        counted = run.cause == "exited"
        if counted and not run.stdout_bytes and not run.stderr_bytes:
            return b"", b""
        files = self._core.driver.run_files(run.sandbox_id, exec_id(run.id, run.attempts))
        stdout = b"" if counted and not run.stdout_bytes else await output.read(files.stdout)
        stderr = b"" if counted and not run.stderr_bytes else await output.read(files.stderr)
        return stdout, stderr

    async def follow(self, run_id: str, stream: str = "stdout", offset: int = 0) -> AsyncIterator[bytes]:
        """Bytes of a stream from `offset` as they appear, ending with the run.

        When an attempt is lost and begun again, what follows is the new attempt's output from its beginning.

        Raises:
            NotFound: no such run. Invalid: no such stream.
        """
        if stream not in ("stdout", "stderr"):
            raise Invalid(f"there is no stream {stream!r}; use stdout or stderr")
        attempt = 0
        job: Job | None = None
        while True:
            # One that is over is not among them any more, but knows its end.
            job = self._dispatcher.jobs.get(run_id) or job
            record = job.record if job is not None else await self._core.store.read(rows.get, run_id)
            if record is None:
                raise NotFound(f"there is no run {run_id}")
            if attempt not in (0, record.attempts):
                offset = 0
            attempt = record.attempts
            process = job.process if job is not None else None
            if process is not None:
                async for chunk in process.follow(stream, offset):
                    offset += len(chunk)
                    yield chunk
            if job is None or job.done.done():
                # The engine may have added a line after the process ended.
                files = self._core.driver.run_files(record.sandbox_id, exec_id(record.id, record.attempts))
                rest = await output.read(getattr(files, stream), offset)
                if rest:
                    yield rest
                return
            await asyncio.wait((job.done,), timeout=_POLL)

    async def cancel(self, account_id: str, sandbox_id: str, run_id: str, *, grace: float = 2.0) -> bool:
        """End a run: SIGTERM (exit 143), after `grace` seconds SIGKILL (137). Returns once it has ended.

        False when it had already ended. Raises NotFound.
        """
        await self.get(account_id, sandbox_id, run_id)
        job = self._dispatcher.jobs.get(run_id)
        return job is not None and await self._dispatcher.stop(job, grace=grace)

    async def signal(self, account_id: str, sandbox_id: str, run_id: str, number: int) -> bool:
        """Send a signal to a run's processes; False when it is not running. Raises NotFound."""
        await self.get(account_id, sandbox_id, run_id)
        job = self._dispatcher.jobs.get(run_id)
        if job is None or job.process is None:
            return False
        try:
            await job.process.signal(number)
        except SandboxError:
            return False
        return True

    async def busy(self) -> bool:
        """Whether any run is queued or going on."""
        return bool(self._dispatcher.jobs)

    async def _user(self, image: str, command: str | Sequence[str], user: str | None) -> UserIds | None:
        if not user:
            return None
        if isinstance(command, str):
            raise Invalid("a shell command runs as the sandbox's root; give a program with arguments instead")
        with translated():
            ids = await asyncio.to_thread(self._core.images.user, image, user)
        return None if ids == UserIds(uid=0, gid=0) else ids

    def _accept(
        self,
        connection: Connection,
        record: RunRecord,
        request: Request,
        lease: Lease,
        key: IdempotencyKey | None,
    ) -> RunRecord | None:
        """Bind the key, hold the money and write the run; an earlier run of the same key instead, if there is one."""
        now = micros(record.created_at)
        if key is not None:
            target = bindings.bind(connection, key.scope, key.key, key.fingerprint, record.id, now)
            if target != record.id:
                earlier = rows.get(connection, target)
                if earlier is None:
                    raise Conflict("the run of this idempotency key is no longer kept")
                return earlier
        rows.add(connection, record, encode_request(request), lease.held.currency)
        if request.metered:
            self._leases.open(connection, lease, now)
        return None

    def _hand_over(self, job: Job) -> None:
        task = asyncio.get_running_loop().create_task(self._settle(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, job: Job) -> None:
        """Release a job whose submitter has gone, if it was accepted."""
        try:
            accepted = await self._core.store.run(rows.get, job.record.id)
        except EngineError:
            accepted = None
        if accepted is None:
            self._dispatcher.withdraw(job)
        else:
            self._dispatcher.release(job)


def _check(
    id: str, command: str | Sequence[str], timeout: float | None, env: Mapping[str, str] | None, cwd: str | None
) -> None:
    if not _ID.fullmatch(id):
        raise Invalid(f"{id!r} is no run id; use 1 to 60 of A-Z a-z 0-9 _ -")
    if timeout is not None and not 0 < timeout < float("inf"):
        raise Invalid("a time limit is more than zero seconds")
    for name, value in (env or {}).items():
        usable = is_name(name) if isinstance(command, str) else name and not {"=", "\0"} & set(name)
        if not usable or "\0" in value:
            raise Invalid(f"{name!r} cannot be an environment variable")
    check_command(command)
    if cwd is not None and isinstance(command, str):
        raise Invalid("a shell command starts where its session is; begin it with `cd` instead")
    if cwd is not None and (not cwd.startswith("/") or "\0" in cwd):
        raise Invalid(f"{cwd!r} is no absolute directory")


def _same_limits(wanted: Limits | None, present: Limits) -> None:
    for name in () if wanted is None else (field.name for field in fields(Limits)):
        asked = getattr(wanted, name)
        if asked not in (None, getattr(present, name), getattr(Limits(), name)):
            raise Unsupported(f"a single run cannot have its own {name}; change the sandbox's limits instead")
