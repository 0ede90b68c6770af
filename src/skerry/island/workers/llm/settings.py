"""What the owner of a machine can choose about its language models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skerry.errors import ConfigurationError
from skerry.island.engine.errors import EngineError
from skerry.island.workers import environment
from skerry.island.workers.llm import names
from skerry.units import parse_size

_PREFIX = "SKERRY_LLM_"


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmSettings:
    """Choices of one island; each is also `SKERRY_LLM_<NAME>`, `SKERRY_LLM_DEFAULT` for the default model.

    Args:
        default_model: stands in for models that are not here; None refuses them.
        hub: whether a model that is not here is fetched from the hub when a job names it. Whoever may send jobs then
            chooses what is fetched.
        memory_bytes: for all models together; None for three quarters of the machine's.
        processes: models loaded at once, at most.
        context: tokens of prompt and answer together, for models that jobs share.
        idle_seconds: after which a model that nobody used leaves the memory.
        start_seconds: that loading a model may take.
        patience: seconds that a job waits for others to leave room.
        threads: of computation for each model; None for as many as there are processors.

    Raises:
        ConfigurationError: a default model of no possible name, or a number that leaves nothing.
    """

    default_model: str | None = None
    hub: bool = False
    memory_bytes: int | None = None
    processes: int = 4
    context: int = 4096
    idle_seconds: float = 300.0
    start_seconds: float = 600.0
    patience: float = 120.0
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.default_model is not None:
            try:
                names.check(self.default_model)
            except EngineError as error:
                raise ConfigurationError(f"the default model: {error.message}") from None
        if self.processes < 1 or self.context < 1 or (self.threads is not None and self.threads < 1):
            raise ConfigurationError("language models need a process, a context and threads that are more than nothing")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **overrides: Any) -> LlmSettings:
        """Settings from `SKERRY_LLM_*`; keyword arguments win.

        Raises:
            ConfigurationError: a variable cannot be read as what it should be.
        """
        return cls(**{**environment.read(environ, _PREFIX, _READERS), **overrides})


_READERS: environment.Readers = {
    "DEFAULT": ("default_model", str),
    "HUB": ("hub", environment.switch),
    "MEMORY_BYTES": ("memory_bytes", parse_size),
    "PROCESSES": ("processes", int),
    "CONTEXT": ("context", int),
    "IDLE_SECONDS": ("idle_seconds", environment.seconds),
    "START_SECONDS": ("start_seconds", environment.seconds),
    "PATIENCE": ("patience", environment.seconds),
    "THREADS": ("threads", int),
}
