"""How much a renter may submit in a day and spend in a month, where the operator set a limit (section 3.3.2)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, select

from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.tables import jobs
from skerry.island.settings import DC1
from skerry.island.store.values import micros, moment


def check(connection: Connection, settings: DC1, renter: Row[Any], halala: int, *, now: int) -> None:
    """Refuse a job that would exceed a limit; the renter's own limits count before those of the settings.

    Args:
        halala: what the job would hold.
        now: microseconds since 1970.

    Raises:
        Fault: 429, which waiting for a minute does not cure.
    """
    daily = settings.daily_jobs if renter.daily_jobs is None else int(renter.daily_jobs)
    monthly = settings.monthly_spend if renter.monthly_spend is None else int(renter.monthly_spend)
    day = moment(now).replace(hour=0, minute=0, second=0, microsecond=0)
    if daily is not None:
        mine = (jobs.c.renter_id == renter.id, jobs.c.submitted_at >= micros(day))
        made = int(connection.execute(select(func.count()).select_from(jobs).where(*mine)).scalar_one())
        if made >= daily:
            told = "Daily job submission quota exceeded"
            raise Fault(429, told, daily_jobs_limit=daily, submitted_today=made)
    if monthly is not None:
        mine = (jobs.c.renter_id == renter.id, jobs.c.submitted_at >= micros(day.replace(day=1)))
        # What has ended counts as it was charged, what goes on as it may become.
        total = func.sum(func.coalesce(jobs.c.charged, jobs.c.quote))
        spent = int(connection.execute(select(total).where(*mine)).scalar() or 0)
        if spent + halala > monthly:
            raise Fault(
                429,
                "Monthly spend quota exceeded",
                monthly_spend_limit_halala=monthly,
                spent_this_month_halala=spent,
                requested_halala=halala,
            )
