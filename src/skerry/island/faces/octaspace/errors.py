"""Refusals in the network's words (protocol section 3.14): a status, a code, and a message for a person."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any

from skerry.island.engine.errors import EngineError
from skerry.island.ground.answers import Header
from skerry.island.ground.faults import in_words, sentence
from skerry.island.ground.windows import Turn

_log = logging.getLogger("skerry.island.octaspace")


class Fault(Exception):
    """A request is refused.

    Args:
        status: HTTP status.
        code: such as `NOT_FOUND`.
        message: for the person who made the request.
        headers: of the answer, beside the usual ones.
    """

    def __init__(self, status: int, code: str, message: str, *, headers: Sequence[Header] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = tuple(headers)


_ENGINE = {
    "unauthorized": (401, "UNAUTHORIZED"),
    "payment_required": (402, "INSUFFICIENT_BALANCE"),
    "forbidden": (403, "FORBIDDEN"),
    "not_found": (404, "NOT_FOUND"),
    "conflict": (409, "CONFLICT"),
    "busy": (409, "NODE_BUSY"),
    "no_capacity": (409, "NODE_BUSY"),
    "invalid": (422, "VALIDATION_ERROR"),
    "too_large": (413, "PAYLOAD_TOO_LARGE"),
    "unsupported": (422, "VALIDATION_ERROR"),
    "rate_limited": (429, "RATE_LIMITED"),
    "unavailable": (503, "NODE_UNAVAILABLE"),
}


def from_engine(error: EngineError) -> Fault | None:
    """What the engine refused, in the network's words; None for what is a defect of the island."""
    known = _ENGINE.get(error.code)
    return None if known is None else Fault(*known, sentence(error.message))


def bad_request(message: str) -> Fault:
    """400: what was sent cannot be read, or the single start was rejected."""
    return Fault(400, "BAD_REQUEST", message)


def unauthorized() -> Fault:
    """401: no key, or none that is known."""
    return Fault(401, "UNAUTHORIZED", "Invalid API key")


def forbidden(message: str) -> Fault:
    """403: known, but not for this caller."""
    return Fault(403, "FORBIDDEN", message)


def not_found(what: str, why: str | None = None) -> Fault:
    """404, such as `Node not found`; with what is known of why, `Service not found: it has ended`."""
    return Fault(404, "NOT_FOUND", f"{what} not found" + ("" if why is None else f": {why}"))


def invalid(message: str) -> Fault:
    """422: readable, but not what this call takes."""
    return Fault(422, "VALIDATION_ERROR", message)


def busy(message: str = "Node is busy") -> Fault:
    """409: the node does something else."""
    return Fault(409, "NODE_BUSY", message)


def poor() -> Fault:
    """402: the balance does not cover it."""
    return Fault(402, "INSUFFICIENT_BALANCE", "Insufficient balance")


def unavailable(message: str) -> Fault:
    """503: the node cannot do it now."""
    return Fault(503, "NODE_UNAVAILABLE", message)


def too_many(most: int, turn: Turn) -> Fault:
    """429 with the whole seconds to wait (section 2.7)."""
    message = f"This key has made {most} requests within a minute; wait {turn.wait} s"
    return Fault(429, "RATE_LIMITED", message, headers=[turn.retry_after])


def unexpected() -> Fault:
    """500: a defect, which the log of the island explains under its reference."""
    reference = secrets.token_hex(4)
    return Fault(500, "INTERNAL_ERROR", f"The island failed at this; its log has the reason under {reference}")


def fault_of(error: Exception) -> Fault:
    """Any failure in the network's words."""
    return error if isinstance(error, Fault) else in_words(error, from_engine, unexpected, _log)


def envelope(fault: Fault) -> dict[str, Any]:
    """The body of a refusal."""
    return {"message": fault.message, "code": fault.code}
