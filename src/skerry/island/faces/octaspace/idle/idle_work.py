"""One idle job's sandbox: made once, kept between attempts with what it wrote, and removed with the job."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from sqlalchemy import Row

from skerry.island.engine import output
from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import NotFound
from skerry.island.engine.records import Image, Program
from skerry.island.faces.octaspace.authentication import NETWORK
from skerry.island.faces.octaspace.idle import idle_rows
from skerry.island.faces.octaspace.nodes import node_rows
from skerry.island.faces.octaspace.nodes.shares import share
from skerry.island.faces.octaspace.sessions.programs import configured
from skerry.island.faces.octaspace.sessions.works import StartFailed
from skerry.island.ground.runs import begin, tail
from skerry.island.images.program import program
from skerry.island.sandbox.spec import Limits
from skerry.units import GIB, MIB

GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL, when the node is rented."""

MOST_LOG_BYTES = 4 * MIB
_KEPT_LOGS = 4
_DISK_BYTES = 20 * GIB
_OUTPUT_BYTES = 16 * MIB

log = logging.getLogger("skerry.island.octaspace")


class IdleWork:
    """What is done with a job's sandbox.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def image(self, job: Row[Any]) -> Image:
        """The image, fetched if need be. Raises SandboxError or EngineError."""
        found: Image = await self._engine.images.fetch(job.image)
        return found

    async def begin(self, job: Row[Any], image: Image) -> None:
        """Have the attempt's run, whoever began it.

        Raises:
            StartFailed: no program can be made of the job. EngineError: as the engine refuses.
        """
        await self._sandbox(job, image)
        envs = self._envs(job)
        what = await asyncio.to_thread(self._program, job, image, envs)
        if not what.argv:
            raise StartFailed("the image has no program; name a start_command")
        if await begin(self._engine, job.account_id, job.sandbox_id, job.run_id, what, envs) is not None:
            self._forget_logs(job)

    async def begun(self, job: Row[Any]) -> bool:
        """Whether the attempt's program runs, once it does or has ended, which may take as long as a disk is full."""
        return await self._engine.runs.begun(job.run_id) is None

    async def end(self, job: Row[Any]) -> None:
        """End the attempt. Raises NotFound when it never began."""
        await self._engine.runs.cancel(job.account_id, job.sandbox_id, job.run_id, grace=GRACE_SECONDS)

    async def remove(self, job: Row[Any]) -> None:
        """Remove the sandbox, which may never have been made."""
        try:
            await self._engine.sandboxes.delete(job.account_id, job.sandbox_id)
        except NotFound:
            pass

    async def log(self, job: Row[Any]) -> bytes:
        """What the last attempts have written, the newest last, of bounded size."""
        found = b""
        for attempt in range(job.attempt, max(0, job.attempt - _KEPT_LOGS), -1):
            run = idle_rows.run_id(job, attempt)
            found = await tail(self._engine.driver, job.sandbox_id, run, MOST_LOG_BYTES) + found
            if len(found) >= MOST_LOG_BYTES:
                break
        return found[-MOST_LOG_BYTES:]

    async def _sandbox(self, job: Row[Any], image: Image) -> None:
        engine = self._engine
        try:
            await engine.sandboxes.get(job.account_id, job.sandbox_id)
            return
        except NotFound:
            pass
        slots = node_rows.slots(engine)
        await engine.sandboxes.create(
            job.account_id,
            id=job.sandbox_id,
            network=NETWORK,
            image=image.id,
            limits=Limits(
                cpu_millis=share(engine.nodes.local.cpu_millis, slots),
                memory_bytes=share(engine.nodes.local.memory_bytes, slots),
                disk_bytes=min(_DISK_BYTES, engine.nodes.local.disk_bytes),
                output_bytes=_OUTPUT_BYTES,
            ),
            labels={"idle_job": f"{job.node_id}/{job.job_id}"},
            metered=False,
        )

    def _envs(self, job: Row[Any]) -> dict[str, str]:
        context = idle_rows.envs_context(job.node_id, job.job_id)
        found: dict[str, str] = json.loads(self._engine.vault.open(job.envs, context))
        return found

    def _program(self, job: Row[Any], image: Image, envs: dict[str, str]) -> Program:
        """What it runs: the operator's words in the image's places."""
        config = configured(self._engine, image, job.entrypoint, job.command, envs)
        return program(image.name, config, self._engine.images.rootfs(image.id))

    def _forget_logs(self, job: Row[Any]) -> None:
        """A job that fails for days must not fill the disk."""
        old = job.attempt - _KEPT_LOGS
        if old > 0:
            output.discard(self._engine.driver, job.sandbox_id, idle_rows.run_id(job, old))
