"""What models make for a job, and how it is told: as the network's own programs print it (protocol section 5.5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from skerry.island.engine.errors import EngineError
from skerry.island.provider.records import Outcome, failure
from skerry.island.provider.task_specs import MARKER, compact

OnPhase = Callable[[str], Awaitable[None]]
PASSING = ("unavailable", "rate_limited", "no_capacity")
"""Codes of refusals that another try, or another provider, need not meet."""


class Made(Protocol):
    """What a model made; the seconds are those of its making, and with those of loading it."""

    @property
    def model(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    @property
    def total_seconds(self) -> float: ...
    @property
    def device(self) -> str: ...


def refused(error: EngineError, seconds: float) -> Outcome:
    """What comes of a job for which nothing was made, after so many seconds."""
    return failure(error.message, transient=error.code in PASSING, gpu_seconds=round(seconds, 3))


def finished(result: dict[str, Any], seconds: float) -> Outcome:
    """What comes of a job that was done in so many seconds."""
    return Outcome(success=True, result=printed(result), gpu_seconds=round(seconds, 3), exit_code=0)


def figures(made: Made) -> dict[str, Any]:
    """How long it took, and on what: members of every such result."""
    return {
        "gen_time_s": round(made.seconds, 1),
        "total_time_s": round(made.total_seconds, 1),
        "device": "cuda" if made.device.startswith(("cuda", "gpu")) else "cpu",
    }


def printed(result: dict[str, Any]) -> str:
    """A result as a program of the network's prints it: phases, then the marker's line."""
    phases = "".join(f"[dcp-phase] {word}\n" for word in ("loading_model", "generating", "formatting"))
    return f"{phases}{MARKER}{compact(result)}\n"
