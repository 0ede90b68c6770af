"""Two ways to talk to an island's Dispersed face: by the client, sync or async, and by hand."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, func, select

from skerry.island.faces.dispersed import tables
from skerry.island.island import Island
from skerry.networks.dispersed import AsyncDispersed, Dispersed
from tests import answers
from tests.conformance.blocking import KINDS, Blocking

__all__ = ["KINDS", "Answer", "Signed", "client", "rows", "signed"]


def client(island: Island, kind: str = "sync", pair: tuple[str, str] | None = None, **options: Any) -> Any:
    """A client of an island's first account, or of whoever has the pair; close it."""
    public_key, secret_key = pair or (island.key("dispersed"), island.key("dispersed_secret"))
    given = {"environ": {}, **options}
    if kind == "sync":
        return Dispersed(public_key, secret_key, island.base_url("dispersed"), **given)
    return Blocking(AsyncDispersed(public_key, secret_key, island.base_url("dispersed"), **given), asyncio.Runner())


class Answer(answers.Answer):
    """What came back."""

    @property
    def outcome(self) -> tuple[int, str]:
        """Status and code of the error envelope."""
        assert self.json["error"]["code"] == self.json["code"]
        return self.status, self.json["code"]


@dataclass
class Signed:
    """Plain HTTP whose signatures are made here, knowing nothing of any client.

    Args:
        url: of the island.
        public_key, secret_key: a pair.
    """

    url: str
    public_key: str
    secret_key: str

    def headers(
        self, method: str, target: str, body: bytes = b"", *, off_ms: int = 0, nonce: str | None = None
    ) -> dict[str, str]:
        """The four headers for a target whose query is canonical."""
        path, _, query = target.partition("?")
        moment, once = str(time.time_ns() // 1_000_000 + off_ms), nonce or secrets.token_hex(16)
        digest = hashlib.sha256(body).hexdigest()
        text = "|".join((self.public_key, moment, once, method, path, query, digest))
        mark = hmac.new(self.secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()
        return {"X-API-Key": self.public_key, "X-Time": moment, "X-Nonce": once, "X-Signature": mark}

    def send(
        self, method: str, target: str, headers: list[tuple[str, str]] | dict[str, str], body: bytes = b""
    ) -> Answer:
        """One exchange on a connection of its own, exactly as given; names may come twice."""
        url = urlsplit(self.url)
        assert url.hostname
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        fields = list(headers.items()) if isinstance(headers, dict) else headers
        names = {name.lower() for name, _ in fields}
        try:
            connection.putrequest(method, target, skip_host="host" in names, skip_accept_encoding=True)
            for name, value in fields:
                connection.putheader(name, value)
            if body and not names & {"content-length", "transfer-encoding"}:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders()
            try:
                connection.send(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the answer is there before the body is through
            response = connection.getresponse()
            content = response.read()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)
        finally:
            connection.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = ...,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        """One signed exchange below `/dispersed`."""
        content = raw if raw is not None else b"" if body is ... else json.dumps(body).encode()
        fields = {"content-type": "application/json"} if content else {}
        signed = self.headers(method, f"/dispersed{path}", content, **options)
        return self.send(method, f"/dispersed{path}", {**fields, **signed, **(headers or {})}, content)


def signed(island: Island, pair: tuple[str, str] | None = None) -> Signed:
    """The first account by hand, or whoever has the pair."""
    return Signed(island.url, *(pair or (island.key("dispersed"), island.key("dispersed_secret"))))


def rows(island: Island) -> dict[str, int]:
    """How many rows each of the face's tables has; nonces are left out, which honest requests use up too."""

    def count(connection: Connection) -> dict[str, int]:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables.TABLES
            if table is not tables.nonces
        }

    found: dict[str, int] = island.call(island.engine.store.read(count))
    return found
