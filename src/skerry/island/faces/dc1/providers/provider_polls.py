"""Providers ask for work: by their key in the path, at `jobs/next`, or in the two older ways (sections 3.7 and 3.7.2).

Asking takes a job, whose clock runs from then on. The official SDK asks at the same path when it only wants to look,
and is told apart by its parameters: with `key` or `status` nothing is taken, and the provider's jobs are listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import POLL, PROVIDER, PROVIDER_ACCOUNT
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import claiming, job_rows, job_views
from skerry.island.faces.dc1.jobs.changes import Changes
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.tables import jobs
from skerry.networks.dc1.signing import verify_task_spec

_MOST_LISTED = 200


class ProviderPolls:
    """Answers providers that look for work.

    Args:
        engine: open.
        changes: wakes those who wait for jobs.
        secret: signs task specs.
    """

    def __init__(self, engine: Engine, changes: Changes, secret: str) -> None:
        self._engine = engine
        self._changes = changes
        self._secret = secret

    def routes(self) -> Sequence[Route]:
        """Four ways of asking, and two of checking what was got."""
        return [
            Route(
                method="GET",
                path="/api/providers/{key}/jobs",
                handler=self.by_path,
                access=POLL,
                keyed=True,
                takes=True,
            ),
            Route(method="GET", path="/api/providers/jobs/next", handler=self.next, access=PROVIDER, takes=True),
            Route(method="GET", path="/api/jobs/assigned", handler=self.assigned, access=PROVIDER_ACCOUNT, takes=True),
            Route(method="GET", path="/api/jobs/queue", handler=self.assigned, access=PROVIDER_ACCOUNT, takes=True),
            Route(method="GET", path="/api/jobs/verify-hmac", handler=self.verify, access=PROVIDER),
            Route(method="GET", path="/api/jobs/verify-hmac-local", handler=self.verify_local, access=PROVIDER),
        ]

    async def by_path(self, call: Call) -> Answer:
        """The next job, or, with parameters, the provider's jobs."""
        if "key" in call.query or "status" in call.query:
            limit = call.whole("limit", 50, 1, _MOST_LISTED)
            status = call.query.get("status") or None
            found = await self._engine.store.read(listed, call.provider.id, status, limit)
            return Answer({"jobs": [_listed_view(job) for job in found], "job": None})
        return await self.next(call)

    async def next(self, call: Call) -> Answer:
        """The next job, which is this provider's from now on; null when there is none."""
        job = await self._changes.run(claim_next, call.provider.id, now=call.now)
        return Answer({"job": None if job is None else claim_view(job)})

    async def assigned(self, call: Call) -> Answer:
        """The next job that waits for this provider, picked up in the older way, as a whole row."""
        job = await self._changes.run(pick_up, call.provider.id, now=call.now)
        return Answer({"job": None if job is None else job_views.row(job, root=call.root, now=call.now)})

    async def verify(self, call: Call) -> Answer:
        """Whether a job's task spec has this signature."""
        given, ident = call.query.get("hmac", ""), call.query.get("job_id", "")
        if not given or not ident:
            raise Fault(400, "job_id and hmac required")
        job = await self._engine.store.read(_own_job, call.provider.id, ident)
        if job is None:
            raise Fault(404, "Job not found")
        return Answer({"valid": self._is_valid(job, given)})

    async def verify_local(self, call: Call) -> Answer:
        """Whether any job of this provider has this signature."""
        given = call.query.get("hmac", "")
        if not given:
            raise Fault(400, "hmac required")
        job = await self._engine.store.read(_signed, call.provider.id, given.strip().lower())
        if job is None or not self._is_valid(job, given):
            return Answer({"valid": False, "error": "No job of this provider has this signature"})
        return Answer({"valid": True})

    def _is_valid(self, job: Row[Any], given: str) -> bool:
        return bool(job.task_spec) and verify_task_spec(self._secret, job.task_spec, given)


def claim_next(connection: Connection, provider_id: int, *, now: int) -> Row[Any] | None:
    """Give a provider its next job; None when there is none, or it may not work.

    Args:
        provider_id: which; its row is read in this transaction.
        now: microseconds since 1970.
    """
    provider = provider_rows.find(connection, provider_id)
    return None if provider is None else claiming.claim(connection, provider, now=now)


def pick_up(connection: Connection, provider_id: int, *, now: int) -> Row[Any] | None:
    """Have a provider pick up the next job that waits for it; it starts with its first progress."""
    provider = provider_rows.find(connection, provider_id)
    if provider is None or not provider_rows.may_work(provider, now):
        return None
    for job in claiming.candidates(connection, provider):
        if job.status == "pending" and job.provider_id == provider_id:
            whole = job_rows.get(connection, job.id)
            return claiming.begin(connection, whole, provider_id, status="assigned", now=now)
    return None


def listed(connection: Connection, provider_id: int, status: str | None, limit: int) -> list[Row[Any]]:
    """A provider's jobs, the newest first."""
    query = select(jobs).where(jobs.c.provider_id == provider_id).order_by(jobs.c.id.desc()).limit(limit)
    return list(connection.execute(query if status is None else query.where(jobs.c.status == status)))


def claim_view(job: Row[Any]) -> dict[str, Any]:
    """A job as its provider gets it; `task_spec_raw` is the text that is signed."""
    return {
        "id": job.id,
        "job_id": job.job_id,
        "job_type": job.job_type,
        "model": job.model,
        "priority": job.priority,
        "task_spec": _meaning(job.task_spec),
        "task_spec_hmac": job.task_spec_hmac,
        "attempt_number": job.attempt,
        "container_spec": _structure(job.container_spec),
        "gpu_requirements": _structure(job.gpu_requirements),
        "duration_minutes": wire.number(job.duration_minutes),
        "max_duration_seconds": job.max_duration_seconds,
        "task_spec_raw": job.task_spec,
        "params": _structure(job.params) or {},
    }


def _listed_view(job: Row[Any]) -> dict[str, Any]:
    return {
        "id": job.id,
        "job_id": job.job_id,
        "job_type": job.job_type,
        "model": job.model,
        "status": job.status,
        "renter_id": job.renter_id or 0,
        "duration_minutes": wire.number(job.duration_minutes),
        "cost_halala": job.quote,
        "provider_earnings_halala": job.provider_earned or 0,
        "payload": _structure(job.params) or {},
        "submitted_at": wire.iso(job.submitted_at),
        "started_at": wire.maybe_iso(job.started_at),
        "completed_at": wire.maybe_iso(job.completed_at),
        "hmac_signature": job.task_spec_hmac,
    }


def _own_job(connection: Connection, provider_id: int, ident: str) -> Row[Any] | None:
    job = job_rows.find(connection, ident)
    return job if job is not None and job.provider_id == provider_id else None


def _signed(connection: Connection, provider_id: int, signature: str) -> Row[Any] | None:
    query = select(jobs).where(jobs.c.provider_id == provider_id, jobs.c.task_spec_hmac == signature)
    return connection.execute(query.order_by(jobs.c.id.desc()).limit(1)).first()


def _structure(raw: str | None) -> Any:
    return None if raw is None else wire.decode(raw.encode())


def _meaning(task_spec: str) -> Any:
    """An object where the text is one, else the text itself."""
    try:
        found = wire.decode(task_spec.encode())
    except wire.Unreadable:
        return task_spec
    return found if isinstance(found, dict | list) else task_spec
