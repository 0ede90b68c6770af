"""Transports whose answers come in pieces, and may break between two of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from skerry._io.transport import AsyncStreamedResponse, StreamedResponse
from skerry._kernel.request import Headers, Request, Response, TransportFailure

Piece = bytes | TransportFailure
EVENT_STREAM: Headers = (("content-type", "text/event-stream"),)


class Streams:
    """Answers in order, each a status and its pieces; a failure among the pieces breaks the stream there."""

    def __init__(self, *answers: tuple[int, list[Piece]]) -> None:
        self._answers = list(answers)
        self.sent: list[Request] = []
        self.open = 0

    def next(self, request: Request) -> tuple[int, list[Piece]]:
        """The next answer."""
        self.sent.append(request)
        return self._answers.pop(0)

    def _pieces(self, pieces: list[Piece]) -> Iterator[bytes]:
        for piece in pieces:
            if isinstance(piece, TransportFailure):
                raise piece
            yield piece


class AsyncPieces(Streams):
    """For asynchronous clients."""

    async def send(self, request: Request) -> Response:
        """The next answer as a whole."""
        status, pieces = self.next(request)
        return Response(status, EVENT_STREAM, b"".join(self._pieces(pieces)))

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[AsyncStreamedResponse]:
        """The next answer, piece by piece."""
        status, pieces = self.next(request)

        async def chunks() -> AsyncIterator[bytes]:
            for piece in self._pieces(pieces):
                yield piece

        self.open += 1
        try:
            yield AsyncStreamedResponse(status, EVENT_STREAM, chunks())
        finally:
            self.open -= 1

    async def aclose(self) -> None:
        """Nothing is held."""


class Pieces(Streams):
    """For synchronous clients."""

    def send(self, request: Request) -> Response:
        """The next answer as a whole."""
        status, pieces = self.next(request)
        return Response(status, EVENT_STREAM, b"".join(self._pieces(pieces)))

    @contextmanager
    def stream(self, request: Request) -> Iterator[StreamedResponse]:
        """The next answer, piece by piece."""
        status, pieces = self.next(request)
        self.open += 1
        try:
            yield StreamedResponse(status, EVENT_STREAM, self._pieces(pieces))
        finally:
            self.open -= 1

    def close(self) -> None:
        """Nothing is held."""
