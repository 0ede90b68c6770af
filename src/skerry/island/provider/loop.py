"""A provider's loop: tells that it is there, takes jobs, has them carried out, reports them (protocol section 5.7).

A job that was claimed is carried to an end that the platform knows of, whatever happens here: what is to be reported
is fixed before it is first sent, and a start takes up every job that an earlier process had claimed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from skerry.island.clock import Clock, SystemClock
from skerry.island.engine.errors import EngineError
from skerry.island.ground.waiting import give_up
from skerry.island.provider.course import Course
from skerry.island.provider.executor import Executor
from skerry.island.provider.platform import Platform, PlatformError, PlatformRefused, PlatformUnavailable
from skerry.island.provider.records import HostStatus, Outcome, ProviderJob, failure
from skerry.island.provider.results import PASSING
from skerry.island.provider.signatures import refusal

HANDED_BACK = "The provider is stopping and hands this job back"

log = logging.getLogger("skerry.provider")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    """Times of the loop, in seconds.

    Args:
        slots: jobs at once.
        heartbeat: between two heartbeats.
        poll: between two looks for work, where the platform does not call.
        look: between two looks whether a job is still wanted.
        pauses: before each further try to report a result.
        patience: between tries to report once those have failed.
        told: how long an ended job waits for its log to be told.
        gather: how long lines of a job are gathered before they are told.
    """

    slots: int = 1
    heartbeat: float = 30.0
    poll: float = 5.0
    look: float = 3.0
    pauses: tuple[float, ...] = (5.0, 10.0)
    patience: float = 60.0
    told: float = 10.0
    gather: float = 0.2


@dataclass(slots=True)
class _Carried:
    """A job in hand.

    Args:
        job: which.
        unwanted: set when it shall not go on.
        executing: it takes a slot.
    """

    job: ProviderJob
    unwanted: asyncio.Event = field(default_factory=asyncio.Event)
    executing: bool = True
    task: asyncio.Task[None] | None = None


class ProviderLoop:
    """Carries out a platform's jobs on this machine.

    Args:
        platform: whose.
        executor: carries one out.
        measure: how this machine does.
        secret: by which task specs are signed; None where it is not known.
        options: times and slots.
        clock: the machine's own by default.
    """

    def __init__(
        self,
        platform: Platform,
        executor: Executor,
        measure: Callable[[], Awaitable[HostStatus]],
        *,
        secret: str | None = None,
        options: LoopOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._platform = platform
        self._executor = executor
        self._measure = measure
        self._secret = secret
        self._options = options or LoopOptions()
        self._clock = clock or SystemClock()
        self._began = self._clock.monotonic()
        self._carried: dict[tuple[str, int], _Carried] = {}
        self._changed = asyncio.Event()
        self._draining = False
        self._handing_back = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def jobs(self) -> list[ProviderJob]:
        """Jobs in hand, those that only wait to be reported too."""
        return [carried.job for carried in self._carried.values()]

    async def start(self) -> None:
        """Take up what an earlier process had claimed, then look for more.

        Raises:
            PlatformError: the platform cannot be asked what that is.
        """
        going = await self._platform.going()
        await self._executor.sweep(going)
        for job in going:
            self._begin(job)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._heartbeats(), name="provider heartbeats"),
            loop.create_task(self._claims(), name="provider claims"),
        ]

    async def close(self) -> None:
        """Let go of everything as it is; the next start takes it up."""
        await give_up(*self._tasks, *(carried.task for carried in self._carried.values()))
        self._carried.clear()

    async def drain(self, seconds: float) -> bool:
        """Take nothing more; let what goes on end, for so long, then hand the rest back. Servers are handed back.

        Args:
            seconds: patience.

        Returns:
            Whether everything was reported.
        """
        self._draining = True
        self._changed.set()
        with contextlib.suppress(PlatformError):
            await self._beat()
        ending = [
            carried.task
            for carried in self._carried.values()
            if carried.task is not None and carried.executing and not carried.job.serves
        ]
        if ending:
            await asyncio.wait(ending, timeout=seconds)
        self._handing_back.set()
        rest = [carried.task for carried in self._carried.values() if carried.task is not None]
        if rest:
            await asyncio.wait(rest, timeout=sum(self._options.pauses) + self._options.told + 30.0)
        return not self._carried

    async def _heartbeats(self) -> None:
        said = None
        while True:
            try:
                await self._beat()
                if said is not None:
                    log.info("the platform hears this provider again")
                said = None
            except PlatformError as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("the platform does not take heartbeats: %s", said)
            except Exception:
                log.exception("no heartbeat could be made")
            await self._clock.sleep(self._options.heartbeat)

    async def _beat(self) -> None:
        status = await self._measure()
        await self._platform.heartbeat(
            replace(
                status,
                slots=self._options.slots,
                active=self._busy(),
                draining=self._draining,
                uptime=round(self._clock.monotonic() - self._began, 1),
            )
        )

    def _busy(self) -> int:
        return sum(carried.executing for carried in self._carried.values())

    async def _claims(self) -> None:
        said = None
        while not self._draining:
            self._changed.clear()
            if self._busy() >= self._options.slots:
                await self._changed.wait()
                continue
            pause = self._options.poll
            try:
                job = await self._platform.claim()
                said = None
                if job is not None:
                    self._begin(job)
                    continue
            except PlatformError as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("no job can be had: %s", said)
                after = error.retry_after if isinstance(error, PlatformUnavailable) else None
                await self._clock.sleep(max(pause, after or 0.0))
                continue
            except Exception:
                log.exception("no job could be claimed")
                await self._clock.sleep(pause)
                continue
            await self._platform.wait(pause)

    def _begin(self, job: ProviderJob) -> None:
        if job.key in self._carried:
            return
        for other in self._carried.values():
            if other.job.job_id == job.job_id:
                log.info("attempt %d of job %s takes another's place", job.attempt, job.job_id)
                other.unwanted.set()
        carried = self._carried[job.key] = _Carried(job)
        carried.task = asyncio.get_running_loop().create_task(self._carry(carried), name=f"job {job.job_id}")

    async def _carry(self, carried: _Carried) -> None:
        job = carried.job
        try:
            # What was found out before a crash, or an hour ago, is what is reported.
            outcome = self._platform.reported(job)
            if outcome is None:
                outcome = await self._outcome(carried)
            if outcome is None:
                log.info("job %s is no longer wanted", job.job_id)
                await self._executor.release(job)
                await self._platform.let_go(job)
                return
            await self._report(carried, outcome)
            await self._executor.release(job)
        except _Later:
            log.warning("the result of job %s is reported at the next start", job.job_id)
        except Exception:
            log.exception("job %s is left as it is; the next start takes it up", job.job_id)
        finally:
            if self._carried.get(job.key) is carried:
                del self._carried[job.key]
            self._changed.set()

    async def _outcome(self, carried: _Carried) -> Outcome | None:
        """Carry a job out; None as soon as it is not wanted any more."""
        job = carried.job
        try:
            why = refusal(job, self._secret) or await self._executor.refusal(job)
            if why is not None:
                return failure(why)
            async with self._executor.course(self._platform, job, self._options.gather) as course:
                outcome = await self._watched(carried, course)
                await course.told(self._options.told if outcome is not None else 0.0)
                return outcome
        except Exception as error:
            return _failed(job, error)

    async def _watched(self, carried: _Carried, course: Course) -> Outcome | None:
        job, began = carried.job, self._clock.monotonic()
        work = asyncio.ensure_future(self._executor.carry(job, course))
        watch = asyncio.ensure_future(self._unwanted(carried))
        back = asyncio.ensure_future(self._handing_back.wait())
        late = asyncio.ensure_future(self._clock.sleep(self._executor.seconds_left(job)))
        try:
            await asyncio.wait((work, watch, back, late), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if watch.done():
                return None
            handed = back.done()
        finally:
            await give_up(work, watch, back, late)
        # Its programs shall have ended when it is said that it is over.
        await self._executor.release(job)
        if handed:
            return failure(HANDED_BACK, transient=True)
        return failure(self._executor.too_long(job), gpu_seconds=round(self._clock.monotonic() - began, 3))

    async def _unwanted(self, carried: _Carried) -> None:
        """Return once a job shall not go on."""
        while not carried.unwanted.is_set():
            # Not `wait_for`, which can lose a cancellation on Python 3.11.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.look):
                    await carried.unwanted.wait()
                return
            try:
                if not await self._platform.wanted(carried.job):
                    return
            except PlatformUnavailable as error:
                log.debug("cannot tell whether job %s is wanted: %s", carried.job.job_id, error)
            except PlatformRefused as error:
                log.info("job %s is not ours any more: %s", carried.job.job_id, error)
                return

    async def _report(self, carried: _Carried, outcome: Outcome) -> None:
        """Tell how a job went, for as long as it takes; a slot is taken only for the first tries."""
        job, pauses = carried.job, list(self._options.pauses)
        while True:
            try:
                await self._platform.finish(job, outcome)
                how = "completed" if outcome.success else f"failed: {outcome.error}"
                log.info("job %s is reported: %s", job.job_id, how)
                return
            except PlatformRefused as error:
                log.warning("the platform does not take the result of job %s: %s", job.job_id, error)
                return
            except PlatformUnavailable as error:
                log.warning("the result of job %s cannot be reported now: %s", job.job_id, error)
                if pauses:
                    pause = pauses.pop(0)
                else:
                    carried.executing = False
                    self._changed.set()
                    pause = self._options.patience
            if self._draining and not pauses and not carried.executing:
                # The next start reports it.
                raise _Later
            await self._clock.sleep(pause)


class _Later(Exception):
    """A result is left to the next start."""


def _failed(job: ProviderJob, error: Exception) -> Outcome:
    if isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, EngineError):
        return failure(error.message, transient=error.code in PASSING)
    if isinstance(error, PlatformError):
        return failure(f"The platform refused: {error}")
    log.error("job %s failed for a reason of the provider's own", job.job_id, exc_info=error)
    return failure("The provider could not carry out this job; its log says more", transient=True)
