"""Arker's error codes, their statuses and their two envelopes (protocol sections 2.6 and 3.8)."""

from __future__ import annotations

import secrets
import string

import msgspec

from skerry.island.engine.errors import EngineError

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
    "internal": "internal",
}


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


def from_engine(error: EngineError) -> ArkerFault:
    """The engine's refusal in Arker's words."""
    return ArkerFault(_FROM_ENGINE.get(error.code, "internal"), error.message)


def unexpected(reference: str) -> ArkerFault:
    """What a caller learns of a defect: a reference to find it in the log, and nothing of its inside."""
    return ArkerFault("internal", f"unexpected error; the island's log names it {reference}")


def new_reference() -> str:
    """A random name for a log entry.

    Letters only: clients repeat a request whose error text contains `503` (section 2.4).
    """
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))


def envelope(code: str, message: str, *, legacy: bool) -> bytes:
    """The error body: flat on `/v1`; on `/api/v1` a superset that both client generations understand."""
    if legacy:
        inner = {"code": code, "message": message}
        return msgspec.json.encode({"code": code, "message": message, "ok": False, "error": inner})
    return msgspec.json.encode({"code": code, "message": message})
