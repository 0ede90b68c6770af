"""What renters have: every movement that is no job's, exact and in the caller's transaction (sections 3.1 and 3.9)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.fields import ROOT, Fields
from skerry.island.faces.dc1.jobs import job_rows
from skerry.island.faces.dc1.renters.renter_rows import CURRENCY
from skerry.island.store import ledger
from skerry.money import Money

GIFTS = "grant"
"""The ledger account of what was given without a payment."""

PAYMENTS = "dc1:payments"
"""The ledger account of what was paid for outside."""


def balance(connection: Connection, account_id: str) -> int:
    """Halala that an account may spend: what jobs hold is not in it."""
    return ledger.balance(connection, ledger.owner(account_id), CURRENCY)


def add(
    connection: Connection, account_id: str, halala: int, name: str, *, memo: str, source: str = GIFTS, now: int
) -> None:
    """Put halala into a wallet, or take them out if the number is negative; once for each name.

    Args:
        halala: how many; the caller has seen that the wallet has what is taken.
        name: of this movement.
        source: the ledger's account at the other end.
        now: microseconds since 1970.
    """
    amount = Money(halala, CURRENCY)
    entries = {source: -amount, ledger.owner(account_id): amount}
    ledger.transfer(connection, f"wallet:dc1:{name}", entries, memo=memo, now=now)


def view(connection: Connection, renter: Row[Any]) -> dict[str, Any]:
    """A wallet as it is told (section 3.1.1): holds are out of the balance already, so all of it is available."""
    has, held = balance(connection, renter.account_id), job_rows.unsettled(connection, renter.id)
    return {
        "balance_halala": has,
        "balance_sar": wire.sar(has),
        "held_halala": held,
        "held_sar": wire.sar(held),
        "available_halala": has,
        "total_spent_halala": renter.total_spent,
        "total_spent_sar": wire.sar(renter.total_spent),
        "total_jobs": renter.total_jobs,
    }


def amount(fields: Fields, *, least: int, most: int) -> int:
    """The halala that a body names, in `amount_halala` or else in riyals; every mistake is noted in the fields.

    Args:
        least, most: halala.
    """
    whole = fields.number("amount_halala", least=least, most=most, whole=True, required=False)
    riyals = fields.number("amount_sar", least=_bound(least), most=_bound(most), required=False)
    if fields.issues:
        return 0
    if whole is not None:
        return int(whole)
    if riyals is None:
        fields.wrong(ROOT, "Provide amount_halala (int) or amount_sar (float)")
        return 0
    return halala_of(riyals)


def halala_of(riyals: int | float) -> int:
    """Riyals, as a body has them, in halala; half a halala counts as one.

    Example:
        >>> halala_of(12.345), halala_of(1.005), halala_of(50)
        (1235, 101, 5000)
    """
    # By the digits that were written, which a float still tells as long as they are no more than fifteen.
    return int((Decimal(repr(riyals)) * 100).to_integral_value(ROUND_HALF_UP))


def _bound(halala: int) -> float:
    return halala / 100
