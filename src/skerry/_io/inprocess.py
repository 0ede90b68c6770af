"""Requests to an ASGI application in the same process, without sockets.

The application's lifespan is its owner's affair. Endless answers work, for the body is handed out while it is made.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from skerry._io.transport import AsyncStreamedResponse, StreamedResponse
from skerry._io.waiting import async_bounded, async_chunks
from skerry._kernel.request import BodySource, Headers, Request, Response, TransportFailure
from skerry.errors import ConfigurationError

_log = logging.getLogger("skerry.inprocess")

R = TypeVar("R")
Message = MutableMapping[str, Any]
AsgiApp = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


def _scope(request: Request) -> dict[str, Any]:
    parts = urlsplit(request.url)
    headers = [("host", parts.netloc), *request.headers]
    if isinstance(request.body, BodySource):
        headers.append(("content-length", str(request.body.length)))
    elif request.body is not None:
        headers.append(("content-length", str(len(request.body))))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": parts.scheme,
        "path": unquote(parts.path) or "/",
        "raw_path": (parts.path or "/").encode("ascii", "replace"),
        "root_path": "",
        "query_string": parts.query.encode("ascii", "replace"),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 0),
        "server": (parts.hostname or "localhost", parts.port or (443 if parts.scheme == "https" else 80)),
        "extensions": {},
    }


class _Exchange:
    """One request as the application sees it."""

    def __init__(self, request: Request) -> None:
        self._body = self._pieces(request)
        self._sent_all = False
        self.answered = False
        self.gone = asyncio.Event()
        self.messages: asyncio.Queue[Message] = asyncio.Queue(maxsize=8)

    @staticmethod
    async def _pieces(request: Request) -> AsyncIterator[bytes]:
        if isinstance(request.body, BodySource):
            async for chunk in async_chunks(request.body):
                yield chunk
        elif request.body:
            yield request.body

    async def receive(self) -> Message:
        if self._sent_all:
            await self.gone.wait()
            return {"type": "http.disconnect"}
        piece = await anext(self._body, None)
        self._sent_all = piece is None
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(self, message: Message) -> None:
        if self.gone.is_set():
            raise OSError("the client has gone")
        await self.messages.put(message)


class AsyncInProcessTransport:
    """Carries requests to an ASGI application on the running event loop.

    Args:
        app: the application.
    """

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def send(self, request: Request) -> Response:
        """Send a request and collect the answer.

        Raises:
            TransportFailure: the application failed or did not answer within `request.timeout`.
        """
        return await async_bounded(self._collect, request, request.timeout, None)

    async def _collect(self, request: Request) -> Response:
        async with self.stream(request) as streamed:
            return await streamed.aread()

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[AsyncStreamedResponse]:
        """Send a request and hand out the answer while it is made.

        Raises:
            TransportFailure: the application failed.
        """
        exchange = _Exchange(request)
        running = asyncio.ensure_future(self._app(_scope(request), exchange.receive, exchange.send))
        try:
            start = await _next(exchange, running)
            headers: Headers = tuple(
                (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in start.get("headers", [])
            )
            yield AsyncStreamedResponse(start["status"], headers, _chunks(exchange, running))
        finally:
            exchange.gone.set()
            # An application may go on after a complete answer; one whose client left early may not.
            if not exchange.answered:
                running.cancel()
            await asyncio.wait([running])
            if not running.cancelled() and (error := running.exception()) is not None and exchange.answered:
                _log.warning("the application failed after its answer", exc_info=error)

    async def aclose(self) -> None:
        """Nothing is held."""


async def _next(exchange: _Exchange, running: asyncio.Future[None]) -> Message:
    getting = asyncio.ensure_future(exchange.messages.get())
    try:
        either: list[asyncio.Future[Any]] = [getting, running]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            return getting.result()
    finally:
        getting.cancel()
    # The last message and the end may come together, and the message counts.
    if not exchange.messages.empty():
        return exchange.messages.get_nowait()
    error = None if running.cancelled() else running.exception()
    text = f"the application failed: {error!r}" if error else "the application gave no complete answer"
    raise TransportFailure(text) from error


async def _chunks(exchange: _Exchange, running: asyncio.Future[None]) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await _next(exchange, running)
        if message["type"] == "http.response.body":
            more = message.get("more_body", False)
            exchange.answered = not more
            if message.get("body"):
                yield bytes(message["body"])


class InProcessTransport:
    """Carries requests to an ASGI application from threads.

    Args:
        app: the application.
        loop: the running event loop the application belongs to; without one, a loop in a thread of its own is started
            on first use.
    """

    def __init__(self, app: AsgiApp, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._inner = AsyncInProcessTransport(app)
        self._loop = loop
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise ConfigurationError("this client is closed; make a new one")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="skerry-in-process", daemon=True)
                self._thread.start()
            return self._loop

    def _do(self, work: Callable[[Any], Coroutine[Any, Any, R]], argument: Any) -> R:
        loop = self._running_loop()
        future = asyncio.run_coroutine_threadsafe(work(argument), loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def send(self, request: Request) -> Response:
        """Send a request and collect the answer.

        Raises:
            TransportFailure: the application failed or did not answer within `request.timeout`.
        """
        return self._do(self._inner.send, request)

    @contextmanager
    def stream(self, request: Request) -> Iterator[StreamedResponse]:
        """Send a request and hand out the answer while it is made.

        Raises:
            TransportFailure: the application failed.
        """
        opened = self._inner.stream(request)
        streamed = self._do(_enter, opened)

        def chunks() -> Iterator[bytes]:
            while (chunk := self._do(_one, streamed.chunks)) is not None:
                yield chunk

        try:
            yield StreamedResponse(streamed.status, streamed.headers, chunks())
        finally:
            self._do(_leave, opened)

    def close(self) -> None:
        """Stop the loop's thread, if one was started."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _enter(opened: Any) -> AsyncStreamedResponse:
    streamed: AsyncStreamedResponse = await opened.__aenter__()
    return streamed


async def _one(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


async def _leave(opened: Any) -> None:
    await opened.__aexit__(None, None, None)
