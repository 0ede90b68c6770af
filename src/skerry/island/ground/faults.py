"""Failures on their way to a caller: what is told of them, and what only the log learns."""

from __future__ import annotations

import logging
import secrets
import string
from collections.abc import Callable
from typing import TypeVar

from skerry.island.engine.errors import EngineError

F = TypeVar("F", bound=Exception)


def in_words(
    error: Exception, from_engine: Callable[[EngineError], F | None], unexpected: Callable[[], F], log: logging.Logger
) -> F:
    """A failure as a network's own refusal; a defect is logged and keeps its inside to itself.

    Args:
        error: whatever was raised, but for the network's refusals.
        from_engine: what the engine refused in the network's words; None where it has no words for it.
        unexpected: a fresh refusal that names a reference, by which the defect is found in the log.
        log: of the face.
    """
    known = from_engine(error) if isinstance(error, EngineError) else None
    if known is not None:
        return known
    fault = unexpected()
    log.error("unexpected error, told as: %s", fault, exc_info=error)
    return fault


def new_reference() -> str:
    """A random name for a log entry.

    Letters only: there are clients that repeat a request whose error text contains `503`.
    """
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))


def sentence(text: object) -> str:
    """A message that begins with a capital letter."""
    said = str(text)
    return said[:1].upper() + said[1:]
