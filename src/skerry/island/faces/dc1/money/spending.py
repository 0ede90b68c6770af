"""What a renter spent, by month and day, and on what (section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import Connection, func, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ACCOUNT
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.tables import jobs, providers
from skerry.island.store.values import moment

DAY = 86_400_000_000
"""Microseconds of a day."""

_PERIODS = {"7d": 7, "30d": 30, "90d": 90}
_USUAL = "30d"
_MONTHS = 12
_TOP = 5


class Spending:
    """Sums over a renter's jobs.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Two reads."""
        return [
            Route(method="GET", path="/api/renters/me/spending", handler=self.spending, access=ACCOUNT),
            Route(method="GET", path="/api/renters/me/analytics", handler=self.analytics, access=ACCOUNT),
        ]

    async def spending(self, call: Call) -> Answer:
        """What completed jobs were charged: in all, by month, and by day of the last thirty."""
        return Answer(await self._engine.store.read(_spending, call.renter.id, call.now))

    async def analytics(self, call: Call) -> Answer:
        """Jobs submitted within a period: what they cost or are expected to, how they ended, and where they ran."""
        period = call.query.get("period", _USUAL)
        period = period if period in _PERIODS else _USUAL
        since = call.now - _PERIODS[period] * DAY
        return Answer({"period": period, **await self._engine.store.read(_analytics, call.renter.id, since)})


def _spending(connection: Connection, renter_id: int, now: int) -> dict[str, Any]:
    day = jobs.c.completed_at // DAY
    query = select(day.label("day"), func.count().label("jobs"), func.sum(jobs.c.charged).label("total"))
    query = query.where(jobs.c.renter_id == renter_id, jobs.c.status == "completed").group_by(day).order_by(day.desc())
    days = [(int(row.day), int(row.jobs), int(row.total or 0)) for row in connection.execute(query)]
    months: dict[str, list[int]] = {}
    for number, count, total in days:
        sums = months.setdefault(_date(number)[:7], [0, 0])
        sums[0] += count
        sums[1] += total
    total = sum(halala for _, _, halala in days)
    recent = [item for item in days if item[0] > now // DAY - 30]
    return {
        "all_time": {
            "total_jobs": sum(count for _, count, _ in days),
            "total_halala": total,
            "total_sar": wire.sar(total),
        },
        "monthly": [
            {"month": month, "jobs": sums[0], "total_halala": sums[1]} for month, sums in list(months.items())[:_MONTHS]
        ],
        "last_30_days": [
            {"date": _date(number), "jobs": count, "total_halala": sum_} for number, count, sum_ in recent
        ],
    }


def _analytics(connection: Connection, renter_id: int, since: int) -> dict[str, Any]:
    mine = (jobs.c.renter_id == renter_id, jobs.c.submitted_at >= since)
    day = jobs.c.submitted_at // DAY
    cost, count = func.sum(jobs.c.quote).label("total"), func.count().label("number")
    daily = connection.execute(select(day.label("day"), cost, count).where(*mine).group_by(day).order_by(day)).all()
    states = connection.execute(
        select(jobs.c.status, count).where(*mine).group_by(jobs.c.status).order_by(jobs.c.status)
    ).all()
    done = connection.execute(select(jobs.c.duration_minutes).where(*mine, jobs.c.status == "completed")).all()
    by_provider = select(jobs.c.provider_id, cost, count).where(*mine, jobs.c.provider_id.is_not(None))
    gpus: dict[str, list[int]] = {}
    names = {row.id: provider_rows.model_of(row) for row in connection.execute(select(providers))}
    for row in connection.execute(by_provider.group_by(jobs.c.provider_id)):
        sums = gpus.setdefault(names[row.provider_id], [0, 0])
        sums[0] += int(row.number)
        sums[1] += int(row.total)
    top = sorted(gpus.items(), key=lambda item: (-item[1][0], item[0]))[:_TOP]
    return {
        "daily_spend": [
            {"day": _date(int(row.day)), "total_halala": int(row.total), "job_count": row.number} for row in daily
        ],
        "status_counts": [{"status": row.status, "count": row.number} for row in states],
        "avg_duration_minutes": _mean([Decimal(row.duration_minutes) for row in done]),
        "completed_job_count": len(done),
        "top_gpus": [{"gpu_model": name, "job_count": sums[0], "total_halala": sums[1]} for name, sums in top],
    }


def _date(day: int) -> str:
    return moment(day * DAY).date().isoformat()


def _mean(minutes: Sequence[Decimal]) -> Decimal | int:
    if not minutes:
        return 0
    return (sum(minutes, Decimal()) / len(minutes)).quantize(Decimal("0.1"), ROUND_HALF_UP)
