"""What the engine refuses, in words that know no network; each face maps `code` to its own.

EngineError
├── Unauthorized      no such key
├── Forbidden
├── NotFound
├── Invalid           the request can never work as it stands
│   └── TooLarge
├── Conflict
│   └── Busy          the thing is in use just now
├── PaymentRequired
├── NoCapacity
├── Unsupported       this machine lacks the means; the message says which
├── RateLimited
├── Unreadable        what is kept cannot be read back; its owner must act
└── Unavailable       overloaded, draining, or a helper is restarting
"""

from __future__ import annotations


class EngineError(Exception):
    """The root; `message` is written for the person who made the request."""

    code = "internal"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class Unauthorized(EngineError):
    code = "unauthorized"


class Forbidden(EngineError):
    code = "forbidden"


class NotFound(EngineError):
    code = "not_found"


class Invalid(EngineError):
    code = "invalid"


class TooLarge(Invalid):
    code = "too_large"


class Conflict(EngineError):
    code = "conflict"


class Busy(Conflict):
    code = "busy"


class PaymentRequired(EngineError):
    code = "payment_required"


class NoCapacity(EngineError):
    code = "no_capacity"


class Unsupported(EngineError):
    code = "unsupported"


class RateLimited(EngineError):
    code = "rate_limited"


class Unreadable(EngineError):
    code = "unreadable"


class Unavailable(EngineError):
    code = "unavailable"
