"""Payments: promised, made and given back, each exactly once (sections 1.1 and 3.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, func, select

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.money import wallet
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.faces.dc1.tables import payments
from skerry.island.store.values import moment

PENDING, PAID, REFUNDED, FAILED = "pending", "paid", "refunded", "failed"
BANK, SANDBOX = "bank_transfer", "sandbox"
PATIENCE = 72 * 3_600 * 1_000_000
"""Microseconds that a bank transfer is asked to be made in; one that comes later may be confirmed all the same."""

_MOST_PENDING = 20


def find(connection: Connection, payment_id: str) -> Row[Any]:
    """A payment.

    Raises:
        Fault: 404, there is none.
    """
    row = connection.execute(select(payments).where(payments.c.id == payment_id)).first()
    if row is None:
        raise Fault(404, "Payment not found")
    return row


def add(connection: Connection, renter_id: int, amount: int, method: str, status: str, now: int) -> Row[Any]:
    """A new payment.

    Raises:
        Fault: 409, the renter has promised too many.
    """
    if status == PENDING:
        mine = (payments.c.renter_id == renter_id, payments.c.status == PENDING)
        count = connection.execute(select(func.count()).select_from(payments).where(*mine)).scalar_one()
        if count >= _MOST_PENDING:
            raise Fault(409, f"You have {count} pending top-ups; wait until the operator has confirmed them")
    payment_id = str(uuid4())
    connection.execute(
        payments.insert().values(
            id=payment_id,
            renter_id=renter_id,
            amount=amount,
            method=method,
            status=status,
            paid_at=now if status == PAID else None,
            created_at=now,
            updated_at=now,
        )
    )
    return find(connection, payment_id)


def confirm(connection: Connection, payment_id: str, now: int) -> tuple[Row[Any], int]:
    """The money of a pending payment has come: it is in the wallet from now on; the payment and the new balance.

    Raises:
        Fault: 404, or 409 when the payment is not pending.
    """
    payment = find(connection, payment_id)
    _must_be(payment, PENDING)
    renter = _renter(connection, payment)
    name, memo = f"payment:{payment.id}", f"payment {payment.id}"
    wallet.add(connection, renter.account_id, payment.amount, name, memo=memo, source=wallet.PAYMENTS, now=now)
    _change(connection, payment.id, now, status=PAID, paid_at=now)
    return find(connection, payment.id), wallet.balance(connection, renter.account_id)


def refund(connection: Connection, payment_id: str, reason: str | None, now: int) -> tuple[Row[Any], int]:
    """The money of a payment went back to where it came from: it leaves the wallet; the payment and the new balance.

    Raises:
        Fault: 404, or 409 when it was not paid, or the wallet has no longer what it was.
    """
    payment = find(connection, payment_id)
    _must_be(payment, PAID)
    renter = _renter(connection, payment)
    has = wallet.balance(connection, renter.account_id)
    if has < payment.amount:
        raise Fault(
            409,
            "The balance does not cover the refund",
            balance_halala=has,
            refund_halala=payment.amount,
        )
    source = wallet.GIFTS if payment.method == SANDBOX else wallet.PAYMENTS
    name, memo = f"refund:{payment.id}", f"refund of payment {payment.id}"
    wallet.add(connection, renter.account_id, -payment.amount, name, memo=memo, source=source, now=now)
    _change(connection, payment.id, now, status=REFUNDED, memo=reason)
    return find(connection, payment.id), wallet.balance(connection, renter.account_id)


def reject(connection: Connection, payment_id: str, reason: str | None, now: int) -> Row[Any]:
    """The money of a pending payment will not come.

    Raises:
        Fault: 404, or 409 when the payment is not pending.
    """
    payment = find(connection, payment_id)
    _must_be(payment, PENDING)
    _change(connection, payment.id, now, status=FAILED, memo=reason)
    return find(connection, payment.id)


def listed(
    connection: Connection, *, renter_id: int | None = None, status: str | None = None, limit: int, offset: int
) -> tuple[Sequence[Row[Any]], int]:
    """Payments, the newest first, and how many there are in all."""
    where = [] if renter_id is None else [payments.c.renter_id == renter_id]
    where += [] if not status else [payments.c.status == status]
    query = select(payments).where(*where).order_by(payments.c.created_at.desc(), payments.c.id)
    total = connection.execute(select(func.count()).select_from(payments).where(*where)).scalar_one()
    return connection.execute(query.limit(limit).offset(offset)).all(), int(total)


def paid(connection: Connection, renter_id: int) -> int:
    """Halala that a renter paid, and that were not given back."""
    where = (payments.c.renter_id == renter_id, payments.c.status == PAID)
    return int(connection.execute(select(func.sum(payments.c.amount)).where(*where)).scalar() or 0)


def view(payment: Row[Any]) -> dict[str, Any]:
    """A payment as it is told."""
    pending = payment.status == PENDING
    return {
        "payment_id": payment.id,
        "amount_halala": payment.amount,
        "amount_sar": wire.sar(payment.amount),
        "payment_method": payment.method,
        "status": payment.status,
        "created_at": wire.iso(payment.created_at),
        "paid_at": wire.maybe_iso(payment.paid_at),
        **({"expires_at": expiry(payment), "reference": reference(payment)} if pending else {}),
        **({"reason": payment.memo} if payment.memo else {}),
    }


def expiry(payment: Row[Any]) -> str:
    """Until when a pending payment is asked to be made."""
    return wire.iso(payment.created_at + PATIENCE)


def reference(payment: Row[Any]) -> str:
    """What a payer writes on a bank transfer, by which the operator finds the payment."""
    return f"DC1-{moment(payment.created_at):%y%m%d}-{payment.id.replace('-', '')[:10].upper()}"


def _must_be(payment: Row[Any], status: str) -> None:
    if payment.status != status:
        raise Fault(409, f"Payment is {payment.status}, not {status}", current_status=payment.status)


def _renter(connection: Connection, payment: Row[Any]) -> Row[Any]:
    renter = renter_rows.find(connection, payment.renter_id)
    if renter is None or renter.status == "deleted":
        raise Fault(409, "The renter has deleted its account")
    return renter


def _change(connection: Connection, payment_id: str, now: int, **values: Any) -> None:
    connection.execute(payments.update().where(payments.c.id == payment_id).values(updated_at=now, **values))
