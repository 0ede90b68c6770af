"""What each error means, how an answer turns into one, and what may be tried again (sections 2.2, 2.3, 2.7 and 2.8).

The network has few codes and many sentences. Both are in tables here; what neither table knows is told by its status.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

import msgspec

from skerry._kernel.model import NOT_GIVEN, parse_json
from skerry._kernel.request import Response, TransportFailure
from skerry._kernel.retry import TRANSIENT_STATUSES, Failure, Safety, by_safety
from skerry.errors import Outcome
from skerry.networks.dc1 import errors
from skerry.networks.dc1.errors import APIError

QUOTAS = ("daily_jobs_limit", "monthly_spend_limit_halala")
"""Members of a 429 that say that a quota is used up, which waiting does not cure."""

CODES: dict[str, type[APIError]] = {
    "INVALID_GPU_TYPE": errors.DC1InvalidRequestError,
    "WEAK_NOTEBOOK_TOKEN": errors.DC1InvalidRequestError,
    "IMAGE_NOT_APPROVED": errors.DC1InvalidRequestError,
    "BELOW_MINIMUM": errors.DC1InvalidRequestError,
    "wrong_key_type": errors.AuthError,
    "insufficient_balance": errors.DC1PaymentRequiredError,
    "no_capacity": errors.DC1NoCapacityError,
    "no_providers_available": errors.DC1NoCapacityError,
    "NO_PROVIDERS_AVAILABLE": errors.DC1NoCapacityError,
    "inference_failed": errors.DC1ServerError,
    "timeout": errors.DC1UnavailableError,
}
"""Code words, which come in `code` or, from newer routes, in `error` itself."""

SENTENCES: tuple[tuple[int, str, type[APIError]], ...] = (
    (400, r"API key required\b.*", errors.AuthError),
    (400, r"api_key required", errors.AuthError),
    (400, r"Provider is not online", errors.DC1NoCapacityError),
    (400, r"Cannot cancel job with status: .*", errors.DC1ConflictError),
    (400, r"Only failed jobs can be (retried|re-queued)", errors.DC1ConflictError),
    (400, r"Job is not (active|paused|running)", errors.DC1ConflictError),
    (400, r"Job not completed", errors.DC1ConflictError),
    (400, r"No checkpoint found for this job", errors.DC1ConflictError),
    (400, r"Checkpointing is not enabled for this job", errors.DC1ConflictError),
    (400, r"Requested amount exceeds claimable earnings", errors.DC1PaymentRequiredError),
    (503, r"No GPU provider currently available for this template", errors.DC1NoCapacityError),
)
"""Sentences that mean more than their status: status, pattern of the whole sentence, meaning."""

STATUSES: dict[int, type[APIError]] = {
    400: errors.DC1InvalidRequestError,
    401: errors.AuthError,
    402: errors.DC1PaymentRequiredError,
    403: errors.DC1PermissionDeniedError,
    404: errors.DC1NotFoundError,
    405: errors.DC1UnsupportedError,
    408: errors.DC1UnavailableError,
    409: errors.DC1ConflictError,
    410: errors.DC1GoneError,
    413: errors.DC1PayloadTooLargeError,
    415: errors.DC1InvalidRequestError,
    422: errors.DC1InvalidRequestError,
    425: errors.DC1UnavailableError,
    429: errors.DC1RateLimitedError,
    501: errors.DC1UnsupportedError,
    502: errors.DC1UnavailableError,
    503: errors.DC1UnavailableError,
    504: errors.DC1UnavailableError,
}

_UNSAID = {401: "Unauthorized: check your API key"}
"""What the official SDKs say where the answer says nothing (section 4.1); else `HTTP <status>`."""


def class_for(status: int, message: str, code: str | None, payload: Any) -> type[APIError]:
    """The class for an answer: a code says most, then the sentence, then the status."""
    if code is not None and code in CODES:
        return CODES[code]
    if status == 429 and isinstance(payload, dict) and any(name in payload for name in QUOTAS):
        return errors.DC1QuotaExceededError
    for wanted, pattern, kind in SENTENCES:
        if status == wanted and re.fullmatch(pattern, message):
            return kind
    return STATUSES.get(status) or (errors.DC1ServerError if status >= 500 else APIError)


def error_of(response: Response) -> APIError | None:
    """The error an answer stands for, None for a success; redirections are errors too (section 4.1)."""
    if response.ok:
        return None
    status, text = response.status, response.text
    payload = parse_json(response.body)
    if payload is NOT_GIVEN:
        # What is no JSON is told as it is, which is how the official SDKs tell it.
        payload = {"error": text}
    said = payload.get("error") if isinstance(payload, dict) else None
    code = payload.get("code") if isinstance(payload, dict) else None
    if isinstance(said, dict):
        # Newer servers answer in the manner of OpenAI: an object with message, type and code.
        code = said.get("code") if isinstance(said.get("code"), str) else code
        inner = said.get("message")
        said = inner if isinstance(inner, str) else msgspec.json.encode(said).decode()
    message = said if isinstance(said, str) and said else _UNSAID.get(status, f"HTTP {status}")
    if not isinstance(code, str):
        code = message if message in CODES else None
    outcome: Outcome = "unknown" if status >= 500 and status != 503 else "rejected"
    kind = class_for(status, message, code, payload)
    error = kind(message, status, payload, code=code, headers=response.headers, outcome=outcome, body=response.body)
    error.retry_after = _asked(payload)
    return error


def own_account_error(response: Response) -> APIError | None:
    """The same for routes about the caller's own account, where an unknown key is answered 404 (section 2.2)."""
    error = error_of(response)
    if error is not None and error.status == 404 and error.message in ("Renter not found", "Provider not found"):
        known = (error.message, error.status, error.response)
        return errors.AuthError(*known, headers=response.headers, body=response.body)
    return error


def _asked(payload: Any) -> float | None:
    """Seconds that a body asks to wait."""
    for name, scale in (("retryAfterMs", 0.001), ("retryAfterSeconds", 1.0)):
        value = payload.get(name) if isinstance(payload, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return value * scale
    return None


def failure_error(failure: TransportFailure) -> errors.DC1ConnectionError:
    """The error for a request that got no answer."""
    if failure.kind == "timeout":
        told = f": {failure.message}" if failure.limit is None else f" after {round(failure.limit * 1000)}ms"
        return errors.DC1TimeoutError(f"Request timed out{told}", outcome="unknown")
    outcome: Outcome = "not_sent" if failure.kind == "never_sent" else "unknown"
    return errors.DC1ConnectionError(f"Connection error: {failure.message}", outcome=outcome)


def retry_when(failure: Failure, safety: Safety) -> bool:
    """What may be repeated where a caller asks for it: transient trouble that harms nothing; never a used-up quota."""
    return by_safety(failure, safety) and not isinstance(failure.error, errors.DC1QuotaExceededError)


def is_passing(error: Exception) -> bool:
    """Whether trouble during a wait is worth waiting out: 408, 425, 429, 5xx and failures of the transport."""
    if isinstance(error, errors.DC1QuotaExceededError) or not isinstance(error, APIError):
        return False
    return error.status == 0 or error.status >= 500 or error.status in TRANSIENT_STATUSES


def streamed_error(piece: Response) -> APIError | None:
    """The error that a piece of a stream tells of, None for a piece that is none (section 3.8)."""
    payload = parse_json(piece.body)
    if not isinstance(payload, dict) or not payload.get("error"):
        return None
    told = payload.get("status")
    status = told if isinstance(told, int) and told >= 400 else HTTPStatus.BAD_GATEWAY
    # Whatever was done before it went wrong was done.
    error = error_of(Response(status, (), piece.body))
    if error is not None:
        error.outcome = "unknown"
    return error
