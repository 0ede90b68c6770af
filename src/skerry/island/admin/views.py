"""From the engine's records to what the owner's API says."""

from __future__ import annotations

from skerry.island.admin.models import (
    Amount,
    ImageProgress,
    ImageView,
    Isolation,
    NodeView,
    ProgramChoice,
    ProgramView,
    RunView,
    Wall,
)
from skerry.island.engine.records import Image, Node, RunRecord
from skerry.island.images.define import Overrides
from skerry.island.images.index import ImageConfig
from skerry.island.images.pull import Progress
from skerry.island.sandbox.spec import Barriers
from skerry.money import Money


def amount(money: Money) -> Amount:
    """Money as decimal text."""
    return Amount(amount=f"{money.decimal:f}", currency=money.currency)


def image(record: Image, config: ImageConfig) -> ImageView:
    """A local image and its program."""
    return ImageView(
        id=record.id,
        name=record.name,
        source=record.source,
        size_bytes=record.size_bytes,
        created_at=record.created_at,
        program=ProgramView(
            entrypoint=list(config.entrypoint),
            command=list(config.command),
            working_dir=config.working_dir,
            user=config.user,
            env=record.env,
        ),
    )


def overrides(chosen: ProgramChoice) -> Overrides:
    """What an image shall run, as the images take it."""
    return Overrides(
        entrypoint=None if chosen.entrypoint is None else tuple(chosen.entrypoint),
        command=None if chosen.command is None else tuple(chosen.command),
        env=chosen.env,
        working_dir=chosen.working_dir,
        user=chosen.user,
    )


def progress(now: Progress) -> ImageProgress:
    """How far a pull is."""
    return ImageProgress(
        stage=now.stage,
        done_bytes=now.done_bytes,
        total_bytes=now.total_bytes,
        layers_done=now.layers_done,
        layers=now.layers,
    )


def node(record: Node) -> NodeView:
    """A machine and its prices."""
    return NodeView(
        name=record.name,
        state=record.state,
        cpu_millis=record.cpu_millis,
        memory_bytes=record.memory_bytes,
        disk_bytes=record.disk_bytes,
        gpus=[gpu.name for gpu in record.gpus],
        cpu_hour=amount(record.cpu_hour),
        memory_gib_hour=amount(record.memory_gib_hour),
        gpu_hour=amount(record.gpu_hour),
    )


def isolation(barriers: Barriers) -> Isolation:
    """Which walls stand, and which do not."""
    return Isolation(
        driver=barriers.driver,
        active=list(barriers.active),
        missing=[Wall(name=name, reason=reason) for name, reason in barriers.missing],
    )


def run(record: RunRecord, barriers: Barriers | None = None) -> RunView:
    """A command, with the barriers of its sandbox where they are known."""
    began, ended = record.started_at, record.ended_at
    return RunView(
        id=record.id,
        sandbox_id=record.sandbox_id,
        session_id=record.session_id,
        command=record.command,
        background=record.background,
        state=record.state,
        cause=record.cause,
        exit_code=record.exit_code,
        attempts=record.attempts,
        created_at=record.created_at,
        started_at=began,
        ended_at=ended,
        duration_seconds=(ended - began).total_seconds() if began and ended else None,
        cpu_seconds=record.cpu_ns / 1e9,
        max_rss_bytes=record.max_rss_bytes,
        stdout_bytes=record.stdout_bytes,
        stderr_bytes=record.stderr_bytes,
        dropped_bytes=record.dropped_bytes,
        cost=amount(record.cost) if record.cost is not None else None,
        isolation=isolation(barriers) if barriers else None,
    )
