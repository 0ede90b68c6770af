"""Every error that Skerry raises, by what it means to the caller.

SkerryError
├── ConfigurationError            settings are missing or contradict each other (also a ValueError)
├── InvalidRequestError           the request is wrong; change it (also a ValueError)
│   └── PayloadTooLargeError
├── AuthenticationError           no key, or a wrong one
├── PermissionDeniedError         the key is good, the act is not allowed
├── NotFoundError
├── ConflictError                 the state forbids it
│   └── BusyError                 ... for the moment
├── PaymentRequiredError          the balance does not cover it
│   └── BudgetExceededError       the caller's own ceiling forbids it
├── RateLimitedError
├── NoCapacityError               nothing can take the work now
├── UnsupportedError              this backend lacks the feature
├── DeadlineExceededError         the caller's time ran out (also a TimeoutError)
├── ConnectionFailedError         no answer came (also a ConnectionError)
├── ProtocolError                 an answer came that the protocol does not allow
└── ServerError                   the other side failed
    └── UnavailableError          ... for the moment
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from skerry._kernel.redaction import redact

Outcome = Literal["not_sent", "rejected", "unknown"]


class SkerryError(Exception):
    """The root of all errors.

    Attributes:
        message: what happened and, where possible, what to do next; secrets are masked.
        network: the network that answered, such as `arker`, or None for local errors.
        operation: the operation that failed, such as `vms.fork`.
        status: HTTP status, 0 for transport failures, None when no request was involved.
        code: the network's own error code.
        details: whatever structured detail the network gave.
        request_id: the network's id of the request, for support.
        retry_after: seconds the network asked to wait.
        outcome: `not_sent` (nothing can have happened), `rejected` (refused), `unknown` (it may have happened).
        retryable: whether the same request may succeed later.
        body: the raw response body, as received.
    """

    retryable: bool = False

    def __init__(
        self,
        message: str = "",
        *,
        network: str | None = None,
        operation: str | None = None,
        status: int | None = None,
        code: str | None = None,
        details: Any = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        outcome: Outcome = "rejected",
        retryable: bool | None = None,
        body: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.message = redact(message)
        self.network = network
        self.operation = operation
        self.status = status
        self.code = code
        self.details = details
        self.request_id = request_id
        self.retry_after = retry_after
        self.outcome: Outcome = outcome
        if retryable is not None:
            self.retryable = retryable
        self.body = body

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        parts = [repr(self.message)]
        parts += [
            f"{name}={value!r}"
            for name in ("network", "operation", "status", "code", "request_id")
            if (value := getattr(self, name)) is not None
        ]
        return f"{type(self).__name__}({', '.join(parts)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for logs and JSON output: no body, no secrets."""
        fields: Mapping[str, Any] = {
            "error": type(self).__name__,
            "message": self.message,
            "network": self.network,
            "operation": self.operation,
            "status": self.status,
            "code": self.code,
            "details": self.details,
            "request_id": self.request_id,
            "retry_after": self.retry_after,
            "outcome": self.outcome,
            "retryable": self.retryable,
        }
        return {name: value for name, value in fields.items() if value is not None}


class ConfigurationError(SkerryError, ValueError):
    """Settings are missing or contradict each other; nothing was sent."""


class InvalidRequestError(SkerryError, ValueError):
    """The request is malformed or names something impossible; repeating it will not help."""


class PayloadTooLargeError(InvalidRequestError):
    """The body or file is above the limit."""


class AuthenticationError(SkerryError):
    """The key is missing, wrong, expired or revoked."""


class PermissionDeniedError(SkerryError):
    """The key is good, but it may not do this."""


class NotFoundError(SkerryError):
    """The named thing does not exist, or is not the caller's."""


class ConflictError(SkerryError):
    """The present state, or an earlier request, forbids this one."""


class BusyError(ConflictError):
    """The thing is in use just now."""

    retryable = True


class PaymentRequiredError(SkerryError):
    """The account's balance does not cover the work."""


class BudgetExceededError(PaymentRequiredError):
    """The caller's own ceiling does not allow the work."""


class RateLimitedError(SkerryError):
    """Too many requests; wait `retry_after` seconds where given."""

    retryable = True


class NoCapacityError(SkerryError):
    """Nothing that fits the request is free now."""

    retryable = True


class UnsupportedError(SkerryError):
    """A valid request that this backend cannot fulfil."""


class DeadlineExceededError(SkerryError, TimeoutError):
    """The caller's deadline passed first."""


class ConnectionFailedError(SkerryError, ConnectionError):
    """The transport failed: no connection, or it broke before an answer came."""

    retryable = True


class ProtocolError(SkerryError):
    """The answer does not follow the network's protocol."""


class ServerError(SkerryError):
    """The network failed on its own side."""


class UnavailableError(ServerError):
    """The network is overloaded or moving work; trying again is expected to help."""

    retryable = True
