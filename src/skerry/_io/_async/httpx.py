"""The default transport: httpx2, loaded and built on first use."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from skerry._io.httpx_support import (
    DIRECT,
    KEEPALIVE_CONNECTIONS,
    MAX_CONNECTIONS,
    failure_of,
    limits_of,
    lower_headers,
    scheme_of,
    tls_context,
    wire_headers,
)
from skerry._io.transport import AsyncStreamedResponse
from skerry._io.waiting import async_chunks, async_scope
from skerry._kernel.request import BodySource, Request, Response, TransportFailure
from skerry.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx2


class AsyncHttpxTransport:
    """Sends requests with httpx2.

    Redirects are never followed, for a redirected request would have to be signed anew. Proxies and trust come from
    the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, `SSL_CERT_FILE`), but no proxy stands before
    this machine itself: `localhost`, names below it, and loopback addresses.

    Args:
        client: an `httpx2.AsyncClient` to use instead of an own one; it stays the caller's to close. Its proxies,
            certificates, event hooks and limits apply; its default headers, cookies and base URL do not, so that what
            is sent is exactly what was signed.
    """

    def __init__(self, client: httpx2.AsyncClient | None = None) -> None:
        self._given = client
        self._own: dict[str, httpx2.AsyncClient] = {}
        self._home: object = None
        self._lock = threading.Lock()
        self._closed = False

    def _client(self, url: str) -> httpx2.AsyncClient:
        if self._closed:
            raise ConfigurationError("this client is closed; make a new one")
        scheme = scheme_of(url)
        if self._given is not None:
            return self._given
        home = async_scope()
        client = self._own.get(scheme)
        if client is not None and self._home == home:
            return client
        import httpx2

        with self._lock:
            if self._home != home:
                self._own, self._home = {}, home
            if scheme not in self._own:
                self._own[scheme] = httpx2.AsyncClient(
                    verify=tls_context(scheme),
                    mounts=DIRECT,
                    limits=httpx2.Limits(
                        max_connections=MAX_CONNECTIONS, max_keepalive_connections=KEEPALIVE_CONNECTIONS
                    ),
                    follow_redirects=False,
                    timeout=None,
                )
            return self._own[scheme]

    async def _open(self, request: Request) -> httpx2.Response:
        client = self._client(request.url)
        import httpx2

        body = request.body
        try:
            return await client.send(
                httpx2.Request(
                    request.method,
                    request.url,
                    headers=wire_headers(request),
                    content=async_chunks(body) if isinstance(body, BodySource) else body,
                    extensions={"timeout": limits_of(request.timeout)},
                ),
                stream=True,
                auth=None,
                follow_redirects=False,
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise failure_of(error) from error

    async def send(self, request: Request) -> Response:
        """Send a request and collect the answer.

        Raises:
            TransportFailure: no complete answer came within `request.timeout`.
        """
        began = time.monotonic()
        end = None if request.timeout is None else began + request.timeout
        response = await self._open(request)
        headers_after = time.monotonic() - began
        import httpx2

        pieces: list[bytes] = []
        try:
            async for piece in response.aiter_bytes():
                pieces.append(piece)
                if end is not None and time.monotonic() > end:
                    raise TransportFailure(f"no complete answer within {request.timeout:g} s", "timeout")
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise failure_of(error) from error
        finally:
            await response.aclose()
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return Response(response.status_code, lower_headers(response.headers), body, headers_after)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[AsyncStreamedResponse]:
        """Send a request and hand out the answer while it arrives.

        Raises:
            TransportFailure: on entering, or while reading.
        """
        response = await self._open(request)
        try:
            yield AsyncStreamedResponse(response.status_code, lower_headers(response.headers), _pieces(response))
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the connections of an own client; an injected one is left alone."""
        self._closed = True
        own, self._own = self._own, {}
        if self._home == async_scope():
            for client in own.values():
                await client.aclose()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if getattr(self, "_own", None) and not self._closed:
            _warn(
                "a client was not closed; use it in a `with` block or close it when done", ResourceWarning, stacklevel=2
            )


async def _pieces(response: httpx2.Response) -> AsyncIterator[bytes]:
    import httpx2

    try:
        async for piece in response.aiter_bytes():
            yield piece
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise failure_of(error) from error
