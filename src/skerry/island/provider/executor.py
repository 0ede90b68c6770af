"""Carries out one job by its type; each step may be repeated, and what goes on already is followed, not begun anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skerry.island.engine.engine import Engine
from skerry.island.provider import rooms
from skerry.island.provider.container_job import ContainerJobs, ContainerOptions, too_long
from skerry.island.provider.course import Bookmark, Course
from skerry.island.provider.guards import FREE_DISK, FREE_MIB, no_room
from skerry.island.provider.image_job import ImageJobs, Pictures
from skerry.island.provider.params import IMAGE_MODELS, LLM_MODELS, SERVE_MODELS
from skerry.island.provider.platform import Platform
from skerry.island.provider.records import IMAGE_TYPE, TEXT_TYPES, HostStatus, Outcome, ProviderJob
from skerry.island.provider.rooms import Traces
from skerry.island.provider.serving_job import Servers, ServingJobs
from skerry.island.provider.text_job import LanguageModels, TextJobs

_BOOKMARKS = "dc1-jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorOptions:
    """What a provider lets jobs do.

    Args:
        containers: bounds of programs.
        llm_models, image_models, serve_models: models that may be asked for; None for any.
        free_mib: MiB of memory that must be free before a job of a type begins.
        free_disk: bytes of disk that must be.
    """

    containers: ContainerOptions = field(default_factory=ContainerOptions)
    llm_models: Container[str] | None = LLM_MODELS
    image_models: Container[str] | None = IMAGE_MODELS
    serve_models: Container[str] | None = SERVE_MODELS
    free_mib: Mapping[str, int] = field(default_factory=lambda: dict(FREE_MIB))
    free_disk: int = FREE_DISK


class Executor:
    """Does jobs.

    Args:
        engine: open; has the sandboxes.
        measure: how this machine does.
        models: asks language models; None where there are none.
        servers: serves them; None where nothing can.
        pictures: draws; None where nothing can.
        options: bounds.
    """

    def __init__(
        self,
        engine: Engine,
        measure: Callable[[], Awaitable[HostStatus]],
        *,
        models: LanguageModels | None = None,
        servers: Servers | None = None,
        pictures: Pictures | None = None,
        options: ExecutorOptions | None = None,
    ) -> None:
        self._engine = engine
        self._measure = measure
        self._options = options = options or ExecutorOptions()
        self._earlier: frozenset[str] = frozenset()
        self._traces: dict[str, Traces] = {}
        clock = engine.clock.monotonic
        self._containers = ContainerJobs(engine, options.containers)
        self._texts = TextJobs(models, options.llm_models, clock)
        self._servings = ServingJobs(servers, options.serve_models, engine.clock)
        self._images = ImageJobs(pictures, options.image_models, clock)

    async def refusal(self, job: ProviderJob) -> str | None:
        """Why a job cannot begin here now; None where it can, and where it goes on already."""
        if self._is_earlier(job) and await rooms.exists(self._engine, job):
            return None
        status = await self._measure()
        return no_room(job.job_type, status, needs=self._options.free_mib, free_disk=self._options.free_disk)

    def course(self, platform: Platform, job: ProviderJob, gather: float) -> Course:
        """The way by which the platform hears of a job, lines being gathered for so many seconds; to be opened."""
        return Course(platform, job, self._engine.clock, Bookmark(self._bookmark(job)), gather=gather)

    async def carry(self, job: ProviderJob, course: Course) -> Outcome:
        """Do a job, from its beginning or from where a crash has left it, to its end.

        Cancelling this leaves everything as it is, for `release` or for another start.

        Raises:
            EngineError: something of this machine's stands in the way.
        """
        if job.serves:
            return await self._servings.carry(job, course)
        if job.job_type == IMAGE_TYPE and job.params is not None:
            return await self._images.carry(job, course)
        if job.job_type in TEXT_TYPES and job.params is not None:
            return await self._texts.carry(job, course)
        # A platform that tells no parameters sends the program that does the work.
        traces = None if self._is_earlier(job) else self._traces.setdefault(rooms.token(job), Traces())
        return await self._containers.carry(job, course, traces)

    def seconds_left(self, job: ProviderJob) -> float:
        """How long a job may still be carried, with some slack: what carries it watches the time too."""
        passed = 0.0
        if job.claimed_at is not None:
            passed = (self._engine.clock.now() - job.claimed_at).total_seconds()
        return max(0.0, job.seconds - passed) + (60.0 if job.serves else 5.0)

    def too_long(self, job: ProviderJob) -> str:
        """What a job is told that ran out of its time."""
        return too_long(job)

    async def release(self, job: ProviderJob) -> None:
        """End and remove what is left of a job here."""
        await self._servings.release(job)
        name = rooms.token(job)
        await rooms.leave(self._engine, job, None if self._is_earlier(job) else self._traces.get(name, Traces()))
        self._traces.pop(name, None)
        self._bookmark(job).unlink(missing_ok=True)

    async def sweep(self, keep: Iterable[ProviderJob]) -> None:
        """Remove what a crash has left of every job but these."""
        kept = list(keep)
        await rooms.sweep(self._engine, kept)
        self._earlier = frozenset(map(rooms.token, kept))
        living = {self._bookmark(job) for job in kept}
        for path in (self._engine.settings.data_dir / _BOOKMARKS).glob("dc1-*.json"):
            if path not in living:
                path.unlink(missing_ok=True)

    def _is_earlier(self, job: ProviderJob) -> bool:
        """Whether an earlier process may have begun this try of a job."""
        return rooms.token(job) in self._earlier

    def _bookmark(self, job: ProviderJob) -> Path:
        return self._engine.settings.data_dir / _BOOKMARKS / f"{rooms.token(job)}.json"
