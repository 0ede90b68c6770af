"""Rows of accounts and keys."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.errors import Conflict
from skerry.island.engine.records import Account, Key
from skerry.island.store.tables import accounts, keys
from skerry.island.store.values import maybe_moment, moment


def add(connection: Connection, account: Account, now: int) -> None:
    """Insert an account."""
    connection.execute(accounts.insert().values(id=account.id, name=account.name, created_at=now))


def get(connection: Connection, account_id: str) -> Account | None:
    """An account by id."""
    row = connection.execute(select(accounts).where(accounts.c.id == account_id)).first()
    return None if row is None else _account(row)


def every(connection: Connection) -> list[Account]:
    """All accounts, oldest first."""
    return [
        _account(row) for row in connection.execute(select(accounts).order_by(accounts.c.created_at, accounts.c.id))
    ]


def add_key(connection: Connection, key: Key, digest: str, now: int) -> None:
    """Insert a key. Raises Conflict when the same key exists, even revoked."""
    if key_exists(connection, key.network, digest):
        raise Conflict(f"this {key.network} key is already in use")
    connection.execute(
        keys.insert().values(
            id=key.id, account_id=key.account_id, network=key.network, digest=digest, hint=key.hint, created_at=now
        )
    )


def key_exists(connection: Connection, network: str, digest: str) -> bool:
    """Whether a key was ever entered, revoked or not."""
    query = select(keys.c.id).where(keys.c.network == network, keys.c.digest == digest)
    return connection.execute(query).first() is not None


def live_keys(connection: Connection, network: str, digest: str) -> list[tuple[str, str, str]]:
    """(key id, account id, digest) of the unrevoked key with this digest."""
    query = select(keys.c.id, keys.c.account_id, keys.c.digest).where(
        keys.c.network == network, keys.c.digest == digest, keys.c.revoked_at.is_(None)
    )
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def revoke_key(connection: Connection, account_id: str, key_id: str, now: int) -> bool:
    """Mark a key as revoked; False when there is nothing to revoke."""
    change = (
        keys.update()
        .where(keys.c.id == key_id, keys.c.account_id == account_id, keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    return connection.execute(change).rowcount == 1


def keys_of(connection: Connection, account_id: str) -> list[Key]:
    """An account's keys, oldest first."""
    query = select(keys).where(keys.c.account_id == account_id).order_by(keys.c.created_at, keys.c.id)
    return [
        Key(
            id=row.id,
            account_id=row.account_id,
            network=row.network,
            hint=row.hint,
            created_at=moment(row.created_at),
            revoked_at=maybe_moment(row.revoked_at),
        )
        for row in connection.execute(query)
    ]


def _account(row: Row[Any]) -> Account:
    return Account(id=row.id, name=row.name, created_at=moment(row.created_at))
