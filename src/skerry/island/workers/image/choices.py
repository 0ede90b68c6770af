"""What the owner can choose about the picture workers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry.errors import ConfigurationError
from skerry.island.workers import environment
from skerry.island.workers.image.models import is_name
from skerry.units import GIB, parse_size

STATE = "diffusion"
"""Name of the picture workers' directory in an island's data directory."""

ENVIRONMENT = "venv"
MODELS = "models"
_PREFIX = "SKERRY_DIFFUSION_"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionChoices:
    """Choices of one island; each is also `SKERRY_DIFFUSION_<NAME>`, `SKERRY_DIFFUSION_DEFAULT` for the default model.

    Args:
        python: the environment's Python or its directory; None for the one that `skerry diffusion install` makes.
        models: further directories with models, looked at after the island's own.
        default_model: stands in for a model that cannot be had; None refuses instead.
        hub: whether a model that is not here may be fetched from the hub.
        processes: how many models may be loaded at once.
        memory_bytes: what a process may allocate; None for three quarters of the machine's memory.
        load_seconds: what loading may take, fetching from the hub included.
        picture_seconds: what one picture may take.
        idle_seconds: after how long without work a model is unloaded.
        grace_seconds: what a process has to react before it is killed.
        hub_room_bytes: free disk that there must be beyond what is fetched.
    """

    python: Path | None = None
    models: tuple[Path, ...] = ()
    default_model: str | None = None
    hub: bool = True
    processes: int = 1
    memory_bytes: int | None = None
    load_seconds: float = 1800.0
    picture_seconds: float = 900.0
    idle_seconds: float = 300.0
    grace_seconds: float = 5.0
    hub_room_bytes: int = 5 * GIB

    def __post_init__(self) -> None:
        if self.default_model is not None and not is_name(self.default_model):
            raise ConfigurationError(f"{self.default_model!r} is no name of a model; use ORG/NAME")
        if self.processes < 1:
            raise ConfigurationError(f"{self.processes} processes draw nothing; use 1 or more")

    @property
    def memory(self) -> int:
        """What a process may allocate, in bytes."""
        if self.memory_bytes is not None:
            return self.memory_bytes
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **overrides: Any) -> DiffusionChoices:
        """Choices from `SKERRY_DIFFUSION_*`; keyword arguments win.

        Raises:
            ConfigurationError: a variable cannot be read as what it should be.
        """
        return cls(**{**environment.read(environ, _PREFIX, _READERS), **overrides})


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(Path(part).absolute() for part in text.split(os.pathsep) if part)


_READERS: environment.Readers = {
    "PYTHON": ("python", Path),
    "MODELS": ("models", _paths),
    "DEFAULT": ("default_model", str),
    "HUB": ("hub", environment.switch),
    "PROCESSES": ("processes", int),
    "MEMORY_BYTES": ("memory_bytes", parse_size),
    "LOAD_SECONDS": ("load_seconds", environment.seconds),
    "PICTURE_SECONDS": ("picture_seconds", environment.seconds),
    "IDLE_SECONDS": ("idle_seconds", environment.seconds),
}
