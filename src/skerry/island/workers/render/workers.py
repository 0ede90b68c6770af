"""Every render worker of this island, and the jobs that they take."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from skerry.island.clock import Clock, SystemClock
from skerry.island.engine.errors import Busy, Conflict, Invalid, NotFound
from skerry.island.sandbox.driver import Driver, ImageSource
from skerry.island.sandbox.select import choose_driver
from skerry.island.sandbox.spec import Barriers, GpuDevice, Limits
from skerry.island.settings import Settings
from skerry.island.workers.render import blender, book, package, score
from skerry.island.workers.render.attempt import Means, remove_sandbox
from skerry.island.workers.render.blender import Blender
from skerry.island.workers.render.book import Book
from skerry.island.workers.render.files import JobFiles, check_id
from skerry.island.workers.render.room import Rooms
from skerry.island.workers.render.score import Score
from skerry.island.workers.render.values import (
    FrameCounts,
    FrameFile,
    RenderFrame,
    RenderJob,
    RenderSpec,
    WorkerRecord,
)
from skerry.island.workers.render.worker import RenderWorker
from skerry.units import GIB

DEFAULT_LIMITS = Limits(disk_bytes=20 * GIB, pids=1024)


class RenderWorkers:
    """Open with `await RenderWorkers.open(...)`, then `recover` what was there; end with `await workers.close()`.

    Jobs are in queues, by whatever names their owners are known; a worker takes the jobs of one queue. All is kept in
    the state directory, so that after any crash a worker is found, or begins again at the first frame that is missing.

    Attributes:
        closed: whether it was closed, or has crashed.
    """

    def __init__(self, state_dir: Path, means: Means) -> None:
        self._state_dir = state_dir
        self._means = means
        self._workers: dict[str, RenderWorker] = {}
        self._over: dict[str, asyncio.Event] = {}
        self._measuring = asyncio.Lock()
        self.closed = False

    @classmethod
    async def open(
        cls,
        state_dir: Path,
        *,
        images: ImageSource,
        clock: Clock | None = None,
        settings: Settings | None = None,
        driver: Driver | None = None,
        found: Blender | None = None,
        gpus: Sequence[GpuDevice] = (),
        limits: Limits = DEFAULT_LIMITS,
    ) -> RenderWorkers:
        """Prepare the state directory and start the sandboxes' driver.

        Args:
            state_dir: where jobs, frames and sandboxes of the workers are; made when missing.
            images: has the machine's own programs as `host`.
            clock: the machine's own by default.
            settings: whose `driver` is asked for.
            driver: used in place of one of our own.
            found: which Blender; `blender.find(state_dir)` by default.
            gpus: this machine's.
            limits: bounds of one Blender process.

        Raises:
            Unsupported: there is no Blender. SandboxError: no driver works on this machine.
        """
        used = found if found is not None else await asyncio.to_thread(blender.find, state_dir)
        files = await asyncio.to_thread(JobFiles, state_dir)
        rooms = Rooms(images, used, files.jobs)
        if driver is None:
            chosen = settings or Settings(data_dir=state_dir)
            driver = await asyncio.to_thread(choose_driver, chosen, state_dir, rooms, None)
        means = Means(
            driver=driver,
            rooms=rooms,
            book=await asyncio.to_thread(Book, state_dir / "render.db"),
            files=files,
            blender=used,
            clock=clock or SystemClock(),
            limits=limits,
            gpus={gpu.index: gpu for gpu in gpus},
        )
        try:
            await driver.start()
        except BaseException:
            means.book.close()
            raise
        return cls(state_dir, means)

    @property
    def blender(self) -> Blender:
        """The Blender that renders."""
        return self._means.blender

    def barriers(self) -> Barriers:
        """The walls around every Blender process."""
        return self._means.driver.barriers()

    async def recover(self, wanted: Collection[str]) -> None:
        """Once, at start: let the wanted workers go on, end the others, and drop what belongs to nothing.

        Args:
            wanted: ids of workers whose sessions go on.
        """
        means = self._means
        await asyncio.to_thread(means.files.sweep)
        for id in await means.book.do(book.unknown_jobs, await asyncio.to_thread(means.files.ids)):
            await asyncio.to_thread(means.files.remove, id)
        claims = await means.book.do(book.claims)
        known = {claim.id for claim in claims}
        for id in await means.driver.ids():
            if id not in known:
                await remove_sandbox(means.driver, id)
        records = await means.book.do(book.workers)
        for claim in claims:
            if claim.worker_id not in {record.id for record in records}:
                await remove_sandbox(means.driver, claim.id)
                await means.book.do(book.settle, claim, {}, None, means.clock.now())
        for record in records:
            worker = await self._begin(record)
            if record.id not in wanted:
                await self.stop(worker.id)

    async def start(
        self,
        id: str,
        *,
        queue: str,
        gpus: Sequence[int] = (),
        per_gpu: bool = False,
        envs: Mapping[str, str] | None = None,
        disk_bytes: int | None = None,
    ) -> RenderWorker:
        """A worker for a queue; the one that is there already under this id.

        Args:
            id: chosen by the caller, `[A-Za-z0-9_-]{1,64}`.
            queue: whose jobs it takes.
            gpus: `index`es of the machine's GPUs that it has; none means that it renders on the CPU.
            per_gpu: render on each GPU by itself, side by side; all on one frame otherwise.
            envs: variables that Blender gets.
            disk_bytes: room for one process's unpacked scene and frames.

        Raises:
            Invalid: a bad id or variable, or no such GPU. Conflict: the id is taken by a worker of another queue.
        """
        lanes = tuple((index,) for index in gpus) if gpus and per_gpu else (tuple(gpus),)
        record = WorkerRecord(id=check_id(id), queue=queue, lanes=lanes, envs=dict(envs or {}), disk_bytes=disk_bytes)
        for index in gpus:
            if index not in self._means.gpus:
                raise Invalid(f"there is no GPU {index} here")
        for name, value in record.envs.items():
            if not name or "=" in name or "\0" in name + value:
                raise Invalid(f"{name!r} cannot be an environment variable")
        kept = await self._means.book.do(book.put_worker, record)
        if kept.queue != queue:
            raise Conflict(f"the id {id} is taken")
        return await self._begin(kept)

    async def find(self, id: str) -> RenderWorker | None:
        """A worker that was started and not stopped, by this server or before it; None if there is none."""
        known = self._workers.get(id)
        if known is not None:
            return known
        record = next((it for it in await self._means.book.do(book.workers) if it.id == id), None)
        return None if record is None else await self._begin(record)

    async def stop(self, id: str) -> None:
        """End a worker and every process of it; what it has not finished waits for the queue's next worker."""
        worker = await self.find(id)
        if worker is None:
            return
        await worker.stop()
        await self._means.book.do(book.remove_worker, id)
        self._workers.pop(id, None)

    async def submit(self, queue: str, id: str, source: Path, spec: RenderSpec, *, name: str = "") -> RenderJob:
        """Accept a job, once: the same again returns the one that is there.

        Args:
            queue: whose it is.
            id: chosen by the caller, `[A-Za-z0-9_-]{1,64}`.
            source: a .blend file, or a zip with one at its root; copied.
            spec: which frames, and how.
            name: the owner's word for it.

        Raises:
            Invalid: it can never be rendered. TooLarge: it unpacks to too much. Conflict: the id is taken.
        """
        spec.check()
        earlier = await self._means.book.do(book.job, check_id(id))
        if earlier is not None:
            if (earlier.queue, earlier.spec) != (queue, spec):
                raise Conflict(f"the id {id} is taken by another job")
            return earlier
        found = await asyncio.to_thread(package.inspect, source)
        await asyncio.to_thread(self._means.files.add, id, source, found.name)
        try:
            job = await self._means.book.do(
                book.add_job, id, queue, name, spec, json.dumps(asdict(found)), self._means.clock.now()
            )
        except sqlite3.IntegrityError:
            raise Conflict(f"the id {id} is taken") from None
        if found.addons:
            note = f"add-ons are not enabled here: {', '.join(found.addons)}"
            await asyncio.to_thread(self._means.files.add_log, id, note, None)
        self._wake(queue)
        return job

    async def job(self, id: str) -> RenderJob:
        """A job as it stands. Raises NotFound."""
        found = await self._means.book.do(book.job, id)
        if found is None:
            raise NotFound(f"there is no render job {id}")
        return found

    async def jobs(self, queue: str | None = None) -> list[RenderJob]:
        """The jobs of a queue, or all, oldest first."""
        return await self._means.book.do(book.jobs, queue)

    async def frames(self, id: str) -> list[RenderFrame]:
        """Every frame of a job, in order. Raises NotFound."""
        await self.job(id)
        return await self._means.book.do(book.frames, id)

    async def frame(self, id: str, number: int) -> FrameFile | None:
        """The picture of a frame; None until it is there. Raises NotFound for the job."""
        job = await self.job(id)
        if job.extension is None:
            return None
        return await asyncio.to_thread(self._means.files.frame, id, number, job.extension)

    async def discard(self, id: str, number: int) -> bool:
        """Delete a frame's picture, which stays counted as rendered; False when it is not there. Raises NotFound."""
        there = await self.frame(id, number)
        if there is not None:
            await asyncio.to_thread(there.path.unlink, missing_ok=True)
        return there is not None

    async def log(self, id: str) -> bytes:
        """What Blender has said of a job in the processes that have ended. Raises NotFound."""
        await self.job(id)
        return await asyncio.to_thread(self._means.files.log, id)

    async def wait(self, id: str) -> RenderJob:
        """The job once it is over. Raises NotFound."""
        event = self._over.setdefault(id, asyncio.Event())
        job = await self.job(id)
        if not job.over:
            await event.wait()
            job = await self.job(id)
        self._over.pop(id, None)
        return job

    async def cancel(self, id: str) -> bool:
        """Render nothing more of a job; its finished frames stay. False when it was over. Raises NotFound."""
        await self.job(id)
        changed = await self._means.book.do(book.cancel_job, id, self._means.clock.now())
        going = [it for worker in self._workers.values() for it in worker.attempts if it.claim.job_id == id]
        await asyncio.gather(*(attempt.withdraw() for attempt in going))
        if id in self._over:
            self._over[id].set()
        return changed

    async def remove(self, id: str) -> None:
        """Delete a job that is over, with its frames. Raises NotFound, and Busy while it is being rendered."""
        await self.cancel(id)
        if any(claim.job_id == id for claim in await self._means.book.do(book.claims)):
            raise Busy("the job is being ended; try again in a moment", retry_after=1.0)
        await self._means.book.do(book.remove_job, id)
        await asyncio.to_thread(self._means.files.remove, id)

    async def expire(self, before: datetime) -> list[str]:
        """Remove every job that was over before a moment; their ids."""
        gone = []
        for job in await self.jobs():
            if job.ended_at is not None and job.ended_at < before:
                try:
                    await self.remove(job.id)
                except Busy:
                    continue
                gone.append(job.id)
        return gone

    async def counts(self) -> FrameCounts:
        """Frames rendered here."""
        return await self._means.book.do(book.frame_counts, self._means.clock.now())

    def score(self) -> float:
        """Samples per minute (see `score`), as measured on this machine as it is; 0 when it was not."""
        found = self.kept_score()
        return 0.0 if found is None else found.score

    def kept_score(self, state_dir: Path | None = None) -> Score | None:
        """What was measured of this machine as it is now, by us or by others in another state directory."""
        return score.read(state_dir or self._state_dir, self._means)

    async def measure(self) -> Score:
        """Measure the score, on every GPU there is or else on the CPU, and remember it.

        Raises:
            Busy: a worker is rendering, so that less would be measured than there is. Unsupported: it cannot be done.
        """
        async with self._measuring:
            if any(worker.rendering for worker in self._workers.values()):
                raise Busy("a worker is rendering; measure when none is", retry_after=60.0)
            found = await score.measure(self._means, sorted(self._means.gpus), self._means.clock.now())
            await asyncio.to_thread(score.keep, self._state_dir, found)
            return found

    async def close(self) -> None:
        """End every process; workers go on where they were when the next server asks for them."""
        self.closed = True
        await asyncio.gather(*(worker.stop() for worker in self._workers.values()), return_exceptions=True)
        await self._means.driver.stop(kill=True)
        await asyncio.to_thread(self._means.book.close)

    async def crash(self) -> None:
        """For tests: forget everything at once as SIGKILL would, leaving processes to themselves."""
        self.closed = True
        await asyncio.gather(*(worker.abandon() for worker in self._workers.values()))
        await self._means.driver.stop(kill=False)
        await asyncio.to_thread(self._means.book.close)

    async def _begin(self, record: WorkerRecord) -> RenderWorker:
        known = self._workers.get(record.id)
        if known is None:
            known = self._workers[record.id] = RenderWorker(self._means, record, self._sharers, self._changed)
            await known.begin()
            # Those that shared the queue before have more to leave over now.
            self._wake(record.queue)
        return known

    def _sharers(self, queue: str) -> int:
        return sum(len(it.record.lanes) for it in self._workers.values() if it.record.queue == queue)

    def _changed(self, job: RenderJob | None) -> None:
        if job is None:
            return
        if job.over:
            event = self._over.get(job.id)
            if event is not None:
                event.set()
        else:
            self._wake(job.queue)

    def _wake(self, queue: str) -> None:
        for worker in self._workers.values():
            if worker.record.queue == queue:
                worker.wake()
