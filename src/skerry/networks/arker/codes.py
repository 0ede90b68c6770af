"""What each error code means, how an answer turns into an error, and what is tried again (sections 2.4 and 2.6)."""

from __future__ import annotations

from typing import Any

import msgspec

from skerry._kernel.model import NOT_GIVEN, UNREADABLE, parse_json
from skerry._kernel.request import Response, TransportFailure
from skerry._kernel.retry import Failure, Safety
from skerry.networks.arker import errors
from skerry.networks.arker.errors import ArkerError

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
RETRIED_CODES = frozenset({"routing_unavailable", "unavailable", "temporarily_unavailable"})
RETRIED_WORDS = ("503", "Service Unavailable", "throttle", "SlowDown", "ThrottlingException")
"""Words that make an `internal` error worth another try; compared with their case."""

DETAIL_LENGTH = 300

CODES: dict[str, type[ArkerError]] = {
    # The codes of 0.3.0.
    "bad_request": errors.ArkerInvalidRequestError,
    "unauthorized": errors.ArkerAuthenticationError,
    "payment_required": errors.ArkerPaymentRequiredError,
    "forbidden": errors.ArkerPermissionDeniedError,
    "not_found": errors.ArkerNotFoundError,
    "method_not_allowed": errors.ArkerUnsupportedError,
    "conflict": errors.ArkerConflictError,
    "vm_busy": errors.ArkerBusyError,
    "payload_too_large": errors.ArkerPayloadTooLargeError,
    "unsupported_operation": errors.ArkerUnsupportedError,
    "command_not_found": errors.ArkerUnsupportedError,
    "rate_limited": errors.ArkerRateLimitedError,
    "internal": errors.ArkerServerError,
    "not_implemented": errors.ArkerUnsupportedError,
    "bad_gateway": errors.ArkerUnavailableError,
    "routing_unavailable": errors.ArkerUnavailableError,
    "unavailable": errors.ArkerUnavailableError,
    "temporarily_unavailable": errors.ArkerUnavailableError,
    "network_error": errors.ArkerConnectionFailedError,
    # What later generations of the service may answer (section 6).
    "validation_error": errors.ArkerInvalidRequestError,
    "invalid_api_key": errors.ArkerAuthenticationError,
    "api_key_required": errors.ArkerAuthenticationError,
    "csrf_rejected": errors.ArkerPermissionDeniedError,
    "legal_acceptance_required": errors.ArkerPermissionDeniedError,
    "action_required": errors.ArkerPermissionDeniedError,
    "budget_exceeded": errors.ArkerBudgetExceededError,
    "quota_exceeded": errors.ArkerBudgetExceededError,
    "concurrency_limit_exceeded": errors.ArkerRateLimitedError,
    "regional_concurrency_limit_exceeded": errors.ArkerRateLimitedError,
    "insufficient_resources": errors.ArkerNoCapacityError,
    "capacity_unavailable": errors.ArkerNoCapacityError,
    "resource_pressure": errors.ArkerNoCapacityError,
    "resource_busy": errors.ArkerBusyError,
    "invalid_state": errors.ArkerConflictError,
    "already_exists": errors.ArkerConflictError,
    "idempotency_conflict": errors.ArkerConflictError,
    "expired": errors.ArkerConflictError,
    "unrecoverable": errors.ArkerServerError,
    "operation_failed": errors.ArkerServerError,
    "gateway_timeout": errors.ArkerUnavailableError,
    "stale_route": errors.ArkerUnavailableError,
}

_STATUSES: dict[int, type[ArkerError]] = {
    400: errors.ArkerInvalidRequestError,
    401: errors.ArkerAuthenticationError,
    402: errors.ArkerPaymentRequiredError,
    403: errors.ArkerPermissionDeniedError,
    404: errors.ArkerNotFoundError,
    405: errors.ArkerUnsupportedError,
    409: errors.ArkerConflictError,
    413: errors.ArkerPayloadTooLargeError,
    422: errors.ArkerUnsupportedError,
    429: errors.ArkerRateLimitedError,
    501: errors.ArkerUnsupportedError,
    502: errors.ArkerUnavailableError,
    503: errors.ArkerUnavailableError,
    504: errors.ArkerUnavailableError,
}


def class_for(code: str, status: int) -> type[ArkerError]:
    """The class for a code; codes that say nothing, or are unknown, are classed by the HTTP status."""
    if code.startswith("unsupported_"):
        return errors.ArkerUnsupportedError
    known = CODES.get(code)
    if known is not None and code != "internal":
        return known
    by_status = _STATUSES.get(status)
    if by_status is not None:
        return by_status
    if known is not None or status >= 500:
        return errors.ArkerServerError
    return ArkerError


def hints_at_trouble(code: str, detail: str) -> bool:
    """Whether an error says by its words that another try may help (section 2.4)."""
    return code == "internal" and any(word in detail for word in RETRIED_WORDS)


def worth_retrying(code: str, detail: str, status: int, *, stated: bool = True) -> bool:
    """Whether another try may help (section 2.4), from the error alone."""
    return status in RETRIED_STATUSES or code in RETRIED_CODES or (stated and hints_at_trouble(code, detail))


def make_error(code: str, detail: str, status: int, body: bytes | None = None, *, stated: bool = True) -> ArkerError:
    """An error of the right class."""
    retryable = worth_retrying(code, detail, status, stated=stated)
    # A gateway that gave up may have passed the request on before.
    unclear = status in (500, 502, 504) or code == "internal"
    return class_for(code, status)(
        code,
        detail,
        status,
        retryable=retryable or None,
        outcome="unknown" if unclear else "rejected",
        body=body,
        stated=stated,
    )


def protocol_error(detail: str) -> errors.ArkerProtocolError:
    """A successful answer that makes no sense; upstream gives these code `internal` and status 200."""
    return errors.ArkerProtocolError("internal", detail, 200, outcome="unknown")


class _Envelope(msgspec.Struct):
    code: Any = NOT_GIVEN
    message: Any = NOT_GIVEN
    error: Any = NOT_GIVEN


_envelope = msgspec.json.Decoder(_Envelope)


def _read_envelope(body: bytes) -> _Envelope | None:
    try:
        return _envelope.decode(body)
    except UNREADABLE:
        # Not an object, or JSON of the kind only lenient readers accept.
        value = parse_json(body)
        if not isinstance(value, dict):
            return None
        return _Envelope(*(value.get(name, NOT_GIVEN) for name in ("code", "message", "error")))


def error_of(response: Response) -> ArkerError | None:
    """The error an answer stands for, looked for in every JSON object, also with a 2xx status (section 2.6)."""
    envelope = _read_envelope(response.body)
    if envelope is not None:
        if isinstance(envelope.code, str) and isinstance(envelope.message, str):
            return make_error(envelope.code, envelope.message, response.status, response.body)
        if isinstance(envelope.error, dict):
            return make_error(*entry_fields(envelope.error), response.status, response.body)
    return None if response.ok else unparsed_error(response)


def unparsed_error(response: Response) -> ArkerError:
    """The error for an answer in no known form: code `internal` and the beginning of the body."""
    # Characters are counted as the network's own client counts them, in units of UTF-16.
    units = response.text.removeprefix("\ufeff").encode("utf-16-le")[: 2 * DETAIL_LENGTH]
    detail = units.decode("utf-16-le", "ignore") or f"HTTP {response.status}"
    return make_error("internal", detail, response.status, response.body, stated=False)


def entry_fields(error: dict[str, Any]) -> tuple[str, str]:
    """Code and message of a nested error object; missing or wrongly typed ones become `internal` and nothing."""
    code, message = error.get("code"), error.get("message")
    return (code if isinstance(code, str) else "internal", message if isinstance(message, str) else "")


def failure_error(failure: TransportFailure) -> ArkerError:
    """The error for a request that got no answer."""
    return errors.ArkerConnectionFailedError(
        "network_error",
        failure.message,
        0,
        retryable=True,
        outcome="not_sent" if failure.kind == "never_sent" else "unknown",
    )


def retry_when(failure: Failure, safety: Safety) -> bool:
    """What 0.3.0 repeats: every method, after every transport failure and every answer that looks transient.

    One thing upstream has no rule for, because its requests know no time limit: when ours runs out, a call that is
    neither idempotent nor keyed is not repeated, for the first try may still be at work.
    """
    if failure.kind == "timeout":
        return safety != "unsafe"
    if failure.kind != "answer":
        return True
    error = failure.error
    return isinstance(error, ArkerError) and worth_retrying(
        error.code, error.detail, failure.status, stated=error.stated
    )


def strict_retry_when(failure: Failure, safety: Safety) -> bool:
    """The same, but what may have acted and cannot be recognised is never repeated."""
    if safety == "unsafe" and failure.kind != "never_sent" and failure.error.outcome != "not_sent":
        return failure.status == 429
    return retry_when(failure, safety)
