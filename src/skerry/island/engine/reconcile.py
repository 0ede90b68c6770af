"""After a start: every run that was accepted is found again, every lease that nothing stands on is closed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from skerry.island.engine import output
from skerry.island.engine.activity import Activity
from skerry.island.engine.core import Core
from skerry.island.engine.dispatch import Dispatcher
from skerry.island.engine.jobs import Job, decode_request, exec_id
from skerry.island.engine.leases import Leases
from skerry.island.engine.records import Lease, RunRecord
from skerry.island.sandbox.driver import Process, SandboxError
from skerry.island.sandbox.spec import ExecResult
from skerry.island.store import leases as lease_rows
from skerry.island.store import runs as rows
from skerry.island.store import sandboxes as sandbox_rows
from skerry.island.store.values import micros

log = logging.getLogger("skerry.engine")


class Ended:
    """A process whose end is known already; satisfies `driver.Process`."""

    def __init__(self, core: Core, sandbox_id: str, id: str, result: ExecResult) -> None:
        self.id = id
        self.files = core.driver.run_files(sandbox_id, id)
        self._result = result

    async def wait(self) -> ExecResult:
        """The known end."""
        return self._result

    async def signal(self, number: int) -> None:
        """Nothing is left to be told."""

    async def cancel(self, grace: float = 2.0) -> None:
        """Nothing is left to be ended."""

    async def follow(self, stream: str, offset: int = 0) -> AsyncIterator[bytes]:
        """The rest of a log."""
        rest = await output.read(self.files.stdout if stream == "stdout" else self.files.stderr, offset)
        if rest:
            yield rest


async def reconcile(core: Core, leases: Leases, dispatcher: Dispatcher, activity: Activity) -> None:
    """Remove what was being removed, take up every unfinished run where it stands, close what nobody uses.

    A run whose agent still lives goes on; one that ended meanwhile is recorded from its agent's record; one that was
    never begun begins; of the others, those of durable sandboxes begin again and the rest end as lost.
    """
    sandboxes = {record.id: record for record in await core.store.read(sandbox_rows.every)}
    for known in sandboxes.values():
        if known.state == "suspended":
            activity.sleeps(known.id)
    for id in set(await core.driver.ids()) - set(sandboxes):
        log.info("removing what is left of sandbox %s", id)
        await core.driver.remove(id)
    seen = {lease.id: (lease, at) for lease, at in await core.store.read(lease_rows.every)}
    jobs: list[Job] = []
    orphans: list[RunRecord] = []
    for record, content, cancelling in await core.store.read(rows.unfinished):
        sandbox = sandboxes.get(record.sandbox_id)
        if sandbox is None:
            orphans.append(record)
            continue
        job = Job(record, decode_request(content), sandbox, record.session_id)
        job.stop = "cancelled" if cancelling else None
        if record.state == "running":
            job.process = await _find(core, record.sandbox_id, job.exec_id)
            if job.process is not None:
                job.found = True
                job.began = core.clock.monotonic() - _known_seconds(seen.get(job.exec_id))
        jobs.append(job)
    for record in orphans:
        lease = seen.get(exec_id(record.id, record.attempts))
        await core.store.run(_end_orphan, leases, record, lease, core.clock.now())
    alive = {job.exec_id for job in jobs}
    closed = await core.store.run(leases.close_orphans, alive, core.now())
    if jobs or closed:
        log.info("took up %d runs, closed %d leases", len(jobs), closed)
    for job in jobs:
        dispatcher.enter(job)
    for job in jobs:
        dispatcher.release(job)


async def _find(core: Core, sandbox_id: str, exec_id: str) -> Process | None:
    """What has become of an attempt that was being made; None if it never began."""
    try:
        live = await core.driver.find(sandbox_id)
        if live is not None and (process := await live.attach(exec_id)) is not None:
            return process
        result = await core.driver.result(sandbox_id, exec_id)
        if result is None and live is not None and not await live.begun(exec_id):
            return None
    except SandboxError as error:
        log.warning("sandbox %s cannot be asked about %s: %s", sandbox_id, exec_id, error)
        result = None
    if result is not None:
        return Ended(core, sandbox_id, exec_id, result)
    # An attempt's files are made before its program starts: without them, nothing has happened yet.
    if not output.exists(core.driver, sandbox_id, exec_id):
        return None
    return Ended(core, sandbox_id, exec_id, ExecResult(exit_code=-1, cause="lost"))


def _end_orphan(
    connection: Connection, leases: Leases, record: RunRecord, known: tuple[Lease, int] | None, moment: datetime
) -> None:
    """A run whose sandbox was being removed: nobody can tell its end, and nobody wants to know."""
    now = micros(moment)
    leases.close(connection, exec_id(record.id, record.attempts), round(_known_seconds(known) * 1e9), now)
    ended = replace(record, state="cancelled", cause="cancelled", exit_code=137, ended_at=moment)
    rows.end(connection, replace(ended, cost=leases.spent(connection, ended)))


def _known_seconds(known: tuple[Lease, int] | None) -> float:
    """For how long a lease's work was seen alive."""
    return 0.0 if known is None else max(0, known[1] - micros(known[0].opened_at)) / 1e6
