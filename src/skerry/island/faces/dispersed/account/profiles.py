"""The engine's accounts in the network's words: a row for each account that has ever had a key here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.faces.dispersed.callers import Profile
from skerry.island.faces.dispersed.tables import profiles
from skerry.island.faces.dispersed.wire import new_uuid
from skerry.island.store.tables import accounts

_named = select(profiles, accounts.c.name).join(accounts, accounts.c.id == profiles.c.account_id)


def ensure(connection: Connection, account_id: str, now: int) -> Profile:
    """The profile of an account of the engine, made unless there is one.

    Args:
        connection: of a write transaction.
        account_id: the engine's.
        now: microseconds since 1970.
    """
    found = of_account(connection, account_id)
    if found is not None:
        return found
    connection.execute(
        profiles.insert().values(
            account_id=account_id,
            uuid=new_uuid(now),
            render_user_id=new_uuid(now),
            consumer_profile_uuid=new_uuid(now),
            created_at=now,
            updated_at=now,
        )
    )
    made = of_account(connection, account_id)
    assert made is not None
    return made


def of_account(connection: Connection, account_id: str) -> Profile | None:
    """The profile of an account of the engine."""
    row = connection.execute(_named.where(profiles.c.account_id == account_id)).first()
    return None if row is None else profile_of(row)


def by_uuid(connection: Connection, uuid: str) -> Profile | None:
    """The profile by the account's UUID on the wire."""
    row = connection.execute(_named.where(profiles.c.uuid == uuid.lower())).first()
    return None if row is None else profile_of(row)


def of_accounts(connection: Connection, account_ids: Iterable[str]) -> dict[str, Profile]:
    """The profiles of some accounts of the engine, by the engine's ids."""
    query = _named.where(profiles.c.account_id.in_(sorted(account_ids)))
    return {row.account_id: profile_of(row) for row in connection.execute(query)}


def profile_of(row: Row[Any]) -> Profile:
    """A profile from its row, joined with the engine's account."""
    return Profile(
        account_id=row.account_id,
        uuid=row.uuid,
        name=row.name,
        email=row.email,
        render_user_id=row.render_user_id,
        consumer_profile_uuid=row.consumer_profile_uuid,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
