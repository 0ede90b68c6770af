"""Taking one's data along, and one's leave (section 3.1).

A deleted account is nobody: names, addresses, keys, webhooks and saved jobs are gone for good, and its address may be
registered anew. What remains are its jobs and the ledger, which are others' accounts too. Nothing is deleted while a
job goes on, and none of a balance is lost: it must be spent, or taken back by the operator, first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from skerry.island.engine import accounts
from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import key_rows, limits, wire
from skerry.island.faces.dc1.access import ACCOUNT
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import job_rows
from skerry.island.faces.dc1.money import payment_rows, wallet
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.faces.dc1.renters.renters import profile
from skerry.island.faces.dc1.tables import deliveries, jobs, presets, webhooks

CONFIRMATION = "DELETE_MY_ACCOUNT"
_MOST_REASON = 500
_MOST_JOBS = 50_000
_MOST_PAYMENTS = 10_000


class Farewells:
    """Export and deletion.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Both rarely."""
        once = (limits.EXPORT,)
        return [
            Route(method="GET", path="/api/renters/me/export", handler=self.export, access=ACCOUNT, limits=once),
            Route(method="GET", path="/api/renters/me/data-export", handler=self.export, access=ACCOUNT, limits=once),
            Route(
                method="DELETE",
                path="/api/renters/me",
                handler=self.delete,
                access=ACCOUNT,
                limits=(limits.DELETION,),
            ),
        ]

    async def export(self, call: Call) -> Answer:
        """All that is kept of the account; keys and secrets are not, for nobody can read them."""

        def work(connection: Connection) -> dict[str, Any]:
            renter = renter_rows.active(connection, call.renter.id)
            query = select(jobs).where(jobs.c.renter_id == renter.id).order_by(jobs.c.id).limit(_MOST_JOBS)
            paid, _ = payment_rows.listed(connection, renter_id=renter.id, limit=_MOST_PAYMENTS, offset=0)
            return {
                "exported_at": wire.iso(call.now),
                "renter": profile(connection, renter),
                "jobs": [_job(job) for job in connection.execute(query)],
                "payments": [payment_rows.view(row) for row in paid],
                "retention_policy": {
                    "account": "kept until the account is deleted",
                    "jobs": "kept with the ledger; after a deletion without name or address",
                    "payments": "kept with the ledger",
                },
            }

        found = await self._engine.store.read(work)
        name = f'attachment; filename="dcp-data-export-{call.renter.id}.json"'.encode()
        return Answer(found, headers=((b"content-disposition", name),))

    async def delete(self, call: Call) -> Answer:
        """Delete the account for good; its keys are dead when this is answered.

        Raises:
            Fault: 400 without the words that confirm it; 409 while jobs go on, while there is a balance, and for the
                account that the island itself was opened with.
        """
        body = call.json if isinstance(call.json, dict) else {}
        if body.get("confirm") != CONFIRMATION:
            raise Fault(400, f'Set confirm to "{CONFIRMATION}" to delete your account')
        reason = body.get("reason")
        if reason is not None and (not isinstance(reason, str) or len(reason) > _MOST_REASON or "\x00" in reason):
            raise Fault(400, f"reason must be a string of at most {_MOST_REASON} characters")
        account_id = call.renter.account_id
        if account_id == self._engine.account_id:
            raise Fault(409, "This is the island's own account, which cannot be deleted")
        await self._engine.store.run(_delete, call.renter.id, call.caller.key_id, reason, call.now)
        self._engine.accounts.forget(account_id)
        message = "Your account has been deleted."
        return Answer({"success": True, "message": message, "deleted_at": wire.iso(call.now)})


def _delete(connection: Connection, renter_id: int, key_id: str, reason: str | None, now: int) -> None:
    renter = renter_rows.active(connection, renter_id)
    if not accounts.is_live(connection, renter.account_id, key_id):
        raise Fault(404, "Renter not found")
    live = select(jobs.c.id).where(jobs.c.renter_id == renter_id, jobs.c.status.not_in(job_rows.TERMINAL))
    count = len(connection.execute(live).all())
    if count:
        raise Fault(409, "Cannot delete account with active jobs. Cancel them first.", active_jobs=count)
    has = wallet.balance(connection, renter.account_id)
    if has:
        raise Fault(
            409,
            "Cannot delete account with a non-zero balance. Spend it, or have the operator take it back, first.",
            balance_halala=has,
        )
    accounts.end_keys(connection, renter.account_id, key_rows.NETWORK, now)
    for kind in (key_rows.SCOPED, key_rows.PERMITTED):
        key_rows.revoke(connection, kind, renter_id, now)
    for table in (webhooks, presets, deliveries):
        connection.execute(table.delete().where(table.c.renter_id == renter_id))
    renter_rows.change(
        connection,
        renter_id,
        now,
        name="Deleted renter",
        email=f"deleted-{renter_id}@island.invalid",
        organization=None,
        use_case=None,
        phone=None,
        webhook_url=None,
        sealed_key=None,
        status="deleted",
        status_reason=reason,
        deleted_at=now,
    )


def _job(job: Any) -> dict[str, Any]:
    return {
        "id": job.id,
        "job_id": job.job_id,
        "job_type": job.job_type,
        "model": job.model,
        "status": job.status,
        "params": wire.decode(job.params.encode()),
        "cost_halala": job.quote,
        "actual_cost_halala": job.charged,
        "duration_minutes": wire.number(job.duration_minutes),
        "submitted_at": wire.iso(job.submitted_at),
        "started_at": wire.maybe_iso(job.started_at),
        "completed_at": wire.maybe_iso(job.completed_at),
        "result": job.result,
        "error": job.error,
    }
