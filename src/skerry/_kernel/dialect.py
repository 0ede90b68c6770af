"""What a driver must know of a network, as values; a driver itself knows no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from skerry._kernel.interception import NO_INTERCEPTORS, Interceptors
from skerry._kernel.model import NOT_GIVEN, NotGiven
from skerry._kernel.request import Body, Headers, Request, Response, TransportFailure
from skerry._kernel.retry import RetryPolicy, Safety, parse_retry_after
from skerry.errors import DeadlineExceededError, SkerryError

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Operation:
    """One documented call of a network.

    Attributes:
        name: our name, nouns first, such as `vms.fork`.
        method: HTTP method.
        path: template below the base URL, such as `/v1/vms/{vm_id}/fork`.
        safety: what repeating it may do.
        auth: whether it carries the caller's key.
        keyed: whether the wire takes an idempotency key.
        request: type of the body, None for no body.
        response: type of the answer.
        base: `network` for the network's base URL, `absolute` for a URL the server handed out.
        summary: one line for people.
    """

    name: str
    method: str
    path: str
    safety: Safety
    response: Any
    request: Any = None
    auth: bool = True
    keyed: bool = False
    base: Literal["network", "absolute"] = "network"
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One operation with its arguments filled in: what to send, and how to read the answer.

    Attributes:
        operation: which operation.
        url: absolute and encoded.
        parse: reads a successful answer.
        headers: what the call adds beyond the dialect's.
        body: what is sent.
        timeout: seconds per try; not given for the dialect's default.
        keyed: an idempotency key is among the headers.
        error: replaces the dialect's error parser, for calls outside the API such as presigned URLs.
        retry: replaces the dialect's retry policy.
    """

    operation: Operation
    url: str
    parse: Callable[[Response], T_co]
    headers: Headers = ()
    body: Body = None
    timeout: float | NotGiven | None = NOT_GIVEN
    keyed: bool = False
    error: Callable[[Response], SkerryError | None] | None = None
    retry: RetryPolicy | None = None

    @property
    def safety(self) -> Safety:
        """What repeating this very call may do."""
        return "keyed" if self.keyed and self.operation.safety == "unsafe" else self.operation.safety


def any_retry_after(response: Response) -> float | None:
    """Seconds that an answer asks to wait, by any of the headers in use, whatever its status."""
    return parse_retry_after(response.header("retry-after"), response.header("retry-after-ms"))


@dataclass(frozen=True, slots=True)
class Dialect:
    """A network as one client speaks it.

    Attributes:
        network: its name.
        sign: adds credentials to a request; called for every try, after all other headers are set.
        error: the error an answer stands for, None when it is a success.
        failure: the error a transport failure stands for.
        retry: the network's documented retry policy, as configured.
        timeout: default seconds per try, None for no limit.
        headers: sent with every call of the API.
        defaults: sent with every call of the API, unless the caller gives the same header.
        interceptors: what the network's own hooks do around every try.
        out_of_time: the error for a caller who gave up or whose deadline passed.
        retry_after: seconds that an answer which is an error asks to wait.
    """

    network: str
    sign: Callable[[Request], Request]
    error: Callable[[Response], SkerryError | None]
    failure: Callable[[TransportFailure], SkerryError]
    retry: RetryPolicy
    timeout: float | None = None
    headers: Headers = ()
    defaults: Headers = ()
    interceptors: Interceptors = NO_INTERCEPTORS
    out_of_time: type[DeadlineExceededError] = DeadlineExceededError
    retry_after: Callable[[Response], float | None] = any_retry_after
