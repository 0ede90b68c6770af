"""What was held, settled and bought: authorizations, transactions (protocol section 3.6), purchases (section 6)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, Table, false, select, true

from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import listing, wire
from skerry.island.faces.dispersed.account.profiles import of_accounts
from skerry.island.faces.dispersed.call import Call, Route
from skerry.island.faces.dispersed.callers import Profile
from skerry.island.faces.dispersed.routes import Table as Routes
from skerry.island.faces.dispersed.tables import authorizations, profiles, transactions
from skerry.island.ground.texts import iso, maybe_iso

AUTHORIZATION_STATES = ("OPEN", "CLOSED", "EXPIRED")
TRANSACTION_TYPES = ("CAPTURE", "CREDIT", "REFUND", "ADJUSTMENT")
_PURCHASE_FILTERS = {
    "created_at": listing.span,
    "uuid": listing.split,
    "status": listing.split,
    "consumer_account_uuid": listing.split,
}


class LedgerViews:
    """The ledger of the account that asks; the island's owner may ask for any account's."""

    def __init__(self, engine: Engine) -> None:
        self._store = engine.store

    def routes(self) -> Routes:
        """Three lists."""
        return [
            ("GET", "/v1/compute/ledger/authorizations", Route(self.authorizations)),
            ("GET", "/v1/compute/ledger/transactions", Route(self.transactions)),
            ("GET", "/v1/compute/ledger/credit-purchases", Route(self.credit_purchases)),
        ]

    async def authorizations(self, call: Call) -> dict[str, Any]:
        """Holds, one for each run or hour of a run."""
        table = authorizations
        filters = {
            "status": listing.words(table.c.status, AUTHORIZATION_STATES),
            "job_run_uuid": listing.uuids(table.c.job_run_uuid),
        }
        return await self._list(call, table, filters, authorization_view)

    async def transactions(self, call: Call) -> dict[str, Any]:
        """Movements of credit."""
        table = transactions
        filters = {
            "type": listing.words(table.c.type, TRANSACTION_TYPES),
            "job_run_uuid": listing.uuids(table.c.job_run_uuid),
            "authorization_uuid": listing.uuids(table.c.authorization_uuid),
        }
        return await self._list(call, table, filters, transaction_view)

    async def credit_purchases(self, call: Call) -> dict[str, Any]:
        """Credit that was bought: never any, because the island sells none and its owner gives it."""
        return listing.envelope([], listing.read_query(call.query, _PURCHASE_FILTERS), 0)

    async def _list(self, call: Call, table: Table, filters: dict[str, listing.Filter], view: Any) -> dict[str, Any]:
        others = any(name == "filter[consumer_account_uuid]" for name, _ in call.query) and call.operator

        def account(text: str) -> listing.Clause:
            named = [word.lower() for word in listing.split(text)]
            if others:
                return table.c.account_id.in_(select(profiles.c.account_id).where(profiles.c.uuid.in_(named)))
            return true() if call.profile.uuid in named else false()

        conditions = [] if others else [table.c.account_id == call.account_id]
        wanted = listing.read_query(call.query, {**listing.dated(table), **filters, "consumer_account_uuid": account})
        rows, total = await self._store.read(listing.fetch, table, wanted, *conditions)
        known = {call.account_id: call.profile}
        if others:
            known = await self._store.read(of_accounts, {row.account_id for row in rows})
        return listing.envelope([view(row, known[row.account_id]) for row in rows], wanted, total)


def authorization_view(row: Row[Any], profile: Profile) -> dict[str, Any]:
    """A hold as it is sent."""
    return {
        "object": "compute_ledger_authorization",
        "uuid": row.uuid,
        "amount_usd": wire.usd(row.amount),
        "approved": bool(row.approved),
        "status": row.status,
        "status_reason": row.status_reason,
        "opened_at": iso(row.opened_at),
        "expires_at": iso(row.expires_at),
        "closed_at": maybe_iso(row.closed_at),
        "job_run_uuid": row.job_run_uuid,
        **_whose(profile),
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def transaction_view(row: Row[Any], profile: Profile) -> dict[str, Any]:
    """A movement as it is sent."""
    return {
        "object": "compute_ledger_transaction",
        "uuid": row.uuid,
        "amount_usd": wire.usd(row.amount),
        "type": row.type,
        "job_run_uuid": row.job_run_uuid,
        "authorization_uuid": row.authorization_uuid,
        **_whose(profile),
        "render_credit_id": None,
        "memo": row.memo,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def _whose(profile: Profile) -> dict[str, str]:
    return {
        "consumer_account_uuid": profile.uuid,
        "consumer_profile_uuid": profile.consumer_profile_uuid,
        "render_user_id": profile.render_user_id,
    }
