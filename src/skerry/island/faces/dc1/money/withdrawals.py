"""Providers have their earnings paid out (section 3.7); the operator pays, and says so (section 3.9).

What is asked for leaves the provider's earnings in the transaction that found it there, and waits in an account of its
own. From there it is paid, or goes back. Each of these is one transfer of the ledger, named after the request, so that
none can happen twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.money import settling
from skerry.island.faces.dc1.renters.renter_rows import CURRENCY
from skerry.island.faces.dc1.tables import withdrawals
from skerry.island.store import ledger
from skerry.money import Money

PAID = "dc1:paid-out"
OPEN = ("pending", "processing", "approved")


@dataclass(frozen=True, slots=True)
class Funds:
    """A provider's money, in halala.

    Args:
        available: earned, and not asked for.
        pending: asked for, and not paid.
        paid: paid out.
    """

    available: int
    pending: int
    paid: int

    @property
    def claimable(self) -> int:
        """Earned and not paid out."""
        return self.available + self.pending


def funds(connection: Connection, provider_id: int) -> Funds:
    """What a provider has, from the ledger."""
    query = select(func.coalesce(func.sum(withdrawals.c.amount), 0)).where(
        withdrawals.c.provider_id == provider_id, withdrawals.c.status == "paid"
    )
    return Funds(
        available=ledger.balance(connection, settling.earnings(provider_id), CURRENCY),
        pending=ledger.balance(connection, _waiting(provider_id), CURRENCY),
        paid=int(connection.execute(query).scalar_one()),
    )


def ask(
    connection: Connection,
    provider_id: int,
    amount: int,
    *,
    method: str,
    sealed: bytes,
    hint: str,
    refusal: int = 400,
    now: int,
) -> Row[Any]:
    """Ask for a payout of what was earned and not asked for before.

    Args:
        amount: halala.
        method: how it is paid.
        sealed: where to.
        hint: what lists show of that.
        refusal: HTTP status when there is not enough.
        now: microseconds since 1970.

    Raises:
        Fault: more than there is.
    """
    left = funds(connection, provider_id)
    if amount > left.available:
        raise Fault(
            refusal,
            "Requested amount exceeds claimable earnings",
            claimable_earnings_halala=left.claimable,
            pending_withdrawals_halala=left.pending,
            available_to_withdraw_halala=left.available,
        )
    made = connection.execute(
        withdrawals.insert().values(
            provider_id=provider_id,
            amount=amount,
            method=method,
            sealed_details=sealed,
            hint=hint,
            status="pending",
            created_at=now,
            updated_at=now,
        )
    )
    ident = int(made.inserted_primary_key[0])  # type: ignore[index]
    money = Money(amount, CURRENCY)
    entries = {settling.earnings(provider_id): -money, _waiting(provider_id): money}
    ledger.transfer(connection, f"dc1:withdrawal:{ident}:asked", entries, memo=f"withdrawal {ident}", now=now)
    return known(connection, ident)


def decide(connection: Connection, ident: int, status: str, *, now: int) -> Row[Any]:
    """What becomes of a request; the same decision again changes nothing.

    Raises:
        Fault: 404, or 409 when it was paid or rejected before.
    """
    row = known(connection, ident)
    if row.status == status:
        return row
    if row.status not in OPEN:
        raise Fault(409, f"Withdrawal is already {row.status}", current_status=row.status)
    money, waiting = Money(int(row.amount), CURRENCY), _waiting(row.provider_id)
    if status in ("paid", "rejected"):
        to = PAID if status == "paid" else settling.earnings(row.provider_id)
        # One name for both ends: whichever comes first is the only one.
        entries = {waiting: -money, to: money}
        ledger.transfer(connection, f"dc1:withdrawal:{ident}:ended", entries, memo=f"withdrawal {ident}", now=now)
    processed = now if status in ("paid", "rejected") else None
    change = withdrawals.update().where(withdrawals.c.id == ident)
    connection.execute(change.values(status=status, processed_at=processed, updated_at=now))
    return known(connection, ident)


def of_provider(connection: Connection, provider_id: int, limit: int) -> list[Row[Any]]:
    """Requests of a provider, the newest first."""
    query = select(withdrawals).where(withdrawals.c.provider_id == provider_id)
    return list(connection.execute(query.order_by(withdrawals.c.id.desc()).limit(limit)))


def listed(connection: Connection, words: Sequence[str], page: int, limit: int) -> tuple[list[Row[Any]], int]:
    """A page of everybody's requests, the newest first, and how many there are; of some states only where words say."""
    query = select(withdrawals)
    if words:
        query = query.where(withdrawals.c.status.in_(words))
    total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    rows = connection.execute(query.order_by(withdrawals.c.id.desc()).limit(limit).offset((page - 1) * limit))
    return list(rows), int(total)


def known(connection: Connection, ident: int) -> Row[Any]:
    """A request that is there.

    Raises:
        Fault: 404.
    """
    found = connection.execute(select(withdrawals).where(withdrawals.c.id == ident)).first()
    if found is None:
        raise Fault(404, "Withdrawal not found")
    return found


def view(row: Row[Any]) -> dict[str, Any]:
    """A request as it is sent, without where the money goes."""
    return {
        "id": row.id,
        "amount_halala": row.amount,
        "amount_sar": wire.sar(int(row.amount)),
        "payout_method": row.method,
        "destination": row.hint,
        "status": row.status,
        "created_at": wire.iso(row.created_at),
        "processed_at": wire.maybe_iso(row.processed_at),
    }


def _waiting(provider_id: int) -> str:
    """The ledger account of what a provider has asked for."""
    return f"dc1:provider:{provider_id}:asked"


def context(provider_id: int) -> str:
    """Under what it is sealed where a provider's money goes."""
    return f"dc1 provider:{provider_id}:payout"
