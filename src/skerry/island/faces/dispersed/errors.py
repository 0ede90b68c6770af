"""Refusals in the network's words, and their envelope (protocol section 2.7)."""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skerry.island.engine.errors import EngineError
from skerry.island.faces.dispersed import wire

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
        headers: Sequence[tuple[bytes, bytes]] = (),
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
    return Fault(404, "NOT_FOUND", f"{what[:1].upper()}{what[1:]} not found")


def bad_request(detail: str) -> Fault:
    """400 for what cannot even be read."""
    return Fault(400, "BAD_REQUEST", detail)


def from_engine(error: EngineError) -> Fault:
    """The engine's refusal in the network's words; what the engine has no code for is a defect."""
    status, code = _FROM_ENGINE.get(error.code, (500, "INTERNAL_ERROR"))
    retry = [] if error.retry_after is None else [(b"retry-after", str(max(1, round(error.retry_after))).encode())]
    return Fault(status, code, error.message, headers=retry)


def unexpected(reference: str) -> Fault:
    """What a caller learns of a defect: a name to find it in the log by, and nothing of its inside."""
    return Fault(500, "INTERNAL_ERROR", f"Unexpected error; the island's log names it {reference}")


def new_reference() -> str:
    """A random name for a log entry."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))


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
        "timestamp": wire.moment_text(now),
    }
    return {**inner, "status": fault.status, "error": inner}
