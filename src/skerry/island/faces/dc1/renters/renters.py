"""A renter's own account: what it is, what it has, where its callbacks go (section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import limits, wire
from skerry.island.faces.dc1.access import ACCOUNT, OWN, TOPUP
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.fields import Fields
from skerry.island.faces.dc1.money import wallet
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.faces.dc1.renters.renter_keys import own
from skerry.island.faces.dc1.tables import jobs

_RECENT = 20
_MOST_TOPUP = 100_000


class Renters:
    """The account behind a key.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """What a renter asks of its own account."""
        limit, by_id = (limits.TOPUP,), "/api/renters/{renter_id}/topup"
        return [
            Route(method="GET", path="/api/renters/me", handler=self.me, access=ACCOUNT),
            Route(method="GET", path="/api/renters/balance", handler=self.balance, access=ACCOUNT),
            Route(method="POST", path="/api/renters/topup", handler=self.topup, access=TOPUP, limits=limit),
            Route(method="POST", path=by_id, handler=self.topup_own, access=OWN, limits=limit),
        ]

    async def me(self, call: Call) -> Answer:
        """The account and its latest jobs."""
        return Answer(await self._engine.store.read(_profile, call.renter.id))

    async def balance(self, call: Call) -> Answer:
        """What the wallet has."""
        return Answer(await self._engine.store.read(_wallet, call.renter.id))

    async def topup(self, call: Call) -> Answer:
        """Credit without a payment, where the island allows it.

        Raises:
            Fault: 400 for no usable amount, 403 where renters cannot credit themselves.
        """
        if not self._engine.settings.dc1.sandbox_topup:
            raise Fault(403, "Direct top-up is disabled. Use POST /api/payments/topup instead.")
        fields = Fields(call.json)
        halala = wallet.amount(fields, least=1, most=_MOST_TOPUP)
        fields.check()

        name = f"topup:{uuid4()}"

        def work(connection: Connection) -> int:
            renter = renter_rows.active(connection, call.renter.id)
            wallet.add(connection, renter.account_id, halala, name, memo="sandbox top-up", now=call.now)
            return wallet.balance(connection, renter.account_id)

        has = await self._engine.store.run(work)
        return Answer(
            {
                "success": True,
                "topped_up_halala": halala,
                "topped_up_sar": wire.sar(halala),
                "new_balance_halala": has,
                "new_balance_sar": wire.sar(has),
            }
        )

    async def topup_own(self, call: Call, renter_id: str) -> Answer:
        """The same, by the account's number."""
        own(call, renter_id)
        return await self.topup(call)


def profile(connection: Connection, renter: Row[Any]) -> dict[str, Any]:
    """A renter as itself and the operator see it."""
    return {
        "id": renter.id,
        "name": renter.name,
        "email": renter.email,
        "organization": renter.organization,
        "use_case": renter.use_case,
        "phone": renter.phone,
        "webhook_url": renter.webhook_url,
        "balance_halala": wallet.balance(connection, renter.account_id),
        "total_spent_halala": renter.total_spent,
        "total_jobs": renter.total_jobs,
        "created_at": wire.iso(renter.created_at),
    }


def recent_jobs(connection: Connection, renter_id: int) -> list[dict[str, Any]]:
    """A renter's latest jobs, the newest first."""
    query = select(jobs).where(jobs.c.renter_id == renter_id).order_by(jobs.c.id.desc()).limit(_RECENT)
    return [
        {
            "id": job.id,
            "job_id": job.job_id,
            "job_type": job.job_type,
            "status": job.status,
            "submitted_at": wire.iso(job.submitted_at),
            "completed_at": wire.maybe_iso(job.completed_at),
            "actual_cost_halala": job.charged,
        }
        for job in connection.execute(query)
    ]


def _profile(connection: Connection, renter_id: int) -> dict[str, Any]:
    renter = renter_rows.active(connection, renter_id)
    return {"renter": profile(connection, renter), "recent_jobs": recent_jobs(connection, renter_id)}


def _wallet(connection: Connection, renter_id: int) -> dict[str, Any]:
    return wallet.view(connection, renter_rows.active(connection, renter_id))
