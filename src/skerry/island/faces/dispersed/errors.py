"""Refusals in the network's words, and their envelope (protocol section 2.7)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skerry.island.engine.errors import EngineError
from skerry.island.ground.answers import Header
from skerry.island.ground.faults import in_words, new_reference, sentence
from skerry.island.ground.texts import iso
from skerry.island.ground.windows import Turn

_log = logging.getLogger("skerry.island.dispersed")

_FROM_ENGINE: dict[str, tuple[int, str]] = {
    "unauthorized": (401, "INVALID_API_KEY"),
    "forbidden": (403, "FORBIDDEN"),
    "not_found": (404, "NOT_FOUND"),
    "invalid": (400, "BAD_REQUEST"),
    "too_large": (413, "PAYLOAD_TOO_LARGE"),
    "conflict": (409, "CONFLICT"),
    "busy": (409, "CONFLICT"),
    "payment_required": (402, "INSUFFICIENT_BALANCE"),
    "no_capacity": (503, "SERVICE_UNAVAILABLE"),
    "unsupported": (409, "CONFLICT"),
    "rate_limited": (429, "RATE_LIMITED"),
    "unavailable": (503, "SERVICE_UNAVAILABLE"),
}


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong with what was sent.

    Args:
        code: kind of the mistake, such as `too_small` or `invalid_type`.
        path: members and positions that lead to it.
        message: what it should be.
    """

    code: str
    path: tuple[str | int, ...]
    message: str


class Fault(Exception):
    """A refusal.

    Args:
        status: HTTP status.
        code: of section 2.7.
        detail: what is wrong and what to do, for a person.
        details: single mistakes of a body or query.
        headers: of the answer, besides the usual ones.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        details: Sequence[Issue] = (),
        *,
        headers: Sequence[Header] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.details = tuple(details)
        self.headers = tuple(headers)


def invalid(issues: Sequence[Issue]) -> Fault:
    """400 with every mistake that was found."""
    first = issues[0]
    where = ".".join(str(step) for step in first.path)
    text = f"{where}: {first.message}" if where else first.message
    more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
    return Fault(400, "VALIDATION_ERROR", text + more, issues)


def not_found(what: str) -> Fault:
    """404 for something unknown, or not the caller's; the two look the same.

    Args:
        what: the thing, such as `job`.
    """
    return Fault(404, "NOT_FOUND", f"{sentence(what)} not found")


def bad_request(detail: str) -> Fault:
    """400 for what cannot even be read."""
    return Fault(400, "BAD_REQUEST", detail)


def from_engine(error: EngineError) -> Fault | None:
    """The engine's refusal in the network's words; None for what is a defect of the island."""
    known = _FROM_ENGINE.get(error.code)
    retry = [] if error.retry_after is None else [(b"retry-after", str(max(1, round(error.retry_after))).encode())]
    return None if known is None else Fault(*known, error.message, headers=retry)


def too_many(most: int, turn: Turn) -> Fault:
    """429 with the seconds to wait (section 2.6)."""
    detail = f"This API key has made {most} requests within a minute; wait {turn.wait} s"
    return Fault(429, "RATE_LIMITED", detail, headers=[turn.retry_after])


def unexpected() -> Fault:
    """What a caller learns of a defect: a name to find it in the log by, and nothing of its inside."""
    return Fault(500, "INTERNAL_ERROR", f"Unexpected error; the island's log names it {new_reference()}")


def fault_of(error: Exception) -> Fault:
    """Any failure in the network's words."""
    return error if isinstance(error, Fault) else in_words(error, from_engine, unexpected, _log)


def envelope(fault: Fault, now: int) -> dict[str, Any]:
    """The body of a refusal: flat, and the same once more inside `error`, because clients read either.

    Args:
        fault: what is wrong.
        now: microseconds since 1970.
    """
    inner = {
        "code": fault.code,
        "detail": fault.detail,
        "details": [
            {"code": issue.code, "path": list(issue.path), "message": issue.message} for issue in fault.details
        ],
        "timestamp": iso(now),
    }
    return {**inner, "status": fault.status, "error": inner}
