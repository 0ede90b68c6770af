"""A job that serves a model until its time is used up or nobody wants it any more (protocol sections 5.4, 5.5, 5.7)."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from typing import Protocol

from skerry.island.clock import Clock
from skerry.island.engine.errors import EngineError
from skerry.island.provider.course import Course
from skerry.island.provider.params import ServeParams, serve_params
from skerry.island.provider.records import Endpoint, Outcome, ProviderJob, failure
from skerry.island.provider.results import PASSING, OnPhase, printed
from skerry.island.provider.rooms import token
from skerry.island.provider.task_specs import parsed
from skerry.island.provider.text_job import NO_MODELS

CHECK_SECONDS = 30.0
"""Between two looks whether a server is well."""

MISSES = 3
"""Looks in a row at which a server must not answer before it counts as dead: it may be starting again by itself."""

PAUSES = (10.0, 30.0, 90.0)
"""Seconds before a server that died is started again."""


class Servers(Protocol):
    """Whoever can serve a model on a port of this machine, in the manner of OpenAI."""

    async def serve(
        self, key: str, model: str, *, max_model_len: int, dtype: str, on_phase: OnPhase
    ) -> tuple[Endpoint, str]:
        """Serve a model, and return when it answers: where, and which model it really is; raises `EngineError`.

        The same key again, while its server goes on, gives that one.
        """
        ...

    async def well(self, key: str) -> bool:
        """Whether a server answers."""
        ...

    async def end(self, key: str) -> None:
        """End a server; nothing happens where there is none."""
        ...


class ServingJobs:
    """Models that are served.

    Args:
        servers: serves them; None where nothing can.
        allowed: models that may be asked for; others are replaced by the network's default. None for any.
        clock: the only source of time.
        check: seconds between two looks.
        pauses: seconds before each new start.
    """

    def __init__(
        self,
        servers: Servers | None,
        allowed: Container[str] | None,
        clock: Clock,
        *,
        check: float = CHECK_SECONDS,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._servers = servers
        self._allowed = allowed
        self._clock = clock
        self._check = check
        self._pauses = pauses

    async def carry(self, job: ProviderJob, course: Course) -> Outcome:
        """Serve, tell where, and see that it stays well; the time that was paid for being used up is success."""
        if self._servers is None:
            return failure(NO_MODELS)
        wanted = await asyncio.to_thread(self._wanted, job)
        began = self._clock.monotonic()
        ends = began + self._left(job)
        restarts = 0
        while True:
            try:
                async with asyncio.timeout(max(0.0, ends - self._clock.monotonic())):
                    where, model = await self._servers.serve(
                        token(job),
                        wanted.model,
                        max_model_len=wanted.max_model_len,
                        dtype=wanted.dtype,
                        on_phase=course.hear,
                    )
                    url = await course.serves(where.port)
            except TimeoutError:
                return failure("The model was not served before the job's time was used up", gpu_seconds=0.0)
            except EngineError as error:
                trouble, passing = error.message, error.code in PASSING
                if not passing or restarts == len(self._pauses):
                    return failure(trouble, transient=passing and not restarts, gpu_seconds=self._spent(job, began))
            else:
                course.phase("generating")
                course.say(f"{model} is served at {url}")
                trouble = await self._serve(token(job), ends)
                if not trouble:
                    result = {"type": "endpoint", "endpoint_url": url, "model": model, "port": where.port}
                    return Outcome(
                        success=True,
                        result=printed({**result, "openai_compatible": True}),
                        gpu_seconds=self._spent(job, began),
                        exit_code=0,
                        restarts=restarts,
                    )
                if restarts == len(self._pauses):
                    why = f"The model's server died {restarts + 1} times: {trouble}"
                    return Outcome(success=False, error=why, gpu_seconds=self._spent(job, began), restarts=restarts)
            course.say(f"{trouble}; it is started again", "warn")
            pause = self._pauses[restarts]
            restarts += 1
            await self._servers.end(token(job))
            await self._clock.sleep(min(pause, max(0.0, ends - self._clock.monotonic())))

    async def release(self, job: ProviderJob) -> None:
        """End the job's server, if it has one."""
        if job.serves and self._servers is not None:
            await self._servers.end(token(job))

    async def _serve(self, key: str, ends: float) -> str:
        """Return when the time is used up, with nothing to say, or when the server is not well, with words."""
        assert self._servers is not None
        misses = 0
        while (left := ends - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(self._check / 6 if misses else self._check, left))
            misses = 0 if await self._servers.well(key) else misses + 1
            if misses == MISSES:
                return "The model's server does not answer any more"
        return ""

    def _wanted(self, job: ProviderJob) -> ServeParams:
        # What was signed counts.
        spec = parsed(job.task_spec_raw) or {}
        return serve_params({**(job.params or {}), **spec}, job.model, self._allowed)

    def _left(self, job: ProviderJob) -> float:
        if job.claimed_at is None:
            return job.seconds
        return job.seconds - (self._clock.now() - job.claimed_at).total_seconds()

    def _spent(self, job: ProviderJob, began: float) -> float:
        """Seconds since the job was claimed, also by an earlier process; since it was begun where that is not known."""
        if job.claimed_at is None:
            return round(self._clock.monotonic() - began, 3)
        return round(max(0.0, (self._clock.now() - job.claimed_at).total_seconds()), 3)
