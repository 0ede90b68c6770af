"""Ten thousand operations at random, many at once, with the island killed in between: not a halala is lost or made.

A machine of its own rather than hypothesis's: what is sought are orders of many operations that overlap, and those are
the event loop's to choose. The seed is fixed, so that what is done is the same each time.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Row, func, select

from skerry.island.faces.dc1 import tables
from skerry.island.faces.dc1.jobs import job_rows
from skerry.island.faces.dc1.money import settling
from skerry.island.store import ledger
from skerry.island.store.tables import postings
from tests.answers import Answer
from tests.island.faces.dc1.hosts import Host, host
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio

OPERATIONS = 10_000
AT_ONCE = 25
CHECK_EVERY = 1_000
KILL_EVERY = 1_600
MOST_LIVE = 40
_EXPECTED = {200, 201, 202, 204, 400, 402, 403, 404, 409, 410, 429, 503}
_TYPES = ("llm_inference", "vllm_serve", "custom_container", "training", "image_generation")


class Machine:
    """Does something, and knows what must hold whatever was done.

    Args:
        stage: one island.
        hosts: two providers.
        seed: of every choice.
    """

    def __init__(self, stage: Stage, hosts: list[Host], seed: int) -> None:
        self.stage = stage
        self.hosts = hosts
        self.random = random.Random(seed)
        self.known: deque[str] = deque(maxlen=60)
        self.ended: dict[str, tuple[Any, ...]] = {}
        self.done = 0
        self.statuses: dict[int, int] = {}
        self.live = 0
        self.keys = 0

    async def run(self, operations: int) -> None:
        """So many operations, in handfuls that overlap."""
        while self.done < operations:
            before = self.done
            tasks = [asyncio.ensure_future(self._one()) for _ in range(AT_ONCE)]
            if before // KILL_EVERY != (before + AT_ONCE) // KILL_EVERY:
                for _ in range(self.random.randrange(40)):
                    await asyncio.sleep(0)
                await self.stage.again()
                # What a killed island had not written down, nobody hears of.
                for task in tasks:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for task in tasks:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
            self.done += AT_ONCE
            await self._pass_time()
            if before // CHECK_EVERY != self.done // CHECK_EVERY:
                await self.check()

    async def _pass_time(self) -> None:
        self.stage.clock.advance(self.random.choice((0.5, 3, 20, 45)))
        if self.random.random() < 0.05:
            self.stage.clock.advance(400)
        await self.stage.face.service.working.watch.look()
        for one in self.hosts:
            if self.random.random() < 0.8:
                await self._tried(one.post("/api/providers/heartbeat", gpu_status={"gpu_vram_mib": 24564}))
        self.live = await self.stage.lab.engine.store.read(_live)

    async def _one(self) -> None:
        weighted: list[tuple[int, Callable[[], Awaitable[Answer]]]] = [
            (1 if self.live > MOST_LIVE else 6, self._submit),
            (1, self._dispatch),
            (6, self._claim),
            (2, self._progress),
            (1, self._ready),
            (5, self._result),
            (1, self._transient),
            (1, self._fail),
            (3, self._cancel),
            (1, self._retry),
            (1, self._complete),
            (1, self._patch),
            (1, self._operate),
            (1, self._top_up),
        ]
        chosen = self.random.choices([do for _, do in weighted], [weight for weight, _ in weighted])[0]
        await self._tried(chosen())

    async def _tried(self, doing: Awaitable[Answer]) -> None:
        answer = await doing
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        if answer.status == 503 and "error" in answer.json:
            return
        assert answer.status in _EXPECTED, (answer.status, answer.body)
        job = answer.json.get("job") if isinstance(answer.json, dict) else None
        if answer.status in (200, 201) and isinstance(job, dict) and "job_id" in job:
            self.known.append(job["job_id"])

    def _job(self) -> str:
        return self.random.choice(self.known) if self.known else "nope"

    def _host(self) -> Host:
        return self.random.choice(self.hosts)

    def _wish(self) -> dict[str, Any]:
        return {
            "job_type": self.random.choice(_TYPES),
            "duration_minutes": self.random.choice((0.1, 1, 1.5, 5, 60)),
            "provider_id": self.random.choice((None, *(one.id for one in self.hosts))),
            "priority": self.random.choice((1, 2, 3, 7)),
            "pricing_class": self.random.choice(("priority", "standard", "economy")),
            "max_duration_seconds": self.random.choice((60, 120, 1800)),
            "params": {"prompt": "x"},
        }

    def _headers(self) -> dict[str, str]:
        headers = {"x-renter-key": self.stage.key}
        if self.random.random() < 0.3:
            self.keys += 1
            headers["x-idempotency-key"] = f"key-{self.keys // 2}"
        return headers

    async def _submit(self) -> Answer:
        return await self.stage.ask("POST", "/api/jobs/submit", self._wish(), headers=self._headers())

    async def _dispatch(self) -> Answer:
        return await self.stage.ask("POST", "/api/jobs", self._wish(), headers=self._headers())

    async def _claim(self) -> Answer:
        one = self._host()
        path = self.random.choice(("/api/providers/jobs/next", f"/api/jobs/assigned?key={one.key}"))
        return await self.stage.host_as(one.key, "GET", path)

    async def _progress(self) -> Answer:
        phase = self.random.choice(("pulling", "loading_model", "generating"))
        return await self._host().post(f"/api/jobs/{self._job()}/progress", phase=phase)

    async def _ready(self) -> Answer:
        address = {"port": 8100, "provider_ip": "10.1.2.3"}
        return await self._host().post(f"/api/jobs/{self._job()}/endpoint-ready", **address)

    async def _result(self) -> Answer:
        report = {
            "job_id": self._job(),
            "success": self.random.random() < 0.8,
            "result": "done",
            "error": "x",
            "gpu_seconds_used": self.random.choice((0, 0.5, 7, 42.5, 10_000)),
        }
        return await self._host().post("/api/providers/job-result", **report)

    async def _transient(self) -> Answer:
        return await self._host().post(f"/api/jobs/{self._job()}/result", error="network", transient=True)

    async def _fail(self) -> Answer:
        return await self._host().post(f"/api/jobs/{self._job()}/fail", error="x")

    async def _cancel(self) -> Answer:
        return await self.stage.rent("POST", f"/api/jobs/{self._job()}/cancel")

    async def _retry(self) -> Answer:
        return await self.stage.rent("POST", f"/api/jobs/{self._job()}/retry")

    async def _complete(self) -> Answer:
        seconds = self.random.choice((None, 0, 30, 10**6))
        return await self.stage.rent("POST", f"/api/jobs/{self._job()}/complete", {"duration_seconds": seconds})

    async def _patch(self) -> Answer:
        word = self.random.choice(("complete", "fail"))
        return await self._host_patch(f"/api/jobs/{self._job()}/{word}")

    async def _host_patch(self, target: str) -> Answer:
        return await self.stage.ask("PATCH", target, {"api_key": self._host().key, "reason": "x"})

    async def _operate(self) -> Answer:
        one = self.random.randrange(3)
        if one == 0:
            return await self.stage.administer("POST", "/api/jobs/test", {"provider_id": self._host().id})
        word = "cancel" if one == 1 else "requeue"
        return await self.stage.administer("POST", f"/api/admin/jobs/{self._job()}/{word}")

    async def _top_up(self) -> Answer:
        return await self.stage.rent("POST", "/api/renters/topup", {"amount_halala": self.random.randint(1, 5_000)})

    async def check(self) -> None:
        """Everything that must hold."""
        await self.stage.audit()
        await self.stage.lab.engine.store.read(self._check)

    def _check(self, connection: Connection) -> None:
        jobs = connection.execute(select(tables.jobs)).all()
        moved: dict[str, dict[str, int]] = {}
        for row in connection.execute(select(postings).where(postings.c.currency == "SAR")):
            moved.setdefault(row.transfer_id, {})[row.account] = int(row.amount)
        names = {job.job_id for job in jobs}
        for transfer in moved:
            kind, _, name = transfer.partition(":dc1:")
            # No money of a job that does not exist.
            assert kind not in ("hold", "settle") or name in names, transfer
        for job in jobs:
            self._check_job(connection, job, moved)
        account = self.stage.lab.engine.account_id
        mine = [job for job in jobs if job.renter_id is not None]
        held = sum(job.quote for job in mine if job.status not in job_rows.TERMINAL)
        charged = sum(job.charged or 0 for job in mine)
        granted = -ledger.balance(connection, "grant", "SAR")
        assert ledger.balance(connection, ledger.holding(account), "SAR") == held
        assert ledger.balance(connection, ledger.owner(account), "SAR") == granted - held - charged
        assert ledger.balance(connection, ledger.owner(account), "SAR") >= 0
        renter = connection.execute(select(tables.renters).where(tables.renters.c.account_id == account)).one()
        assert (renter.total_jobs, renter.total_spent) == (len(mine), charged)
        assert job_rows.unsettled(connection, renter.id) == held
        earned = 0
        for provider in connection.execute(select(tables.providers)):
            has = ledger.balance(connection, settling.earnings(provider.id), "SAR")
            paid = sum(job.provider_earned or 0 for job in jobs if job.provider_id == provider.id)
            assert (has, provider.total_earned) == (paid, paid)
            earned += has
        assert ledger.balance(connection, settling.PLATFORM, "SAR") == charged - earned

    def _check_job(self, connection: Connection, job: Row[Any], moved: dict[str, dict[str, int]]) -> None:
        """Held once, settled once and only at its end, and never anything else again."""
        ended = job.status in job_rows.TERMINAL
        taken = moved.get(f"hold:dc1:{job.job_id}")
        given = moved.get(f"settle:dc1:{job.job_id}")
        tried = connection.execute(select(tables.executions).where(tables.executions.c.job == job.id)).all()
        assert len(tried) == job.attempt
        assert sum(one.ended_at is None for one in tried) == (job.status in job_rows.CLAIMED)
        if job.renter_id is None:
            assert taken is None
            assert given is None
            return
        account = job.account_id
        assert taken == {ledger.owner(account): -job.quote, ledger.holding(account): job.quote}
        assert (given is not None) == ended
        if given is None:
            return
        assert given.pop(ledger.holding(account)) == -job.quote
        assert given.pop(ledger.owner(account), 0) == job.quote - job.charged
        assert given.pop(settling.PLATFORM, 0) == job.fee
        assert given.pop(settling.earnings(job.provider_id or 0), 0) == job.provider_earned
        assert given == {}
        assert 0 <= job.charged <= job.quote
        assert job.charged == job.provider_earned + job.fee
        assert job.charged == 0 or job.status == "completed"
        outcome = (job.status, job.charged, job.error, job.completed_at)
        assert self.ended.setdefault(job.job_id, outcome) == outcome


def _live(connection: Connection) -> int:
    query = select(func.count()).select_from(tables.jobs).where(tables.jobs.c.status.not_in(job_rows.TERMINAL))
    return int(connection.execute(query).scalar_one())


async def test_money_under_everything(stage: Stage) -> None:
    machine = Machine(stage, [await host(stage, "one"), await host(stage, "two")], seed=20260322)
    await machine.run(OPERATIONS)
    await machine.check()
    # It did happen.
    assert machine.statuses[201] > 500
    assert machine.statuses[200] > 2_000
    assert len(machine.ended) > 500
    states = {status for status, *_ in machine.ended.values()}
    assert states == {"completed", "failed", "cancelled"}
