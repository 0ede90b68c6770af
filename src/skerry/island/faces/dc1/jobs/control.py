"""What renters decide about their jobs (section 3.5): cancel, try again, stop and pay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.faces.dc1.access import ANYBODY, RENTER_JOBS
from skerry.island.faces.dc1.authentication import Authentication
from skerry.island.faces.dc1.call import Answer, Call, Caller, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.fields import Fields
from skerry.island.faces.dc1.jobs import ending, events, job_access, job_reading
from skerry.island.faces.dc1.jobs.changes import Changes
from skerry.island.faces.dc1.jobs.ending import Ended
from skerry.island.faces.dc1.jobs.job_making import JobMaker, again, anywhere
from skerry.island.faces.dc1.jobs.submitting import active
from skerry.island.faces.dc1.limits import RETRY
from skerry.island.faces.dc1.money import settling
from skerry.island.faces.dc1.money.settling import Shares
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.settings import DC1

_MOST_SECONDS = 10 * 366 * 86_400


class Control:
    """Decisions about jobs.

    Args:
        changes: runs transactions over jobs.
        maker: makes jobs anew.
        settings: of the network.
        authentication: for daemons, which have their key in the body.
    """

    def __init__(self, changes: Changes, maker: JobMaker, settings: DC1, authentication: Authentication) -> None:
        self._changes = changes
        self._maker = maker
        self._settings = settings
        self._authentication = authentication

    def routes(self) -> Sequence[Route]:
        """Five calls."""
        job = "/api/jobs/{job_id}"
        return [
            Route(method="POST", path=f"{job}/cancel", handler=self.cancel, access=ANYBODY),
            Route(method="POST", path=f"{job}/retry", handler=self.retry, access=RENTER_JOBS, limits=(RETRY,)),
            Route(method="POST", path=f"{job}/complete", handler=self.complete, access=ANYBODY),
            Route(method="POST", path=f"{job}/pause", handler=self.pause, access=ANYBODY),
            Route(method="POST", path=f"{job}/resume", handler=self.resume, access=ANYBODY),
        ]

    async def cancel(self, call: Call, job_id: str) -> Answer:
        """Cancel a job that has not ended, and have back what it holds."""
        return await self._changes.run(self._cancel, call, job_id)

    async def retry(self, call: Call, job_id: str) -> Answer:
        """The same job once more, as a new one at the present price."""
        return await self._changes.run(self._retry, call, job_id)

    async def complete(self, call: Call, job_id: str) -> Answer:
        """Stop a job that runs, such as a model that is served, and pay for its time."""
        caller = await job_access.with_body_key(self._authentication, call)
        fields = Fields(call.json, nulls=True)
        seconds = fields.number("duration_seconds", least=0, most=_MOST_SECONDS, required=False)
        fields.check()
        return await self._changes.run(self._complete, call, caller, job_id, seconds)

    async def pause(self, call: Call, job_id: str) -> Answer:
        """Refused: nothing here can keep a running program for later."""
        return await self._changes.read(_pause, call, job_id)

    async def resume(self, call: Call, job_id: str) -> Answer:
        """Refused: no job is ever paused."""
        return await self._changes.read(_resume, call, job_id)

    def _cancel(self, connection: Connection, call: Call, job_id: str) -> Answer:
        job = job_access.owned(connection, call.caller, job_id)
        source = "renter" if job_access.owns(call.caller, job) else "admin"
        charge = self._settings.charge_cancelled_serving
        ended = ending.cancel(connection, job, source=source, charge_serving=charge, now=call.now)
        return Answer(
            {
                "success": True,
                "job_id": job.job_id,
                "status": "cancelled",
                "refunded_halala": ended.refunded,
                "job": job_reading.view(connection, ended.job, call),
                **promotion(call.caller, ended),
            }
        )

    def _retry(self, connection: Connection, call: Call, job_id: str) -> Answer:
        job = job_access.known(connection, job_id)
        if not job_access.owns(call.caller, job):
            raise Fault(404, "Job not found")
        if job.status != "failed":
            raise Fault(400, "Only failed jobs can be retried", current_status=job.status)
        renter = active(connection, call.renter.id)
        wanted = again(job)
        provider = _same_or_other(connection, job, call.now)
        try:
            made = self._maker.make(
                connection,
                renter,
                wanted if provider is not None else anywhere(wanted),
                provider=provider,
                text=job.task_spec,
                retried_from=job.id,
                now=call.now,
            )
        except Fault as fault:
            if fault.status != 402:
                raise
            needed, there = fault.extra["required_halala"], fault.extra["balance_halala"]
            raise Fault(402, "insufficient_balance", required_halala=needed, available_halala=there) from None
        message = f"Job retried from {job.job_id}"
        payload = {"retried_from_job_id": job.id, "retried_from": job.job_id}
        events.add(
            connection, made.job.id, events.RETRIED, made.job.status, "renter", message, payload=payload, now=call.now
        )
        shown = ("id", "job_id", "status", "job_type", "model", "provider_id", "pricing_class")
        view = {name: getattr(made.job, name) for name in shown}
        more = {"cost_halala": made.job.quote, "prewarm_requested": bool(made.job.prewarm)}
        body: dict[str, Any] = {
            "success": True,
            "job": {**view, **more, "retried_from_job_id": job.id},
            "attempt": retries_before(connection, job) + 2,
            "new_balance_halala": settling.balance(connection, renter.account_id),
        }
        if made.message is not None:
            body |= {"queued": True, "message": made.message}
        return Answer(body, 201)

    def _complete(
        self, connection: Connection, call: Call, caller: Caller, job_id: str, seconds: int | float | None
    ) -> Answer:
        job = job_access.readable(connection, caller, job_id)
        if job.status != "running":
            raise Fault(400, "Job is not running", current_status=job.status)
        source = "renter" if job_access.owns(caller, job) else "admin" if caller.admin else "daemon"
        ended, shares = ending.stop(connection, job, seconds=seconds, source=source, now=call.now)
        return Answer(settled(connection, call, caller, ended, shares))


def settled(connection: Connection, call: Call, caller: Caller, ended: Ended, shares: Shares) -> dict[str, Any]:
    """The answer when a job was stopped and paid for."""
    return {
        "success": True,
        "job_id": ended.job.job_id,
        "status": ended.job.status,
        "job": job_reading.view(connection, ended.job, call),
        "billing": {
            "actual_cost_halala": shares.charged,
            "provider_earned_halala": shares.provider,
            "dc1_fee_halala": shares.fee,
        },
        "refunded_halala": ended.refunded,
        **promotion(caller, ended),
    }


def promotion(caller: Caller, ended: Ended) -> dict[str, Any]:
    """The job that came forward, where one did."""
    if ended.promoted is None:
        return {}
    name = job_access.name_for(caller, ended.promoted)
    return {"next_job_promoted": {"job_id": name, "renter_id": ended.promoted.renter_id}}


def retries_before(connection: Connection, job: Row[Any]) -> int:
    """How many jobs stand before this one in its chain of retries."""
    count, seen = 0, {job.id}
    while job.retried_from is not None and job.retried_from not in seen:
        seen.add(job.retried_from)
        count += 1
        job = job_access.known(connection, str(job.retried_from))
    return count


def _same_or_other(connection: Connection, job: Row[Any], now: int) -> Row[Any] | None:
    """The provider that had the job, while it can work; None lets the job go to whichever fits."""
    provider = None if job.provider_id is None else provider_rows.find(connection, job.provider_id)
    return provider if provider is not None and provider_rows.may_work(provider, now) else None


def _pause(connection: Connection, call: Call, job_id: str) -> Answer:
    job = job_access.readable(connection, call.caller, job_id)
    if job.status not in ("running", "pulling", "assigned"):
        raise Fault(400, "Job is not active", current_status=job.status)
    raise Fault(400, "Checkpointing is not enabled for this job")


def _resume(connection: Connection, call: Call, job_id: str) -> Answer:
    job = job_access.readable(connection, call.caller, job_id)
    raise Fault(400, "Job is not paused", current_status=job.status)
