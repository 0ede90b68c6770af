"""Servers of models that providers run by themselves and tell of in their heartbeats (sections 3.7.1, 3.8).

Whoever registers as a provider chooses what such a server sends: its size is bounded, it must be JSON that can be sent
on, and it leads nowhere else. That it is at the address of its heartbeats was seen when they came.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from skerry._kernel.sse import EventParser
from skerry.errors import ProtocolError
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.errors import Fault

if TYPE_CHECKING:
    import httpx2

UNREADABLE = (wire.Unreadable, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What comes of reading something that is not of the form that was expected."""

_CONNECT_SECONDS = 5.0
_MOST_ANSWER = 8 << 20


class EndpointFailed(Fault):
    """A provider's own server does not answer, or not as it must.

    Args:
        why: in words.
    """

    def __init__(self, why: str) -> None:
        super().__init__(503, "no_providers_available", message=why)


class ResidentEndpoints:
    """Asks such servers."""

    def __init__(self) -> None:
        self._client: httpx2.AsyncClient | None = None

    async def close(self) -> None:
        """Let go of every connection."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def whole(self, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """All of an answer.

        Raises:
            EndpointFailed: there is none.
        """
        async with self._asked(url, body) as answer:
            return _object(b"".join([part async for part in _bounded(answer)]))

    async def events(self, url: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """An answer piece by piece.

        Raises:
            EndpointFailed: there is none, or it breaks off.
        """
        async with self._asked(url, body) as answer:
            parser = EventParser()
            async for part in _bounded(answer):
                for event in parser.feed(part):
                    if event.data.strip() == "[DONE]":
                        return
                    found = _object(event.data)
                    if "error" in found:
                        raise EndpointFailed("The provider's endpoint broke off")
                    yield found
            raise EndpointFailed("The provider's endpoint broke off")

    @asynccontextmanager
    async def _asked(self, url: str, body: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
        # Few islands ever ask one, and loading it takes a good part of a start.
        import httpx2

        if self._client is None:
            timeout = httpx2.Timeout(None, connect=_CONNECT_SECONDS)
            self._client = httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=timeout)
        target = url.rstrip("/").removesuffix("/v1") + "/v1/chat/completions"
        try:
            answer = await self._client.send(self._client.build_request("POST", target, json=body), stream=True)
            async with contextlib.aclosing(answer):
                if answer.status_code != 200:
                    raise EndpointFailed("The provider's endpoint refused")
                yield answer
        except (httpx2.HTTPError, httpx2.InvalidURL, ProtocolError, *UNREADABLE):
            raise EndpointFailed("The provider's endpoint does not answer") from None


async def _bounded(answer: httpx2.Response) -> AsyncIterator[bytes]:
    total = 0
    async for part in answer.aiter_bytes():
        total += len(part)
        if total > _MOST_ANSWER:
            raise ValueError("the answer is too large")
        yield part


def _object(content: bytes | str) -> dict[str, Any]:
    """An object that can be sent on as it is."""
    found = wire.decode(content if isinstance(content, bytes) else content.encode())
    if not isinstance(found, dict):
        raise TypeError("the answer is no object")
    return found
