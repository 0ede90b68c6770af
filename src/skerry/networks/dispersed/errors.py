"""The errors of Dispersed: `ApiError` for what the service answered, as upstream has it, and one class per meaning of
the common tree below it; beside it what never became an answer (section 4.6)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from skerry import errors as common
from skerry._kernel.redaction import redact
from skerry._kernel.request import Headers, find_header
from skerry.errors import Outcome, SkerryError


class DispersedError(SkerryError):
    """Whatever went wrong with a call of Dispersed."""


class ApiError(DispersedError):
    """Any answer that is not a success (section 2.7).

    Args:
        status: HTTP status.
        code: the network's code, such as `NOT_FOUND`; `HTTP_<status>` where the answer gave none.
        detail: one sentence for people; secrets are masked.
        details: one entry for each problem, usually with `code`, `path` and `message`.
        timestamp: when the service says it happened.
        headers: of the answer.
        outcome: whether the request can have had an effect.
        body: the raw answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        details: list[Any] | None = None,
        timestamp: datetime | None = None,
        *,
        headers: Headers = (),
        outcome: Outcome = "rejected",
        body: bytes | None = None,
    ) -> None:
        super().__init__(
            f"{code}: {detail}",
            network="dispersed",
            status=status,
            code=code,
            details=list(details or ()),
            request_id=find_header(headers, "x-request-id") or find_header(headers, "request-id"),
            outcome=outcome,
            body=body,
        )
        self.status: int = status
        self.code: str = code
        self.detail = redact(detail)
        self.details: list[Any]
        self.timestamp = timestamp
        self.headers = headers
        self.retryable = self.is_retryable

    @property
    def is_auth(self) -> bool:
        """Whether it is about the key or its rights: 401 or 403."""
        return self.status in (401, 403)

    @property
    def is_not_found(self) -> bool:
        """Whether the thing is unknown: 404."""
        return self.status == 404

    @property
    def is_retryable(self) -> bool:
        """Whether trying again may help: 429 or 5xx. The client has then already tried as often as it was told to."""
        return self.status == 429 or self.status >= 500

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self.code, self.detail, self.details, self.timestamp), self.__dict__


class DispersedInvalidRequestError(ApiError, common.InvalidRequestError):
    """The request is wrong; `details` says where."""


class DispersedPayloadTooLargeError(ApiError, common.PayloadTooLargeError):
    """The body is above 1 MiB."""


class DispersedAuthenticationError(ApiError, common.AuthenticationError):
    """Key, clock, nonce or signature were not accepted."""


class DispersedPermissionDeniedError(ApiError, common.PermissionDeniedError):
    """The key is good, but it may not do this, or not from here."""


class DispersedNotFoundError(ApiError, common.NotFoundError):
    """Unknown, or another account's."""


class DispersedConflictError(ApiError, common.ConflictError):
    """The present state, or an earlier request, forbids it."""


class DispersedBusyError(ApiError, common.BusyError):
    """The first request with this idempotency key is still at work."""


class DispersedPaymentRequiredError(ApiError, common.PaymentRequiredError):
    """There is no credit left to spend."""


class DispersedRateLimitedError(ApiError, common.RateLimitedError):
    """Too many requests."""


class DispersedUnsupportedError(ApiError, common.UnsupportedError):
    """This service has no such method."""


class DispersedServerError(ApiError, common.ServerError):
    """The service failed."""


class DispersedUnavailableError(ApiError, common.UnavailableError):
    """The service is down or overloaded for the moment."""


class DispersedConnectionError(DispersedError, common.ConnectionFailedError):
    """No answer came, or it broke off."""


class DispersedTimeoutError(DispersedConnectionError, TimeoutError):
    """No complete answer came within the time limit of one try."""


class DispersedCancelledError(DispersedError, common.DeadlineExceededError):
    """The caller gave up, or the caller's deadline passed."""


class DispersedDecodeError(DispersedError, common.ProtocolError):
    """A success came whose body is not what the protocol promises."""
