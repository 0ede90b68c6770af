"""Refusals in the network's words: a status, `error`, and whatever else the route tells (section 2.3)."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skerry.island.engine.errors import EngineError
from skerry.island.ground.answers import Header
from skerry.island.ground.faults import in_words, sentence

_log = logging.getLogger("skerry.island.dc1")


@dataclass(frozen=True, slots=True)
class Issue:
    """One member of a body that is not as it should be.

    Args:
        field: dotted path, or `(root)`.
        message: what it should be.
    """

    field: str
    message: str


class Fault(Exception):
    """A request is refused.

    Args:
        status: HTTP status.
        error: for the person who made the request, or a code word where the route has one.
        extra: further members of the body.
        headers: of the answer, beside the usual ones.
    """

    def __init__(self, status: int, error: str, /, *, headers: Sequence[Header] = (), **extra: Any) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.extra: Mapping[str, Any] = extra
        self.headers = tuple(headers)

    @property
    def body(self) -> dict[str, Any]:
        """What is sent."""
        return {"error": self.error, **self.extra}


_ENGINE = {
    "unauthorized": 401,
    "payment_required": 402,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "busy": 409,
    "invalid": 400,
    "too_large": 413,
    "unsupported": 400,
    "rate_limited": 429,
    "no_capacity": 503,
    "unavailable": 503,
}


def invalid(issues: Sequence[Issue]) -> Fault:
    """400 with every mistake that was found."""
    return Fault(400, "Validation failed", fields=[{"field": it.field, "message": it.message} for it in issues])


def from_engine(error: EngineError) -> Fault | None:
    """What the engine refused, in the network's words; None for what is a defect of the island."""
    status = _ENGINE.get(error.code)
    return None if status is None else Fault(status, sentence(error.message))


def unexpected() -> Fault:
    """500: a defect, which the log of the island explains under its reference."""
    return Fault(500, f"The island failed at this; its log has the reason under {secrets.token_hex(4)}")


def fault_of(error: Exception) -> Fault:
    """Any failure in the network's words."""
    return error if isinstance(error, Fault) else in_words(error, from_engine, unexpected, _log)
