"""What a driver's refusal means to the person who asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from skerry.island.engine.errors import (
    Conflict,
    EngineError,
    Invalid,
    NoCapacity,
    NotFound,
    TooLarge,
    Unavailable,
    Unsupported,
)
from skerry.island.sandbox.driver import SandboxError

_MEANING: dict[str, type[EngineError]] = {
    "unknown_sandbox": NotFound,
    "unknown_image": NotFound,
    "exists": Conflict,
    "limits": NoCapacity,
    "path": Invalid,
    "not_found": NotFound,
    "not_a_file": Invalid,
    "is_a_directory": Invalid,
    "disk_full": Unavailable,
    "lost": Unavailable,
    "refused": Unavailable,
    "unsupported": Unsupported,
    "start": Unavailable,
}


def refusal(error: SandboxError) -> EngineError:
    """The engine's error for a driver's."""
    kind = _MEANING.get(error.reason, EngineError)
    if error.reason == "limits" and "fit" in str(error):
        kind = TooLarge
    text = str(error)
    return kind(f"the disk is full: {text}" if error.reason == "disk_full" else text)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what a driver raises inside into the engine's errors."""
    try:
        yield
    except SandboxError as error:
        raise refusal(error) from error
