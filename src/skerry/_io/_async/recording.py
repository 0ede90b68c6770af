"""Transports that record what happens, and that play it back without any network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry._io.cassette import Cassette
from skerry._io.transport import AsyncStreamedResponse, AsyncTransport
from skerry._io.waiting import async_once
from skerry._kernel.request import Request, Response, TransportFailure


class AsyncRecordingTransport:
    """Passes requests on and writes down what came of them, secrets masked.

    Args:
        inner: what really carries the requests.
        cassette: what is recorded is added to it; save it when done.
    """

    def __init__(self, inner: AsyncTransport, cassette: Cassette) -> None:
        self._inner = inner
        self.cassette = cassette

    async def send(self, request: Request) -> Response:
        """Send a request and record the outcome.

        Raises:
            TransportFailure: the inner transport failed; that is recorded too.
        """
        try:
            response = await self._inner.send(request)
        except TransportFailure as failure:
            self.cassette.record(request, failure)
            raise
        self.cassette.record(request, response)
        return response

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[AsyncStreamedResponse]:
        """Send a request, hand out the answer while it arrives, and record as much as was read.

        Raises:
            TransportFailure: the inner transport failed; a failure to open is recorded too.
        """
        read: list[bytes] = []
        try:
            async with self._inner.stream(request) as streamed:

                async def chunks() -> AsyncIterator[bytes]:
                    async for chunk in streamed.chunks:
                        read.append(chunk)
                        yield chunk

                yield AsyncStreamedResponse(streamed.status, streamed.headers, chunks())
                self.cassette.record(request, Response(streamed.status, streamed.headers, b"".join(read)))
        except TransportFailure as failure:
            self.cassette.record(request, failure)
            raise

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()


class AsyncReplayTransport:
    """Plays a cassette: each request must be the next one recorded.

    Args:
        cassette: what to play.
    """

    def __init__(self, cassette: Cassette) -> None:
        self.cassette = cassette

    async def send(self, request: Request) -> Response:
        """The recorded outcome.

        Raises:
            TransportFailure: that is what was recorded.
            SkerryError: another request was recorded, or none.
        """
        return self.cassette.play(request)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[AsyncStreamedResponse]:
        """The recorded outcome, in one piece.

        Raises:
            TransportFailure: that is what was recorded.
            SkerryError: another request was recorded, or none.
        """
        response = self.cassette.play(request)
        yield AsyncStreamedResponse(response.status, response.headers, async_once(response.body))

    async def aclose(self) -> None:
        """Nothing is held."""
