"""A face over an engine without walls, in time that stands still, asked without sockets."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, func, select

from skerry.island.app import App
from skerry.island.clock import VirtualClock
from skerry.island.engine.engine import Engine
from skerry.island.gateway import Face
from skerry.island.store.values import micros
from tests.answers import Answer
from tests.island.engine.lab import Lab

S = TypeVar("S", bound="Stage")
Headers = Mapping[str, str] | Sequence[tuple[str, str]]
"""Of a request; a sequence may name one twice."""


class Stage:
    """One island's application, called without sockets.

    Args:
        directory: for everything.
        start: when its clock stands still.
        settings: of the lab and the island.

    Attributes:
        key: of the first account.
        parts: in how many parts the body of the last answer came.
    """

    network: str

    def __init__(self, directory: Path, start: datetime, **settings: Any) -> None:
        self.clock = VirtualClock(start)
        self.lab = Lab(directory, clock=self.clock, **settings)
        self.app: App
        self.key = ""
        self.mount = f"/{self.network}"
        self.host = "127.0.0.1:4242"
        self.address = "127.0.0.1"
        self.parts = 0

    def make(self, engine: Engine) -> Face:
        """The face over an engine that was just opened."""
        raise AssertionError(f"{type(self).__name__} has no face")

    async def open(self) -> None:
        engine = await self.lab.open()
        self.app = App(engine, [self.make(engine)])
        await self.app.start()
        self.key = engine.credentials[self.network]

    async def close(self) -> None:
        await self.app.stop()
        await self.lab.end()

    async def again(self) -> None:
        """End as SIGKILL does, and open again on the same data."""
        await self.app.stop()
        await self.lab.engine.crash()
        await self.open()

    @property
    def now(self) -> int:
        return micros(self.clock.now())

    async def exchange(
        self, method: str, target: str, headers: Headers = (), body: bytes = b"", *, chunks: int = 1
    ) -> Answer:
        """One exchange, exactly as given; the target is below the mount. A stream is read to its end."""
        path, _, query = target.partition("?")
        fields = headers.items() if isinstance(headers, Mapping) else headers
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "server": ("127.0.0.1", 4242),
            "raw_path": (self.mount + path).encode("latin-1"),
            "path": self.mount + path,
            "root_path": "",
            "query_string": query.encode("latin-1"),
            "headers": [
                (b"host", self.host.encode()),
                *((name.lower().encode(), value.encode("latin-1")) for name, value in fields),
            ],
            "client": (self.address, 50000) if self.address else None,
        }
        size = -(-len(body) // chunks) or 1
        parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]

        async def receive() -> MutableMapping[str, Any]:
            if not parts:
                # Whoever reads on waits for the caller to leave, which never happens.
                await asyncio.Event().wait()
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        sent: list[MutableMapping[str, Any]] = []

        async def keep(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, keep)
        begin, *rest = sent
        found = {name.decode(): value.decode() for name, value in begin["headers"]}
        whole = b"".join(part.get("body", b"") for part in rest)
        if begin["status"] == 204:
            assert "content-length" not in found
        elif "content-length" in found and method != "HEAD":
            assert int(found["content-length"]) == len(whole)
        self.parts = len(rest)
        return Answer(begin["status"], found, whole)

    async def count(self, table: Table) -> int:
        """How many rows there are."""

        def work(connection: Connection) -> int:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()

        return await self.lab.engine.store.read(work)


def begun(stage: Stage) -> Path:
    """The data directory of a stage after its first start; copying it takes a third of the time of making another."""

    async def begin() -> None:
        await stage.open()
        await stage.close()

    asyncio.run(begin())
    return stage.lab.data


@asynccontextmanager
async def copied(stage: S, template: Path) -> AsyncIterator[S]:
    """A stage that is open over a copy of a data directory, until the block ends."""
    shutil.copytree(template, stage.lab.data)
    await stage.open()
    yield stage
    await stage.close()
