"""One Blender process in a sandbox of its own: started or found again, its frames brought in, its end judged."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skerry.island.clock import Clock
from skerry.island.sandbox.driver import Driver, Process, Sandbox, SandboxError
from skerry.island.sandbox.spec import ExecResult, ExecSpec, GpuDevice, Limits, SandboxSpec
from skerry.island.workers.render import book
from skerry.island.workers.render.blender import Blender
from skerry.island.workers.render.book import Book
from skerry.island.workers.render.files import JobFiles
from skerry.island.workers.render.formats import EXTENSIONS, KNOWN_EXTENSIONS, frame_name
from skerry.island.workers.render.package import Package
from skerry.island.workers.render.room import Rooms, image_of
from skerry.island.workers.render.said import said_lines
from skerry.island.workers.render.values import Claim, RenderJob

log = logging.getLogger("skerry.render")

HOME = "/home/user"
_RUN = "render"
_SCRIPT = "render_script.py"
_START_SECONDS = 300.0
_GRACE = 2.0
_LATE = "Blender ran out of time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What attempts stand on.

    Args:
        driver: makes their sandboxes; nobody else uses it.
        rooms: what these see.
        book, files: where what they did is kept.
        blender: what they start.
        clock: the only source of time.
        limits: bounds of one process.
        gpus: this machine's, by index.
    """

    driver: Driver
    rooms: Rooms
    book: Book
    files: JobFiles
    blender: Blender
    clock: Clock
    limits: Limits
    gpus: Mapping[int, GpuDevice]


@dataclass(slots=True)
class _Findings:
    """What a process has said, and what of it turned out to be there."""

    extension: str | None
    began: bool = False
    done: set[int] = field(default_factory=set)
    failed: dict[int, str] = field(default_factory=dict)
    hopeless: str | None = None

    @property
    def progress(self) -> int:
        """Grows with what can happen once only, so that idle talk is no progress."""
        return self.began + len(self.done) + len(self.failed)


class Attempt:
    """The carrying out of one claim.

    Args:
        means: what it stands on.
        claim: which frames; its id is the sandbox's.
        gpus: `index`es of the GPUs that it computes on; none means the CPU.
        envs: variables of the process.
        limits: bounds of the process.
    """

    def __init__(
        self, means: Means, claim: Claim, gpus: tuple[int, ...], envs: Mapping[str, str], limits: Limits
    ) -> None:
        self._means = means
        self.claim = claim
        self._gpus = gpus
        self._envs = envs
        self._limits = limits
        self._process: Process | None = None
        self._withdrawn = False
        self._late = False

    async def run(self) -> RenderJob | None:
        """Render, or go on watching a process that an earlier server started; the job as it stands afterwards."""
        job = await self._means.book.do(book.job, self.claim.job_id)
        if job is None:
            await self._drop()
            return None
        findings = _Findings(job.extension)
        result: ExecResult | None = None
        trouble: str | None = None
        try:
            process = await self._find()
            if process is None and not self._withdrawn and not job.over:
                process = await self._begin(job)
            if process is not None:
                self._process = process
                if self._withdrawn or job.over:
                    await self.withdraw()
                result = await self._watch(process, findings, job.spec.frame_seconds)
                if result.cause == "not_found":
                    findings.hopeless = "Blender cannot be started in its sandbox; the job's log has the reason"
            await self._sweep(findings)
        except (SandboxError, OSError) as error:
            trouble = str(error)
            log.warning("rendering of job %s was interrupted: %s", job.id, error)
        return await self._settle(findings, result, trouble)

    async def _watch(self, process: Process, findings: _Findings, frame_seconds: float) -> ExecResult:
        """Bring in frames as they come, until the process ends or a frame takes too long."""
        guard = asyncio.ensure_future(self._guard(process, _START_SECONDS + frame_seconds))
        try:
            async for word, rest in said_lines(process.follow("stdout")):
                before = findings.progress
                await self._hear(findings, word, rest)
                if findings.progress > before:
                    guard.cancel()
                    guard = asyncio.ensure_future(self._guard(process, frame_seconds))
            return await process.wait()
        finally:
            guard.cancel()
            await asyncio.gather(guard, return_exceptions=True)

    async def _guard(self, process: Process, seconds: float) -> None:
        await self._means.clock.sleep(seconds)
        self._late = True
        await process.cancel(_GRACE)

    async def withdraw(self) -> None:
        """End the process early; the frames it has not finished are nobody's fault."""
        self._withdrawn = True
        if self._process is not None:
            try:
                await self._process.cancel(_GRACE)
            except SandboxError:
                # Its sandbox has died; `run` finds out.
                return

    async def _find(self) -> Process | None:
        """The process as an earlier server left it: going on, or ended with its end on record."""
        driver = self._means.driver
        if self.claim.id not in await driver.ids():
            return None
        sandbox = await driver.open(self.claim.id)
        return await sandbox.attach(_RUN)

    async def _begin(self, job: RenderJob) -> Process | None:
        """Start the process; None when an earlier one died with its sandbox, so that its files are looked at first."""
        driver = self._means.driver
        if self.claim.id in await driver.ids():
            if driver.run_files(self.claim.id, _RUN).stdout.exists():
                return None
        else:
            spec = SandboxSpec(
                id=self.claim.id,
                image=image_of(job.id),
                limits=self._limits,
                gpus=tuple(self._means.gpus[index] for index in self._gpus),
            )
            await driver.create(spec)
        sandbox = await driver.open(self.claim.id)
        await put_script(sandbox, _SCRIPT)
        return await sandbox.exec(await self._command(job))

    async def _command(self, job: RenderJob) -> ExecSpec:
        package = Package(**json.loads(await self._means.book.do(book.scene, job.id)))
        task = {
            "source": str(self._means.rooms.input_of(job.id) / package.name),
            "scene": package.scene,
            "frames": self.claim.frames,
            "format": job.spec.format,
            "engine": job.spec.engine,
            "scripts": job.spec.scripts,
            "gpu": bool(self._gpus),
            "threads": threads(self._limits),
            "extensions": EXTENSIONS,
        }
        return ExecSpec(
            id=_RUN,
            argv=self._means.blender.command(_SCRIPT, json.dumps(task)),
            env=environment(self._envs),
            cwd=HOME,
            # Only for when no server watches: each frame has its own limit.
            timeout=_START_SECONDS + job.spec.frame_seconds * len(self.claim.frames),
            grace=_GRACE,
            merge_output=True,
        )

    async def _hear(self, findings: _Findings, word: str, rest: str) -> None:
        if word == "format" and rest in KNOWN_EXTENSIONS:
            if await self._means.book.do(book.settle_extension, self.claim.job_id, rest):
                findings.extension, findings.began = rest, True
        elif word == "frame" and rest.isascii() and rest.isdigit():
            await self._bring(findings, int(rest[:9]))
        elif word == "failed":
            number, _, why = rest.partition(" ")
            if number.isascii() and number.isdigit() and int(number[:9]) in self.claim.frames:
                findings.failed[int(number[:9])] = why
        elif word == "fatal":
            findings.hopeless = rest

    async def _sweep(self, findings: _Findings) -> None:
        """Bring in what is there, whatever was said of it: an output that grew too long is cut."""
        for number in self.claim.frames:
            await self._bring(findings, number)

    async def _bring(self, findings: _Findings, number: int) -> None:
        """Take a frame's file out of the sandbox, and count it."""
        extension = findings.extension
        if extension is None or number in findings.done or number not in self.claim.frames:
            return
        means = self._means
        sandbox = await means.driver.open(self.claim.id)
        try:
            source, _ = await sandbox.open_read(f"out/{frame_name(number, extension)}", beneath=HOME)
        except SandboxError as error:
            if error.reason in ("not_found", "not_a_file", "is_a_directory", "path"):
                return
            raise
        with source:
            await asyncio.to_thread(means.files.put_frame, self.claim.job_id, number, extension, source)
        await means.book.do(book.frame_done, self.claim.job_id, number, means.clock.now())
        findings.done.add(number)

    async def _settle(self, findings: _Findings, result: ExecResult | None, trouble: str | None) -> RenderJob | None:
        """Give the claim back, and drop the sandbox: in this order, since what stands on no claim is swept."""
        means = self._means
        blamed = {} if self._withdrawn else self._blame(findings, result, trouble)
        hopeless = None if self._withdrawn else findings.hopeless
        ending = _LATE if self._late else _ending(result, trouble)
        heading = f"frames {self.claim.frames[0]} to {self.claim.frames[-1]}: {ending}"
        said = means.driver.run_files(self.claim.id, _RUN).stdout
        await asyncio.to_thread(means.files.add_log, self.claim.job_id, heading, said)
        job = await means.book.do(book.settle, self.claim, blamed, hopeless, means.clock.now())
        await self._drop()
        return job

    def _blame(self, findings: _Findings, result: ExecResult | None, trouble: str | None) -> dict[int, str]:
        """Which frames failed: those that Blender gave up, or else the one in which it died."""
        ending = _LATE if self._late else _ending(result, trouble)
        missing = [number for number in self.claim.frames if number not in findings.done]
        blamed = {number: why for number, why in findings.failed.items() if number in missing}
        unexplained = [number for number in missing if number not in blamed]
        if findings.hopeless is None:
            # Where not even the file was opened, no frame is to blame more than another.
            guilty = unexplained[:1] if findings.began else unexplained
            blamed |= dict.fromkeys(guilty, ending)
        return blamed

    async def _drop(self) -> None:
        await remove_sandbox(self._means.driver, self.claim.id)


async def put_script(sandbox: Sandbox, script: str) -> None:
    """Copy one of our scripts, and what it imports, into a sandbox's home directory. Raises SandboxError."""
    for name in (script, "devices_script.py"):
        text = await asyncio.to_thread(Path(__file__).with_name(name).read_bytes)
        await sandbox.write_file(f"{HOME}/{name}", io.BytesIO(text), len(text), beneath=HOME)


def environment(envs: Mapping[str, str]) -> dict[str, str]:
    """Variables of a Blender process."""
    fixed = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": HOME, "TMPDIR": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108
    return {**envs, **fixed}


def threads(limits: Limits) -> int | None:
    """How many threads fit the bounds; None for as many as there are processors."""
    return None if limits.cpu_millis is None else max(1, -(-limits.cpu_millis // 1000))


async def remove_sandbox(driver: Driver, id: str) -> None:
    """Remove a sandbox, if it is there; one that does not go now is swept at the next start."""
    try:
        await driver.remove(id)
    except SandboxError as error:
        if error.reason != "unknown_sandbox":
            log.warning("sandbox %s stays for now: %s", id, error)


def _ending(result: ExecResult | None, trouble: str | None) -> str:
    if trouble is not None:
        return trouble
    if result is None or result.cause == "lost":
        return "Blender's sandbox was lost"
    if result.cause == "exited":
        return f"Blender ended with status {result.exit_code}"
    words = {
        "timeout": _LATE,
        "out_of_memory": "Blender ran out of memory",
        "disk_full": "the sandbox's disk is full",
        "cancelled": "Blender was ended early",
        "not_found": "Blender could not be started",
    }
    return words.get(result.cause, f"Blender was killed by signal {result.exit_code - 128}")
