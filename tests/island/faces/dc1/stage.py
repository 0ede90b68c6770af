"""The face over an engine without walls, in time that stands still, asked without sockets."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import tables
from skerry.island.faces.dc1.face import DC1Face
from skerry.island.settings import DC1
from skerry.money import Money
from tests.answers import Answer
from tests.island.faces import stage

START = datetime(2026, 3, 22, 19, 30, 0, tzinfo=UTC)
ADMIN = "admin-token-for-tests"
SECRET = "hmac-secret-for-tests"


class Stage(stage.Stage):
    """The face and how it is asked.

    Args:
        directory: for everything.
        real: use this machine's sandboxes.
        dc1: choices of the network; this machine carries out nothing and nothing is limited unless they say so.
        settings: of the island.
    """

    network = "dc1"

    def __init__(self, directory: Path, *, real: bool = False, dc1: dict[str, Any] | None = None, **settings: Any):
        usual = {"local_provider": False, "rate_limits": False, "admin_token": ADMIN, "hmac_secret": SECRET}
        chosen = DC1(**{**usual, **(dc1 or {})})
        super().__init__(directory, START, real=real, dc1=chosen, **settings)
        self.face: DC1Face

    def make(self, engine: Engine) -> DC1Face:
        self.face = DC1Face(engine)
        return self.face

    async def send(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        """One exchange, exactly as given; the target is below the mount."""
        return await self.exchange(method, target, headers or {}, body)

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

    async def balance(self) -> Money:
        """Of the first account."""
        return await self.lab.engine.ledger.balance(self.lab.engine.account_id, "SAR")

    async def jobs(self) -> int:
        """How many jobs there are."""
        return await self.count(tables.jobs)

    async def audit(self) -> None:
        """The ledger is in order."""
        assert await self.lab.engine.ledger.audit() == []
