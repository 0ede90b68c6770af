"""A stage for replaying: transports that serve what was recorded, a clock that stands still, sleep that is noted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

from skerry._io.transport import AsyncStreamedResponse, StreamedResponse
from skerry._kernel.effects import Effects
from skerry._kernel.options import Deadline
from skerry._kernel.request import BodySource, Request, Response, TransportFailure
from tests.vectors.cases import check_bytes, check_json, query_of, stub_body

UNIX_MS = 1767225600123
# Their absence matters as much as their presence.
SIGNIFICANT_HEADERS = ("authorization", "content-type", "idempotency-key")


class Stage:
    """What happened in one replay.

    Args:
        stubs: recorded answers, served in order.
        chance: what the source of randomness gives.
    """

    def __init__(self, stubs: list[dict[str, Any]], chance: float = 0.0) -> None:
        self._stubs = list(stubs)
        self.sent: list[Request] = []
        self.slept: list[float] = []
        self.effects = Effects(
            monotonic=lambda: 0.0,
            unix_ms=lambda: UNIX_MS,
            random=lambda: chance,
            entropy=lambda count: bytes(range(count)),
        )

    def answer(self, request: Request) -> Response:
        """Note the request and give the next recorded answer."""
        self.sent.append(request)
        assert self._stubs, f"nothing was recorded for a further request: {request.method} {request.url}"
        stub = self._stubs.pop(0)
        if "network_error" in stub:
            raise TransportFailure(stub["network_error"])
        headers = tuple((name.lower(), str(value)) for name, value in (stub.get("headers") or {}).items())
        body = stub_body(stub["body"]) if "body" in stub else b""
        return Response(stub["status"], headers, body)

    async def async_sleep(self, seconds: float, deadline: Deadline | None = None) -> None:
        """Note the wait instead of waiting."""
        self.slept.append(seconds)

    def sleep(self, seconds: float, deadline: Deadline | None = None) -> None:
        """Note the wait instead of waiting."""
        self.slept.append(seconds)

    def check_requests(self, expected: list[dict[str, Any]]) -> None:
        """Compare what was sent with what was recorded, request by request."""
        assert [request.method for request in self.sent] == [record["method"] for record in expected]
        for request, record in zip(self.sent, expected, strict=True):
            _check_request(request, record)

    def check_sleeps(self, expected: list[float] | None) -> None:
        """Compare the waits, in milliseconds; without a record there must have been none worth noting."""
        slept = [round(seconds * 1000, 3) for seconds in self.slept]
        if expected is None or 0 not in expected:
            slept = [milliseconds for milliseconds in slept if milliseconds]
        assert slept == list(expected or [])


def _check_request(request: Request, record: dict[str, Any]) -> None:
    parts = urlsplit(request.url)
    # Host names have no case, and what recorded them wrote them in lower case.
    assert f"{parts.scheme}://{parts.netloc.lower()}" == record["origin"].lower()
    assert parts.path == record["path"]
    assert query_of(parts.query) == (record.get("query") or {})
    headers = record.get("headers") or {}
    for name in {*SIGNIFICANT_HEADERS, *headers}:
        assert request.header(name) == headers.get(name), name
    body = request.body
    if isinstance(body, BodySource):
        body = b"".join(body.open())
    expected = record.get("body")
    if expected is None:
        assert body is None
    elif isinstance(expected, dict) and any(name.startswith("$") for name in expected):
        check_bytes(body or b"", expected)
    else:
        check_json(json.loads(body or b""), expected)


class AsyncRecorded:
    """Serves a stage to asynchronous clients."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def send(self, request: Request) -> Response:
        """The next recorded answer."""
        return self._stage.answer(request)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[AsyncStreamedResponse]:
        """The next recorded answer, in one piece."""
        response = self._stage.answer(request)

        async def chunks() -> AsyncIterator[bytes]:
            yield response.body

        yield AsyncStreamedResponse(response.status, response.headers, chunks())

    async def aclose(self) -> None:
        """Nothing is held."""


class Recorded:
    """Serves a stage to synchronous clients."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def send(self, request: Request) -> Response:
        """The next recorded answer."""
        return self._stage.answer(request)

    @contextmanager
    def stream(self, request: Request) -> Iterator[StreamedResponse]:
        """The next recorded answer, in one piece."""
        response = self._stage.answer(request)
        yield StreamedResponse(response.status, response.headers, iter([response.body]))

    def close(self) -> None:
        """Nothing is held."""
