"""Who is woken by what, and the secret that signs task specs."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from sqlalchemy import Connection

from skerry.errors import ConfigurationError
from skerry.island.faces.dc1.hmac_secret import NAME, hmac_secret
from skerry.island.faces.dc1.jobs import changes, job_rows
from skerry.island.settings import DC1
from tests.island.engine.lab import PATIENCE
from tests.island.faces.dc1.hosts import submit
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio


async def test_a_change_wakes_those_who_wait_for_it(stage: Stage) -> None:
    found = stage.face.service.working.changes
    first, second = [(await submit(stage, None))["id"] for _ in range(2)]
    with found.watching(first) as mine, found.watching(second) as other, found.watching() as every:
        await found.run(job_rows.change, first, stage.now, error="x")
        await asyncio.wait_for(mine.changed(), PATIENCE)
        await asyncio.wait_for(every.changed(), PATIENCE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(other.changed(), 0.05)
        # What happened while nobody waited is not missed.
        await found.run(job_rows.change, second, stage.now, error="x")
        await asyncio.wait_for(other.changed(), PATIENCE)


async def test_reads_and_failures_wake_nobody(stage: Stage) -> None:
    found = stage.face.service.working.changes
    job = (await submit(stage, None))["id"]

    def fail(connection: Connection) -> None:
        job_rows.change(connection, job, stage.now, error="x")
        raise LookupError

    with found.watching(job) as mine:
        await found.run(job_rows.find, job)
        with pytest.raises(LookupError):
            await found.run(fail)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(mine.changed(), 0.05)
    assert (await stage.lab.engine.store.read(job_rows.get, job)).error is None


async def test_a_caller_that_is_cancelled_wakes_all_the_same(stage: Stage) -> None:
    found = stage.face.service.working.changes
    job = (await submit(stage, None))["id"]
    with found.watching(job) as mine:
        running = asyncio.ensure_future(found.run(job_rows.change, job, stage.now, error="x"))
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.wait_for(mine.changed(), PATIENCE)


async def test_transactions_of_others_touch_nothing(stage: Stage) -> None:
    job = (await submit(stage, None))["id"]

    def look(connection: Connection) -> bool:
        changes.touch(connection, job)
        return changes._TOUCHED in connection.info

    assert await stage.lab.engine.store.run(look) is False


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    made = hmac_secret(DC1(), tmp_path)
    assert len(made) == 64
    assert hmac_secret(DC1(), tmp_path) == made
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert hmac_secret(DC1(hmac_secret="mine"), tmp_path) == "mine"
    (tmp_path / NAME).write_text(" \n")
    with pytest.raises(ConfigurationError, match="empty"):
        hmac_secret(DC1(), tmp_path)
