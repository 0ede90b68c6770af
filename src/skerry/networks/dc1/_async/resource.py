"""What the resources of the client share: sending as the right role, and reading events as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from skerry._io._async.driver import AsyncDriver
from skerry._kernel.model import NOT_GIVEN
from skerry._kernel.options import RequestOptions
from skerry._kernel.request import Headers
from skerry._kernel.sse import Event, EventParser
from skerry.errors import InvalidRequestError
from skerry.networks.dc1.config import Config
from skerry.networks.dc1.dialect import Role, needed_key
from skerry.networks.dc1.operations import Route, build

T = TypeVar("T")

_KEY_LENGTH = 128
_STREAM_TIMEOUT = 300.0
_EVENT_STREAM: Headers = (("accept", "text/event-stream"),)


@dataclass(frozen=True)
class AsyncChannel:
    """How a client's resources reach the network.

    Attributes:
        config: the client's settings.
        drivers: one for each role, over the same connections.
    """

    config: Config
    drivers: Mapping[Role, AsyncDriver]


class AsyncResource:
    """A group of calls of one client."""

    def __init__(self, channel: AsyncChannel) -> None:
        self._channel = channel

    def _key(self, role: Role) -> str:
        return needed_key(self._channel.config, role)

    async def _send(
        self,
        route: Route[T],
        *names: str | int,
        query: Mapping[str, Any] | None = None,
        body: Any = NOT_GIVEN,
        headers: Headers = (),
        options: RequestOptions | None = None,
    ) -> T:
        if not route.open:
            self._key(route.role)
        driver = self._channel.drivers[route.role]
        chosen = driver.options if options is None else options.over(driver.options)
        call = build(route, self._channel.config.base_url, *names, query=query, body=body, headers=headers)
        key = chosen.idempotency_key
        if key is not None and route.operation.keyed:
            if not 0 < len(key) <= _KEY_LENGTH:
                raise InvalidRequestError(f"an idempotency key has 1 to {_KEY_LENGTH} characters", network="dc1")
            call = replace(call, headers=(*call.headers, ("x-idempotency-key", key)), keyed=True)
        return await driver.send(call, options)

    async def _events(
        self,
        route: Route[Any],
        *names: str | int,
        query: Mapping[str, Any] | None = None,
        body: Any = NOT_GIVEN,
        options: RequestOptions | None = None,
    ) -> AsyncGenerator[Event]:
        if not route.open:
            self._key(route.role)
        call = build(route, self._channel.config.base_url, *names, query=query, body=body, headers=_EVENT_STREAM)
        parser = EventParser()
        pieces = self._channel.drivers[route.role].stream(replace(call, timeout=_STREAM_TIMEOUT), options)
        async with aclosing(pieces):
            async for piece in pieces:
                for event in parser.feed(piece):
                    yield event
