"""The face over an engine without walls, in time that stands still, asked without sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skerry.island.admin.auth import owner_key
from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace import tables
from skerry.island.faces.octaspace.face import OctaSpaceFace
from skerry.island.faces.octaspace.sessions.helpers import Helpers
from skerry.island.settings import OctaSpace
from skerry.money import Money
from tests.answers import Answer
from tests.island.engine.lab import PATIENCE
from tests.island.faces import stage
from tests.island.faces.octaspace.shapes import check

START = datetime(2026, 4, 21, 10, 0, 0, tzinfo=UTC)
OCTA = 10**18


class Stage(stage.Stage):
    """The face and how it is asked.

    Args:
        directory: for everything.
        real: use this machine's sandboxes.
        helpers: behind VPN and render sessions.
        octaspace: choices of the network.
        settings: of the island.
    """

    network = "octaspace"

    def __init__(
        self,
        directory: Path,
        *,
        real: bool = False,
        helpers: Helpers | None = None,
        octaspace: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        chosen = OctaSpace(**{"nodes": 3, **(octaspace or {})})
        super().__init__(directory, START, real=real, octaspace=chosen, **settings)
        self.helpers = helpers
        self.face: OctaSpaceFace

    def make(self, engine: Engine) -> OctaSpaceFace:
        self.face = OctaSpaceFace(engine, self.helpers)
        return self.face

    async def send(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        """One exchange, exactly as given, with what every answer of the face carries."""
        answer = await self.exchange(method, target, headers or {}, body)
        # A browser is answered before a network is asked.
        assert method == "OPTIONS" or answer.headers["x-request-id"]
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.status == 204 or "content-length" in answer.headers
        return answer

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = ...,
        *,
        key: str | None = "",
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One exchange with a key, the first account's unless another or None is given."""
        content = raw if raw is not None else b"" if body is ... else json.dumps(body).encode()
        fields = {"content-type": "application/json"} if content else {}
        token = self.key if key == "" else key
        if token is not None:
            fields["authorization"] = token
        return await self.send(method, target, {**fields, **(headers or {})}, content)

    async def ok(self, method: str, target: str, body: Any = ..., status: int = 200, **options: Any) -> Any:
        """The parsed answer, which must be a success of the documented shape."""
        answer = await self.ask(method, target, body, **options)
        assert answer.status == status, (answer.status, answer.body[:500])
        assert answer.headers["content-type"] == "application/json"
        value = answer.json
        if not target.startswith("/admin/"):
            check(method, target, value)
        return value

    async def fails(self, status: int, code: str, method: str, target: str, body: Any = ..., **options: Any) -> str:
        """The message of the error envelope, which must be the answer."""
        answer = await self.ask(method, target, body, **options)
        assert answer.status == status, (answer.status, answer.body[:500])
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json) == {"message", "code"}
        assert answer.json["code"] == code
        message: str = answer.json["message"]
        assert message
        return message

    async def operate(self, method: str, target: str, body: Any = ..., status: int = 200) -> Any:
        """One exchange with the owner's key, below `/admin`."""
        bearer = f"Bearer {owner_key(self.lab.data)}"
        return await self.ok(method, f"/admin{target}", body, status, key=bearer)

    async def stranger(self, name: str = "stranger", balance: int = OCTA) -> str:
        """The key of another account, with that many Wei to spend."""
        engine = self.lab.engine
        account = await engine.accounts.create(name)
        if balance:
            await engine.ledger.grant(account.id, Money(balance, "OCTA"), f"test-{account.id}")
        _, key = await engine.accounts.create_key(account.id, "octaspace")
        return key

    async def nodes(self) -> list[int]:
        """Ids of every node."""
        return [node["id"] for node in await self.operate("GET", "/nodes")]

    async def rent(self, node_id: int, key: str = "", **members: Any) -> str:
        """Start a machine; its UUID."""
        item = {"id": 0, "node_id": node_id, "disk_size": 1, "image": "ubuntu:22.04", **members}
        answer = await self.ok("POST", "/services/mr", [item], key=key)
        assert set(answer[0]) == {"id", "uuid"}, answer
        uuid: str = answer[0]["uuid"]
        return uuid

    async def info(self, uuid: str, key: str = "") -> Any:
        """One session."""
        return await self.ok("GET", f"/services/{uuid}/info", key=key)

    async def ready(self, uuid: str, key: str = "") -> Any:
        """Wait until a session is ready."""

        async def done() -> bool:
            return bool((await self.info(uuid, key))["is_ready"])

        await self.until(done)
        return await self.info(uuid, key)

    async def finished(self, uuid: str, key: str = "") -> Any:
        """Wait until a session has finished; as the recent list has it."""
        found: list[Any] = []

        async def done() -> bool:
            listed = await self.ok("GET", "/sessions?recent=true", key=key)
            found[:] = [it for it in listed if it["uuid"] == uuid and "finished_at" in it]
            return bool(found)

        await self.until(done)
        return found[0]

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something that happens by itself."""
        async with asyncio.timeout(PATIENCE):
            while not await condition():
                await asyncio.sleep(0.01)

    async def pass_time(self, seconds: float) -> None:
        """Let the island's clock go on, and whatever is due happen."""
        self.clock.advance(seconds)
        for _ in range(3):
            await asyncio.sleep(0)
        await self.face.carrier.tick()

    async def balance(self, key: str = "") -> int:
        """What an account has."""
        found: int = (await self.ok("GET", "/accounts/balance", key=key))["balance"]
        return found

    async def counts(self) -> dict[str, int]:
        """How many rows the tables have that requests fill."""
        return {table.name: await self.count(table) for table in tables.TABLES}
