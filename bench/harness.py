"""Timing that can be trusted on a shared machine: subject and peer in turn, medians, raw samples kept."""

from __future__ import annotations

import gc
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

RAW = Path(__file__).parent / "raw"


@dataclass(slots=True)
class Series:
    """Samples of one subject, in `unit` (milliseconds unless said otherwise)."""

    name: str
    samples: list[float] = field(default_factory=list)
    unit: str = "ms"

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def p90(self) -> float:
        return sorted(self.samples)[min(len(self.samples) - 1, int(len(self.samples) * 0.9))]


@dataclass(slots=True)
class Row:
    """One line of the table: a subject, the peers it ran beside, and the figure it is meant to reach."""

    scenario: str
    subject: Series
    peers: list[Series] = field(default_factory=list)
    goal: str = ""
    reached: bool | None = None
    note: str = ""


def timed(action: Callable[[], object]) -> float:
    """Milliseconds that one call took."""
    start = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - start) / 1e6


def in_turn(subjects: dict[str, Callable[[], object]], rounds: int, *, warmup: int = 3) -> list[Series]:
    """Time several actions A B C A B C ..., so that drift of the machine's speed hits all alike."""
    series = [Series(name) for name in subjects]
    for action in subjects.values():
        for _ in range(warmup):
            action()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for one, action in zip(series, subjects.values(), strict=True):
                one.samples.append(timed(action))
    finally:
        gc.enable()
    return series


def at_most(series: Series, limit: float) -> tuple[str, bool]:
    """The goal as text, and whether the median reaches it."""
    return f"<= {limit:g} {series.unit}", series.median <= limit


def render(rows: Sequence[Row]) -> str:
    """The one table: subject, peers with ratios (subject / peer), goal."""
    head = ("scenario", "median", "p90", "peer: median (ratio)", "goal", "")
    body: list[tuple[str, ...]] = []
    for row in rows:
        peers = "; ".join(
            f"{peer.name}: {peer.median:.2f} (x{row.subject.median / peer.median:.2f})" for peer in row.peers
        )
        mark = {True: "ok", False: "MISSED", None: ""}[row.reached]
        median = f"{row.subject.median:.2f} {row.subject.unit}"
        body.append((row.scenario, median, f"{row.subject.p90:.2f}", peers or row.note, row.goal, mark))
    widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *body]
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def keep(rows: Sequence[Row]) -> Path:
    """Write every raw sample beside the machine it came from; returns the file."""
    RAW.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    path = RAW / f"{now:%Y-%m-%dT%H%M%SZ}.json"
    machine = {"python": platform.python_version(), "kernel": platform.release(), "machine": platform.machine()}
    document = {"taken_at": now.isoformat(), "machine": machine, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path
