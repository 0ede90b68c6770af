"""Arker's error codes, their statuses and their two envelopes (protocol sections 2.6 and 3.8)."""

from __future__ import annotations

import logging

import msgspec

from skerry.island.engine.errors import EngineError
from skerry.island.ground.faults import in_words, new_reference

STATUS: dict[str, int] = {
    "bad_request": 400,
    "unauthorized": 401,
    "payment_required": 402,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "vm_busy": 409,
    "payload_too_large": 413,
    "unsupported_operation": 422,
    "command_not_found": 422,
    "rate_limited": 429,
    "internal": 500,
    "not_implemented": 501,
    "bad_gateway": 502,
    "routing_unavailable": 503,
    "unavailable": 503,
    "temporarily_unavailable": 503,
}

_FROM_ENGINE: dict[str, str] = {
    "unauthorized": "unauthorized",
    "forbidden": "forbidden",
    "not_found": "not_found",
    "invalid": "bad_request",
    "too_large": "payload_too_large",
    "conflict": "conflict",
    "busy": "vm_busy",
    "payment_required": "payment_required",
    "no_capacity": "unavailable",
    "unsupported": "unsupported_operation",
    "rate_limited": "rate_limited",
    "unavailable": "unavailable",
    "unreadable": "unavailable",
}


_log = logging.getLogger("skerry.island.arker")


class ArkerFault(Exception):
    """A refusal in Arker's words; `allow` lists methods for a 405."""

    def __init__(self, code: str, message: str, *, allow: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.allow = allow

    @property
    def status(self) -> int:
        """HTTP status of the code."""
        return STATUS[self.code]


def from_engine(error: EngineError) -> ArkerFault | None:
    """The engine's refusal in Arker's words; None for what is a defect of the island."""
    code = _FROM_ENGINE.get(error.code)
    return None if code is None else ArkerFault(code, error.message)


def unexpected() -> ArkerFault:
    """What a caller learns of a defect: a reference to find it in the log, and nothing of its inside.

    The reference has no digits: clients repeat a request whose error text contains `503` (section 2.4).
    """
    return ArkerFault("internal", f"unexpected error; the island's log names it {new_reference()}")


def fault_of(error: Exception) -> ArkerFault:
    """Any failure in Arker's words."""
    return error if isinstance(error, ArkerFault) else in_words(error, from_engine, unexpected, _log)


def envelope(code: str, message: str, *, legacy: bool) -> bytes:
    """The error body: flat on `/v1`; on `/api/v1` a superset that both client generations understand."""
    if legacy:
        inner = {"code": code, "message": message}
        return msgspec.json.encode({"code": code, "message": message, "ok": False, "error": inner})
    return msgspec.json.encode({"code": code, "message": message})
