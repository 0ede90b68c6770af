"""A small server that answers only what it can verify, from the very bytes that came over the socket.

It can also stand where an island stands, below `/dispersed`, and knows the owner of one by the owner's key.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from skerry.networks.dispersed.verification import Credentials, read_credentials, signature_matches
from tests.loopback import Handler, serving

PUBLIC_KEY, SECRET_KEY = "pk_test_1", "sk_test_0123456789"
OWNER_KEY = "owner-0123456789abcdef"


@dataclass
class SignedServer:
    """The running server: what it was asked, which nonces it has seen, and what it says next in place of an echo."""

    url: str = ""
    targets: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    nonces: set[str] = field(default_factory=set)
    failures: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answers: list[tuple[int, bytes]] = field(default_factory=list)


class _Handler(Handler):
    known: SignedServer

    def _handle(self) -> None:
        body = self.content()
        self.known.targets.append(self.path)
        self.known.headers.append(self.fields())
        self.known.bodies.append(body)
        if self.path.startswith(("/_island/v1/", "/dispersed/v1/admin/")):
            owner = self.headers.get("authorization") == f"Bearer {OWNER_KEY}"
            code = None if owner else "INSUFFICIENT_PERMISSIONS"
        else:
            code = self._verdict(body)
        if code is not None:
            self._answer(401, {"code": code, "detail": "no", "details": []})
        elif self.known.failures:
            self._answer(self.known.failures.pop(0), {"code": "SERVICE_UNAVAILABLE", "detail": "later"})
        elif self.known.answers and not self.path.startswith("/_island/"):
            self.answer(*self.known.answers.pop(0))
        else:
            self._answer(200, {"object": "echo", "target": self.path, "body": body.decode()})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _verdict(self, body: bytes) -> str | None:
        found = read_credentials(self.headers.items(), time.time_ns() // 1_000_000)
        if not isinstance(found, Credentials):
            return found
        if not signature_matches(found, SECRET_KEY, method=self.command, target=self.path, body=body):
            return "INVALID_SIGNATURE"
        if found.nonce in self.known.nonces:
            return "NONCE_REUSED"
        self.known.nonces.add(found.nonce)
        return None

    def _answer(self, status: int, content: Any) -> None:
        self.answer(status, json.dumps(content).encode())


@contextmanager
def running() -> Iterator[SignedServer]:
    """One that runs until the block ends."""
    known = SignedServer()
    with serving(_Handler, known=known) as known.url:
        yield known
