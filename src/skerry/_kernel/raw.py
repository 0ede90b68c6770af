"""Raw access: the same methods, answering with everything that is known about the exchange."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

from skerry._kernel.request import Headers, find_header
from skerry.errors import SkerryError

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class RawResponse(Generic[T_co]):
    """The answer to a call, and the result made of it.

    For a method that takes several requests, status, headers and body are those of the last one, attempts and elapsed
    those of all together.

    Attributes:
        status: HTTP status.
        headers: name and value pairs, names in lower case.
        body: the bytes received.
        attempts: requests sent.
        elapsed: seconds, back-offs included.
        parsed: what the method returns otherwise.
    """

    status: int
    headers: Headers
    body: bytes
    attempts: int
    elapsed: float
    parsed: T_co

    def header(self, name: str) -> str | None:
        """The value of a header, None when it is absent."""
        return find_header(self.headers, name)

    @property
    def request_id(self) -> str | None:
        """The server's id of the request, where it gave one."""
        return self.header("x-request-id") or self.header("request-id")


_captured: ContextVar[list[RawResponse[Any]] | None] = ContextVar("skerry_raw", default=None)


def capture(exchange: RawResponse[Any]) -> None:
    """Hand an exchange to whoever asked for raw responses in this context, if anyone did."""
    captured = _captured.get()
    if captured is not None:
        captured.append(exchange)


@contextmanager
def _capturing() -> Iterator[list[RawResponse[Any]]]:
    captured: list[RawResponse[Any]] = []
    token = _captured.set(captured)
    try:
        yield captured
    finally:
        _captured.reset(token)


def _whole(captured: list[RawResponse[Any]], parsed: T) -> RawResponse[T]:
    if not captured:
        raise SkerryError("no request was sent, so there is no raw response", outcome="not_sent")
    last = captured[-1]
    return replace(
        last,
        attempts=sum(exchange.attempts for exchange in captured),
        elapsed=sum(exchange.elapsed for exchange in captured),
        parsed=parsed,
    )


def async_raw(method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[RawResponse[T]]]:
    """The same method, awaited for its `RawResponse`."""

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> RawResponse[T]:
        with _capturing() as captured:
            parsed = await method(*args, **kwargs)
        return _whole(captured, parsed)

    return call


def raw(method: Callable[P, T]) -> Callable[P, RawResponse[T]]:
    """The same method, returning its `RawResponse`."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> RawResponse[T]:
        with _capturing() as captured:
            parsed = method(*args, **kwargs)
        return _whole(captured, parsed)

    return call
