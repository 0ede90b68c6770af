"""Key pairs: a public key that names and a secret that signs, kept sealed (protocol sections 2.1 and 3.9)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, select

from skerry.island.faces.dispersed.account import profiles
from skerry.island.faces.dispersed.callers import ApiKey, Preset, Profile
from skerry.island.faces.dispersed.tables import api_keys
from skerry.island.faces.dispersed.wire import new_uuid

LONGEST_PUBLIC_KEY = 128


class Sealer(Protocol):
    """What keeps secrets; the engine's vault."""

    def seal(self, plain: bytes, context: str) -> bytes:
        """Something that tells nothing of the secret."""

    def open(self, sealed: bytes, context: str) -> bytes:
        """The secret again."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Both halves, as they are told once."""

    public_key: str
    secret_key: str

    def __repr__(self) -> str:
        return f"KeyPair({self.public_key!r}, ***)"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A pair as it was found: what it is, its secret, and whether it was revoked then."""

    key: ApiKey
    secret_key: str
    revoked_at: int | None

    def __repr__(self) -> str:
        return f"StoredKey({self.key!r}, ***)"


def new_pair() -> KeyPair:
    """A fresh pair."""
    return KeyPair(f"pk_{secrets.token_hex(16)}", f"sk_{secrets.token_hex(32)}")


def add(
    connection: Connection,
    vault: Sealer,
    profile: Profile,
    pair: KeyPair,
    *,
    name: str,
    preset: Preset,
    now: int,
    allowed_ips: Sequence[str] = (),
    expires_at: int | None = None,
    node_uuid: str | None = None,
) -> str:
    """Keep a pair, from this transaction's end on it is accepted; returns its UUID.

    Args:
        connection: of a write transaction.
        vault: seals the secret.
        profile: whose pair it is.
        pair: usually from `new_pair`.
        name: for people.
        preset: what it may do.
        now: microseconds since 1970.
        allowed_ips: addresses and blocks that it may be used from; empty for any.
        expires_at: microseconds since 1970.
        node_uuid: the node that it speaks for.
    """
    uuid = new_uuid(now)
    connection.execute(
        api_keys.insert().values(
            uuid=uuid,
            account_id=profile.account_id,
            name=name,
            public_key=pair.public_key,
            secret=vault.seal(pair.secret_key.encode(), _context(uuid)),
            preset=preset,
            node_uuid=node_uuid,
            allowed_ips=json.dumps(list(allowed_ips)),
            expires_at=expires_at,
            created_at=now,
            updated_at=now,
        )
    )
    return uuid


def find(connection: Connection, vault: Sealer, public_key: str) -> StoredKey | None:
    """A pair by its public half, revoked or not."""
    row = connection.execute(select(api_keys).where(api_keys.c.public_key == public_key)).first()
    if row is None:
        return None
    profile = profiles.of_account(connection, row.account_id)
    assert profile is not None
    return StoredKey(
        key=ApiKey(
            uuid=row.uuid,
            profile=profile,
            public_key=row.public_key,
            preset=row.preset,
            node_uuid=row.node_uuid,
            allowed_ips=tuple(json.loads(row.allowed_ips)),
            expires_at=row.expires_at,
        ),
        secret_key=vault.open(row.secret, _context(row.uuid)).decode(),
        revoked_at=row.revoked_at,
    )


def _context(uuid: str) -> str:
    return f"dispersed:api-key:{uuid}"
