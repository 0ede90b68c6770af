"""The errors of Arker: one class, as upstream has it, and below it one per meaning of the common tree."""

from __future__ import annotations

from typing import Any

from skerry import errors as common
from skerry._kernel.redaction import redact
from skerry.errors import Outcome, SkerryError


class ArkerError(SkerryError):
    """What Arker answered, or what its client found wrong (protocol section 2.6).

    Args:
        code: Arker's code, such as `not_found`.
        detail: the bare message; `str()` of the error is `<code>: <detail>`.
        status: HTTP status; 0 for transport failures, 200 for trouble reported inside a successful answer.
        retryable: whether the same request may succeed later.
        outcome: whether the request can have had an effect.
        operation: the operation, such as `vms.fork`.
        body: the raw answer.
        stated: whether code and detail are the service's own words; False where they were made up for an answer in no
            known form, so that its text says nothing about another try.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        status: int = 0,
        *,
        retryable: bool | None = None,
        outcome: Outcome = "rejected",
        operation: str | None = None,
        body: bytes | None = None,
        stated: bool = True,
    ) -> None:
        super().__init__(
            f"{code}: {detail}",
            network="arker",
            operation=operation,
            status=status,
            code=code,
            outcome=outcome,
            retryable=retryable,
            body=body,
        )
        self.code: str = code
        self.status: int = status
        self.detail = redact(detail)
        self.stated = stated

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.detail, self.status), self.__dict__


class ArkerInvalidRequestError(ArkerError, common.InvalidRequestError):
    """The request is wrong; repeating it will not help."""


class ArkerPayloadTooLargeError(ArkerError, common.PayloadTooLargeError):
    """The body or file is above the limit."""


class ArkerAuthenticationError(ArkerError, common.AuthenticationError):
    """No key, or a bad one."""


class ArkerPermissionDeniedError(ArkerError, common.PermissionDeniedError):
    """The key is valid, but this is not allowed with it."""


class ArkerNotFoundError(ArkerError, common.NotFoundError):
    """VM, run, session or file unknown on this endpoint."""


class ArkerConflictError(ArkerError, common.ConflictError):
    """Idempotency key reused for another request, overlapping chunks, or a name already taken."""


class ArkerBusyError(ArkerError, common.BusyError):
    """The VM or session is executing and cannot queue."""


class ArkerPaymentRequiredError(ArkerError, common.PaymentRequiredError):
    """Billing is needed before new compute starts."""


class ArkerBudgetExceededError(ArkerError, common.BudgetExceededError):
    """A spending limit forbids it."""


class ArkerRateLimitedError(ArkerError, common.RateLimitedError):
    """Too many requests."""


class ArkerNoCapacityError(ArkerError, common.NoCapacityError):
    """Nothing is free that could take the work."""


class ArkerUnsupportedError(ArkerError, common.UnsupportedError):
    """A valid request that this backend cannot fulfil."""


class ArkerConnectionFailedError(ArkerError, common.ConnectionFailedError):
    """No answer came."""


class ArkerProtocolError(ArkerError, common.ProtocolError):
    """An answer came that the protocol does not allow."""


class ArkerServerError(ArkerError, common.ServerError):
    """The service failed."""


class ArkerUnavailableError(ArkerError, common.UnavailableError):
    """The service is overloaded or moving the VM; trying again is expected to help."""
