"""The operator pays providers, and says so (section 3.9)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import limits
from skerry.island.faces.dc1.access import ADMIN
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.money import withdrawals
from skerry.island.faces.dc1.providers import provider_access


class AdminWithdrawals:
    """Answers the operator about payouts.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Reads, and decisions."""

        def route(method: str, path: str, handler: Any) -> Route:
            limit = (limits.ADMIN,)
            return Route(method=method, path=f"/api/admin/{path}", handler=handler, access=ADMIN, limits=limit)

        return [
            route("GET", "withdrawals", self.all),
            route("GET", "withdrawals/{id}", self.get),
            route("PATCH", "withdrawals/{id}", self.decide),
            route("POST", "withdrawals/{id}/approve", self.approve),
            route("POST", "withdrawals/{id}/paid", self.paid),
            route("POST", "withdrawals/{id}/reject", self.reject),
        ]

    async def all(self, call: Call) -> Answer:
        """Everybody's, for the operator."""
        page, limit = call.whole("page", 1, 1, 1_000_000), call.whole("limit", 50, 1, 200)
        words = [word for word in call.query.get("status", "").split(",") if word]
        rows, total = await self._engine.store.read(withdrawals.listed, words, page, limit)
        found = [{**withdrawals.view(row), "provider_id": row.provider_id} for row in rows]
        return Answer({"withdrawals": found, "total": total, "page": page, "limit": limit})

    async def get(self, call: Call, ident: str) -> Answer:
        """One, with where the money is to go."""
        row = await self._engine.store.read(withdrawals.known, provider_access.number(ident))
        details = json.loads(self._engine.vault.open(row.sealed_details, withdrawals.context(row.provider_id)))
        found = {**withdrawals.view(row), "provider_id": row.provider_id, "payout_details": details}
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
        row = await self._engine.store.run(withdrawals.decide, provider_access.number(ident), status, now=now)
        return Answer({"success": True, "withdrawal": {**withdrawals.view(row), "provider_id": row.provider_id}})
