"""The two things a transport can do: fetch a whole answer, and open one to be read piece by piece.

Anything with these methods may be given to a client in place of the network.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from skerry._kernel.request import Headers, Request, Response


@dataclass(frozen=True, slots=True)
class AsyncStreamedResponse:
    """An answer whose body is still arriving; valid inside the `stream` block only.

    Attributes:
        status: HTTP status.
        headers: name and value pairs, names in lower case.
        chunks: the body, once.
    """

    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]

    async def aread(self) -> Response:
        """The rest of the body, as a complete answer."""
        return Response(self.status, self.headers, b"".join([chunk async for chunk in self.chunks]))


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """An answer whose body is still arriving; valid inside the `stream` block only.

    Attributes:
        status: HTTP status.
        headers: name and value pairs, names in lower case.
        chunks: the body, once.
    """

    status: int
    headers: Headers
    chunks: Iterator[bytes]

    def read(self) -> Response:
        """The rest of the body, as a complete answer."""
        return Response(self.status, self.headers, b"".join(self.chunks))


class AsyncTransport(Protocol):
    """Carries requests for asynchronous clients."""

    async def send(self, request: Request) -> Response:
        """Send a request and collect the answer.

        Raises:
            TransportFailure: no complete answer came within `request.timeout`.
        """
        ...

    def stream(self, request: Request) -> AbstractAsyncContextManager[AsyncStreamedResponse]:
        """Send a request and hand out the answer while it arrives.

        `request.timeout` bounds the wait for each piece, not the whole.

        Raises:
            TransportFailure: on entering, or while reading.
        """
        ...

    async def aclose(self) -> None:
        """Let go of every connection; may be called twice."""
        ...


class Transport(Protocol):
    """Carries requests for synchronous clients; safe to use from several threads."""

    def send(self, request: Request) -> Response:
        """Send a request and collect the answer.

        Raises:
            TransportFailure: no complete answer came within `request.timeout`.
        """
        ...

    def stream(self, request: Request) -> AbstractContextManager[StreamedResponse]:
        """Send a request and hand out the answer while it arrives.

        `request.timeout` bounds the wait for each piece, not the whole.

        Raises:
            TransportFailure: on entering, or while reading.
        """
        ...

    def close(self) -> None:
        """Let go of every connection; may be called twice."""
        ...
