"""What the network knows of an account beside the engine: its number, its names, its wallets, its SSH keys."""

from __future__ import annotations

import secrets
import uuid as uuids
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import NotFound
from skerry.island.faces.octaspace import addresses
from skerry.island.faces.octaspace.tables import profiles, wallets
from skerry.island.store import accounts, ledger
from skerry.money import Money

CURRENCY = "OCTA"
_REFERRAL_BYTES = 4


def ensure(connection: Connection, account_id: str, now: int) -> Row[Any]:
    """The profile of an account, made when it is first seen here.

    Raises:
        NotFound: there is no such account.
    """
    found = connection.execute(select(profiles).where(profiles.c.account_id == account_id)).one_or_none()
    if found is not None:
        return found
    account = accounts.get(connection, account_id)
    if account is None:
        raise NotFound(f"there is no account {account_id}")
    connection.execute(
        profiles.insert().values(
            account_id=account_id,
            uuid=str(uuids.uuid4()),
            email=account.name if "@" in account.name else f"{account.name}@localhost",
            ref_code=secrets.token_hex(_REFERRAL_BYTES),
            wallet="",
            ssh_public_keys="",
            created_at=now,
            updated_at=now,
        )
    )
    return connection.execute(select(profiles).where(profiles.c.account_id == account_id)).one()


def open_first(connection: Connection, account_id: str, credit: Money, now: int) -> None:
    """The first account's profile, with the network's money in its pocket, once."""
    ensure(connection, account_id, now)
    if credit.amount > 0:
        entries = {"grant": -credit, ledger.owner(account_id): credit}
        ledger.transfer(connection, f"grant:octaspace:{account_id}", entries, memo="opening balance in OCTA", now=now)


def of_uid(connection: Connection, uid: int) -> Row[Any] | None:
    """A profile by the network's number."""
    return connection.execute(select(profiles).where(profiles.c.uid == uid)).one_or_none()


def balance(connection: Connection, account_id: str) -> int:
    """What an account may spend, in Wei."""
    return ledger.balance(connection, ledger.owner(account_id), CURRENCY)


def ssh_keys(connection: Connection, account_id: str) -> list[str]:
    """OpenSSH public keys whose holders may log in to the account's sessions."""
    found = connection.execute(select(profiles.c.ssh_public_keys).where(profiles.c.account_id == account_id)).scalar()
    return [line for line in (found or "").splitlines() if line.strip()]


def set_ssh_keys(connection: Connection, account_id: str, keys: list[str], now: int) -> None:
    """Replace an account's SSH keys."""
    connection.execute(
        profiles.update()
        .where(profiles.c.account_id == account_id)
        .values(ssh_public_keys="\n".join(keys), updated_at=now)
    )


def new_wallet(connection: Connection, engine: Engine, account_id: str, now: int) -> str:
    """A fresh deposit wallet, which from now on is the account's; returns its address.

    Its key is sealed, so that deposits could be swept by whoever holds the vault's key.
    """
    ensure(connection, account_id, now)
    pair = addresses.new_pair()
    connection.execute(
        wallets.insert().values(
            address=pair.address,
            account_id=account_id,
            private_key=engine.vault.seal(pair.private_key, f"octaspace wallet:{pair.address}"),
            created_at=now,
        )
    )
    connection.execute(
        profiles.update().where(profiles.c.account_id == account_id).values(wallet=pair.address, updated_at=now)
    )
    return pair.address
