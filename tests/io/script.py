"""Transports that follow a script, and sleepers that only take notes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from skerry._io.transport import AsyncStreamedResponse, StreamedResponse
from skerry._io.waiting import async_once, once
from skerry._kernel.effects import Effects
from skerry._kernel.options import Deadline
from skerry._kernel.request import Request, Response, TransportFailure

Step = Response | TransportFailure | Callable[[Request], Response]


def answer(status: int = 200, body: Any = None, **headers: str) -> Response:
    """A JSON answer; underscores in header names are dashes."""
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Response(status, pairs, b"" if body is None else json.dumps(body).encode())


class Script:
    """Answers in order, the last one for ever."""

    def __init__(self, *steps: Step) -> None:
        self._steps = list(steps)
        self.sent: list[Request] = []
        self.closed = 0

    def play(self, request: Request) -> Response:
        """The next answer."""
        self.sent.append(request)
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        if isinstance(step, TransportFailure):
            raise step
        return step if isinstance(step, Response) else step(request)


class AsyncScripted(Script):
    """A script for asynchronous clients."""

    async def send(self, request: Request) -> Response:
        """The next answer."""
        return self.play(request)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[AsyncStreamedResponse]:
        """The next answer, in one piece."""
        response = self.play(request)
        yield AsyncStreamedResponse(response.status, response.headers, async_once(response.body))

    async def aclose(self) -> None:
        """Count it."""
        self.closed += 1


class Scripted(Script):
    """A script for synchronous clients."""

    def send(self, request: Request) -> Response:
        """The next answer."""
        return self.play(request)

    @contextmanager
    def stream(self, request: Request) -> Iterator[StreamedResponse]:
        """The next answer, in one piece."""
        response = self.play(request)
        yield StreamedResponse(response.status, response.headers, once(response.body))

    def close(self) -> None:
        """Count it."""
        self.closed += 1


class Notes:
    """A clock that moves only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.effects = Effects(
            monotonic=lambda: self.now, unix_ms=lambda: 0, random=lambda: 0.0, entropy=lambda count: bytes(count)
        )

    def sleep(self, seconds: float, deadline: Deadline | None = None) -> None:
        """Move the clock."""
        self.slept.append(round(seconds, 6))
        self.now += seconds

    async def async_sleep(self, seconds: float, deadline: Deadline | None = None) -> None:
        """Move the clock."""
        self.sleep(seconds, deadline)
