"""The errors of DC1: `APIError` and `AuthError` as the official SDKs have them, one class per meaning of the common
tree below `APIError`, and `JobTimeoutError` for a wait that ended before its job (sections 2.3 and 4)."""

from __future__ import annotations

from typing import Any

from skerry import errors as common
from skerry._kernel.redaction import redact
from skerry._kernel.request import Headers, find_header
from skerry.errors import Outcome, SkerryError
from skerry.money import Money


class DC1Error(SkerryError):
    """Whatever went wrong with a call of DC1."""


class APIError(DC1Error):
    """Any answer that is not a success; also, with status 0, no answer at all.

    Args:
        message: the answer's `error`, or `HTTP <status>`; secrets are masked.
        status_code: HTTP status, 0 when there was no answer.
        response: the answer's JSON; text that is no JSON comes as `{"error": <text>}`.
        code: the network's code word, where it gave one.
        headers: of the answer.
        outcome: whether the request can have had an effect.
        body: the raw answer.

    Attributes:
        job_id: the job that exists all the same, where a call made one before it failed.
    """

    job_id: str | None = None

    def __init__(
        self,
        message: str,
        status_code: int = 0,
        response: Any = None,
        *,
        code: str | None = None,
        headers: Headers = (),
        outcome: Outcome = "rejected",
        body: bytes | None = None,
    ) -> None:
        fields = response.get("fields") if isinstance(response, dict) else None
        super().__init__(
            message,
            network="dc1",
            status=status_code,
            code=code,
            details=fields if isinstance(fields, list) and fields else None,
            request_id=find_header(headers, "x-request-id") or find_header(headers, "request-id"),
            outcome=outcome,
            body=body,
        )
        self.status: int = status_code
        self.response: Any = {} if response is None else response
        self.headers = headers

    @property
    def status_code(self) -> int:
        """HTTP status, 0 when there was no answer."""
        return self.status

    @property
    def fields(self) -> list[dict[str, Any]]:
        """What is wrong with which field, each with `field` and `message`; empty unless validation failed."""
        return [item for item in self.details or [] if isinstance(item, dict)]

    @property
    def hint(self) -> str | None:
        """What the network says to do about it, where it says more than the error itself."""
        found = (self._said(name) for name in ("message", "hint", "detail"))
        return next((redact(text) for text in found if isinstance(text, str)), None)

    def _said(self, name: str) -> Any:
        return self.response.get(name) if isinstance(self.response, dict) else None

    def _money(self, name: str) -> Money | None:
        amount = self._said(name)
        return Money(amount, "SAR") if isinstance(amount, int) and not isinstance(amount, bool) else None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.status, self.response), self.__dict__


class AuthError(APIError, common.AuthenticationError):
    """The key is missing or wrong (HTTP 401, and on the account's own routes 400 and 404)."""


class DC1PermissionDeniedError(APIError, common.PermissionDeniedError):
    """The key may not do this, or is not an active one."""


class DC1InvalidRequestError(APIError, common.InvalidRequestError):
    """The request is wrong; `fields` says where, if validation found it."""


class DC1PayloadTooLargeError(APIError, common.PayloadTooLargeError):
    """The body is above the server's limit."""


class DC1NotFoundError(APIError, common.NotFoundError):
    """Unknown, or another account's."""


class DC1ConflictError(APIError, common.ConflictError):
    """The present state forbids it: a job that has ended, an address that is taken."""


class DC1GoneError(DC1ConflictError):
    """The job failed or was cancelled, so there is no such output (HTTP 410)."""


class DC1PaymentRequiredError(APIError, common.PaymentRequiredError):
    """The wallet does not cover the hold."""

    @property
    def balance(self) -> Money | None:
        """What the wallet holds."""
        held = self._money("balance_halala")
        return self._money("available_halala") if held is None else held

    @property
    def required(self) -> Money | None:
        """What the job's hold needs."""
        return self._money("required_halala")

    @property
    def shortfall(self) -> Money | None:
        """What is missing."""
        return self._money("shortfall_halala")


class DC1RateLimitedError(APIError, common.RateLimitedError):
    """Too many requests; wait `retry_after` seconds."""


class DC1QuotaExceededError(DC1RateLimitedError):
    """The day's jobs or the month's spending are used up: waiting a little does not help."""

    retryable = False


class DC1NoCapacityError(APIError, common.NoCapacityError):
    """No provider can take the work now; list the providers again."""


class DC1UnsupportedError(APIError, common.UnsupportedError):
    """This service has no such route or feature."""


class DC1ServerError(APIError, common.ServerError):
    """The service, or the provider that did the work, failed."""


class DC1UnavailableError(APIError, common.UnavailableError):
    """The service is down or overloaded for the moment, or took too long."""


class DC1ConnectionError(APIError, common.ConnectionFailedError):
    """No answer came, or it broke off; `status_code` is 0."""


class DC1TimeoutError(DC1ConnectionError, TimeoutError):
    """No complete answer came within the time limit of one try."""


class DC1DecodeError(APIError, common.ProtocolError):
    """A success came whose body is not what the protocol promises."""


class JobFailedError(APIError, common.ServerError):
    """A job ended without what was wanted of it; `response` is what its output says.

    Args:
        job_id: which job.
        status: `failed`, `cancelled`, or `completed` without the result that was wanted.
        reason: why, as far as that is told.
        http_status: of the answer that says so.
        response: its JSON.
    """

    def __init__(self, job_id: str, status: str, reason: str, http_status: int = 410, response: Any = None) -> None:
        super().__init__(f"Job {job_id} {status}: {reason}", http_status, response)
        self.job_id: str | None = job_id
        self.job_status = status
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.job_id, self.job_status, self.reason, self.status, self.response), self.__dict__


class DC1CancelledError(DC1Error, common.DeadlineExceededError):
    """The caller gave up, or the caller's deadline passed."""


class JobTimeoutError(DC1Error, common.DeadlineExceededError):
    """The job goes on, but the time to wait for it is up (also a TimeoutError).

    Args:
        job_id: which job.
        timeout: seconds that were waited.
    """

    def __init__(self, job_id: str, timeout: float) -> None:
        super().__init__(f"Job {job_id} did not complete within {timeout}s", network="dc1", outcome="rejected")
        self.job_id = job_id
        self.timeout = timeout

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.job_id, self.timeout), self.__dict__
