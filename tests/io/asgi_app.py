"""An ASGI application with every way to answer, good and bad."""

from __future__ import annotations

import asyncio
from typing import Any


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    host = dict(scope["headers"])[b"host"]
    headers = [(b"X-Path", scope["raw_path"]), (b"X-Query", scope["query_string"]), (b"X-Host", host)]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    assert (await receive())["type"] == "http.disconnect"


async def _fails(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("application trouble")


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    return


async def _half(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


async def _endless(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"tick", "more_body": True})


async def _silent(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


_ROUTES = {
    "echo": _echo,
    "fails": _fails,
    "nothing": _nothing,
    "half": _half,
    "endless": _endless,
    "silent": _silent,
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer by the last part of the path."""
    await _ROUTES[scope["path"].rpartition("/")[2]](scope, receive, send)
