"""What nodes earned, week by week, in RENDER tokens (protocol sections 3.6 and 5.4)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, true

from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import listing, wire
from skerry.island.faces.dispersed.call import Call, Route
from skerry.island.faces.dispersed.callers import Profile
from skerry.island.faces.dispersed.routes import Table
from skerry.island.faces.dispersed.tables import rewards

EPOCH_STATES = ("ACTIVE", "FINALIZING", "FINALIZED")
WEEK_MS = 168 * 3_600_000

AVAILABILITY = 6_000_000
JOB = 10_000_000
PREPARATION = 2_000_000
"""Micros of a RENDER token for a whole week."""

_FILTERS = {
    "node_uuid": listing.uuids(rewards.c.node_uuid),
    "epoch_status": listing.words(rewards.c.status, EPOCH_STATES),
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

        mine = rewards.c.account_id == call.account_id
        node = true() if call.key.node_uuid is None else rewards.c.node_uuid == call.key.node_uuid
        return await listing.page(self._store, call.query, rewards, _FILTERS, shown, mine, node)


def availability_reward(assignable_ms: int) -> int:
    """Micros of RENDER for the time in which work could have come."""
    return _share(AVAILABILITY, assignable_ms)


def job_reward(worked_ms: int, multiplier_millis: int) -> int:
    """Micros of RENDER for the time at work."""
    return _share(JOB * multiplier_millis, worked_ms, 1000)


def preparation_reward(prep_ms: int) -> int:
    """Micros of RENDER for the time in which images were fetched."""
    return _share(PREPARATION, prep_ms)


def view(row: Row[Any], profile: Profile) -> dict[str, Any]:
    """A reward as it is sent; in a week that goes on, what it has come to so far."""
    available = availability_reward(row.assignable_ms)
    worked = job_reward(row.worked_ms, row.multiplier_millis)
    prepared = preparation_reward(row.prep_ms)
    return {
        "object": "compute_reward",
        "uuid": row.uuid,
        "node_uuid": row.node_uuid,
        "account_uuid": profile.uuid,
        "epoch_start_at": wire.moment_text(row.epoch_start),
        "epoch_end_at": wire.moment_text(row.epoch_start + WEEK_MS * 1000),
        "epoch_status": row.status,
        "currency": "RENDER",
        "multiplier": wire.fixed(row.multiplier_millis, 3),
        "assignable_hours": _hours(row.assignable_ms),
        "hours_worked": _hours(row.worked_ms),
        "prep_hours": _hours(row.prep_ms),
        "availability_reward": wire.usd(available),
        "job_reward": wire.usd(worked),
        "preparation_reward": wire.usd(prepared),
        "total_reward": wire.usd(available + worked + prepared),
        "created_at": wire.moment_text(row.created_at),
        "updated_at": wire.moment_text(row.updated_at),
    }


def _share(whole: int, milliseconds: int, divisor: int = 1) -> int:
    """That part of a week's amount, rounded half up."""
    week = WEEK_MS * divisor
    return (2 * whole * milliseconds + week) // (2 * week)


def _hours(milliseconds: int) -> Any:
    return wire.fixed((2 * milliseconds * 1_000_000 + 3_600_000) // 7_200_000, 6)
