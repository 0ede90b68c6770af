"""Sandboxes and GPUs of jobs: their names, which follow from the job alone, and what is left of them after a crash."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import NoCapacity, NotFound, Unavailable
from skerry.island.provider.records import ProviderJob

NETWORK = "dc1"
MOST_BEGINNINGS = 4
"""A program that was lost with its sandbox is begun again three times (section 5.7)."""

_GRACE = 2.0
_RETRY_SECONDS = 1.0
_PREFIX = "dc1-"

log = logging.getLogger("skerry.provider")


@dataclass(slots=True)
class Traces:
    """What there is of one try of a job that this process began, so that nobody has to look.

    Args:
        begun: how often its program was begun, each time in a sandbox of its own.
        going: whether it may be going on.
        gpus: whether GPUs were set aside.
    """

    begun: int = 0
    going: bool = False
    gpus: bool = False


def token(job: ProviderJob) -> str:
    """Names everything of one try of a job; a platform's own names are nobody's paths here."""
    text = f"{job.job_id}\n{job.attempt}".encode("utf-8", "surrogatepass")
    return _PREFIX + hashlib.sha256(text).hexdigest()[:32]


def room_id(job: ProviderJob, beginning: int) -> str:
    """The sandbox, and the run in it, of a job's program that was begun so many times."""
    return f"{token(job)}-{beginning}"


async def take_gpus(engine: Engine, job: ProviderJob, count: int) -> tuple[int, ...]:
    """Set GPUs aside for a job; those that it has already, where it has some; none on a machine without.

    Raises:
        NoCapacity: fewer are free, or there are fewer.
    """
    node = engine.nodes.local
    if not node.gpus or count < 1:
        return ()
    if count > len(node.gpus):
        raise NoCapacity(f"{count} GPUs are asked for; this machine has {len(node.gpus)}")
    return await engine.lending.set_aside(token(job), count)


async def leave(engine: Engine, job: ProviderJob, traces: Traces | None = None) -> None:
    """End what goes on of a job, remove its sandboxes, give its GPUs back; what is gone already stays gone.

    Args:
        engine: whose.
        job: which try of which job.
        traces: what there is of it; None where that has to be found out.
    """
    most = MOST_BEGINNINGS if traces is None else traces.begun
    for beginning in range(1, most + 1):
        name = room_id(job, beginning)
        begun = (traces is None or traces.going) and await _end(engine, name)
        # Where a program was never begun, it was not begun again either.
        if not await engine.removals.discard(engine.account_id, name) and not begun:
            break
    if traces is None or traces.gpus:
        await engine.lending.give_back(token(job))


async def _end(engine: Engine, name: str) -> bool:
    """End a program that may go on, for as long as it takes: its GPUs are nobody else's before. False without one."""
    while True:
        try:
            await engine.runs.cancel(engine.account_id, name, name, grace=_GRACE)
            return True
        except NotFound:
            return False
        except Unavailable as error:
            log.warning("%s cannot be ended now; it is tried again: %s", name, error)
            await engine.clock.sleep(_RETRY_SECONDS)


async def sweep(engine: Engine, keep: Iterable[ProviderJob]) -> None:
    """Remove what a crash has left of jobs that are not going on any more."""
    living = {token(job) for job in keep}
    found, _ = await engine.sandboxes.list(engine.account_id, network=NETWORK)
    for sandbox in found:
        if sandbox.id.startswith(_PREFIX) and sandbox.id.rpartition("-")[0] not in living:
            log.info("removing sandbox %s, whose job is over", sandbox.id)
            await engine.removals.discard(engine.account_id, sandbox.id)

    def release(connection: Connection) -> None:
        for held in engine.capacity.held(connection):
            if held.id.startswith(_PREFIX) and held.id not in living:
                engine.capacity.release(connection, held.id)

    await engine.store.run(release)


async def exists(engine: Engine, job: ProviderJob) -> bool:
    """Whether a job has a sandbox already."""
    try:
        await engine.sandboxes.get(engine.account_id, room_id(job, 1))
    except NotFound:
        return False
    return True
