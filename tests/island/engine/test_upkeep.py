"""What an island does by itself, in time that the test owns."""

from __future__ import annotations

import asyncio
import os
import select
from pathlib import Path

import pytest

from skerry.island.clock import VirtualClock
from skerry.island.engine.errors import NotFound
from skerry.island.engine.leases import cost
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.spec import Limits
from skerry.island.settings import Prices
from skerry.money import Money
from skerry.units import GIB, MIB
from tests.island.engine.lab import PATIENCE, Lab

pytestmark = pytest.mark.anyio

WAIT = "echo begun; until [ -e stop ]; do sleep 0.02; done"


async def begin(lab: Lab, command: str = WAIT, **fields: object):
    run = await lab.submit(command, **fields)
    await lab.wrote(run, "begun")
    # What it wrote can be seen before its starter has returned.
    assert await lab.engine.runs.begun(run.id) is None
    return run


async def stop(lab: Lab) -> None:
    lab.engine.driver.directory("box").joinpath("files", "stop").touch()  # type: ignore[attr-defined]


async def test_metering_follows_the_islands_clock(timeless: Lab, clock: VirtualClock) -> None:
    run = await begin(timeless)
    clock.advance(1800)
    await stop(timeless)
    ended = await timeless.finish(run)
    node = timeless.engine.nodes.local
    limits = (await timeless.engine.sandboxes.get(timeless.account, "box")).limits
    memory = limits.memory_bytes or 0
    assert ended.cost == cost(node, 1000, memory, 0, 1800 * 10**9)
    assert ended.cost.amount == 20_000 + memory * 5_000 // GIB // 2
    assert await timeless.paid() == ended.cost.amount
    assert ended.started_at is not None
    assert (ended.ended_at - ended.started_at).total_seconds() == 1800
    await timeless.books()


async def test_the_time_in_the_queue_is_free(timeless: Lab, clock: VirtualClock) -> None:
    first = await begin(timeless)
    second = await timeless.submit("true")
    clock.advance(3600)
    await stop(timeless)
    assert (await timeless.finish(first)).cost != Money(0, "USD")
    assert (await timeless.finish(second)).cost == Money(0, "USD")
    await timeless.books()


async def test_a_jump_of_the_wall_clock_costs_nothing(timeless: Lab, clock: VirtualClock) -> None:
    run = await begin(timeless)
    clock.advance(10)
    clock.jump(1_000_000)
    await stop(timeless)
    ended = await timeless.finish(run)
    node = timeless.engine.nodes.local
    limits = (await timeless.engine.sandboxes.get(timeless.account, "box")).limits
    assert ended.cost == cost(node, 1000, limits.memory_bytes or 0, 0, 10 * 10**9)


async def test_holds_grow_with_the_work(timeless: Lab, clock: VirtualClock) -> None:
    run = await begin(timeless)
    first = await timeless.engine.ledger.held(timeless.account)
    for _ in range(20):
        clock.advance(15)
        await timeless.engine.upkeep.extend_holds()
    grown = await timeless.engine.ledger.held(timeless.account)
    assert first < grown
    lease = (await timeless.engine.leases.current())[0]
    node = timeless.engine.nodes.local
    assert cost(node, lease.cpu_millis, lease.memory_bytes, 0, 300 * 10**9) <= lease.held == grown
    assert await timeless.engine.ledger.audit() == []
    await stop(timeless)
    ended = await timeless.finish(run)
    assert await timeless.paid() == ended.cost.amount
    await timeless.books()


async def test_work_that_cannot_be_paid_any_more_is_ended(tmp_path: Path, clock: VirtualClock) -> None:
    prices = Prices(cpu_hour=Money(3_600_000, "USD"), memory_gib_hour=Money(0, "USD"))
    lab = Lab(tmp_path, clock=clock, prices=prices, opening_balance=Money(130_000, "USD"))
    await lab.open()
    await lab.sandbox()
    run = await begin(lab)
    terminal = None
    for _ in range(9):
        clock.advance(15)
        await asyncio.wait_for(lab.engine.upkeep.extend_holds(), PATIENCE)
    ended = await lab.finish(run)
    assert (ended.state, ended.cause) == ("failed", "payment_required")
    assert b"add credit" in (await lab.engine.runs.output(ended))[1]
    await lab.books()
    assert terminal is None
    await lab.end()


async def test_idle_sandboxes_sleep_and_wake(timeless: Lab, clock: VirtualClock) -> None:
    driver = timeless.engine.driver
    await timeless.run("A=1")
    clock.advance(299)
    await timeless.engine.upkeep.suspend_idle()
    assert driver.suspended == []  # type: ignore[attr-defined]
    run = await begin(timeless)
    clock.advance(301)
    await timeless.engine.upkeep.suspend_idle()
    assert driver.suspended == []  # type: ignore[attr-defined]
    await stop(timeless)
    await timeless.finish(run)
    clock.advance(301)
    await timeless.engine.upkeep.suspend_idle()
    assert driver.suspended == ["box"]  # type: ignore[attr-defined]
    assert (await timeless.engine.sandboxes.get(timeless.account, "box")).state == "suspended"
    listed, _ = await timeless.engine.sandboxes.list(timeless.account)
    assert listed[0].state == "suspended"
    assert (await timeless.run("echo $A"))[1] == "1\n"
    assert (await timeless.engine.sandboxes.get(timeless.account, "box")).state == "idle"
    listed, _ = await timeless.engine.sandboxes.list(timeless.account)
    assert listed[0].state == "idle"


async def test_a_file_wakes_it_too(timeless: Lab, clock: VirtualClock) -> None:
    await timeless.run("echo x > file")
    clock.advance(301)
    await timeless.engine.upkeep.suspend_idle()
    file, size = await timeless.engine.sandboxes.read_file(
        timeless.account, "box", "/home/user/file", beneath="/home/user"
    )
    file.close()
    assert size == 2
    assert (await timeless.engine.sandboxes.get(timeless.account, "box")).state == "idle"
    clock.advance(301)
    await timeless.engine.upkeep.suspend_idle()
    assert (await timeless.engine.sandboxes.get(timeless.account, "box")).state == "suspended"


async def test_what_begins_while_a_sandbox_falls_asleep_waits_for_it(timeless: Lab, clock: VirtualClock) -> None:
    await timeless.run("true")
    clock.advance(301)
    entered, leave = asyncio.Event(), asyncio.Event()
    original = timeless.engine.driver.suspend

    async def slowly(sandbox_id: str) -> bool:
        entered.set()
        await leave.wait()
        return await original(sandbox_id)

    timeless.engine.driver.suspend = slowly  # type: ignore[method-assign]
    falling = asyncio.ensure_future(timeless.engine.upkeep.suspend_idle())
    await entered.wait()
    run = await timeless.submit("echo awake")
    assert not list(timeless.engine.driver.directory("box").glob(f"runs/{run.id}.*"))  # type: ignore[attr-defined]
    leave.set()
    await falling
    assert (await timeless.finish(run)).exit_code == 0


async def test_processes_left_in_the_background_end_with_an_idle_sandbox(tmp_path: Path) -> None:
    lab = Lab(tmp_path, real=True, idle_suspend=0.0)
    await lab.open()
    await lab.sandbox()
    await lab.engine.upkeep.stop()
    await lab.run(
        "(while :; do echo x >> beat; sleep 0.02; done) >/dev/null 2>&1 & until [ -s beat ]; do sleep 0.01; done"
    )
    await lab.engine.upkeep.suspend_idle()
    assert await lab.engine.driver.find("box") is None
    _, before, _ = await lab.run("wc -l < beat")
    await asyncio.sleep(0.2)
    assert (await lab.run("wc -l < beat"))[1] == before
    await lab.end()


async def test_a_full_sandbox_is_stopped(double: Lab) -> None:
    # It looks every other second by itself, and might before the run has said that it has begun.
    await double.engine.upkeep.stop()
    await double.engine.sandboxes.update(double.account, "box", limits=Limits(disk_bytes=MIB))
    run = await begin(double, "head -c 3000000 /dev/zero > big; echo begun; sleep 600")
    queued = await double.submit("rm big; echo cleaned")
    await double.engine.upkeep.check_disks()
    ended = await double.finish(run)
    assert (ended.state, ended.cause) == ("failed", "disk_full")
    assert b"disk is full" in (await double.engine.runs.output(ended))[1]
    assert (await double.finish(queued)).exit_code == 0
    await double.engine.upkeep.check_disks()
    await double.books()


async def test_old_things_are_forgotten(timeless: Lab, clock: VirtualClock) -> None:
    await timeless.sandbox("second")
    old, _, _ = await timeless.run("echo old")
    gone, _, _ = await timeless.run("echo gone", "second")
    await timeless.engine.sandboxes.delete(timeless.account, "second")
    clock.advance(timeless.settings.run_retention / 2)
    young, _, _ = await timeless.run("echo young")
    clock.advance(timeless.settings.run_retention / 2 + 1)
    await timeless.engine.upkeep.forget_old()
    for run in (old, gone):
        with pytest.raises(NotFound):
            await timeless.engine.runs.get(timeless.account, None, run.id)
    assert (await timeless.engine.runs.output(young))[0] == b"young\n"
    runs = timeless.engine.driver.directory("box") / "runs"  # type: ignore[attr-defined]
    assert {path.name.split(".")[0] for path in runs.iterdir()} == {young.id}
    await timeless.sandbox("second")
    await timeless.books()


async def test_loops_go_on_after_a_bad_round(
    timeless: Lab, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await timeless.run("true")
    rounds = 0
    again = asyncio.Event()

    async def broken(sandbox_id: str) -> bool:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise RuntimeError("a bug")
        again.set()
        raise SandboxError("lost", "it died")

    timeless.engine.driver.suspend = broken  # type: ignore[method-assign]
    for _ in range(40):
        clock.advance(30)
        for _ in range(20):
            await asyncio.sleep(0)
        if rounds:
            break
        await asyncio.sleep(0.01)
    async with asyncio.timeout(PATIENCE):
        while not again.is_set():
            clock.advance(30)
            await asyncio.sleep(0.01)
    assert "a bug" in caplog.text
    timeless.engine.driver.suspend = lambda _: asyncio.sleep(0, True)  # type: ignore[method-assign, assignment, return-value]


async def test_terminals_are_metered_and_keep_their_sandbox_awake(timeless: Lab, clock: VirtualClock) -> None:
    await timeless.run("A=shown; export A")
    terminal = await timeless.engine.sandboxes.open_terminal(
        timeless.account, "box", command='echo "$A"; read x; exit 3'
    )
    seen = b""
    while b"shown" not in seen:
        await asyncio.to_thread(select.select, [terminal.fd], [], [], PATIENCE)
        seen += os.read(terminal.fd, 100)
    clock.advance(600)
    await timeless.engine.upkeep.suspend_idle()
    assert (await timeless.engine.sandboxes.get(timeless.account, "box")).state == "running"
    os.write(terminal.fd, b"\n")
    assert (await terminal.wait()).exit_code == 3

    async def settled() -> bool:
        return await timeless.engine.leases.current() == []

    await timeless.until(settled)
    terminal.close()
    assert await timeless.paid() > 0
    await timeless.books()


async def test_a_removed_sandbox_hangs_up_its_terminals(double: Lab) -> None:
    terminal = await double.engine.sandboxes.open_terminal(double.account, "box", command=["sleep", "600"])
    await double.engine.sandboxes.delete(double.account, "box")
    await asyncio.wait_for(terminal.wait(), PATIENCE)
    terminal.close()
    await double.books()
