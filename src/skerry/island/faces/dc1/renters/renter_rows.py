"""Renters: accounts of the engine by the network's own words (section 3.1)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.tables import renters
from skerry.island.store.question import Question

CURRENCY = "SAR"
OPENING_HALALA = 1_000
"""What a new renter has."""

_by_number = Question(select(renters).where(renters.c.id == bindparam("number")))
_by_account = Question(select(renters).where(renters.c.account_id == bindparam("account")))


def find(connection: Connection, renter_id: int) -> Row[Any] | None:
    """A renter by number."""
    return _by_number.first(connection, number=renter_id)


def active(connection: Connection, renter_id: int) -> Row[Any]:
    """A renter as it is in this transaction.

    Raises:
        Fault: 404, it was suspended or deleted since the request was let in.
    """
    found = find(connection, renter_id)
    if found is None or found.status != "active":
        raise Fault(404, "Renter not found")
    return found


def of_account(connection: Connection, account_id: str) -> Row[Any] | None:
    """The renter that an account is."""
    return _by_account.first(connection, account=account_id)


def by_email(connection: Connection, email: str) -> Row[Any] | None:
    """A renter by address, which is kept in lower case."""
    return connection.execute(select(renters).where(renters.c.email == email.lower())).first()


def add(connection: Connection, account_id: str, *, name: str, email: str, now: int, **more: Any) -> Row[Any]:
    """A new, active renter; the ledger and the keys are the caller's affair."""
    values = {"account_id": account_id, "name": name, "email": email.lower(), "status": "active", **more}
    connection.execute(renters.insert().values(total_jobs=0, total_spent=0, created_at=now, updated_at=now, **values))
    found = of_account(connection, account_id)
    assert found is not None
    return found


def ensure(connection: Connection, account_id: str, name: str, now: int) -> Row[Any]:
    """The renter that an account is; made when this network sees the account for the first time."""
    known = of_account(connection, account_id)
    if known is not None:
        return known
    return add(connection, account_id, name=name[:120] or account_id, email=f"{account_id}@island.invalid", now=now)


def change(connection: Connection, renter_id: int, now: int, **values: Any) -> None:
    """Set columns."""
    connection.execute(renters.update().where(renters.c.id == renter_id).values(updated_at=now, **values))


def key_context(renter_id: int) -> str:
    """Under what a renter's master key is sealed, with which callbacks are signed."""
    return f"dc1 renter:{renter_id}:key"
