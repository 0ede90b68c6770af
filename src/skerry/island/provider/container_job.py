"""A job that is a program: begun in a sandbox without a network, found again after a crash, judged (section 5.7)."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import Conflict, EngineError, NotFound
from skerry.island.engine.records import Image, Program, RunRecord
from skerry.island.engine.shell import HOME
from skerry.island.images.host_image import HOST
from skerry.island.images.program import program
from skerry.island.provider import rooms
from skerry.island.provider.benchmark import benchmark_script
from skerry.island.provider.course import Course
from skerry.island.provider.params import WORKER_IMAGE, environment
from skerry.island.provider.records import Level, Outcome, ProviderJob, failure
from skerry.island.provider.rooms import Traces
from skerry.island.provider.stdout import Lines, result_text
from skerry.island.provider.task_specs import CONTAINER_TYPE, parsed
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.spec import Limits, NetworkPolicy
from skerry.units import GIB, MIB, format_size

PAUSES = (10.0, 30.0, 90.0)
"""Seconds before a program that was lost is begun again."""

WORKER_IMAGES = ("dc1/", "dcp/")
"""Images of the network's own, which no registry has: where one is not defined here, this machine's files stand in."""

_SCRIPT = f"{HOME}/job.py"
_MOST_OUTPUT = 64 * MIB
_LITTLE = 64 * 1024
_SAID = 1_000
# The script's own first line decides; a plain script is Python, whichever name the image has for it.
_FIND_PYTHON = """\
command -v python3 >/dev/null && exec python3 -u "$0"
command -v python >/dev/null && exec python -u "$0"
echo "there is no Python in this image" >&2
exit 127
"""
_INTERPRETER = ("/bin/sh", "-c", _FIND_PYTHON)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions:
    """What programs of jobs may use at most (section 5.7), cut to what the machine has.

    Args:
        cpu_millis, memory_bytes, disk_bytes, pids: of one job.
        images: by the name a job gives, the local image or reference that is meant.
        network: what they may reach.
        pauses: seconds before each new beginning.
    """

    cpu_millis: int = 4_000
    memory_bytes: int = 16 * GIB
    disk_bytes: int = 20 * GIB
    pids: int = 256
    images: dict[str, str] = field(default_factory=dict)
    network: NetworkPolicy = field(default_factory=NetworkPolicy)
    pauses: tuple[float, ...] = PAUSES


@dataclass(frozen=True, slots=True)
class _Work:
    """What a job's program is."""

    image: str
    script: str
    env: dict[str, str]
    gpus: tuple[int, ...] = ()


class ContainerJobs:
    """Programs in sandboxes.

    Args:
        engine: open.
        options: what each may use.
    """

    def __init__(self, engine: Engine, options: ContainerOptions) -> None:
        self._engine = engine
        self._options = options

    async def carry(self, job: ProviderJob, course: Course, traces: Traces | None = None) -> Outcome:
        """Run the job's program, or follow it where it runs already, to its end.

        Args:
            job: which.
            course: hears of it.
            traces: what there is of it, where this process alone began it; noted here.

        Raises:
            EngineError: something of this machine's stands in the way.
        """
        found = work_of(job)
        if isinstance(found, str):
            return failure(found)
        traces = traces or Traces(begun=rooms.MOST_BEGINNINGS)
        traces.gpus = True
        gpus = await rooms.take_gpus(self._engine, job, int(job.container_spec.get("gpu_count") or 1))
        traces.gpus = bool(gpus)
        work = _Work(found.image, found.script, found.env, gpus)
        lost = False
        for beginning in range(1, rooms.MOST_BEGINNINGS + 1):
            record = await self._find(job, beginning) if beginning <= traces.begun else None
            traces.begun, traces.going = max(traces.begun, beginning), True
            if record is None:
                left = self._left(job)
                if left <= 0:
                    return failure(too_long(job))
                if beginning > 1:
                    course.say("The program was ended with its sandbox, and begins again", "warn")
                if lost:
                    await self._engine.clock.sleep(self._options.pauses[beginning - 2])
                try:
                    record = await self._begin(job, beginning, work, course, left)
                except EngineError as error:
                    if error.code in ("unavailable", "rate_limited", "no_capacity"):
                        raise
                    return failure(error.message)
            ended = await self._follow(record, course)
            traces.going = False
            if ended.cause not in ("lost", "stopped") or beginning == rooms.MOST_BEGINNINGS:
                return await self._judge(job, ended, len(gpus), beginning - 1)
            lost = ended.cause == "lost"
        raise AssertionError("the last beginning is judged")

    def _left(self, job: ProviderJob) -> float:
        """Seconds that the job may still run."""
        if job.claimed_at is None:
            return job.seconds
        return job.seconds - (self._engine.clock.now() - job.claimed_at).total_seconds()

    async def _find(self, job: ProviderJob, beginning: int) -> RunRecord | None:
        name = rooms.room_id(job, beginning)
        try:
            return await self._engine.runs.get(self._engine.account_id, name, name)
        except NotFound:
            return None

    async def _begin(self, job: ProviderJob, beginning: int, work: _Work, course: Course, seconds: float) -> RunRecord:
        engine, name = self._engine, rooms.room_id(job, beginning)
        image = await self._image(work.image, course)
        script = work.script.encode("utf-8", "replace")
        own = script.startswith(b"#!") and b"python" not in script.partition(b"\n")[0]
        what = await self._program(image, (_SCRIPT,) if own else (*_INTERPRETER, _SCRIPT))
        try:
            await engine.sandboxes.create(
                engine.account_id,
                id=name,
                network=rooms.NETWORK,
                image=image.id,
                limits=self._limits(),
                policy=self._options.network,
                labels={"job": job.job_id[:200]},
                metered=False,
                gpus=work.gpus,
            )
        except Conflict:
            # It was made before a crash.
            if (known := await self._find(job, beginning)) is not None:
                return known
        await engine.sandboxes.write_file(
            engine.account_id, name, _SCRIPT, io.BytesIO(script), len(script), beneath=HOME, mode=0o755
        )
        env = {"PYTHONUNBUFFERED": "1", **what.env, **work.env}
        try:
            record = await engine.runs.submit(
                engine.account_id,
                name,
                id=name,
                command=what.argv,
                background=True,
                timeout=seconds,
                env={**env, "DC1_JOB_ID": job.job_id, "DC1_JOB_TYPE": job.job_type},
                cwd=what.cwd,
                user=what.user,
                metered=False,
            )
        except Conflict:
            record = await engine.runs.get(engine.account_id, name, name)
        course.phase("generating")
        return record

    async def _program(self, image: Image, argv: tuple[str, ...]) -> Program:
        """A program in place of the image's own, where and as whom the image says.

        Raises:
            Invalid: the image has no such user.
        """
        if image.id == HOST:
            return Program(argv=argv, env=image.env, cwd=HOME, user="")
        images = self._engine.images
        config = await asyncio.to_thread(images.config, image.id)
        place = config.working_dir or HOME
        config = msgspec.structs.replace(config, entrypoint=argv, command=(), working_dir=place)
        return await asyncio.to_thread(program, image.name, config, images.rootfs(image.id))

    def _limits(self) -> Limits:
        node, options = self._engine.nodes.local, self._options
        return Limits(
            cpu_millis=min(options.cpu_millis, node.cpu_millis),
            memory_bytes=min(options.memory_bytes, node.memory_bytes),
            disk_bytes=min(options.disk_bytes, node.disk_bytes),
            pids=options.pids,
            output_bytes=_MOST_OUTPUT,
        )

    async def _image(self, name: str, course: Course) -> Image:
        """The image that a job names: one defined here, the machine's own for the network's workers, or fetched.

        Raises:
            EngineError: it cannot be had; the message says why.
        """
        images = self._engine.images
        name = self._options.images.get(name, name)
        if images.resolve(name) is None and name.startswith(WORKER_IMAGES):
            name = HOST
        if images.resolve(name) is not None:
            found: Image = images.get(name)
            return found
        course.phase("pulling")
        try:
            fetched: Image = await images.fetch(name)
        except EngineError as error:
            error.message = f"The image {name[:200]} cannot be had: {error.message}"
            raise
        return fetched

    async def _follow(self, record: RunRecord, course: Course) -> RunRecord:
        """Tell what the program writes until it ends."""
        streams: tuple[tuple[str, Level], ...] = (("stdout", "info"), ("stderr", "warn"))
        async with asyncio.TaskGroup() as tasks:
            for stream, level in streams:
                tasks.create_task(self._tell(record, course, stream, level))
            ended = tasks.create_task(self._engine.runs.wait(record.id))
        return ended.result()

    async def _tell(self, record: RunRecord, course: Course, stream: str, level: Level) -> None:
        name = f"{record.id}.{stream}"
        start = course.bookmark.places.get(name, 0)
        lines = Lines(start)
        async for chunk in self._engine.runs.follow(record.id, stream, start):
            if not course.full or b"-phase]" in chunk:
                course.output(lines.feed(chunk), name, level)
        course.output(lines.end(), name, level)

    async def _judge(self, job: ProviderJob, ended: RunRecord, gpus: int, restarts: int) -> Outcome:
        written, complaints = await self._engine.runs.output(ended)
        error = _error(job, ended, complaints, self._limits())
        elapsed = await self._elapsed(ended)
        return Outcome(
            success=error is None,
            result=result_text(written) if len(written) < _LITTLE else await asyncio.to_thread(result_text, written),
            error=error,
            gpu_seconds=round(elapsed * max(1, gpus), 3),
            exit_code=None if ended.cause in ("lost", "stopped") else ended.exit_code,
            transient=ended.cause in ("lost", "stopped"),
            restarts=restarts,
        )

    async def _elapsed(self, ended: RunRecord) -> float:
        """Seconds that the program ran, by its sandbox's clock: its end may have been noticed late."""
        try:
            result = await self._engine.driver.result(ended.sandbox_id, ended.id)
        except SandboxError:
            result = None
        if result is not None and result.wall_ns > 0:
            return result.wall_ns / 1e9
        if ended.started_at is None or ended.ended_at is None:
            return 0.0
        return max(0.0, (ended.ended_at - ended.started_at).total_seconds())


def work_of(job: ProviderJob) -> _Work | str:
    """The program of a job, or why there is none. What was signed counts; the parameters have only the rest."""
    params = job.params or {}
    spec = parsed(job.task_spec_raw)
    inner = {} if spec is None else spec.get("params")
    spec = {**(inner if isinstance(inner, dict) else {}), **(spec or {})}
    env = {**environment(job.container_spec.get("env")), **environment(params.get("env", spec.get("env")))}
    image = _first(spec.get("image_override"), job.container_spec.get("image"), params.get("image_override"))
    script = _first(spec.get("script"), params.get("script"))
    if script is None and not spec and job.task_spec_raw.strip():
        script = job.task_spec_raw
    if script is None and (job.job_type == "benchmark" or spec.get("benchmark") is not None):
        script = benchmark_script(spec.get("matrix_size"), spec.get("iterations"))
    if script is None:
        how = "params.script" if job.job_type == CONTAINER_TYPE else f"params.script, or send it as a {CONTAINER_TYPE}"
        return f"This {job.job_type} job names no program to run: put its Python script into {how} job"
    return _Work(image or WORKER_IMAGE, script, env)


def too_long(job: ProviderJob) -> str:
    """What a job is told that ran out of its time."""
    return f"Job timed out: it may run for {job.seconds:g} seconds (max_duration_seconds)"


def _error(job: ProviderJob, ended: RunRecord, complaints: bytes, limits: Limits) -> str | None:
    cause = ended.cause
    if cause == "exited" and ended.exit_code == 0:
        return None
    reasons: dict[str, Callable[[], str]] = {
        "exited": lambda: f"Script exited with status {ended.exit_code}",
        "signaled": lambda: f"Script was ended by signal {(ended.exit_code or 128) - 128}",
        "timeout": lambda: too_long(job),
        "out_of_memory": lambda: f"Script used more than its {format_size(limits.memory_bytes or 0)} of memory",
        "disk_full": lambda: f"Script wrote more than its {format_size(limits.disk_bytes or 0)}",
        "not_found": lambda: "Script could not be started",
        "cancelled": lambda: "Script was ended by the provider's owner",
        "lost": lambda: f"The program was lost with its sandbox {rooms.MOST_BEGINNINGS} times",
        "stopped": lambda: "The provider was stopped",
    }
    text = reasons.get(cause or "", lambda: "Script was ended by its sandbox")()
    said = complaints.decode(errors="replace").replace("\0", "").strip()
    return f"{text}: {said[-_SAID:]}" if said and cause in ("exited", "signaled", "not_found") else text


def _first(*values: object) -> str | None:
    return next((value for value in values if isinstance(value, str) and value.strip()), None)
