"""What each code means, how an answer turns into an error, and what is tried again (sections 2.6, 3.7 and 3.14)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skerry._kernel.model import NOT_GIVEN, parse_json
from skerry._kernel.redaction import MASK
from skerry._kernel.request import Response, TransportFailure
from skerry._kernel.retry import Failure, Safety
from skerry.errors import Outcome
from skerry.networks.octaspace import errors
from skerry.networks.octaspace.errors import OctaApiError, OctaProvisionRejectedError

CODES: dict[str, type[OctaApiError]] = {
    "BAD_REQUEST": errors.OctaBadRequestError,
    "UNAUTHORIZED": errors.OctaAuthenticationError,
    "INSUFFICIENT_BALANCE": errors.OctaPaymentRequiredError,
    "FORBIDDEN": errors.OctaPermissionError,
    "NOT_FOUND": errors.OctaNotFoundError,
    "METHOD_NOT_ALLOWED": errors.OctaUnsupportedError,
    "NODE_BUSY": errors.OctaNodeBusyError,
    "VALIDATION_ERROR": errors.OctaValidationError,
    "RATE_LIMITED": errors.OctaRateLimitError,
    "INTERNAL_ERROR": errors.OctaServerError,
    "NODE_UNAVAILABLE": errors.OctaUnavailableError,
}
"""The documented codes of errors."""

REASONS: dict[str, type[OctaProvisionRejectedError]] = {
    "Node not found": errors.OctaProvisionNotFoundError,
    "Node is busy": errors.OctaProvisionBusyError,
    "Image is required": errors.OctaProvisionInvalidError,
    "App not found": errors.OctaProvisionNotFoundError,
    "Disk size is too large": errors.OctaProvisionNoCapacityError,
    "Not enough ports": errors.OctaProvisionNoCapacityError,
    "Insufficient balance": errors.OctaProvisionPaymentRequiredError,
    "INTERNAL_ERROR": errors.OctaProvisionServerError,
}
"""The documented reasons why a machine was not rented."""

# The status is what the seed documents; codes only refine it where one status has several meanings.
_STATUSES: dict[int, type[OctaApiError]] = {
    400: errors.OctaBadRequestError,
    401: errors.OctaAuthenticationError,
    402: errors.OctaPaymentRequiredError,
    403: errors.OctaPermissionError,
    404: errors.OctaNotFoundError,
    405: errors.OctaUnsupportedError,
    409: errors.OctaConflictError,
    422: errors.OctaValidationError,
    429: errors.OctaRateLimitError,
    502: errors.OctaUnavailableError,
    503: errors.OctaUnavailableError,
    504: errors.OctaUnavailableError,
}
_BUSY = frozenset({"NODE_BUSY", "BUSY"})
# A number as the network's own client reads one.
_SECONDS = re.compile(r"\+?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# Shorter ones would turn up in ordinary text, and no key is so short.
_SHORTEST_SECRET = 16


def class_for(status: int, code: Any = None) -> type[OctaApiError]:
    """The class for an answer's status and code."""
    if status == 409 and isinstance(code, str) and code in _BUSY:
        return errors.OctaNodeBusyError
    return _STATUSES.get(status) or (errors.OctaServerError if status >= 500 else OctaApiError)


def error_of(response: Response, secret: str = "") -> OctaApiError | None:
    """The error an answer stands for, None for a success; redirections are errors too.

    Args:
        response: the answer.
        secret: the caller's key, which is masked should the answer repeat it.
    """
    if response.ok:
        return None
    status = response.status
    seen = response.body
    if len(secret) >= _SHORTEST_SECRET:
        seen = seen.replace(secret.encode(), MASK.encode())
    payload = parse_json(seen) if seen else None
    body = None if payload is NOT_GIVEN else payload
    said: Mapping[str, Any] = body if isinstance(body, dict) else {}
    message = next((said[name] for name in ("message", "error") if said.get(name) is not None), None)
    outcome: Outcome = "unknown" if status >= 500 and status != 503 else "rejected"
    return class_for(status, said.get("code"))(
        f"Request failed with status {status}" if message is None else _text(message),
        network="octaspace",
        status=status,
        code=said.get("code"),
        details=body,
        request_id=response.header("x-request-id"),
        outcome=outcome,
        retryable=True if _is_transient(status) else None,
        body=response.body,
    )


def _text(message: Any) -> str:
    return message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)


def retry_after(response: Response) -> float | None:
    """Seconds to wait after status 429; other statuses and dates say nothing (section 2.6)."""
    text = (response.header("retry-after") or "").strip()
    if response.status != 429 or not _SECONDS.fullmatch(text):
        return None
    seconds = float(text)
    return seconds if seconds < math.inf else None


def failure_error(failure: TransportFailure) -> errors.OctaNetworkError:
    """The error for a request that got no answer."""
    kind: Callable[..., errors.OctaNetworkError] = errors.OctaNetworkError
    message = failure.message
    if failure.timed_out:
        kind = errors.OctaTimeoutError
    # A connection has less time than the whole, so that this would not be true of it.
    if failure.kind == "timeout" and failure.limit is not None:
        message = f"Request timed out after {round(failure.limit * 1000, 3):.15g}ms"
    return kind(
        message, network="octaspace", status=0, outcome="not_sent" if failure.kind == "never_sent" else "unknown"
    )


def retry_when(failure: Failure, safety: Safety) -> bool:
    """What the official client repeats: GET alone, after 429, 5xx and failures of the transport (section 2.6)."""
    return safety == "idempotent" and (failure.kind != "answer" or _is_transient(failure.status))


def _is_transient(status: int) -> bool:
    return status == 429 or status >= 500


def rejection(items: Sequence[Mapping[str, Any]], response: Response) -> OctaProvisionRejectedError:
    """The error for an answer that holds no session (section 3.7).

    Args:
        items: those items of the answer that are objects.
        response: the answer.
    """
    reason = next((text for item in items if isinstance(text := item.get("reason"), str) and text), None)
    kind: Callable[..., OctaProvisionRejectedError] = REASONS.get(reason or "", OctaProvisionRejectedError)
    return kind(
        "Deploy response contained no session UUID" if reason is None else f"Provision request rejected: {reason}",
        rejections=items,
        network="octaspace",
        status=response.status,
        details=list(items),
        request_id=response.request_id,
        outcome="unknown" if reason is None else "rejected",
        body=response.body,
    )
