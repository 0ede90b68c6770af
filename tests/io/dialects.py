"""A small network of our own to drive."""

from __future__ import annotations

import json
from typing import Any

from skerry._kernel.dialect import Call, Dialect, Operation
from skerry._kernel.request import Headers, Request, Response, TransportFailure
from skerry._kernel.retry import RetryPolicy, Safety, doubling
from skerry.errors import ConnectionFailedError, ServerError, SkerryError

POLICY = RetryPolicy(attempts=3, backoff=doubling(1.0, 60.0, 0.0))


def _sign(request: Request) -> Request:
    return request.but(headers=(*request.headers, ("authorization", f"Signed {request.attempt}")))


def _error(response: Response) -> SkerryError | None:
    return None if response.ok else ServerError(f"HTTP {response.status}", status=response.status)


def _failure(failure: TransportFailure) -> SkerryError:
    return ConnectionFailedError(failure.message, outcome="not_sent" if failure.kind == "never_sent" else "unknown")


TOY = Dialect("toy", _sign, _error, _failure, POLICY, timeout=30.0, headers=(("x-toy", "1"),))


def toy_call(
    safety: Safety = "idempotent", *, body: Any = None, headers: Headers = (), auth: bool = True, **call: Any
) -> Call[Any]:
    """A call of the toy network that returns the JSON it gets."""
    operation = Operation("toys.make", "POST", "/toys", safety, dict, auth=auth, base="network" if auth else "absolute")
    return Call(
        operation,
        "https://toy.test/toys",
        lambda response: json.loads(response.body or b"null"),
        headers,
        None if body is None else json.dumps(body).encode(),
        **call,
    )
