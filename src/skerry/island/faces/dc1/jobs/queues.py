"""Who waits for whom, and why a job waits (section 3.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ADMIN, ANYBODY
from skerry.island.faces.dc1.call import Answer, Call, Caller, Route
from skerry.island.faces.dc1.jobs import claiming, job_access, job_rows, job_views, routing
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.tables import jobs, providers

_IN_QUEUE = ("queued", "pending", "assigned", "pulling", "running")
_MOST_SHOWN = 500
_LARGEST_ID = 2**31 - 1


class Queues:
    """Queues as everybody may see them, and the scheduler as the operator sees it.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Four reads."""
        scheduler = "/api/jobs/scheduler"
        return [
            Route(method="GET", path="/api/jobs/queue/status", handler=self.status, access=ANYBODY),
            Route(method="GET", path="/api/jobs/queue/{provider_id}", handler=self.of_provider, access=ANYBODY),
            Route(method="GET", path=f"{scheduler}/health", handler=self.health, access=ADMIN),
            Route(method="GET", path=f"{scheduler}/diagnostics/{{job_id}}", handler=self.diagnostics, access=ADMIN),
        ]

    async def status(self, call: Call) -> Answer:
        """How many wait, by what they wait for, and which; not whose they are, since everybody may ask."""
        return Answer(await self._engine.store.read(_status, call.caller, call.now))

    async def of_provider(self, call: Call, provider_id: str) -> Answer:
        """What a provider works on and has before it."""
        return Answer(await self._engine.store.read(_of_provider, call.caller, provider_id))

    async def health(self, call: Call) -> Answer:
        """Whether jobs that wait could be carried out."""
        return Answer(await self._engine.store.read(_health, call.now))

    async def diagnostics(self, call: Call, job_id: str) -> Answer:
        """Why a job is where it is: each provider, and what speaks against it."""
        return Answer(await self._engine.store.read(_diagnostics, job_id, call.now))


def _status(connection: Connection, caller: Caller, now: int) -> dict[str, Any]:
    shown = ("job_id", "status", "provider_id", "pricing_class", "submitted_at", "compute_type", "vram_required_mb")
    columns: list[Any] = [jobs.c[name] for name in (*shown, "id", "job_type", "renter_id")]
    query = select(*columns).where(jobs.c.status == "queued").order_by(jobs.c.rank, jobs.c.turn, jobs.c.id)
    waiting = connection.execute(query).all()
    kinds = Counter((job.compute_type, job.pricing_class, job.vram_required_mb) for job in waiting)
    signals = {"queue_slo_breaches": 0, "cold_start_slo_breaches": 0}
    advice = {"recommended_scale_up_total": 0, "recommended_scale_down_total": 0}
    return {
        "queued_total": len(waiting),
        "buckets": [
            {"compute_type": compute, "pricing_class": rank, "vram_required_mb": vram, "queued": count}
            for (compute, rank, vram), count in sorted(kinds.items())
        ],
        "control_plane": {"generated_at": wire.iso(now), "signal_count": 0, **signals, **advice, "signals": []},
        "queue": [
            {
                "job_id": job_access.name_for(caller, job),
                "status": job.status,
                "provider_id": job.provider_id,
                "pricing_class": job.pricing_class,
                "queue_position": position,
                "submitted_at": wire.iso(job.submitted_at),
            }
            for position, job in enumerate(waiting[:_MOST_SHOWN], 1)
        ],
    }


def _of_provider(connection: Connection, caller: Caller, provider_id: str) -> dict[str, Any]:
    number = int(provider_id) if provider_id.isascii() and provider_id.isdigit() and len(provider_id) <= 10 else 0
    if number > _LARGEST_ID:
        number = 0
    query = select(jobs).where(jobs.c.provider_id == number, jobs.c.status.in_(_IN_QUEUE))
    found = sorted(
        connection.execute(query).all(), key=lambda job: (job.status == "queued", job.rank, job.turn, job.id)
    )
    queue = [{"job_id": job_access.name_for(caller, job), "status": job.status} for job in found]
    return {"queue": queue, "total": len(found)}


def _health(connection: Connection, now: int) -> dict[str, Any]:
    rows = connection.execute(select(providers)).all()
    able = [row for row in rows if provider_rows.may_work(row, now)]
    states = Counter(row.status for row in connection.execute(select(jobs.c.status)))
    slots = sum(row.slots for row in able)
    working = sum(provider_rows.working(connection, row.id) for row in able)
    return {
        "status": "ok" if able or not states["queued"] else "no_capacity",
        "timestamp": wire.iso(now),
        "providers": {"total": len(rows), "available": len(able), "slots": slots, "slots_in_use": working},
        "jobs": {state: states[state] for state in _IN_QUEUE},
    }


def _diagnostics(connection: Connection, job_id: str, now: int) -> dict[str, Any]:
    job = job_access.known(connection, job_id)
    rows = connection.execute(select(providers).order_by(providers.c.id)).all()
    return {
        "job_id": job.job_id,
        "status": job.status,
        "provider_id": job.provider_id,
        "queue_position": job_rows.position(connection, job),
        "requirements": {
            "compute_type": job.compute_type,
            "vram_required_mb": job.vram_required_mb,
            "gpu_count": job.gpu_count,
            "gpu_requirements": job_views.parsed(job.gpu_requirements),
        },
        "providers": [_verdict(connection, job, provider, now) for provider in rows],
    }


def _verdict(connection: Connection, job: Row[Any], provider: Row[Any], now: int) -> dict[str, Any]:
    against = []
    if not provider_rows.may_work(provider, now):
        standing = routing.standing(provider)
        against.append(f"not available ({standing})" if standing != "online" else "not heard of lately")
    if job.provider_id not in (None, provider.id):
        against.append("the job is another provider's")
    if job.compute_type not in provider_rows.supported(provider):
        against.append(f"does no {job.compute_type}")
    if job.vram_required_mb > provider.vram_mib:
        against.append(f"has {provider.vram_mib} MiB of VRAM, not {job.vram_required_mb}")
    if job.gpu_count > provider.gpu_count:
        against.append(f"has {provider.gpu_count} GPUs, not {job.gpu_count}")
    if not claiming.fits_gpu(job, provider_rows.model_of(provider)):
        against.append("has another type of GPU")
    if provider_rows.working(connection, provider.id) >= provider.slots:
        against.append("has no room")
    return {"provider_id": provider.id, "name": provider.name, "eligible": not against, "reasons": against}
