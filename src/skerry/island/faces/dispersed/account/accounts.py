"""The caller's account: who it is, what it has, spent and used (protocol section 3.8)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, literal_column, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dispersed import wire
from skerry.island.faces.dispersed.call import Call, Route
from skerry.island.faces.dispersed.callers import Profile
from skerry.island.faces.dispersed.errors import Fault, not_found
from skerry.island.faces.dispersed.jobs.lifecycle import JOB_STATUSES
from skerry.island.faces.dispersed.routes import Table
from skerry.island.faces.dispersed.tables import job_runs, jobs, recipes, ssh_public_keys, transactions
from skerry.island.ground.texts import is_uuid, iso, maybe_iso
from skerry.island.store import ledger
from skerry.island.store.tables import postings

CURRENCY = "USD"

_HOUR = 3_600_000_000
_DAY = 24 * _HOUR
_DAILY = 30


class AccountViews:
    """What an account may learn about itself."""

    def __init__(self, engine: Engine) -> None:
        self._store = engine.store

    def routes(self) -> Table:
        """With every alias of section 3.0."""
        table: Table = [
            ("GET", "/v1/accounts/me", Route(self.me, preset="ANY")),
            ("GET", "/v1/me", Route(self.me, preset="ANY")),
        ]
        for handler, spellings in (
            (self.balance, ("balance", "balances")),
            (self.spend_summary, ("spend-summary", "spend_summary", "spend/summary")),
            (self.consumer_summary, ("consumer-summary", "consumer_summary", "consumer/summary")),
        ):
            table += [("GET", f"/v1/accounts/{{uuid}}/{spelling}", Route(handler)) for spelling in spellings]
        return table

    async def me(self, call: Call) -> dict[str, Any]:
        """The account a key belongs to."""
        profile = call.profile
        return {
            "object": "account",
            "uuid": profile.uuid,
            "name": profile.name,
            "email": profile.email,
            "render_user_id": profile.render_user_id,
            "consumer_profile_uuid": profile.consumer_profile_uuid,
            "roles": [call.key.preset],
            "created_at": iso(profile.created_at),
            "updated_at": iso(profile.updated_at),
        }

    async def balance(self, call: Call, uuid: str) -> dict[str, Any]:
        """Credit by the ledger: all of it, what is held, and what may be spent."""
        _own(call, uuid)
        return await self._store.read(_balance, call.profile)

    async def spend_summary(self, call: Call, uuid: str) -> dict[str, Any]:
        """What was captured less what was refunded."""
        _own(call, uuid)
        return await self._store.read(_spend_summary, call.profile, call.now)

    async def consumer_summary(self, call: Call, uuid: str) -> dict[str, Any]:
        """How much there is of everything."""
        _own(call, uuid)
        return await self._store.read(_consumer_summary, call.profile, call.now)


def _own(call: Call, uuid: str) -> None:
    if not is_uuid(uuid):
        raise not_found("account")
    if uuid.lower() != call.profile.uuid:
        raise Fault(403, "FORBIDDEN", "This is not your account")


def _balance(connection: Connection, profile: Profile) -> dict[str, Any]:
    owner, holding = ledger.owner(profile.account_id), ledger.holding(profile.account_id)
    available = ledger.balance(connection, owner, CURRENCY)
    held = ledger.balance(connection, holding, CURRENCY)
    moved = connection.execute(
        select(func.max(postings.c.created_at)).where(postings.c.account.in_((owner, holding)))
    ).scalar()
    return {
        "object": "account_balance",
        "account_uuid": profile.uuid,
        "currency": CURRENCY,
        "balance_usd": wire.usd(available + held),
        "authorized_usd": wire.usd(held),
        "available_usd": wire.usd(available),
        "updated_at": iso(profile.updated_at if moved is None else moved),
    }


def _spend_summary(connection: Connection, profile: Profile, now: int) -> dict[str, Any]:
    # A literal, because a parameter would make two different expressions of the selected and the grouped one.
    day = transactions.c.created_at // literal_column(str(_DAY))
    spent = func.sum(transactions.c.amount)
    mine = transactions.c.account_id == profile.account_id

    def total(since: int | None) -> int:
        sums = {"CAPTURE": 0, "REFUND": 0}
        query = select(transactions.c.type, spent).where(mine).group_by(transactions.c.type)
        if since is not None:
            query = query.where(transactions.c.created_at >= since)
        sums.update({kind: int(amount) for kind, amount in connection.execute(query)})
        return sums["CAPTURE"] - sums["REFUND"]

    daily: dict[int, int] = {}
    first_day = now // _DAY - _DAILY + 1
    by_day = (
        select(day, transactions.c.type, spent)
        .where(mine, transactions.c.type.in_(("CAPTURE", "REFUND")), transactions.c.created_at >= first_day * _DAY)
        .group_by(day, transactions.c.type)
    )
    for number, kind, amount in connection.execute(by_day):
        sign = 1 if kind == "CAPTURE" else -1
        daily[int(number)] = daily.get(int(number), 0) + sign * int(amount)
    rate = connection.execute(
        select(func.sum(job_runs.c.hourly_rate)).where(
            job_runs.c.account_id == profile.account_id, job_runs.c.status == "RUNNING"
        )
    ).scalar()
    return {
        "object": "account_spend_summary",
        "account_uuid": profile.uuid,
        "currency": CURRENCY,
        "total_usd": wire.usd(total(None)),
        "last_24h_usd": wire.usd(total(now - _DAY)),
        "last_7d_usd": wire.usd(total(now - 7 * _DAY)),
        "last_30d_usd": wire.usd(total(now - _DAILY * _DAY)),
        "current_hourly_rate_usd": wire.usd(int(rate or 0)),
        "daily": [{"date": iso(number * _DAY)[:10], "amount_usd": wire.usd(daily[number])} for number in sorted(daily)],
    }


def _consumer_summary(connection: Connection, profile: Profile, now: int) -> dict[str, Any]:
    account = profile.account_id
    by_status = dict.fromkeys(JOB_STATUSES, 0)
    for status, count in connection.execute(
        select(jobs.c.status, func.count()).where(jobs.c.account_id == account).group_by(jobs.c.status)
    ):
        by_status[status] = count
    by_run = select(job_runs.c.status, func.count()).where(job_runs.c.account_id == account)
    runs: dict[str, int] = {row[0]: row[1] for row in connection.execute(by_run.group_by(job_runs.c.status))}
    worked = connection.execute(
        select(
            func.sum((func.coalesce(job_runs.c.completed_at, now) - job_runs.c.started_at) * job_runs.c.gpu_count)
        ).where(job_runs.c.account_id == account, job_runs.c.started_at.is_not(None))
    ).scalar()
    last_job = connection.execute(select(func.max(jobs.c.created_at)).where(jobs.c.account_id == account)).scalar()
    return {
        "object": "account_consumer_summary",
        "account_uuid": profile.uuid,
        "jobs": {"total": sum(by_status.values()), "by_status": by_status},
        "job_runs": {"total": sum(runs.values()), "running": runs.get("RUNNING", 0)},
        "gpu_hours_total": wire.fixed(int(worked or 0) * 1_000_000 // _HOUR, 6),
        "recipes_total": _count(connection, recipes, account),
        "ssh_public_keys_total": _count(connection, ssh_public_keys, account),
        "last_job_at": maybe_iso(last_job),
    }


def _count(connection: Connection, table: Any, account_id: str) -> int:
    query = (
        select(func.count()).select_from(table).where(table.c.account_id == account_id, table.c.deleted_at.is_(None))
    )
    return connection.execute(query).scalar_one()
