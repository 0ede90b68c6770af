"""Providers and jobs for tests of the providers' side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.faces.dc1 import tables
from tests.island.faces.dc1.stage import Stage

GPU = {"gpu_name": "NVIDIA GeForce RTX 4090", "gpu_vram_mib": 24564, "daemon_version": "3.4.0", "gpu_count": 1}
RESULT = 'hello\nDC1_RESULT_JSON:{"type":"text","response":"Silicon on sand","tokens_generated":5}\n'


@dataclass(frozen=True)
class Host:
    """A provider that a test speaks for."""

    stage: Stage
    id: int
    key: str

    async def beat(self, **more: Any) -> Any:
        """A daemon's heartbeat."""
        body = {"api_key": self.key, "gpu_status": GPU, **more}
        answer = await self.stage.ask("POST", "/api/providers/heartbeat", body)
        assert answer.status == 200, answer.body
        return answer.json

    async def post(self, target: str, **body: Any) -> Any:
        """A request as daemons make it, with the key in the body."""
        return await self.stage.ask("POST", target, {"api_key": self.key, **body})

    async def get(self, target: str) -> Any:
        """A read, which has to go well."""
        answer = await self.stage.host_as(self.key, "GET", target)
        assert answer.status == 200, answer.body
        return answer.json

    async def claim(self) -> Any:
        """The next job."""
        return (await self.get("/api/providers/jobs/next"))["job"]

    async def finish(self, job_id: str, **more: Any) -> Any:
        """Report that a job went well."""
        body = {"job_id": job_id, "success": True, "result": RESULT, "gpu_seconds_used": 42.5, **more}
        answer = await self.post("/api/providers/job-result", **body)
        assert answer.status == 200, answer.body
        return answer.json


async def host(stage: Stage, name: str = "farm", *, email: str | None = None, beats: bool = True) -> Host:
    """A new provider, which has been heard of."""
    body = {"name": name, "email": email or f"{name}@example.sa", "gpu_model": "RTX 4090", "os": "Linux"}
    answer = await stage.ask("POST", "/api/providers/register", body)
    assert answer.status == 200, answer.body
    found = Host(stage, answer.json["provider_id"], answer.json["api_key"])
    if beats:
        await found.beat()
    return found


async def submit(stage: Stage, provider: Host | None, job_type: str = "llm_inference", **more: Any) -> dict[str, Any]:
    """A job of the first account."""
    body = {
        "provider_id": None if provider is None else provider.id,
        "job_type": job_type,
        "duration_minutes": 5,
        "params": {"prompt": "hi"},
        **more,
    }
    answer = await stage.rent("POST", "/api/jobs/submit", body)
    assert answer.status == 201, answer.body
    job: dict[str, Any] = answer.json["job"]
    return job


async def row(stage: Stage, job_id: str) -> Row[Any]:
    """A job as it is in the database."""

    def read(connection: Connection) -> Row[Any]:
        return connection.execute(select(tables.jobs).where(tables.jobs.c.job_id == job_id)).one()

    return await stage.lab.engine.store.read(read)


async def provider_row(stage: Stage, provider_id: int) -> Row[Any]:
    """A provider as it is in the database."""

    def read(connection: Connection) -> Row[Any]:
        return connection.execute(select(tables.providers).where(tables.providers.c.id == provider_id)).one()

    return await stage.lab.engine.store.read(read)
