"""What is to be rendered, and how far it is: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from skerry.island.engine.errors import Invalid
from skerry.island.workers.render.formats import EXTENSIONS

MOST_FRAMES = 100_000
ENGINES = ("CYCLES", "BLENDER_EEVEE", "BLENDER_EEVEE_NEXT", "BLENDER_WORKBENCH")

JobState = Literal["queued", "rendering", "finished", "failed", "cancelled"]
FrameState = Literal["waiting", "rendering", "done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderSpec:
    """Which frames, and how.

    Args:
        first, last: the range, both included.
        step: every how many frames of it.
        format: a name of `formats.EXTENSIONS`; None as the file says.
        engine: one of `ENGINES`; None as the file says.
        batch: most frames given to one Blender process at a time; None lets the workers share them out.
        scripts: let the file's own scripts and drivers run, in the sandbox that holds Blender anyway.
        frame_seconds: time limit of a frame.
    """

    first: int
    last: int
    step: int = 1
    format: str | None = "PNG"
    engine: str | None = None
    batch: int | None = None
    scripts: bool = False
    frame_seconds: float = 3600.0

    def frames(self) -> range:
        """The numbers of the frames, in order."""
        return range(self.first, self.last + 1, self.step)

    def check(self) -> None:
        """Raises `Invalid` for what can never be rendered."""
        # Blender's own bounds of a scene's range.
        if not 0 <= self.first <= self.last <= 1_048_574:
            raise Invalid(f"{self.first} to {self.last} is no range of frames; frames go from 0 to 1048574")
        if self.step < 1:
            raise Invalid("the step between frames is at least 1")
        if len(self.frames()) > MOST_FRAMES:
            raise Invalid(f"a job has at most {MOST_FRAMES} frames, not {len(self.frames())}; split it")
        if self.format is not None and self.format not in EXTENSIONS:
            raise Invalid(f"frames cannot be written as {self.format!r}; use one of {', '.join(EXTENSIONS)}")
        if self.engine is not None and self.engine not in ENGINES:
            raise Invalid(f"there is no render engine {self.engine!r} here; use one of {', '.join(ENGINES)}")
        if self.batch is not None and self.batch < 1:
            raise Invalid("a batch has at least one frame")
        if not 0 < self.frame_seconds < float("inf"):
            raise Invalid("the time limit of a frame is more than zero seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderJob:
    """A job as it stands.

    Args:
        id: chosen by who submitted it.
        queue: whose work it is; workers take from one queue.
        state: `failed` when the file cannot be rendered or some frames could not be.
        total, done, failed: frames.
        error: why it failed, for a person.
        extension: of its frames; None until the file was opened, if that decides.
    """

    id: str
    queue: str
    name: str
    spec: RenderSpec
    state: JobState
    total: int
    done: int
    failed: int
    error: str | None
    extension: str | None
    created_at: datetime
    ended_at: datetime | None

    @property
    def over(self) -> bool:
        """Whether nothing more will be rendered of it."""
        return self.state in ("finished", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderFrame:
    """One frame of a job; `tries` counts those that failed."""

    number: int
    state: FrameState
    tries: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """A worker as the book keeps it.

    Args:
        id: chosen by who started it.
        queue: whose jobs it takes.
        lanes: what works side by side, each with its GPUs (`index`es of the machine's); one without any is the CPU.
        envs: variables that Blender gets.
        disk_bytes: room for a process's unpacked scene and frames; None for the workers' own limit.
    """

    id: str
    queue: str
    lanes: tuple[tuple[int, ...], ...]
    envs: Mapping[str, str] = field(default_factory=dict)
    disk_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Frames that one lane of a worker has taken; `id` names the sandbox in which they are rendered."""

    id: str
    job_id: str
    worker_id: str
    lane: int
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCounts:
    """Frames rendered here: ever, in the last 24 hours, and by the Monday (ISO date) of their week."""

    total: int
    last_day: int
    by_week: dict[str, int]


@dataclass(frozen=True, slots=True)
class FrameFile:
    """The picture of a frame."""

    path: Path
    size: int
