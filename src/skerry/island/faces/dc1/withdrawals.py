"""Providers have their earnings paid out (section 3.7); the operator pays, and says so (section 3.9).

What is asked for leaves the provider's earnings in the transaction that found it there, and waits in an account of its
own. From there it is paid, or goes back. Each of these is one transfer of the ledger, named after the request, so that
none can happen twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import Connection, Row, func, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import limits, provider_access, settling, wire
from skerry.island.faces.dc1.access import ADMIN, EARNINGS, PROVIDER_BY_ID
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.renter_rows import CURRENCY
from skerry.island.faces.dc1.tables import withdrawals
from skerry.island.store import ledger
from skerry.money import Money

PAID = "dc1:paid-out"
LEAST_HALALA = 1_000
LEAST_USD = 50
OPEN = ("pending", "processing", "approved")
_IBAN = re.compile(r"SA\d{22}")
_MOST_DETAILS = 4_096
_MOST_HALALA = 10**12


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


class Withdrawals:
    """Answers for payouts.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Three ways of asking, the lists, and the operator's side."""

        def route(method: str, path: str, handler: Any, access: Any = EARNINGS) -> Route:
            return Route(method=method, path=f"/api/providers/{path}", handler=handler, access=access)

        def admin(method: str, path: str, handler: Any) -> Route:
            limit = (limits.ADMIN,)
            return Route(method=method, path=f"/api/admin/{path}", handler=handler, access=ADMIN, limits=limit)

        return [
            route("POST", "me/withdraw", self.to_iban),
            route("POST", "withdraw", self.by_method),
            route("POST", "{id}/payouts", self.payout, PROVIDER_BY_ID),
            route("GET", "{id}/payouts", self.payouts, PROVIDER_BY_ID),
            route("GET", "me/withdrawals", self.list),
            route("GET", "withdrawal-history", self.list),
            admin("GET", "withdrawals", self.all),
            admin("GET", "withdrawals/{id}", self.get),
            admin("PATCH", "withdrawals/{id}", self.decide),
            admin("POST", "withdrawals/{id}/approve", self.approve),
            admin("POST", "withdrawals/{id}/paid", self.paid),
            admin("POST", "withdrawals/{id}/reject", self.reject),
        ]

    async def to_iban(self, call: Call) -> Answer:
        """To a Saudi bank account."""
        body = call.json if isinstance(call.json, dict) else {}
        amount = body.get("amount_halala")
        if isinstance(amount, float) and amount.is_integer():
            amount = int(amount)
        if isinstance(amount, bool) or not isinstance(amount, int) or not LEAST_HALALA <= amount <= _MOST_HALALA:
            raise Fault(400, f"amount_halala must be an integer and at least {LEAST_HALALA}")
        iban = body.get("iban")
        found = re.sub(r"\s", "", iban).upper() if isinstance(iban, str) else ""
        if not _IBAN.fullmatch(found) or not found.isascii():
            raise Fault(400, "iban must be a Saudi IBAN: SA followed by 22 digits")
        row = await self._ask(call, amount, "bank_transfer", {"iban": found}, f"SA...{found[-4:]}")
        return Answer({"success": True, "withdrawal_id": row.id, **_view(row)}, 201)

    async def by_method(self, call: Call) -> Answer:
        """To wherever the operator pays."""
        body = call.json if isinstance(call.json, dict) else {}
        amount = _hundredths(body.get("amount_sar"))
        if amount is None or not LEAST_HALALA <= amount <= _MOST_HALALA:
            raise Fault(400, f"amount_sar must be at least {LEAST_HALALA // 100}, with two decimals at most")
        method, details = body.get("payout_method"), body.get("payout_details")
        if not isinstance(method, str) or not re.fullmatch(r"[\w.-]{1,32}", method, re.ASCII):
            raise Fault(400, "payout_method is required")
        if not details or len(wire.text(details)) > _MOST_DETAILS:
            raise Fault(400, f"payout_details is required, of at most {_MOST_DETAILS} characters")
        row = await self._ask(call, amount, method, details, method[:32])
        return Answer({"success": True, "withdrawal_id": row.id, **_view(row)})

    async def payout(self, call: Call, provider_id: str) -> Answer:
        """The same in dollars, at the settings' rate of exchange."""
        provider_access.own(call, provider_id)
        rate = self._engine.settings.dc1.sar_usd_rate
        body = call.json if isinstance(call.json, dict) else {}
        cents = _hundredths(body.get("amount_usd"))
        if cents is None or cents < LEAST_USD * 100:
            least = LEAST_USD * rate
            message = f"Minimum payout is ${LEAST_USD}"
            raise Fault(400, "BELOW_MINIMUM", message=message, minimumUsd=LEAST_USD, minimumSar=wire.sar(least // 10))
        # Thousandths of a riyal for a dollar; fractions of a halala stay with the provider.
        amount = min(cents * rate // 1_000, _MOST_HALALA)
        row = await self._ask(call, amount, "payout", {"amount_usd_cents": cents}, "payout", status=402)
        return Answer({"success": True, "payout_id": row.id, "withdrawal_id": row.id, **_view(row)}, 201)

    async def payouts(self, call: Call, provider_id: str) -> Answer:
        """Payouts of a provider, the newest first."""
        provider_access.own(call, provider_id)
        rows = await self._engine.store.read(of_provider, call.provider.id, call.whole("limit", 50, 1, 200))
        return Answer({"payouts": [_view(row) for row in rows], "total": len(rows)})

    async def list(self, call: Call) -> Answer:
        """The same by another name, with what there is left."""
        rows = await self._engine.store.read(of_provider, call.provider.id, call.whole("limit", 50, 1, 200))
        left = await self._engine.store.read(funds, call.provider.id)
        told = {"provider_id": call.provider.id, "withdrawals": [_view(row) for row in rows], "total": len(rows)}
        return Answer({**told, "available_halala": left.available, "pending_halala": left.pending})

    async def all(self, call: Call) -> Answer:
        """Everybody's, for the operator."""
        page, limit = call.whole("page", 1, 1, 1_000_000), call.whole("limit", 50, 1, 200)
        words = [word for word in call.query.get("status", "").split(",") if word]
        rows, total = await self._engine.store.read(_page, words, page, limit)
        found = [{**_view(row), "provider_id": row.provider_id} for row in rows]
        return Answer({"withdrawals": found, "total": total, "page": page, "limit": limit})

    async def get(self, call: Call, ident: str) -> Answer:
        """One, with where the money is to go."""
        row = await self._engine.store.read(_known, provider_access.number(ident))
        details = json.loads(self._engine.vault.open(row.sealed_details, _context(row.provider_id)))
        found = {**_view(row), "provider_id": row.provider_id, "payout_details": details}
        return Answer({"withdrawal": found})

    async def decide(self, call: Call, ident: str) -> Answer:
        """What becomes of one, by `status`: processing, approved, paid, or rejected."""
        word = call.json.get("status") if isinstance(call.json, dict) else None
        if word not in ("processing", "approved", "paid", "completed", "rejected"):
            raise Fault(400, "status must be one of: processing, approved, paid, rejected")
        return await self._decide(ident, "paid" if word == "completed" else word, call.now)

    async def approve(self, call: Call, ident: str) -> Answer:
        """It will be paid."""
        return await self._decide(ident, "approved", call.now)

    async def paid(self, call: Call, ident: str) -> Answer:
        """It was paid."""
        return await self._decide(ident, "paid", call.now)

    async def reject(self, call: Call, ident: str) -> Answer:
        """It will not be paid; the money is the provider's to ask for again."""
        return await self._decide(ident, "rejected", call.now)

    async def _decide(self, ident: str, status: str, now: int) -> Answer:
        row = await self._engine.store.run(decide, provider_access.number(ident), status, now=now)
        return Answer({"success": True, "withdrawal": {**_view(row), "provider_id": row.provider_id}})

    async def _ask(
        self, call: Call, amount: int, method: str, details: Any, hint: str, *, status: int = 400
    ) -> Row[Any]:
        number = int(call.provider.id)
        sealed = self._engine.vault.seal(wire.encode(details), _context(number))
        return await self._engine.store.run(
            ask, number, amount, method=method, sealed=sealed, hint=hint, refusal=status, now=call.now
        )


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
    return _known(connection, ident)


def decide(connection: Connection, ident: int, status: str, *, now: int) -> Row[Any]:
    """What becomes of a request; the same decision again changes nothing.

    Raises:
        Fault: 404, or 409 when it was paid or rejected before.
    """
    row = _known(connection, ident)
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
    return _known(connection, ident)


def of_provider(connection: Connection, provider_id: int, limit: int) -> list[Row[Any]]:
    """Requests of a provider, the newest first."""
    query = select(withdrawals).where(withdrawals.c.provider_id == provider_id)
    return list(connection.execute(query.order_by(withdrawals.c.id.desc()).limit(limit)))


def _page(connection: Connection, words: Sequence[str], page: int, limit: int) -> tuple[list[Row[Any]], int]:
    query = select(withdrawals)
    if words:
        query = query.where(withdrawals.c.status.in_(words))
    total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    rows = connection.execute(query.order_by(withdrawals.c.id.desc()).limit(limit).offset((page - 1) * limit))
    return list(rows), int(total)


def _known(connection: Connection, ident: int) -> Row[Any]:
    found = connection.execute(select(withdrawals).where(withdrawals.c.id == ident)).first()
    if found is None:
        raise Fault(404, "Withdrawal not found")
    return found


def _view(row: Row[Any]) -> dict[str, Any]:
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


def _context(provider_id: int) -> str:
    return f"dc1 provider:{provider_id}:payout"


def _hundredths(value: Any) -> int | None:
    """A positive number of two decimals at most, in hundredths; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 30:
        return None
    try:
        found = Decimal(str(value)) * 100
    except InvalidOperation:
        return None
    return int(found) if found.is_finite() and found > 0 and found == found.to_integral() else None
