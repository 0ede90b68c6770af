"""Answers to keyed requests, given again when the same request comes again (protocol section 2.6)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select

from skerry.island.faces.dispersed.account.key_pairs import Sealer
from skerry.island.faces.dispersed.errors import Fault
from skerry.island.faces.dispersed.tables import replays
from skerry.island.store.prepared import Prepared, insertion
from skerry.networks.dispersed.canonical import json_text
from skerry.networks.dispersed.signing import EMPTY_HASH, body_hash

LIFETIME_MICROS = 86_400_000_000

_where = (
    replays.c.account_id == bindparam("account_id"),
    replays.c.method == bindparam("method"),
    replays.c.path_digest == bindparam("path_digest"),
    replays.c.key == bindparam("key"),
)
_find = Prepared(select(replays.c.body_digest, replays.c.status, replays.c.answer, replays.c.created_at).where(*_where))
_insert = insertion(replays)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a key is bound to.

    Args:
        account_id: the engine's account that asks.
        method: of the request.
        path_digest: SHA-256 of its raw path below the mount.
        key: as the client chose it.
        body_digest: SHA-256 of the canonical body.
    """

    account_id: str
    method: str
    path_digest: str
    key: str
    body_digest: str

    @property
    def scope(self) -> dict[str, str]:
        """Within which the key is one thing."""
        return {
            "account_id": self.account_id,
            "method": self.method,
            "path_digest": self.path_digest,
            "key": self.key,
        }

    @property
    def context(self) -> str:
        """Under which the answer is sealed."""
        return "dispersed:replay:" + "|".join(self.scope.values())


def binding(account_id: str, method: str, path: str, key: str | None, body: Any, *, has_body: bool) -> Binding | None:
    """The binding of a request, None for one without a key; `path` is raw and below the mount."""
    if key is None:
        return None
    digest = body_hash(json_text(body).encode()) if has_body else EMPTY_HASH
    place = hashlib.sha256(path.encode("latin-1")).hexdigest()
    return Binding(account_id=account_id, method=method, path_digest=place, key=key, body_digest=digest)


def find(connection: Connection, vault: Sealer, bound: Binding, now: int) -> tuple[int, bytes] | None:
    """The status and body that this request got before.

    Args:
        connection: of a write transaction.
        vault: opens the answer.
        bound: the request.
        now: microseconds since 1970.

    Raises:
        Fault: 409 `IDEMPOTENCY_KEY_REUSED`, the key was used with another body.
    """
    row = _find(connection, **bound.scope).first()
    if row is None:
        return None
    body_digest, status, answer, created_at = row
    if created_at <= now - LIFETIME_MICROS:
        forget(connection, now)
        return None
    if body_digest != bound.body_digest:
        raise Fault(
            409,
            "IDEMPOTENCY_KEY_REUSED",
            "This idempotency key was used before with another body; take a new key for a new request",
        )
    return status, vault.open(answer, bound.context)


def keep(connection: Connection, vault: Sealer, bound: Binding, status: int, body: bytes, now: int) -> None:
    """Write an answer down, sealed because it may hold what is told only once."""
    _insert(
        connection,
        **bound.scope,
        body_digest=bound.body_digest,
        status=status,
        answer=vault.seal(body, bound.context),
        created_at=now,
    )


def forget(connection: Connection, now: int) -> int:
    """Drop answers that are a day old; returns how many."""
    return connection.execute(replays.delete().where(replays.c.created_at <= now - LIFETIME_MICROS)).rowcount
