"""The face over an engine without sandboxes, in time that stands still, asked by requests that are signed by hand."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table

from skerry.island.admin.auth import owner_key
from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import tables
from skerry.island.faces.dispersed.account import key_pairs, profiles
from skerry.island.faces.dispersed.account.key_pairs import KeyPair
from skerry.island.faces.dispersed.face import DispersedFace
from skerry.money import Money
from tests import answers
from tests.island.faces import stage
from tests.island.faces.stage import Headers

START = datetime(2026, 4, 21, 10, 0, 0, tzinfo=UTC)

_nonces = itertools.count()


class Answer(answers.Answer):
    """What came back."""

    @property
    def code(self) -> str:
        """Of the error envelope, both halves of which must agree."""
        envelope = self.json
        inner = envelope["error"]
        assert {name: envelope[name] for name in inner} == inner
        assert envelope["status"] == self.status
        assert set(envelope) == {"code", "detail", "details", "timestamp", "status", "error"}
        code: str = envelope["code"]
        return code


def sign(
    pair: KeyPair, method: str, target: str, body: bytes, time_ms: int, nonce: str | None = None
) -> dict[str, str]:
    """The four headers, computed from the protocol's text alone; `target` has its query in canonical form."""
    path, _, query = target.partition("?")
    nonce = nonce or f"{next(_nonces):032x}"
    digest = hashlib.sha256(body).hexdigest()
    text = "|".join((pair.public_key, str(time_ms), nonce, method, path, query, digest))
    mark = hmac.new(pair.secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()
    return {"X-API-Key": pair.public_key, "X-Time": str(time_ms), "X-Nonce": nonce, "X-Signature": mark}


class Stage(stage.Stage):
    """The face and how it is asked.

    Args:
        directory: for everything.
        settings: of the island.
    """

    network = "dispersed"

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(directory, START, **settings)
        self.face: DispersedFace
        self.pair: KeyPair

    def make(self, engine: Engine) -> DispersedFace:
        self.face = DispersedFace(engine)
        return self.face

    async def open(self) -> None:
        await super().open()
        self.pair = KeyPair(self.key, self.lab.engine.credentials["dispersed_secret"])

    @property
    def now_ms(self) -> int:
        return self.now // 1000

    async def send(self, method: str, target: str, headers: Headers, body: bytes = b"", *, chunks: int = 1) -> Answer:
        """One exchange, exactly as given; the target is below the mount."""
        found = await self.exchange(method, target, headers, body, chunks=chunks)
        assert found.status == 204 or "content-length" in found.headers
        assert self.parts == 1
        return Answer(found.status, found.headers, found.body)

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = ...,
        *,
        pair: KeyPair | None = None,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        nonce: str | None = None,
        off_ms: int = 0,
    ) -> Answer:
        """One signed exchange; the signed path has the mount."""
        content = raw if raw is not None else b"" if body is ... else json.dumps(body).encode()
        fields = {"content-type": "application/json"} if content else {}
        signed = sign(pair or self.pair, method, self.mount + target, content, self.now_ms + off_ms, nonce)
        return await self.send(method, target, {**fields, **signed, **(headers or {})}, content)

    async def ok(self, method: str, target: str, body: Any = ..., status: int = 200, **options: Any) -> Any:
        """The parsed answer, which must be a success."""
        answer = await self.ask(method, target, body, **options)
        assert answer.status == status, (answer.status, answer.body[:500])
        return answer.json if answer.body else None

    async def fails(self, status: int, code: str, method: str, target: str, body: Any = ..., **options: Any) -> Any:
        """The error envelope, which must be the answer."""
        answer = await self.ask(method, target, body, **options)
        assert (answer.status, answer.code) == (status, code), answer.body[:500]
        return answer.json

    async def operate(
        self, method: str, target: str, body: Any = ..., *, raw: bytes | None = None, **headers: str
    ) -> Answer:
        """One exchange with the owner's key."""
        content = raw if raw is not None else b"" if body is ... else json.dumps(body).encode()
        bearer = {"authorization": f"Bearer {owner_key(self.lab.data)}"}
        return await self.send(method, target, {**bearer, **headers}, content)

    async def stranger(self, name: str = "stranger", balance: int = 1_000_000) -> KeyPair:
        """The pair of another account, with that many micros to spend."""
        engine = self.lab.engine
        account = await engine.accounts.create(name)
        if balance:
            await engine.ledger.grant(account.id, Money(balance, "USD"), f"test-{account.id}")
        return await self.grant(account.id)

    async def grant(self, account_id: str | None = None, pair: KeyPair | None = None, **options: Any) -> KeyPair:
        """A further pair of an account."""
        made = pair or key_pairs.new_pair()
        now = self.now

        def add(connection: Connection) -> None:
            profile = profiles.ensure(connection, account_id or self.lab.account, now)
            fields = {"name": "test", "preset": "CONSUMER", **options}
            key_pairs.add(connection, self.lab.engine.vault, profile, made, now=now, **fields)

        await self.lab.engine.store.run(add)
        return made

    async def counts(self) -> dict[str, int]:
        """How many rows every table has that requests fill, save the nonces."""
        return {table.name: await self.count(table) for table in tables.TABLES if table not in (tables.nonces,)}

    async def insert(self, table: Table, **values: Any) -> None:
        """A row as another part of the island would write it."""

        def work(connection: Connection) -> None:
            connection.execute(table.insert().values(**values))

        await self.lab.engine.store.run(work)
