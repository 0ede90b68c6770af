"""Jobs and renters for tests that are about what comes of them, not about how they are submitted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.faces.dc1.jobs import events, job_rows
from skerry.island.faces.dc1.money import settling
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.faces.dc1.tables import jobs, providers
from tests.island.faces.dc1.stage import Stage


async def register(stage: Stage, email: str = "renter1@example.sa", name: str = "Renter One") -> tuple[int, str]:
    """A new renter: its number and key."""
    answer = await stage.ask("POST", "/api/renters/register", {"name": name, "email": email})
    assert answer.status == 201, answer.json
    return answer.json["renter_id"], answer.json["api_key"]


async def host(stage: Stage) -> int:
    """A provider that is online, and has been heard of just now; its number."""

    def work(connection: Connection) -> int:
        known = provider_rows.by_email(connection, "p1@example.sa")
        if known is not None:
            connection.execute(providers.update().where(providers.c.id == known.id).values(last_heartbeat=stage.now))
            return int(known.id)
        return provider_rows.add(
            connection,
            name="GPU Farm",
            email="p1@example.sa",
            gpu_model="NVIDIA RTX 4090",
            os="linux",
            now=stage.now,
            status="online",
            approval="approved",
            last_heartbeat=stage.now,
            profile='{"gpu_name":"NVIDIA GeForce RTX 4090","provider_hostname":"gpu-host-01"}',
        )

    return await stage.lab.engine.store.run(work)


async def submit(stage: Stage, renter_id: int, quote: int = 75, **values: Any) -> Row[Any]:
    """A job that holds its quote; pending unless the values say otherwise."""

    def work(connection: Connection) -> Row[Any]:
        renter = renter_rows.active(connection, renter_id)
        name = job_rows.new_name(stage.now)
        settling.hold(connection, renter.account_id, name, quote, now=stage.now)
        job_rows.add_totals(connection, renter.id, jobs_made=1)
        row = {
            "job_id": name,
            "renter_id": renter.id,
            "account_id": renter.account_id,
            "job_type": "llm_inference",
            "model": "mistralai/Mistral-7B-Instruct-v0.2",
            "status": "pending",
            "params": "{}",
            "task_spec": "{}",
            "container_spec": "{}",
            "duration_minutes": "5",
            "max_duration_seconds": 1800,
            "quote": quote,
            "rate_per_minute": 15,
            "pricing_class": "standard",
            "rank": 1,
            "priority": 2,
            "turn": 2,
            "vram_required_mb": 0,
            "gpu_count": 1,
            "compute_type": "inference",
            "submitted_at": stage.now,
            "created_at": stage.now,
            "updated_at": stage.now,
            **values,
        }
        connection.execute(jobs.insert().values(row))
        found = job_rows.find(connection, name)
        assert found is not None
        return found

    return await stage.lab.engine.store.run(work)


async def complete(stage: Stage, job: Row[Any], gpu_ms: int = 42_500) -> settling.Shares:
    """The job did its work."""

    def work(connection: Connection) -> settling.Shares:
        return settling.complete(connection, job, gpu_ms=gpu_ms, result="done", now=stage.now)

    return await stage.lab.engine.store.run(work)


async def fail(stage: Stage, job: Row[Any], error: str = "out of memory") -> int:
    """The job did not."""

    def work(connection: Connection) -> int:
        return settling.give_up(
            connection, job, "failed", error, event_type=events.FAILED, source="daemon", now=stage.now
        )

    return await stage.lab.engine.store.run(work)


async def cancel(stage: Stage, job: Row[Any]) -> int:
    """The renter thought better of it."""

    def work(connection: Connection) -> int:
        return settling.give_up(
            connection, job, "cancelled", None, event_type=events.CANCELLED, source="renter", now=stage.now
        )

    return await stage.lab.engine.store.run(work)
