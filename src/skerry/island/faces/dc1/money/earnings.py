"""What providers have earned, job by job and day by day (section 3.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import EARNINGS
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.jobs import job_rows
from skerry.island.faces.dc1.money import withdrawals
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.tables import jobs, renters
from skerry.island.store.values import moment

_DAY = 86_400_000_000


class Earnings:
    """Answers for earnings.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Four reads."""

        def route(path: str, handler: Any) -> Route:
            return Route(method="GET", path=f"/api/providers/{path}", handler=handler, access=EARNINGS)

        return [
            route("earnings", self.totals),
            route("job-history", self.jobs),
            route("earnings-daily", self.daily),
            route("me/earnings/history", self.history),
        ]

    async def totals(self, call: Call) -> Answer:
        """All of it: earned, asked for, paid out, and held for jobs that are not settled."""
        return Answer(await self._engine.store.read(totals, call.provider.id))

    async def jobs(self, call: Call) -> Answer:
        """Its jobs, the newest first, and what they came to."""
        limit = call.whole("limit", 50, 1, 200)
        return Answer(await self._engine.store.read(_jobs, call.provider.id, limit))

    async def daily(self, call: Call) -> Answer:
        """By UTC day, the latest first; `days` of them, 30 unless said."""
        days = call.whole("days", 30, 1, 366)
        since = call.now - call.now % _DAY - (days - 1) * _DAY
        return Answer(await self._engine.store.read(_daily, call.provider.id, since, days))

    async def history(self, call: Call) -> Answer:
        """One by one, the newest first, by page."""
        limit, offset = call.whole("limit", 50, 1, 200), call.whole("offset", 0, 0, 1_000_000)
        return Answer(await self._engine.store.read(_history, call.provider.id, limit, offset))


def totals(connection: Connection, provider_id: int) -> dict[str, Any]:
    """What a provider has earned and what it can have."""
    provider = provider_rows.find(connection, provider_id)
    assert provider is not None
    funds = withdrawals.funds(connection, provider_id)
    earned = int(provider.total_earned)
    held, locked = (
        _unsettled(connection, provider_id, job_rows.WAITING),
        _unsettled(connection, provider_id, job_rows.CLAIMED),
    )
    return {
        "provider_id": provider.id,
        "name": provider.name,
        "total_earned_sar": wire.sar(earned),
        "total_earned_halala": earned,
        "claimable_earnings_halala": funds.claimable,
        "pending_withdrawal_sar": wire.sar(funds.pending),
        "pending_halala": funds.pending,
        "withdrawn_sar": wire.sar(funds.paid),
        "available_sar": wire.sar(funds.available),
        "available_halala": funds.available,
        "total_jobs": provider.total_jobs,
        "escrow": {
            "held_jobs": held[0],
            "held_halala": held[1],
            "locked_jobs": locked[0],
            "locked_halala": locked[1],
        },
    }


def _unsettled(connection: Connection, provider_id: int, states: Sequence[str]) -> tuple[int, int]:
    query = select(func.count(), func.coalesce(func.sum(jobs.c.quote), 0)).where(
        jobs.c.provider_id == provider_id, jobs.c.status.in_(states)
    )
    count, amount = connection.execute(query).one()
    return int(count), int(amount)


def _jobs(connection: Connection, provider_id: int, limit: int) -> dict[str, Any]:
    counting = select(jobs.c.status, func.count()).where(jobs.c.provider_id == provider_id).group_by(jobs.c.status)
    counts: dict[str, int] = {status: int(count) for status, count in connection.execute(counting)}
    whole, done = sum(counts.values()), counts.get("completed", 0)
    provider = provider_rows.find(connection, provider_id)
    assert provider is not None
    query = (
        select(jobs, renters.c.name.label("renter_name"))
        .outerjoin(renters, renters.c.id == jobs.c.renter_id)
        .where(jobs.c.provider_id == provider_id)
        .order_by(jobs.c.id.desc())
        .limit(limit)
    )
    found = [
        {
            "id": job.id,
            "job_id": job.job_id,
            "job_type": job.job_type,
            "status": job.status,
            "submitted_at": wire.iso(job.submitted_at),
            "started_at": wire.maybe_iso(job.started_at),
            "completed_at": wire.maybe_iso(job.completed_at),
            "progress_phase": job.progress_phase,
            "error": job.error,
            "actual_cost_halala": job.charged if job.status == "completed" else None,
            "cost_halala": job.quote,
            "provider_earned_halala": job.provider_earned if job.status == "completed" else None,
            "dc1_fee_halala": job.fee if job.status == "completed" else None,
            "actual_duration_minutes": _minutes(job) if job.status == "completed" else None,
            "duration_minutes": wire.number(job.duration_minutes),
            "renter_name": job.renter_name,
            "earned_sar": wire.sar_text(job.provider_earned or 0),
            "cost_sar": wire.sar_text(job.charged or 0),
        }
        for job in connection.execute(query)
    ]
    return {
        "provider_id": provider_id,
        "total_jobs": whole,
        "completed_jobs": done,
        "failed_jobs": counts.get("failed", 0),
        "total_earned_halala": provider.total_earned,
        "total_earned_sar": wire.sar_text(int(provider.total_earned)),
        "success_rate": round(100 * done / whole) if whole else 0,
        "jobs": found,
    }


def _daily(connection: Connection, provider_id: int, since: int, days: int) -> dict[str, Any]:
    query = select(jobs.c.completed_at, jobs.c.provider_earned).where(
        jobs.c.provider_id == provider_id, jobs.c.status == "completed", jobs.c.completed_at >= since
    )
    by_day: dict[str, list[int]] = {}
    for row in connection.execute(query):
        entry = by_day.setdefault(moment(row.completed_at).date().isoformat(), [0, 0])
        entry[0] += 1
        entry[1] += int(row.provider_earned or 0)
    daily = [
        {"day": day, "date": day, "jobs": count, "earned_halala": earned, "earned_sar": wire.sar_text(earned)}
        for day, (count, earned) in sorted(by_day.items(), reverse=True)
    ]
    return {"provider_id": provider_id, "days": days, "daily": daily}


def _history(connection: Connection, provider_id: int, limit: int, offset: int) -> dict[str, Any]:
    query = select(jobs).where(jobs.c.provider_id == provider_id, jobs.c.status == "completed")
    total = int(connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())
    rows = connection.execute(query.order_by(jobs.c.completed_at.desc(), jobs.c.id.desc()).limit(limit).offset(offset))
    found = [
        {
            "job_id": job.job_id,
            "job_type": job.job_type,
            "completed_at": wire.maybe_iso(job.completed_at),
            "cost_halala": job.charged,
            "earned_halala": job.provider_earned,
            "fee_halala": job.fee,
            "earned_sar": wire.sar_text(job.provider_earned or 0),
        }
        for job in rows
    ]
    pages = {"limit": limit, "offset": offset, "total": total}
    return {"provider_id": provider_id, "history": found, "pagination": pages}


def _minutes(job: Any) -> int | None:
    if job.started_at is None or job.completed_at is None:
        return None
    return max(1, -(-int(job.completed_at - job.started_at) // 60_000_000))
