"""What nodes earned, week by week, in RENDER tokens (protocol sections 3.6 and 5.4)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, true

from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import listing, wire
from skerry.island.faces.dispersed.call import Call, Route
from skerry.island.faces.dispersed.callers import Profile
from skerry.island.faces.dispersed.nodes import rewards
from skerry.island.faces.dispersed.routes import Table
from skerry.island.faces.dispersed.tables import rewards as rows
from skerry.island.ground.texts import iso

EPOCH_STATES = ("ACTIVE", "FINALIZING", "FINALIZED")

_FILTERS = {
    "node_uuid": listing.uuids(rows.c.node_uuid),
    "epoch_status": listing.words(rows.c.status, EPOCH_STATES),
}


class RewardViews:
    """Rewards of the nodes of the account that asks."""

    def __init__(self, engine: Engine) -> None:
        self._store = engine.store

    def routes(self) -> Table:
        """One list, for consumers and nodes alike."""
        return [("GET", "/v1/compute/rewards", Route(self.list, preset="ANY"))]

    async def list(self, call: Call) -> dict[str, Any]:
        """Rewards by week and node; the key of a node sees those of that node."""

        def shown(row: Row[Any]) -> dict[str, Any]:
            return view(row, call.profile)

        mine = rows.c.account_id == call.account_id
        node = true() if call.key.node_uuid is None else rows.c.node_uuid == call.key.node_uuid
        return await listing.page(self._store, call.query, rows, _FILTERS, shown, mine, node)


def view(row: Row[Any], profile: Profile) -> dict[str, Any]:
    """A reward as it is sent; in a week that goes on, what it has come to so far."""
    earned = rewards.amounts(row.multiplier_millis, row.assignable_ms, row.worked_ms, row.prep_ms)
    return {
        "object": "compute_reward",
        "uuid": row.uuid,
        "node_uuid": row.node_uuid,
        "account_uuid": profile.uuid,
        "epoch_start_at": iso(row.epoch_start),
        "epoch_end_at": iso(row.epoch_start + rewards.WEEK),
        "epoch_status": row.status,
        "currency": "RENDER",
        "multiplier": wire.fixed(row.multiplier_millis, 3),
        "assignable_hours": _hours(row.assignable_ms),
        "hours_worked": _hours(row.worked_ms),
        "prep_hours": _hours(row.prep_ms),
        "availability_reward": wire.usd(earned.availability),
        "job_reward": wire.usd(earned.job),
        "preparation_reward": wire.usd(earned.preparation),
        "total_reward": wire.usd(earned.total),
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def _hours(milliseconds: int) -> Any:
    return wire.fixed((2 * milliseconds * 1_000_000 + 3_600_000) // 7_200_000, 6)
