"""The face over an engine without walls, in time that stands still, asked without sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, select

from skerry.island.app import App
from skerry.island.clock import VirtualClock
from skerry.island.faces.dc1 import tables
from skerry.island.faces.dc1.face import DC1Face
from skerry.island.settings import DC1
from skerry.island.store.values import micros
from skerry.money import Money
from tests.island.engine.lab import Lab

START = datetime(2026, 3, 22, 19, 30, 0, tzinfo=UTC)
ADMIN = "admin-token-for-tests"
SECRET = "hmac-secret-for-tests"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Stage:
    """One island's application, called without sockets.

    Args:
        directory: for everything.
        real: use this machine's sandboxes.
        dc1: choices of the network; this machine carries out nothing and nothing is limited unless they say so.
        settings: of the island.
    """

    def __init__(self, directory: Path, *, real: bool = False, dc1: dict[str, Any] | None = None, **settings: Any):
        self.clock = VirtualClock(START)
        usual = {"local_provider": False, "rate_limits": False, "admin_token": ADMIN, "hmac_secret": SECRET}
        chosen = DC1(**{**usual, **(dc1 or {})})
        self.lab = Lab(directory, clock=self.clock, real=real, dc1=chosen, **settings)
        self.face: DC1Face
        self.app: App
        self.key = ""
        self.mount = "/dc1"
        self.host = "127.0.0.1:4242"
        self.address = "127.0.0.1"

    async def open(self) -> None:
        engine = await self.lab.open()
        self.face = DC1Face(engine)
        self.app = App(engine, [self.face])
        await self.app.start()
        self.key = engine.credentials["dc1"]

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

    async def send(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        """One exchange, exactly as given; the target is below the mount. A stream is read to its end."""
        path, _, query = target.partition("?")
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
                *((name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()),
            ],
            "client": (self.address, 50000),
        }
        given = False
        leave = asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            nonlocal given
            if given:
                await leave.wait()
                return {"type": "http.disconnect"}
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        sent: list[MutableMapping[str, Any]] = []

        async def keep(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, keep)
        begin, *parts = sent
        found = {name.decode(): value.decode() for name, value in begin["headers"]}
        whole = b"".join(part.get("body", b"") for part in parts)
        if "content-length" in found and method != "HEAD":
            assert int(found["content-length"]) == len(whole)
        return Answer(begin["status"], found, whole)

    async def ask(
        self, method: str, target: str, value: Any = None, *, headers: dict[str, str] | None = None
    ) -> Answer:
        """One exchange in JSON, with whatever headers."""
        body = b"" if value is None else json.dumps(value).encode()
        return await self.send(method, target, {"Content-Type": "application/json", **(headers or {})}, body)

    async def rent(self, method: str, target: str, value: Any = None, *, key: str | None = None) -> Answer:
        """One exchange in JSON as a renter, the first account's unless another key is given."""
        return await self.ask(method, target, value, headers={"x-renter-key": key or self.key})

    async def host_as(self, key: str, method: str, target: str, value: Any = None) -> Answer:
        """One exchange in JSON as a provider."""
        return await self.ask(method, target, value, headers={"x-provider-key": key})

    async def administer(self, method: str, target: str, value: Any = None) -> Answer:
        """One exchange in JSON as the operator."""
        return await self.ask(method, target, value, headers={"x-admin-token": ADMIN})

    async def rows(self, table: Table) -> int:
        """How many rows a table has."""

        def count(connection: Connection) -> int:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

        return await self.lab.engine.store.read(count)

    async def balance(self) -> Money:
        """Of the first account."""
        return await self.lab.engine.ledger.balance(self.lab.engine.account_id, "SAR")

    async def jobs(self) -> int:
        """How many jobs there are."""
        return await self.rows(tables.jobs)

    async def audit(self) -> None:
        """The ledger is in order."""
        assert await self.lab.engine.ledger.audit() == []
