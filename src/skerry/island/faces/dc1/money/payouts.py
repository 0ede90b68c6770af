"""Providers ask for their earnings: to a bank account, some other way, or in dollars (section 3.7)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import Row

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import EARNINGS, PROVIDER_BY_ID
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.money import withdrawals
from skerry.island.faces.dc1.providers import provider_access

LEAST_HALALA = 1_000
LEAST_USD = 50
_IBAN = re.compile(r"SA\d{22}")
_MOST_DETAILS = 4_096
_MOST_HALALA = 10**12


class Payouts:
    """Answers for payouts.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Three ways of asking, and the lists."""

        def route(method: str, path: str, handler: Any, access: Any = EARNINGS) -> Route:
            return Route(method=method, path=f"/api/providers/{path}", handler=handler, access=access)

        return [
            route("POST", "me/withdraw", self.to_iban),
            route("POST", "withdraw", self.by_method),
            route("POST", "{id}/payouts", self.payout, PROVIDER_BY_ID),
            route("GET", "{id}/payouts", self.payouts, PROVIDER_BY_ID),
            route("GET", "me/withdrawals", self.list),
            route("GET", "withdrawal-history", self.list),
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
        return Answer({"success": True, "withdrawal_id": row.id, **withdrawals.view(row)}, 201)

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
        return Answer({"success": True, "withdrawal_id": row.id, **withdrawals.view(row)})

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
        details = {"amount_usd_cents": cents, "wallet_address": call.provider.wallet_address}
        row = await self._ask(call, amount, "payout", details, "payout", status=402)
        return Answer({"success": True, "payout_id": row.id, "withdrawal_id": row.id, **withdrawals.view(row)}, 201)

    async def payouts(self, call: Call, provider_id: str) -> Answer:
        """Payouts of a provider, the newest first."""
        provider_access.own(call, provider_id)
        rows = await self._engine.store.read(withdrawals.of_provider, call.provider.id, call.whole("limit", 50, 1, 200))
        return Answer({"payouts": [withdrawals.view(row) for row in rows], "total": len(rows)})

    async def list(self, call: Call) -> Answer:
        """The same by another name, with what there is left."""
        rows = await self._engine.store.read(withdrawals.of_provider, call.provider.id, call.whole("limit", 50, 1, 200))
        left = await self._engine.store.read(withdrawals.funds, call.provider.id)
        told = {
            "provider_id": call.provider.id,
            "withdrawals": [withdrawals.view(row) for row in rows],
            "total": len(rows),
        }
        return Answer({**told, "available_halala": left.available, "pending_halala": left.pending})

    async def _ask(
        self, call: Call, amount: int, method: str, details: Any, hint: str, *, status: int = 400
    ) -> Row[Any]:
        number = int(call.provider.id)
        sealed = self._engine.vault.seal(wire.encode(details), withdrawals.context(number))
        return await self._engine.store.run(
            withdrawals.ask, number, amount, method=method, sealed=sealed, hint=hint, refusal=status, now=call.now
        )


def _hundredths(value: Any) -> int | None:
    """A positive number of two decimals at most, in hundredths; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 30:
        return None
    try:
        found = Decimal(str(value)) * 100
    except InvalidOperation:
        return None
    return int(found) if found.is_finite() and found > 0 and found == found.to_integral() else None
