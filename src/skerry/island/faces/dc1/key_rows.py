"""Keys beside the renters' master keys, which are the engine's: kept as digests, told once (sections 2.2, 3.1, 3.7)."""

from __future__ import annotations

import hashlib
import json
import secrets
import string
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, bindparam, select

from skerry.island.faces.dc1.tables import keys
from skerry.island.store.question import Question

NETWORK = "dc1"
RENTER_PREFIX = "dc1-renter-"
PROVIDER_PREFIX = "dc1-provider-"
MASTER_LENGTH = len(RENTER_PREFIX) + 32
LONGEST = 128
"""Characters of a key that are looked at."""

PROVIDER = "provider"
SCOPED = "renter_scoped"
PERMITTED = "renter_permitted"
PAYOUTS = "provider_payouts"
_BASE62 = string.ascii_letters + string.digits
_by_digest = Question(select(keys).where(keys.c.digest == bindparam("digest"), keys.c.revoked_at.is_(None)))


def make(kind: str) -> str:
    """A new key of a kind."""
    if kind == PROVIDER:
        return PROVIDER_PREFIX + secrets.token_hex(16)
    if kind == SCOPED:
        return "dc1-sk-" + secrets.token_hex(20)
    if kind == PERMITTED:
        return "dcp_" + secrets.token_hex(32)
    return "dcp_prov_" + "".join(secrets.choice(_BASE62) for _ in range(32))


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def add(
    connection: Connection,
    kind: str,
    owner_id: int,
    key: str,
    *,
    hint: str = "",
    label: str | None = None,
    scopes: list[str] | None = None,
    expires_at: int | None = None,
    now: int,
) -> str:
    """Accept a key from now on; its id.

    Args:
        hint: what lists show of it.
        now, expires_at: microseconds since 1970.
    """
    key_id = str(uuid4())
    connection.execute(
        keys.insert().values(
            id=key_id,
            kind=kind,
            owner_id=owner_id,
            digest=digest(key),
            hint=hint,
            label=label,
            scopes=json.dumps(scopes or []),
            expires_at=expires_at,
            created_at=now,
        )
    )
    return key_id


def find(connection: Connection, key: str) -> Row[Any] | None:
    """A key that was not revoked, expired or not."""
    return _by_digest.first(connection, digest=digest(key))


def live(connection: Connection, kind: str, owner_id: int, now: int) -> list[Row[Any]]:
    """Keys that work, the newest first."""
    query = (
        select(keys)
        .where(keys.c.kind == kind, keys.c.owner_id == owner_id, keys.c.revoked_at.is_(None))
        .where((keys.c.expires_at.is_(None)) | (keys.c.expires_at > now))
        .order_by(keys.c.created_at.desc(), keys.c.id)
    )
    return list(connection.execute(query))


def revoke(connection: Connection, kind: str, owner_id: int, now: int, key_id: str | None = None) -> int:
    """End one key, or all of a kind; how many were ended."""
    change = (
        keys.update()
        .where(keys.c.kind == kind, keys.c.owner_id == owner_id, keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    if key_id is not None:
        change = change.where(keys.c.id == key_id)
    return int(connection.execute(change).rowcount)
