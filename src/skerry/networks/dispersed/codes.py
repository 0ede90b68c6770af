"""What each error code means, how an answer turns into an error, and what is tried again (sections 2.7 and 4.5)."""

from __future__ import annotations

import re
from datetime import datetime
from http import HTTPStatus
from typing import Any

from skerry._kernel.model import parse_json
from skerry._kernel.request import Response, TransportFailure
from skerry._kernel.retry import Failure, Safety, by_safety
from skerry.errors import InvalidRequestError, Outcome
from skerry.networks.dispersed import errors
from skerry.networks.dispersed.errors import ApiError
from skerry.times import parse_moment

DETAIL_LENGTH = 500

CODES: dict[str, type[ApiError]] = {
    "VALIDATION_ERROR": errors.DispersedInvalidRequestError,
    "BAD_REQUEST": errors.DispersedInvalidRequestError,
    "MISSING_AUTH_HEADERS": errors.DispersedAuthenticationError,
    "INVALID_TIMESTAMP": errors.DispersedAuthenticationError,
    "TIMESTAMP_OUT_OF_RANGE": errors.DispersedAuthenticationError,
    "INVALID_NONCE": errors.DispersedAuthenticationError,
    "INVALID_API_KEY": errors.DispersedAuthenticationError,
    "INVALID_SIGNATURE": errors.DispersedAuthenticationError,
    "API_KEY_REVOKED": errors.DispersedAuthenticationError,
    "API_KEY_EXPIRED": errors.DispersedAuthenticationError,
    "NONCE_REUSED": errors.DispersedAuthenticationError,
    "INSUFFICIENT_BALANCE": errors.DispersedPaymentRequiredError,
    "FORBIDDEN": errors.DispersedPermissionDeniedError,
    "INSUFFICIENT_PERMISSIONS": errors.DispersedPermissionDeniedError,
    "IP_NOT_ALLOWED": errors.DispersedPermissionDeniedError,
    "NOT_FOUND": errors.DispersedNotFoundError,
    "METHOD_NOT_ALLOWED": errors.DispersedUnsupportedError,
    "CONFLICT": errors.DispersedConflictError,
    "JOB_NOT_CANCELLABLE": errors.DispersedConflictError,
    "DUPLICATE_SSH_PUBLIC_KEY": errors.DispersedConflictError,
    "IDEMPOTENCY_KEY_REUSED": errors.DispersedConflictError,
    "IDEMPOTENCY_IN_PROGRESS": errors.DispersedBusyError,
    "PAYLOAD_TOO_LARGE": errors.DispersedPayloadTooLargeError,
    "UNSUPPORTED_MEDIA_TYPE": errors.DispersedInvalidRequestError,
    "RATE_LIMITED": errors.DispersedRateLimitedError,
    "INTERNAL_ERROR": errors.DispersedServerError,
    "SERVICE_UNAVAILABLE": errors.DispersedUnavailableError,
}

_STATUSES: dict[int, type[ApiError]] = {
    400: errors.DispersedInvalidRequestError,
    401: errors.DispersedAuthenticationError,
    402: errors.DispersedPaymentRequiredError,
    403: errors.DispersedPermissionDeniedError,
    404: errors.DispersedNotFoundError,
    405: errors.DispersedUnsupportedError,
    409: errors.DispersedConflictError,
    413: errors.DispersedPayloadTooLargeError,
    415: errors.DispersedInvalidRequestError,
    422: errors.DispersedInvalidRequestError,
    429: errors.DispersedRateLimitedError,
    502: errors.DispersedUnavailableError,
    503: errors.DispersedUnavailableError,
    504: errors.DispersedUnavailableError,
}

# A service that explains a refused signature may quote it, and what it is made of.
_DIGEST = re.compile(r"\b[0-9a-fA-F]{64}\b")


def class_for(code: str, status: int) -> type[ApiError]:
    """The class for an answer; the status, which the seed documents, outranks the code, which refines it."""
    by_status = _STATUSES.get(status)
    by_code = CODES.get(code)
    if by_status is None:
        if status >= 500:
            return errors.DispersedServerError
        return by_code or ApiError
    # Busy is a kind of conflict: the code says more than the status.
    if status == 409 and by_code is errors.DispersedBusyError:
        return by_code
    return by_status


def error_of(response: Response) -> ApiError | None:
    """The error an answer stands for, None for a success; redirections are errors too (section 4.7)."""
    if response.ok:
        return None
    status = response.status
    payload = parse_json(response.body) if response.body else None
    envelope = payload if isinstance(payload, dict) else {}
    nested = envelope.get("error")
    inner = nested if isinstance(nested, dict) else {}

    def said(name: str) -> Any:
        value = envelope.get(name)
        return inner.get(name) if value is None else value

    code, detail, details = said("code"), said("detail"), said("details")
    if not isinstance(detail, str):
        detail = next((text for text in (said("message"), nested) if isinstance(text, str)), None)
    if detail is None:
        detail = _phrase(status) if isinstance(payload, dict) else response.text[:DETAIL_LENGTH] or _phrase(status)
    code = code if isinstance(code, str) and code else f"HTTP_{status}"
    outcome: Outcome = "unknown" if status >= 500 and status != 503 else "rejected"
    return class_for(code, status)(
        status,
        code,
        _DIGEST.sub("***", detail) if status == 401 else detail,
        details if isinstance(details, list) else [],
        _timestamp(said("timestamp")),
        headers=response.headers,
        outcome=outcome,
        body=response.body,
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP {status}"


def _timestamp(value: Any) -> datetime | None:
    try:
        return parse_moment(value) if isinstance(value, str) else None
    except InvalidRequestError:
        return None


def failure_error(failure: TransportFailure) -> errors.DispersedConnectionError:
    """The error for a request that got no answer."""
    kind = errors.DispersedTimeoutError if failure.kind == "timeout" else errors.DispersedConnectionError
    return kind(
        failure.message,
        network="dispersed",
        status=0,
        outcome="not_sent" if failure.kind == "never_sent" else "unknown",
    )


def retry_when(failure: Failure, safety: Safety) -> bool:
    """What the official client repeats: every method, after 429 and 5xx, and nothing else (section 4.5)."""
    return failure.kind == "answer" and (failure.status == 429 or failure.status >= 500)


def retry_when_broken(failure: Failure, safety: Safety) -> bool:
    """The same, and failures of the transport where that cannot do anything twice."""
    return retry_when(failure, safety) or (failure.kind != "answer" and by_safety(failure, safety))
