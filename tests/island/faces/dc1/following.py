"""A client that reads an answer as it comes, and may leave before its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from tests.island.engine.lab import PATIENCE
from tests.island.faces.dc1.stage import Stage


class Follower:
    """One answer on its way.

    Args:
        gate: as long as it is not set, what is sent is not taken.
    """

    def __init__(self, gate: asyncio.Event) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.sent = 0
        self.ended = asyncio.Event()
        self.begun = asyncio.Event()
        self._gate = gate
        self._parts: asyncio.Queue[bytes] = asyncio.Queue()
        self._rest = b""
        self._leave = asyncio.Event()
        self._asked = False

    async def frame(self) -> dict[str, str]:
        """The next event: its fields by name; comments are left out."""
        async with asyncio.timeout(PATIENCE):
            while True:
                while b"\n\n" not in self._rest:
                    self._rest += await self._parts.get()
                text, _, self._rest = self._rest.partition(b"\n\n")
                fields = dict(line.split(": ", 1) for line in text.decode().split("\n") if not line.startswith(":"))
                if fields:
                    return fields

    async def data(self) -> Any:
        """What the next event says."""
        return json.loads((await self.frame())["data"])

    async def comment(self) -> bytes:
        """The next part, as it is."""
        async with asyncio.timeout(PATIENCE):
            return await self._parts.get()

    def leave(self) -> None:
        """Close the connection."""
        self._leave.set()

    async def receive(self) -> MutableMapping[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            self.begun.set()
            return
        await self._gate.wait()
        self.sent += 1
        self._parts.put_nowait(message.get("body", b""))


@asynccontextmanager
async def follow(
    stage: Stage, target: str, headers: dict[str, str] | None = None, *, gate: asyncio.Event | None = None
) -> AsyncIterator[Follower]:
    """Ask for something as the first renter, and read it as it comes."""
    if gate is None:
        gate = asyncio.Event()
        gate.set()
    follower = Follower(gate)
    path, _, query = target.partition("?")
    named = {"x-renter-key": stage.key, **(headers or {})}
    scope: MutableMapping[str, Any] = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "server": ("127.0.0.1", 4242),
        "raw_path": (stage.mount + path).encode(),
        "path": stage.mount + path,
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "client": ("127.0.0.1", 50000),
    }
    task = asyncio.ensure_future(stage.app(scope, follower.receive, follower.send))
    task.add_done_callback(lambda _: follower.ended.set())
    try:
        async with asyncio.timeout(PATIENCE):
            await follower.begun.wait()
        yield follower
    finally:
        follower.leave()
        gate.set()
        async with asyncio.timeout(PATIENCE):
            await task
