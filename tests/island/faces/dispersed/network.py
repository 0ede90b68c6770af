"""A Dispersed network without its wire: engine, scheduler and rows, in time that stands still, crashed at will."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.clock import VirtualClock
from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError, NotFound
from skerry.island.engine.records import Image, Program
from skerry.island.faces.dispersed.account import profiles
from skerry.island.faces.dispersed.call import Answer, Call
from skerry.island.faces.dispersed.callers import ApiKey, Profile
from skerry.island.faces.dispersed.jobs import job_spec
from skerry.island.faces.dispersed.jobs.job_rows import RUN_COLUMNS, find_run
from skerry.island.faces.dispersed.jobs.job_runs import JobRuns
from skerry.island.faces.dispersed.jobs.jobs import Jobs
from skerry.island.faces.dispersed.jobs.lifecycle import TERMINAL
from skerry.island.faces.dispersed.jobs.scheduler import Scheduler
from skerry.island.faces.dispersed.nodes import local_node
from skerry.island.faces.dispersed.nodes.gpu_registry import GpuRegistry
from skerry.island.faces.dispersed.tables import authorizations, nodes, transactions
from skerry.island.faces.dispersed.tables import job_runs as job_runs_table
from skerry.island.faces.dispersed.tables import jobs as jobs_table
from skerry.island.store import ledger
from skerry.island.store.tables import allocations
from skerry.island.store.values import micros
from tests.island.engine.double import DoubleDriver, Images
from tests.island.engine.lab import Lab

# A day after the template's.
START = datetime(2026, 4, 22, 10, tzinfo=UTC)


class ImagesFetched(Images):
    """The double's images as if they came from a registry; `held` keeps fetches waiting until it is set."""

    def __init__(self) -> None:
        self.held: asyncio.Event | None = None
        self.asked: list[tuple[str, tuple[str, str] | None]] = []
        self.argv: tuple[str, ...] = ("/bin/sh", "-c", 'exec /bin/sh -c "$SKERRY_COMMAND"')
        self.trouble: EngineError | None = None

    async def fetch(self, reference: str, *, credentials: tuple[str, str] | None = None) -> Image:
        self.asked.append((reference, credentials))
        if self.held is not None:
            await self.held.wait()
        if self.trouble is not None:
            raise self.trouble
        if reference not in ("host", "registry.test/host:v1"):
            raise NotFound(f"there is no image {reference}")
        return Image(id="host", name=reference, source="test", size_bytes=12_345, created_at=START)

    async def fetch_archive(self, url: str) -> Image:
        self.asked.append((url, None))
        return Image(id="host", name=url, source="test", size_bytes=54_321, created_at=START)

    def program(self, image_id: str) -> Program:
        return Program(argv=self.argv, env={"PATH": "/usr/bin:/bin"}, cwd="/home/user", user="")


class Network(Lab):
    """An open engine over the double, with a scheduler and the first account as its only caller."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.virtual = VirtualClock(START)
        self.images = ImagesFetched()
        super().__init__(directory, clock=self.virtual, **settings)

    async def open(self) -> Engine:
        driver = DoubleDriver(self.data, self.on_step)
        driver.keepers = self.keepers
        self.engine = await Engine.open(self.settings, clock=self.clock, driver=driver, images=self.images)
        await self.engine.store.run(profiles.ensure, self.account, self.now)
        await local_node.register(self.engine)
        await GpuRegistry(self.engine).start()
        self.scheduler = Scheduler(self.engine)
        self.jobs = Jobs(self.engine, self.scheduler)
        self.runs = JobRuns(self.engine, self.scheduler)
        await self.scheduler.start()
        # The heart has beaten once before time goes on.
        await self.scheduler.tick()
        return self.engine

    async def crash(self) -> Engine:
        """End everything as SIGKILL does, and open it again."""
        await self.scheduler.stop()
        return await super().crash()

    async def end(self) -> None:
        await self.scheduler.stop()
        await super().end()

    @property
    def now(self) -> int:
        return micros(self.virtual.now())

    @property
    def profile(self) -> Profile:
        found = self.engine.store.read_here(profiles.of_account, self.account)
        assert found is not None
        return found

    def call(self, body: Any = None, query: Sequence[tuple[str, str]] = ()) -> Call:
        """A request of the first account."""
        key = ApiKey(
            uuid="k",
            profile=self.profile,
            public_key="pk",
            preset="CONSUMER",
            node_uuid=None,
            allowed_ips=(),
            expires_at=None,
        )
        return Call(method="GET", path="/", key=key, query=query, json=body, has_body=body is not None, now=self.now)

    async def write(self, handler: Any, *values: str, body: Any = None) -> Any:
        """The body of a handler's answer, its work committed."""
        call = self.call(body)
        answer: Answer = await self.engine.store.run(lambda connection: handler(connection, call, *values))
        for follower in call.followers:
            follower()
        return answer.body

    async def create(self, command: str = "true", docker: dict[str, Any] | None = None, **fields: Any) -> str:
        """A job that runs a shell command; its UUID."""
        body = {
            "task": "BATCH",
            "title": "t",
            "max_timeout_run_ms": None if fields.get("task") == "PERSISTENT" else 600_000,
            "parameters": {
                "type": "docker",
                "parameters": {"image": "host", "ports": [], "env": {"SKERRY_COMMAND": command}, **(docker or {})},
            },
            **fields,
        }
        job_spec.parse(body)
        made: dict[str, Any] = await self.write(self.jobs.post, body=body)
        return str(made["uuid"])

    async def job(self, uuid: str) -> dict[str, Any]:
        return await self.jobs.get(self.call(), uuid)

    async def runs_of(self, uuid: str) -> list[Row[Any]]:
        return list(await self.engine.store.read(runs_of, uuid))

    async def run_of(self, uuid: str) -> dict[str, Any]:
        """The latest run of a job, with logs."""
        return await self.runs.get(self.call(), (await self.runs_of(uuid))[-1].uuid)

    async def cancel(self, uuid: str, reason: str | None = None) -> Any:
        return await self.write(self.jobs.cancel, uuid, body={"reason": reason} if reason else None)

    async def reaches(self, uuid: str, *statuses: str) -> dict[str, Any]:
        """The job once it is in one of some states."""
        found: dict[str, Any] = {}

        async def there() -> bool:
            nonlocal found
            found = await self.job(uuid)
            assert found["status"] in statuses or found["status"] not in TERMINAL, found
            return found["status"] in statuses

        await self.until(there)
        return found

    async def run_reaches(self, job_uuid: str, status: str) -> Row[Any]:
        """The job's latest run once it is in a state."""
        found: list[Row[Any]] = []

        async def there() -> bool:
            found[:] = (await self.runs_of(job_uuid))[-1:]
            return bool(found) and found[0].status == status

        await self.until(there)
        return found[0]

    async def has_failed(self, uuid: str, runs: int) -> None:
        """Wait until a job has had that many runs, all of which failed, and the scheduler knows."""

        async def there() -> bool:
            found = await self.runs_of(uuid)
            return len(found) == runs and all(run.status == "FAILED" for run in found)

        await self.until(there)
        await self.scheduler.tick()

    async def ended(self, uuid: str) -> dict[str, Any]:
        """The job once it has ended."""
        return await self.reaches(uuid, *TERMINAL)

    async def pass_time(self, seconds: float) -> None:
        """Let time go by, and what is due happen."""
        self.virtual.advance(seconds)
        await self.scheduler.tick()

    async def balance(self) -> int:
        return (await self.engine.ledger.balance(self.account)).amount

    async def held(self) -> int:
        return (await self.engine.ledger.held(self.account)).amount

    async def money(self) -> tuple[list[Any], list[Any]]:
        """Every authorization and transaction, oldest first."""

        def read(connection: Connection) -> tuple[list[Any], list[Any]]:
            return (
                list(connection.execute(select(authorizations).order_by(authorizations.c.uuid))),
                list(connection.execute(select(transactions).order_by(transactions.c.uuid))),
            )

        return await self.engine.store.read(read)

    async def node(self) -> Row[Any]:
        """This machine's node."""
        return await self.engine.store.read(
            lambda connection: connection.execute(select(nodes).where(nodes.c.node_id.is_not(None))).one()
        )

    async def sound(self) -> None:
        """The books are right; what has ended holds neither money nor any part of the machine."""
        assert await self.engine.ledger.audit() == []
        await self.engine.store.read(_sound)

    async def empty(self) -> None:
        """Nothing is left of anything that ran."""
        await self.sound()
        assert await self.held() == 0
        allocated = await self.engine.store.read(lambda connection: connection.execute(select(allocations)).all())
        assert allocated == []

        async def gone() -> bool:
            return await self.engine.driver.ids() == []

        await self.until(gone)


def runs_of(connection: Connection, job_uuid: str) -> Sequence[Row[Any]]:
    """Every run of a job, oldest first, without logs."""
    query = select(*RUN_COLUMNS).where(job_runs_table.c.job_uuid == job_uuid)
    return connection.execute(query.order_by(job_runs_table.c.created_at, job_runs_table.c.uuid)).all()


def _sound(connection: Connection) -> None:
    held = 0
    for row in connection.execute(select(authorizations)):
        run = find_run(connection, row.job_run_uuid)
        assert run is not None
        if row.status == "OPEN":
            assert run.status not in TERMINAL, run
            assert run.authorization_uuid == row.uuid
            held += row.amount
    for run in connection.execute(select(allocations.c.id)):
        found = find_run(connection, run.id)
        assert found is not None
        assert found.status not in TERMINAL
    accounts = {row.account_id for row in connection.execute(select(authorizations.c.account_id))}
    assert held == sum(ledger.balance(connection, ledger.holding(account), "USD") for account in accounts)
    for job in connection.execute(select(jobs_table)):
        runs = runs_of(connection, job.uuid)
        assert len({run.slot for run in runs}) <= job.max_node_count
        for slot in {run.slot for run in runs}:
            mine = [run for run in runs if run.slot == slot]
            assert len(mine) <= 1 + job.max_retry_count
            assert sum(run.status not in TERMINAL for run in mine) <= 1
        if job.status in TERMINAL:
            assert all(run.status in TERMINAL for run in runs), (job.status, runs)
        json.loads(job.parameters)
