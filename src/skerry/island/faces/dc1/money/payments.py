"""Paying into a wallet (section 3.9, `/api/payments`).

An island has no gateway: cards are refused with 503, and nothing pretends to be paid. A bank transfer is promised here
and is pending until the operator has seen the money and confirms it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import limits, wire
from skerry.island.faces.dc1.access import ACCOUNT
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.fields import Fields
from skerry.island.faces.dc1.money import payment_rows, wallet
from skerry.island.faces.dc1.renters import renter_rows

_METHODS = ("creditcard", "applepay", payment_rows.BANK)
_LEAST, _MOST = 100, 1_000_000
_USUAL, _MOST_LISTED = 20, 100
_MOST_OFFSET = 10_000_000


class Payments:
    """The renters' side of payments.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """What a renter does about paying."""
        base = "/api/payments"
        limit = (limits.PAYMENT,)
        return [
            Route(method="GET", path=f"{base}/balance", handler=self.balance, access=ACCOUNT),
            Route(method="POST", path=f"{base}/topup", handler=self.topup, access=ACCOUNT, limits=limit),
            Route(method="POST", path=f"{base}/topup-sandbox", handler=self.sandbox, access=ACCOUNT, limits=limit),
            Route(method="GET", path=f"{base}/verify/{{payment_id}}", handler=self.verify, access=ACCOUNT),
            Route(method="GET", path=f"{base}/history", handler=self.history, access=ACCOUNT),
            Route(method="GET", path="/api/renters/me/payments", handler=self.mine, access=ACCOUNT),
        ]

    async def balance(self, call: Call) -> Answer:
        """What the wallet has."""

        def work(connection: Connection) -> dict[str, Any]:
            renter = renter_rows.active(connection, call.renter.id)
            has = wallet.balance(connection, renter.account_id)
            return {
                "balance_sar": wire.sar(has),
                "balance_halala": has,
                "renter_id": renter.id,
                "name": renter.name,
                "email": renter.email,
            }

        return Answer(await self._engine.store.read(work))

    async def topup(self, call: Call) -> Answer:
        """Begin a payment.

        Raises:
            Fault: 400 for a body that is not as it should be, 503 for a way of paying that needs a gateway.
        """
        fields = Fields(call.json)
        halala = wallet.amount(fields, least=_LEAST, most=_MOST)
        method = fields.one_of("payment_method", _METHODS, required=False) or _METHODS[0]
        fields.check()
        if method != payment_rows.BANK:
            raise Fault(
                503,
                "Payment gateway not configured. This island takes no cards: use payment_method bank_transfer.",
                code="GATEWAY_NOT_CONFIGURED",
                payment_methods=[payment_rows.BANK],
            )

        def work(connection: Connection) -> Any:
            renter = renter_rows.active(connection, call.renter.id)
            return payment_rows.add(connection, renter.id, halala, method, payment_rows.PENDING, call.now)

        payment = await self._engine.store.run(work)
        reference = payment_rows.reference(payment)
        return Answer(
            {
                "success": True,
                "topup_id": payment.id,
                "payment_id": payment.id,
                "status": payment.status,
                "amount_halala": halala,
                "amount_sar": wire.sar(halala),
                "expires_at": payment_rows.expiry(payment),
                "instructions": {
                    "amount_sar": wire.sar_text(halala),
                    "reference": reference,
                    "message": f"Pay the island's operator, with the reference {reference}; the balance changes when"
                    " the operator has confirmed the payment.",
                },
            },
            201,
        )

    async def sandbox(self, call: Call) -> Answer:
        """Credit without a payment, where the island allows it; listed among the payments.

        Raises:
            Fault: 400 for no usable amount, 403 where renters cannot credit themselves.
        """
        if not self._engine.settings.dc1.sandbox_topup:
            raise Fault(403, "Sandbox top-up is disabled")
        fields = Fields(call.json)
        halala = wallet.amount(fields, least=_LEAST, most=_MOST)
        fields.check()
        name = f"topup:{uuid4()}"

        def work(connection: Connection) -> tuple[Any, int]:
            renter = renter_rows.active(connection, call.renter.id)
            made = payment_rows.add(connection, renter.id, halala, payment_rows.SANDBOX, payment_rows.PAID, call.now)
            wallet.add(connection, renter.account_id, halala, name, memo=f"sandbox payment {made.id}", now=call.now)
            return made, wallet.balance(connection, renter.account_id)

        payment, has = await self._engine.store.run(work)
        return Answer(
            {
                "success": True,
                **payment_rows.view(payment),
                "new_balance_halala": has,
                "new_balance_sar": wire.sar(has),
            }
        )

    async def verify(self, call: Call, payment_id: str) -> Answer:
        """How a payment stands.

        Raises:
            Fault: 404, there is none, or it is another renter's.
        """

        def work(connection: Connection) -> Any:
            payment = payment_rows.find(connection, payment_id)
            if payment.renter_id != call.renter.id:
                raise Fault(404, "Payment not found")
            return payment

        return Answer(payment_rows.view(await self._engine.store.read(work)))

    async def history(self, call: Call) -> Answer:
        """Payments by pages, the newest first, and what was paid in all."""
        limit, offset = call.whole("limit", _USUAL, 1, _MOST_LISTED), call.whole("offset", 0, 0, _MOST_OFFSET)

        def work(connection: Connection) -> dict[str, Any]:
            renter_id = call.renter.id
            rows, total = payment_rows.listed(connection, renter_id=renter_id, limit=limit, offset=offset)
            paid = payment_rows.paid(connection, renter_id)
            return {
                "payments": [payment_rows.view(row) for row in rows],
                "pagination": {"limit": limit, "offset": offset, "total": total},
                "summary": {"total_paid_sar": wire.sar(paid), "total_paid_halala": paid},
            }

        return Answer(await self._engine.store.read(work))

    async def mine(self, call: Call) -> Answer:
        """The latest payments."""

        def work(connection: Connection) -> list[dict[str, Any]]:
            rows, _ = payment_rows.listed(connection, renter_id=call.renter.id, limit=_MOST_LISTED, offset=0)
            return [payment_rows.view(row) for row in rows]

        return Answer({"payments": await self._engine.store.read(work)})
