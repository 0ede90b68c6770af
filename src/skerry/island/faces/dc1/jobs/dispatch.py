"""The other way of making a job: given to the best provider at once, or refused (section 3.5, dispatch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import Connection, Row, func, select

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ANYBODY, RENTER_JOBS
from skerry.island.faces.dc1.authentication import Authentication
from skerry.island.faces.dc1.call import Answer, Call, Caller, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import claiming, ending, job_access, quoting, replays, routing, submission
from skerry.island.faces.dc1.jobs.changes import Changes
from skerry.island.faces.dc1.jobs.control import promotion, settled
from skerry.island.faces.dc1.jobs.job_making import JobMaker, Made
from skerry.island.faces.dc1.jobs.job_rows import CLAIMED, TERMINAL
from skerry.island.faces.dc1.jobs.reporting import storable
from skerry.island.faces.dc1.jobs.submission import Submission
from skerry.island.faces.dc1.jobs.submitting import active
from skerry.island.faces.dc1.limits import DISPATCH
from skerry.island.faces.dc1.tables import jobs
from skerry.island.settings import DC1

_ROUTE = "dispatch"
_USUAL_REASON = "Job failed"
_LONGEST_REASON = 4_000


class Dispatch:
    """Dispatching.

    Args:
        changes: runs transactions over jobs.
        maker: makes jobs.
        settings: of the network.
        authentication: for daemons, which have their key in the body.
    """

    def __init__(self, changes: Changes, maker: JobMaker, settings: DC1, authentication: Authentication) -> None:
        self._changes = changes
        self._maker = maker
        self._settings = settings
        self._authentication = authentication

    def routes(self) -> Sequence[Route]:
        """Three calls."""
        job = "/api/jobs/{job_id}"
        return [
            Route(method="POST", path="/api/jobs", handler=self.create, access=RENTER_JOBS, limits=(DISPATCH,)),
            Route(method="PATCH", path=f"{job}/complete", handler=self.complete, access=ANYBODY),
            Route(method="PATCH", path=f"{job}/fail", handler=self.fail, access=ANYBODY),
        ]

    async def create(self, call: Call) -> Answer:
        """A new job for a provider that is there; with `x-idempotency-key`, the same job for the same request."""
        wanted = submission.read(call.json)
        return await self._changes.run(self._create, call, wanted, replays.key_of(call))

    async def complete(self, call: Call, job_id: str) -> Answer:
        """The job is done: it is paid for by the time that it ran."""
        caller = await job_access.with_body_key(self._authentication, call)
        return await self._changes.run(_complete, call, caller, job_id)

    async def fail(self, call: Call, job_id: str) -> Answer:
        """The job is not to be done: what it holds goes back."""
        caller = await job_access.with_body_key(self._authentication, call)
        given = call.json.get("reason") if isinstance(call.json, dict) else None
        reason = given[:_LONGEST_REASON] if isinstance(given, str) and given else _USUAL_REASON
        return await self._changes.run(_fail, call, caller, job_id, reason)

    def _create(self, connection: Connection, call: Call, wanted: Submission, key: str) -> Answer:
        earlier = replays.find(connection, call, _ROUTE, key)
        if earlier is not None:
            return Answer(earlier, 200)
        renter = active(connection, call.renter.id)
        provider = None
        if wanted.provider_id is None:
            needs = self._maker.needs(connection, wanted)
            provider = routing.best(connection, **needs, busy=True, now=call.now)
            if provider is None:
                raise Fault(
                    503,
                    "NO_PROVIDERS_AVAILABLE",
                    message="No provider that fits is online; retry shortly, or queue the job by POST /api/jobs/submit",
                )
        # The price is agreed before anybody is chosen, so it is the one without a GPU.
        price = quoting.quote(self._settings, wanted.job_type, wanted.duration_minutes, wanted.pricing_class, None)
        room = None if provider is None else _idle(connection, provider)
        made = self._maker.make(
            connection,
            renter,
            wanted,
            provider=provider,
            price=price,
            room=room,
            patience=claiming.DISPATCH_WAIT_SECONDS,
            now=call.now,
        )
        body = _told(made)
        replays.keep(connection, call, _ROUTE, key, 201, body)
        return Answer(body, 201)


def _idle(connection: Connection, provider: Row[Any]) -> bool:
    """Whether a provider carries out fewer jobs than it can; those that it was only given do not count here."""
    mine = (jobs.c.provider_id == provider.id, jobs.c.status.in_(CLAIMED))
    return bool(connection.execute(select(func.count()).select_from(jobs).where(*mine)).scalar_one() < provider.slots)


def _told(made: Made) -> dict[str, Any]:
    job, provider = made.job, made.provider
    shown = ("job_id", "job_type", "model", "status", "pricing_class", "provider_id", "renter_id")
    body: dict[str, Any] = {
        "success": True,
        "job": {
            **{name: getattr(job, name) for name in shown},
            "id": job.id,
            "cost_halala": job.quote,
            "duration_minutes": wire.number(job.duration_minutes),
            "submitted_at": wire.iso(job.submitted_at),
        },
        "dispatch": {
            "assigned": job.status == "pending",
            "queued": job.status == "queued",
            "hold_id": str(uuid5(NAMESPACE_URL, f"dc1:{job.job_id}")),
            "provider": None if provider is None else {"id": provider.id, "name": provider.name},
        },
    }
    if made.message is not None:
        body["message"] = made.message
    return body


def _complete(connection: Connection, call: Call, caller: Caller, job_id: str) -> Answer:
    job = job_access.readable(connection, caller, job_id)
    if job.status in TERMINAL:
        raise Fault(409, "Job already settled", current_status=job.status)
    ended, shares = ending.stop(connection, job, source=_source(caller), now=call.now)
    return Answer(settled(connection, call, caller, ended, shares))


def _fail(connection: Connection, call: Call, caller: Caller, job_id: str, reason: str) -> Answer:
    job = job_access.readable(connection, caller, job_id)
    if job.status in TERMINAL:
        raise Fault(409, "Job already settled", current_status=job.status)
    reason = storable(connection, reason)
    ended = ending.fail(connection, job, reason, source=_source(caller), now=call.now)
    return Answer(
        {
            "success": True,
            "job_id": job.job_id,
            "status": "failed",
            "reason": reason,
            "credit_hold_released": True,
            "released_halala": ended.refunded,
            **promotion(caller, ended),
        }
    )


def _source(caller: Caller) -> str:
    return "daemon" if caller.provider is not None else "renter" if caller.renter is not None else "admin"
