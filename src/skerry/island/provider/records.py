"""What a provider's loop, its executor and a platform tell each other: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

CHAT_TYPE = "vllm"
"""What the OpenAI-style routes make of a question (section 3.8)."""

TEXT_TYPES = frozenset({"llm_inference", "llm-inference", CHAT_TYPE})
"""Jobs that ask a language model once."""

SERVING_TYPE = "vllm_serve"
IMAGE_TYPE = "image_generation"

PHASES = ("pulling", "downloading_model", "installing_deps", "loading_model", "generating", "formatting")
"""What a job's progress may be (section 3.7)."""

Level = Literal["info", "warn", "error", "debug"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderJob:
    """A claimed job, as sections 3.7.2 and 5.5 have it.

    Args:
        id: the platform's number for it.
        job_id: its name, as the platform chose it: never used as a path.
        job_type: one of section 5.5, or a word of the platform's own.
        model: as requested.
        params: as submitted; None where the platform does not tell.
        task_spec_raw: the signed text.
        task_spec_hmac: its signature, None where there is none.
        attempt: counted from 1.
        container_spec: normalised (section 5.6).
        gpu_requirements: as submitted.
        duration_minutes: what the renter has paid for; a serving job serves so long.
        max_duration_seconds: for any other job the time limit.
        claimed_at: when it was claimed, None where that is not known.
    """

    id: int
    job_id: str
    job_type: str
    model: str | None = None
    params: Mapping[str, Any] | None = None
    task_spec_raw: str = ""
    task_spec_hmac: str | None = None
    attempt: int = 1
    container_spec: Mapping[str, Any] = field(default_factory=dict)
    gpu_requirements: Mapping[str, Any] | None = None
    duration_minutes: float = 0.0
    max_duration_seconds: int = 900
    claimed_at: datetime | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What tells one try of a job from every other."""
        return self.job_id, self.attempt

    @property
    def serves(self) -> bool:
        """Whether it is a server, which is meant to run until it is no longer wanted."""
        return self.job_type == SERVING_TYPE

    @property
    def seconds(self) -> float:
        """How long it may take from its claim on (section 5.4)."""
        return self.duration_minutes * 60 if self.serves else float(self.max_duration_seconds)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a job's log."""

    level: Level
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job went.

    Args:
        success: whether it counts as completed.
        result: its standard output, the marker line last.
        error: why it failed, for the renter.
        gpu_seconds: elapsed seconds times GPUs, to three decimals.
        exit_code: of its program, where there was one.
        transient: nothing is wrong with the job; another try, also elsewhere, may go well.
        restarts: how often it was begun anew.
    """

    success: bool
    result: str = ""
    error: str | None = None
    gpu_seconds: float = 0.0
    exit_code: int | None = None
    transient: bool = False
    restarts: int = 0


def failure(error: str, *, transient: bool = False, gpu_seconds: float = 0.0) -> Outcome:
    """A job that failed before any program of it ran."""
    return Outcome(success=False, error=error, transient=transient, gpu_seconds=gpu_seconds)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a serving job listens on this machine."""

    port: int
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One GPU as it is now; None for what its driver does not tell."""

    index: int
    name: str
    memory_mib: int
    free_mib: int
    busy_percent: float | None = None
    celsius: float | None = None
    watts: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatus:
    """What a provider's machine measured of itself (section 3.7.1).

    On a machine without GPUs, the processor stands in for one: its name, and memory that jobs may use as its VRAM.

    Args:
        cards: its GPUs.
        name: of the first GPU, else of the processor.
        memory_mib, free_mib: of the first GPU, else of the machine.
        all_memory_mib: over all GPUs.
        busy_percent: of the first GPU, else of the processors.
        driver_version, cuda_version, compute_capability: None without GPUs.
        free_disk_bytes: where jobs write.
        slots: jobs at once. active: jobs now.
        draining: no more are taken.
        models: that are here and need no download.
        uptime: seconds since the daemon began.
    """

    cards: tuple[Card, ...] = ()
    name: str
    memory_mib: int
    free_mib: int
    all_memory_mib: int
    busy_percent: float | None = None
    driver_version: str | None = None
    cuda_version: str | None = None
    compute_capability: str | None = None
    free_disk_bytes: int = 0
    slots: int = 1
    active: int = 0
    draining: bool = False
    models: tuple[str, ...] = ()
    uptime: float = 0.0

    @property
    def gpu_count(self) -> int:
        """How many GPUs count; the processors of a machine without any count as one."""
        return max(1, len(self.cards))
