"""What the owner's API says, shared by the endpoints and the command line."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec


class Amount(msgspec.Struct, frozen=True):
    """Money on this wire: a decimal text of whole currency units, never a float."""

    amount: str
    currency: str


class Wall(msgspec.Struct, frozen=True):
    """A barrier that a sandbox does not have, and why."""

    name: str
    reason: str


class Isolation(msgspec.Struct, frozen=True):
    """Which barriers stand around a sandbox."""

    driver: str
    active: list[str]
    missing: list[Wall]


class NodeView(msgspec.Struct, frozen=True):
    """A machine that offers capacity, with its hourly prices."""

    name: str
    state: str
    cpu_millis: int
    memory_bytes: int
    disk_bytes: int
    gpus: list[str]
    cpu_hour: Amount
    memory_gib_hour: Amount
    gpu_hour: Amount


class IslandView(msgspec.Struct, frozen=True):
    """The island as its owner sees it."""

    version: str
    pid: int
    data_dir: str
    driver: str
    account: str
    balance: Amount
    sandboxes: int
    images: int
    nodes: list[NodeView]


class ProgramView(msgspec.Struct, frozen=True):
    """What an image runs when nothing else is said; all empty when it does not say."""

    entrypoint: list[str]
    command: list[str]
    working_dir: str
    user: str
    env: dict[str, str]


class ImageView(msgspec.Struct, frozen=True):
    """A local image."""

    id: str
    name: str
    source: str
    size_bytes: int
    created_at: datetime
    program: ProgramView


class ImageList(msgspec.Struct, frozen=True):
    """Every local image."""

    images: list[ImageView]


class PullImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fetch an image from a registry."""

    reference: str


class ProgramChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an image shall run; null leaves what it says by itself, `env` is added to its own."""

    entrypoint: list[str] | None = None
    command: list[str] | None = None
    working_dir: str | None = None
    user: str | None = None
    env: dict[str, str] = {}


class BuildImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Build an image from Debian packages."""

    suite: str = "bookworm"
    packages: list[str] = []
    name: str | None = None
    program: ProgramChoice = ProgramChoice()


class ImportImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make an image of a tar on the island's own machine."""

    path: str
    name: str
    program: ProgramChoice = ProgramChoice()


class DefineImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another image's files with another program; `files` are paths on the island's own machine and inside."""

    name: str
    source: str
    program: ProgramChoice = ProgramChoice()
    files: list[tuple[str, str]] = []


class Failure(msgspec.Struct, frozen=True):
    """Why a request was refused."""

    code: str
    message: str


class ImageProgress(msgspec.Struct, frozen=True):
    """How far a pull is; `total_bytes` is 0 while unknown."""

    stage: str
    done_bytes: int
    total_bytes: int
    layers_done: int
    layers: int


class ImageEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a pull, build, import or definition: progress, then either the image or what went wrong."""

    progress: ImageProgress | None = None
    image: ImageView | None = None
    error: Failure | None = None


class RunView(msgspec.Struct, frozen=True):
    """One command, what it took and what it cost; `cost` is null until it has ended."""

    id: str
    sandbox_id: str
    session_id: str | None
    command: str
    background: bool
    state: str
    cause: str | None
    exit_code: int | None
    attempts: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    cpu_seconds: float
    max_rss_bytes: int
    stdout_bytes: int
    stderr_bytes: int
    dropped_bytes: int
    cost: Amount | None
    isolation: Isolation | None


class RunList(msgspec.Struct, frozen=True):
    """Runs, newest first."""

    runs: list[RunView]


class RunEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a run's log stream: bytes of a stream, or (last) the run as it ended."""

    stream: Literal["stdout", "stderr"] | None = None
    data: bytes = b""
    run: RunView | None = None
