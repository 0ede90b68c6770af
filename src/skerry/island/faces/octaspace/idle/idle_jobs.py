"""Idle jobs as their operator sees them (protocol section 3.13), and as the island's owner makes them."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import Invalid
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.faces.octaspace.errors import invalid, not_found
from skerry.island.faces.octaspace.idle import idle_rows
from skerry.island.faces.octaspace.idle.idle_logs import MOST_BYTES, packed
from skerry.island.faces.octaspace.idle.idle_runner import IdleRunner
from skerry.island.faces.octaspace.nodes import node_rows
from skerry.island.faces.octaspace.sessions.mr_request import words
from skerry.island.faces.octaspace.validation import Form
from skerry.island.ground.answers import Answer
from skerry.island.images.reference import parse_reference


class IdleJobs:
    """The calls of the network.

    Args:
        engine: open.
        runner: runs them.
    """

    def __init__(self, engine: Engine, runner: IdleRunner) -> None:
        self._engine = engine
        self._runner = runner

    def routes(self) -> list[Route]:
        """What it answers."""
        one = "/idle_jobs/{node_id}/{job_id}"
        return [
            Route(
                method="GET",
                path=one,
                handler=self.get,
                summary="Whether an idle job runs",
                answer="IdleJob",
                faults=(404,),
            ),
            Route(
                method="GET",
                path=f"{one}/logs",
                handler=self.logs,
                summary="What an idle job has written, compressed and in base64",
                answer="IdleJobLogs",
                parameters={"tail": f"all: everything that is kept, in place of the last {MOST_BYTES} bytes"},
                faults=(404,),
            ),
        ]

    async def get(self, call: Call, node_id: str, job_id: str) -> Answer:
        """GET /idle_jobs/{node_id}/{job_id}."""
        return Answer(idle_rows.view(await self._kept(call, node_id, job_id), call.now))

    async def logs(self, call: Call, node_id: str, job_id: str) -> Answer:
        """GET /idle_jobs/{node_id}/{job_id}/logs."""
        written = await self._runner.log_of(await self._kept(call, node_id, job_id))
        most = None if call.query.get("tail") == "all" else MOST_BYTES
        return Answer({"data": await asyncio.to_thread(packed, written, most)})

    async def _kept(self, call: Call, node_id: str, job_id: str) -> Row[Any]:
        return await self._engine.store.read(idle_rows.kept, node_id, job_id, call.account_id)


class IdleJobsAdmin:
    """What the network has no calls for, for the island's owner.

    Args:
        engine: open.
        runner: runs them.
    """

    def __init__(self, engine: Engine, runner: IdleRunner) -> None:
        self._engine = engine
        self._runner = runner

    def routes(self) -> list[Route]:
        """What it answers."""
        one = "/admin/idle_jobs/{node_id}/{job_id}"
        return [
            Route(method="GET", path="/admin/idle_jobs", handler=self.list, summary="Every idle job"),
            Route(
                method="POST",
                path="/admin/idle_jobs",
                handler=self.create,
                summary="An idle job for a node",
                body="Nothing",
                needs_body=True,
                changes=True,
                status=201,
            ),
            Route(method="GET", path=one, handler=self.get, summary="One idle job"),
            Route(method="DELETE", path=one, handler=self.delete, summary="End an idle job", changes=True),
        ]

    async def list(self, call: Call) -> Answer:
        """GET /admin/idle_jobs."""
        jobs = await self._engine.store.read(idle_rows.every)
        return Answer([_view(job, call.now) for job in jobs if job.deleted_at is None])

    async def create(self, call: Call) -> Answer:
        """POST /admin/idle_jobs: `node_id`, `image`, and where they matter `job_id`, `start_command`, `entrypoint`,
        `envs`; the job begins as soon as the node is idle."""
        form = Form(call.json)
        node_id = form.whole("node_id", least=1, most=2**31 - 1)
        job_id = form.whole("job_id", least=1, most=2**31 - 1) if form.has("job_id") else None
        image = form.text("image", most=512).strip()
        try:
            parse_reference(image)
        except Invalid as error:
            raise invalid(f"image: {error.message}") from None
        values = {
            "image": image,
            "command": form.text("start_command", ""),
            "entrypoint": form.text("entrypoint", ""),
        }
        words(values["command"], "start_command")
        words(values["entrypoint"], "entrypoint")
        envs = form.variables("envs")
        made = await self._engine.store.run(self._add, node_id, job_id, call.now, envs=envs, **values)
        self._runner.wake()
        return Answer(_view(made, call.now), 201)

    async def get(self, call: Call, node_id: str, job_id: str) -> Answer:
        """GET /admin/idle_jobs/{node_id}/{job_id}."""
        return Answer(_view(await self._engine.store.read(idle_rows.kept, node_id, job_id), call.now))

    async def delete(self, call: Call, node_id: str, job_id: str) -> Answer:
        """DELETE /admin/idle_jobs/{node_id}/{job_id}: it is ended and removed, soon if not at once."""
        await self._engine.store.run(_doom, node_id, job_id, call.now)
        await self._runner.look()
        return Answer({})

    def _add(self, connection: Connection, node_id: int, job_id: int | None, now: int, /, **values: Any) -> Row[Any]:
        node = node_rows.find(connection, self._engine, node_id)
        if node is None:
            raise not_found("Node")
        return idle_rows.add(connection, self._engine, node, job_id, now, **values)


def _doom(connection: Connection, node_id: str, job_id: str, now: int) -> None:
    idle_rows.put(connection, idle_rows.kept(connection, node_id, job_id), now, deleted_at=now)


def _view(job: Row[Any], now: int) -> dict[str, Any]:
    return {
        "node_id": job.node_id,
        "job_id": job.job_id,
        "image": job.image,
        "start_command": job.command,
        "entrypoint": job.entrypoint,
        "state": job.state,
        "attempts": job.attempt,
        **idle_rows.view(job, now),
    }
