"""What a serving job of this machine serves, at `/serve/<job_id>/v1`: requests go to its server and answers come back.

The server itself asks for a key, so that nobody else on this machine can use it; here none is asked for, as the
network's guide has it (`api_key="not-needed"`): who knows the job's name may use what it serves. It ends with the job.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import httpx2
from sqlalchemy import Row

from skerry.island.asgi import BodyTooLarge, ClientGone, Receive, Scope, header, read_body
from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import job_rows, wire
from skerry.island.faces.dc1.call import Answer
from skerry.island.faces.dc1.errors import Fault
from skerry.island.provider.records import SERVING_TYPE

_PATH = re.compile(rb"/serve/([A-Za-z0-9\-]{1,64})/v1((?:/[A-Za-z0-9_\-.]+)+)")
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 600.0
"""How long a model may think before it says anything."""


class Upstream(Protocol):
    """A server of a model."""

    @property
    def base_url(self) -> str: ...
    @property
    def api_key(self) -> str | None: ...


class Served:
    """Passes requests on.

    Args:
        engine: open.
        find: the server of a job, by its row; None where there is none.
    """

    def __init__(self, engine: Engine, find: Callable[[Row[Any]], Upstream | None]) -> None:
        self._engine = engine
        self._find = find
        self._client = httpx2.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=256),
        )

    async def close(self) -> None:
        """Let go of every connection."""
        await self._client.aclose()

    async def answer(self, scope: Scope, receive: Receive, path: bytes) -> Answer | None:
        """What the server says; None for paths that lead to none.

        Raises:
            Fault: 404 where no job of that name serves, 502 where its server does not answer.
        """
        if not path.startswith(b"/serve/"):
            return None
        match = _PATH.fullmatch(path)
        job = None if match is None else await self._engine.store.read(job_rows.find, match[1].decode())
        if match is None or job is None or job.job_type != SERVING_TYPE or job.status != "running":
            raise Fault(404, "No such serving job is running")
        upstream = self._find(job)
        if upstream is None:
            raise Fault(503, "The model is being loaded; ask again in a moment", job_id=job.job_id)
        try:
            body = await read_body(scope, receive, wire.MOST_BODY_BYTES)
        except BodyTooLarge:
            raise Fault(413, f"A body has at most {wire.MOST_BODY_BYTES >> 20} MB") from None
        url = upstream.base_url.rstrip("/") + match[2].decode()
        # A model that nobody listens to any more must not go on thinking.
        asking = asyncio.ensure_future(self._pass(scope, upstream, url, body))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise ClientGone
            return asking.result()
        finally:
            for task in (asking, leaving):
                task.cancel()
            await asyncio.gather(asking, leaving, return_exceptions=True)

    async def _pass(self, scope: Scope, upstream: Upstream, url: str, body: bytes) -> Answer:
        headers = {
            name: value
            for name in ("content-type", "accept")
            if (value := header(scope["headers"], name.encode())) is not None
        }
        if upstream.api_key is not None:
            headers["authorization"] = f"Bearer {upstream.api_key}"
        request = self._client.build_request(scope["method"], url, headers=headers, content=body or None)
        try:
            answer = await self._client.send(request, stream=True)
        except httpx2.HTTPError:
            raise Fault(502, "The model's server does not answer") from None
        media = answer.headers.get("content-type", "application/json")
        if media.startswith("text/event-stream"):
            return Answer(_parts(answer), answer.status_code, media, ((b"cache-control", b"no-cache"),))
        try:
            return Answer(await answer.aread(), answer.status_code, media)
        except httpx2.HTTPError:
            raise Fault(502, "The model's server broke off") from None
        finally:
            await answer.aclose()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _parts(answer: httpx2.Response) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(answer):
        # A stream that has begun can only break off.
        with contextlib.suppress(httpx2.HTTPError):
            async for part in answer.aiter_raw():
                yield part
