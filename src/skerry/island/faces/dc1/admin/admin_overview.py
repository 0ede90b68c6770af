"""The operator's front page (section 3.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import limits, wire
from skerry.island.faces.dc1.access import ADMIN
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.money import wallet
from skerry.island.faces.dc1.money.spending import DAY
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.tables import jobs, providers, renters

_LATEST = 10
_ACTIVE = ("pending", "assigned", "pulling", "running", "paused")


class AdminOverview:
    """Everything at a glance.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Two reads with the operator's token."""
        limit = (limits.ADMIN,)
        return [
            Route(method="GET", path="/api/admin/dashboard", handler=self.dashboard, access=ADMIN, limits=limit),
            Route(method="GET", path="/api/admin/overview", handler=self.overview, access=ADMIN, limits=limit),
        ]

    async def dashboard(self, call: Call) -> Answer:
        """Who is there, what goes on, what came in."""
        return Answer(await self._engine.store.read(_dashboard, call.now))

    async def overview(self, call: Call) -> Answer:
        """The same in seven numbers."""
        return Answer(await self._engine.store.read(_overview, call.now))


def _dashboard(connection: Connection, now: int) -> dict[str, Any]:
    everyone = connection.execute(select(providers).order_by(providers.c.id.desc())).all()
    # Whoever was heard of lately is online here, also one that takes no work at present.
    online = [row for row in everyone if provider_rows.is_live(row, now)]
    tenants = connection.execute(
        select(renters.c.account_id, renters.c.status).where(renters.c.status != "deleted")
    ).all()
    states = _by_status(connection)
    today = now // DAY * DAY
    gpus: dict[str, int] = {}
    for row in everyone:
        gpus[row.gpu_model] = gpus.get(row.gpu_model, 0) + 1
    heard = sorted((row for row in everyone if row.last_heartbeat), key=lambda row: -row.last_heartbeat)
    return {
        "stats": {
            "total_providers": len(everyone),
            "online_now": len(online),
            "offline": len(everyone) - len(online),
            "total_renters": len(tenants),
            "active_renters": sum(row.status == "active" for row in tenants),
            "total_renter_balance_halala": sum(wallet.balance(connection, row.account_id) for row in tenants),
            "total_jobs": sum(states.values()),
            "completed_jobs": states.get("completed", 0),
            "failed_jobs": states.get("failed", 0),
            "active_jobs": sum(states.get(status, 0) for status in _ACTIVE),
            "total_revenue_halala": _sum(connection, jobs.c.charged, 0),
            "total_dc1_fees_halala": _sum(connection, jobs.c.fee, 0),
            "today_revenue_halala": _sum(connection, jobs.c.charged, today),
            "today_dc1_fees_halala": _sum(connection, jobs.c.fee, today),
            "today_jobs": _completed_since(connection, today),
            "timestamp": wire.iso(now),
        },
        "gpu_breakdown": [
            {"gpu_model": name, "count": count} for name, count in sorted(gpus.items(), key=lambda it: (-it[1], it[0]))
        ],
        "recent_signups": [
            {
                "id": row.id,
                "name": row.name,
                "email": row.email,
                "gpu_model": row.gpu_model,
                "os": row.os,
                "created_at": wire.iso(row.created_at),
            }
            for row in everyone[:_LATEST]
        ],
        "recent_heartbeats": [_heartbeat(row) for row in heard[:_LATEST]],
    }


def _overview(connection: Connection, now: int) -> dict[str, Any]:
    states = _by_status(connection)
    everyone = connection.execute(select(providers)).all()
    return {
        "providersRegistered": len(everyone),
        "providersOnline": sum(provider_rows.is_live(row, now) for row in everyone),
        "jobsQueued": states.get("queued", 0),
        "jobsRunning": states.get("running", 0),
        "jobsCompleted": states.get("completed", 0),
        "revenueSARToday": wire.sar(_sum(connection, jobs.c.charged, now // DAY * DAY)),
        "revenueSARTotal": wire.sar(_sum(connection, jobs.c.charged, 0)),
        "timestamp": wire.iso(now),
    }


def _by_status(connection: Connection) -> dict[str, int]:
    query = select(jobs.c.status, func.count().label("number")).group_by(jobs.c.status)
    return {row.status: int(row.number) for row in connection.execute(query)}


def _sum(connection: Connection, column: Any, since: int) -> int:
    query = select(func.sum(column)).where(jobs.c.status == "completed", jobs.c.completed_at >= since)
    return int(connection.execute(query).scalar() or 0)


def _completed_since(connection: Connection, since: int) -> int:
    query = select(func.count()).select_from(jobs)
    return int(connection.execute(query.where(jobs.c.status == "completed", jobs.c.completed_at >= since)).scalar_one())


def _heartbeat(provider: Any) -> dict[str, Any]:
    said = provider_rows.profile(provider)
    return {
        "id": provider.id,
        "name": provider.name,
        "gpu_model": provider.gpu_model,
        "provider_ip": said.get("provider_ip"),
        "provider_hostname": said.get("provider_hostname"),
        "last_heartbeat": wire.maybe_iso(provider.last_heartbeat),
        "gpu_status": said.get("gpu_status"),
    }
