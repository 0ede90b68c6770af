"""No room on the disk: requests are refused whole, ends are recorded as soon as there is room again."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest
from sqlalchemy import Connection

from skerry.island.engine.errors import Unavailable
from skerry.island.engine.idempotency import IdempotencyKey
from skerry.island.engine.sandboxes import Sandboxes
from skerry.island.sandbox.driver import SandboxError
from skerry.island.store.errors import StoreError
from skerry.money import Money
from tests.island.engine.lab import PATIENCE, Lab

pytestmark = pytest.mark.anyio


def fill(connection: Connection) -> None:
    """Let the database not grow, and use up what it has."""
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS filler (x)")
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


def room(connection: Connection) -> None:
    connection.exec_driver_sql("PRAGMA max_page_count = 1000000")


async def test_a_run_that_cannot_be_recorded_is_refused_whole(double: Lab) -> None:
    await double.run("true")
    await double.engine.store.run(fill)
    key = IdempotencyKey("s", "k", "f")
    with pytest.raises(Unavailable, match="the disk is full"):
        await double.submit("echo " + "x" * 100_000, idempotency=key)
    assert not await double.engine.runs.busy()
    await double.engine.store.run(room)
    assert await double.engine.idempotency.find(key) is None
    assert len(await double.engine.runs.list(double.account)) == 1
    assert (await double.run("echo on", idempotency=key))[1] == "on\n"
    await double.books()


async def test_an_end_that_cannot_be_recorded_is_told_and_recorded_later(double: Lab) -> None:
    run = await double.submit("echo begun; until [ -e stop ]; do sleep 0.02; done; A=" + "x" * 100_000)
    await double.wrote(run, "begun")
    waiting = asyncio.ensure_future(double.engine.runs.wait(run.id))
    await double.engine.store.run(fill)
    double.engine.driver.directory("box").joinpath("files", "stop").touch()  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match="the disk is full"):
        await asyncio.wait_for(waiting, PATIENCE)
    assert (await double.engine.runs.get(double.account, "box", run.id)).state == "running"
    await double.engine.store.run(room)
    assert (await double.finish(run)).exit_code == 0
    assert (await double.run("echo ${#A}"))[1] == "100000\n"
    await double.books()


async def test_a_sandbox_that_cannot_be_recorded_is_taken_back(double: Lab) -> None:
    await double.engine.store.run(fill)
    with pytest.raises(Unavailable, match="the disk is full"):
        await double.sandbox("second", labels={"k": "x" * 100_000})
    assert await double.engine.driver.ids() == ["box"]
    await double.engine.store.run(room)
    await double.sandbox("second")


async def test_what_shall_go_goes_once_there_is_room(double: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = double.engine
    # Upkeep tries again by itself every few seconds.
    await engine.upkeep.stop()
    await double.sandbox("second")
    refusals = [Unavailable("the disk is full"), Unavailable("the disk is full")]
    removed = Sandboxes.delete

    async def full(self: Sandboxes, account_id: str, id: str) -> bool:
        if refusals:
            raise refusals.pop()
        return await removed(self, account_id, id)

    monkeypatch.setattr(Sandboxes, "delete", full)
    assert await engine.removals.discard(double.account, "second")
    await engine.removals.again()
    assert sorted(await engine.driver.ids()) == ["box", "second"]
    await engine.removals.again()
    assert await engine.driver.ids() == ["box"]
    assert not await engine.removals.discard(double.account, "second")


async def test_files_that_cannot_be_removed_now_are_removed_later(double: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(id: str) -> None:
        raise SandboxError("disk_full", "no space left")

    await double.engine.upkeep.stop()
    with monkeypatch.context() as patched:
        patched.setattr(double.engine.driver, "remove", full)
        with pytest.raises(Unavailable, match="not all of it"):
            await double.engine.sandboxes.delete(double.account, "box")
        await double.engine.removals.again()
    assert await double.engine.driver.ids() == ["box"]
    await double.engine.removals.again()
    assert await double.engine.driver.ids() == []


async def test_a_run_that_cannot_be_started_now_is_started_once_there_is_room(
    double: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = asyncio.Event()
    full = True

    async def step(name: str, sandbox: str, run: str) -> None:
        if name == "exec" and full:
            refused.set()
            raise SandboxError("disk_full", "cannot keep the run's output: No space left on device")

    monkeypatch.setattr("skerry.island.engine.dispatch._RETRY_SECONDS", 0.01)
    monkeypatch.setattr(double.engine.driver, "_on_step", step)
    unwanted = await double.submit("echo unwanted", sessionless=True)
    wanted = await double.submit("echo on")
    late = await double.finish(await double.submit("echo late", sessionless=True, timeout=0.02))
    assert (late.state, late.cause, late.exit_code, late.cost) == ("failed", "timeout", 124, Money(0, "USD"))
    await asyncio.wait_for(refused.wait(), 30)
    assert await double.engine.runs.begun(wanted.id, patient=False) is None
    assert await double.engine.runs.cancel(double.account, "box", unwanted.id)
    full = False
    ended = await double.finish(wanted)
    assert (ended.cause, ended.attempts, await double.engine.runs.output(ended)) == ("exited", 1, (b"on\n", b""))
    given_up = await double.finish(unwanted)
    assert (given_up.state, given_up.cost) == ("cancelled", Money(0, "USD"))
    await double.books()


async def test_a_data_directory_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    with pytest.raises(StoreError, match="no space is left") as caught:
        await Lab(tmp_path).open()
    assert caught.value.reason == "full"


async def test_a_second_island_on_a_locked_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    (tmp_path / "data").mkdir(mode=0o700)
    other = sqlite3.connect(tmp_path / "data" / "island.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with monkeypatch.context() as patched:
        patched.setattr("skerry.island.store.store._BUSY_MS", 50)
        with pytest.raises(StoreError) as caught:
            await Lab(tmp_path).open()
    assert caught.value.reason == "locked"
    other.execute("ROLLBACK")
    other.close()
    lab = Lab(tmp_path)
    await lab.open()
    await lab.end()
