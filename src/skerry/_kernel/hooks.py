"""Hooks: plain functions that are told what happens. They get values with secrets masked, and can break nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from skerry._kernel.redaction import redact_headers, redact_url
from skerry._kernel.request import BodySource, Headers, Request, Response
from skerry.errors import SkerryError

V = TypeVar("V")

_log = logging.getLogger("skerry.hooks")


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """A request about to be sent.

    Attributes:
        network: such as `arker`.
        operation: such as `vms.fork`.
        method: HTTP method.
        url: with secrets masked.
        headers: with secrets masked.
        body_size: bytes of the body, 0 for none.
        attempt: 1 for the first try.
    """

    network: str
    operation: str
    method: str
    url: str
    headers: Headers
    body_size: int
    attempt: int


@dataclass(frozen=True, slots=True)
class ResponseSeen:
    """An answer that came, good or bad.

    Attributes:
        request: what was asked.
        status: HTTP status.
        headers: with secrets masked.
        body_size: bytes of the body.
        elapsed: seconds this try took.
        request_id: the server's id of the request.
    """

    request: RequestSeen
    status: int
    headers: Headers
    body_size: int
    elapsed: float
    request_id: str | None


@dataclass(frozen=True, slots=True)
class RetrySeen:
    """A try that failed and will be repeated.

    Attributes:
        request: what was asked.
        error: why it failed.
        delay: seconds until the next try.
    """

    request: RequestSeen
    error: SkerryError
    delay: float


@dataclass(frozen=True, slots=True)
class ErrorSeen:
    """A call that failed for good.

    Attributes:
        request: the last request.
        error: what the caller gets.
    """

    request: RequestSeen
    error: SkerryError


@dataclass(frozen=True, slots=True)
class Hooks:
    """Four lists of functions, called in order.

    A hook that fails is reported to the `skerry.hooks` logger and otherwise ignored.
    """

    on_request: Sequence[Callable[[RequestSeen], object]] = field(default_factory=list)
    on_response: Sequence[Callable[[ResponseSeen], object]] = field(default_factory=list)
    on_retry: Sequence[Callable[[RetrySeen], object]] = field(default_factory=list)
    on_error: Sequence[Callable[[ErrorSeen], object]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.on_request or self.on_response or self.on_retry or self.on_error)


def tell(hooks: Sequence[Callable[[V], object]], value: V) -> None:
    """Call each hook with the value; a failing one is logged."""
    for hook in hooks:
        try:
            hook(value)
        except Exception:
            _log.exception("hook %r failed; the call goes on", hook)


def request_seen(network: str, request: Request) -> RequestSeen:
    """The masked view of a request."""
    body = request.body
    size = body.length if isinstance(body, BodySource) else len(body or b"")
    return RequestSeen(
        network=network,
        operation=request.operation,
        method=request.method,
        url=redact_url(request.url, secret=request.secret),
        headers=redact_headers(request.headers),
        body_size=size,
        attempt=request.attempt,
    )


def response_seen(request: RequestSeen, response: Response, elapsed: float) -> ResponseSeen:
    """The masked view of an answer."""
    return ResponseSeen(
        request=request,
        status=response.status,
        headers=redact_headers(response.headers),
        body_size=len(response.body),
        elapsed=elapsed,
        request_id=response.request_id,
    )
