"""The server dies at any moment; the next one finds every accepted run, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skerry.ids import new_ulid
from skerry.island.clock import VirtualClock
from skerry.island.engine.errors import NotFound
from skerry.island.engine.idempotency import IdempotencyKey
from skerry.island.engine.records import RunRecord
from skerry.island.sandbox.handles import runlog
from skerry.island.sandbox.handles.live import LiveAgent
from skerry.island.sandbox.handles.spares import SpareFiles
from skerry.island.sandbox.spec import RunFiles
from skerry.money import Money
from tests.held import Held
from tests.island.engine.lab import PATIENCE, Lab

pytestmark = pytest.mark.anyio

KEY = IdempotencyKey("arker:box", "k", "f")


async def test_a_run_goes_on_while_nobody_watches(lab: Lab) -> None:
    run = await lab.submit("echo begun; sleep 0.5; echo x >> count; A=1; exit 4")
    await lab.wrote(run, "begun")
    await lab.crash()
    ended = await lab.finish(run)
    assert (ended.state, ended.exit_code, ended.attempts) == ("completed", 4, 1)
    assert (await lab.run("cat count; echo $A"))[1] == "x\n1\n"
    await lab.books()


async def test_a_run_that_ended_while_nobody_watched(lab: Lab) -> None:
    run = await lab.submit("echo begun; sleep 0.3; echo done; A=1; exit 4")
    await lab.wrote(run, "begun")
    record = lab.engine.driver.run_files("box", run.id).stdout.with_suffix(".json")
    await lab.engine.crash()

    async def recorded() -> bool:
        return record.exists() and record.stat().st_size > 0

    await lab.until(recorded)
    await lab.open()
    ended = await lab.finish(run)
    assert (ended.exit_code, await lab.engine.runs.output(ended)) == (4, (b"begun\ndone\n", b""))
    assert ended.cost is not None
    assert ended.cost.amount > 0
    assert (await lab.run("echo $A"))[1] == "1\n"
    await lab.books()


async def test_what_waited_for_its_turn_still_gets_it(lab: Lab) -> None:
    first = await lab.submit("echo begun; sleep 0.5; n=1")
    rest = [await lab.submit(f"n=$((n+1)); echo $n; exit {number}") for number in range(3)]
    await lab.wrote(first, "begun")
    await lab.crash()
    ended = [await lab.finish(run) for run in rest]
    assert [run.exit_code for run in ended] == [0, 1, 2]
    assert [(await lab.engine.runs.output(run))[0] for run in ended] == [b"2\n", b"3\n", b"4\n"]
    await lab.books()


async def test_a_lost_run_of_a_durable_sandbox_begins_again(lab: Lab) -> None:
    await lab.sandbox("safe", durable=True)
    await lab.run("echo kept > file", "safe")
    run = await lab.submit(
        'echo "attempt $(cat count 2>/dev/null | wc -l)"; echo x >> count;'
        "[ $(wc -l < count) -gt 1 ] || sleep 600; cat file",
        "safe",
    )
    await lab.wrote(run, "attempt 0")
    await lab.until(lambda: counted(lab))
    await lab.engine.crash()
    await kill(lab, "safe")
    await lab.open()
    ended = await lab.finish(run)
    assert (ended.state, ended.exit_code, ended.attempts) == ("completed", 0, 2)
    assert await lab.engine.runs.output(ended) == (b"attempt 1\nkept\n", b"")
    first = lab.engine.driver.run_files("safe", run.id)
    assert first.stdout.read_bytes() == b"attempt 0\n"
    assert ended.cost is not None
    await lab.books()
    child = await lab.engine.sandboxes.fork(lab.account, "safe", id="child")
    assert not child.durable


async def counted(lab: Lab) -> bool:
    try:
        file, _ = await lab.engine.sandboxes.read_file(lab.account, "safe", "/home/user/count", beneath="/home/user")
    except NotFound:
        return False
    with file:
        return bool(await asyncio.to_thread(file.read))


async def kill(lab: Lab, sandbox: str) -> None:
    """The sandbox's processes die while no server lives."""
    other = Lab(lab.data.parent, real=lab.real)
    if lab.real:
        from skerry.island.images.store import ImageStore
        from skerry.island.sandbox.egress.proxy import EgressProxy
        from skerry.island.sandbox.select import choose_driver

        images = ImageStore(lab.data / "images")
        egress = EgressProxy()
        driver = await asyncio.to_thread(choose_driver, other.settings, lab.data, images, egress)
        await driver.start()
        await driver.kill(sandbox)
        await driver.stop(kill=False)
        await egress.aclose()
    else:
        await lab.engine.driver.kill(sandbox)


async def test_a_lost_run_of_another_sandbox_ends_as_lost(lab: Lab) -> None:
    run = await lab.submit("A=1; echo begun; sleep 600")
    await lab.wrote(run, "begun")
    queued = await lab.submit("echo next $A")
    await lab.engine.crash()
    await kill(lab, "box")
    await lab.open()
    ended = await lab.finish(run)
    assert (ended.state, ended.cause, ended.exit_code, ended.attempts) == ("failed", "lost", -1, 1)
    out, err = await lab.engine.runs.output(ended)
    assert out == b"begun\n"
    assert b"lost" in err
    assert (ended.stdout_bytes, ended.stderr_bytes) == (len(out), len(err))
    assert await lab.engine.runs.output(await lab.finish(queued)) == (b"next\n", b"")
    await lab.books()


async def test_a_sandbox_that_dies_under_a_living_server(lab: Lab) -> None:
    await lab.sandbox("safe", durable=True)
    plain = await lab.submit("echo begun; sleep 600")
    safe = await lab.submit(
        "echo x >> count; [ $(wc -l < count) -gt 1 ] || { echo begun; sleep 600; }; echo again", "safe"
    )
    for run in (plain, safe):
        await lab.wrote(run, "begun")
        if lab.real:
            lab.engine.driver._live[run.sandbox_id].kill()  # type: ignore[attr-defined]
        else:
            await lab.engine.driver.kill(run.sandbox_id)
    assert (await lab.finish(plain)).cause == "lost"
    ended = await lab.finish(safe)
    assert (ended.exit_code, ended.attempts, (await lab.engine.runs.output(ended))[0]) == (0, 2, b"again\n")
    await lab.books()


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path, real=True)
    await lab.open()
    await lab.sandbox()
    yield lab
    await lab.end()


async def test_a_run_of_which_no_agent_has_heard_begins(machine: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    await machine.run("true")
    asking = asyncio.Event()
    request = LiveAgent.request

    async def cut_off(live: LiveAgent, op: str, *arguments: Any, **fields: Any) -> Any:
        if op != "exec":
            return await request(live, op, *arguments, **fields)
        asking.set()
        return await asyncio.Future()

    with monkeypatch.context() as patched:
        patched.setattr(LiveAgent, "request", cut_off)
        run = await machine.submit("echo x >> count; cat count; exit 3")
        await asking.wait()
        assert machine.engine.driver.run_files("box", run.id).record.exists()
        await machine.engine.crash()
    await machine.open()
    ended = await machine.finish(run)
    assert (ended.exit_code, ended.attempts, await machine.engine.runs.output(ended)) == (3, 1, (b"x\n", b""))
    await machine.books()


async def begun_once(lab: Lab, run: RunRecord) -> None:
    """It was lost, and has done once what it did before that."""
    ended = await lab.finish(run)
    assert (ended.cause, ended.exit_code, ended.attempts) == ("lost", -1, 1)
    assert (await lab.run(["cat", "count"]))[1] == "x\n"
    await lab.books()


async def test_a_run_of_an_agent_that_died_is_not_begun_by_the_next(
    machine: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await machine.submit("echo x >> count; echo begun; sleep 600")
    await machine.wrote(run, "begun")
    lost = asyncio.Event()

    async def unrecorded(*_: object) -> None:
        lost.set()
        await asyncio.Future()

    with monkeypatch.context() as patched:
        patched.setattr(machine.engine._dispatcher, "_finish", unrecorded)
        machine.engine.driver._live["box"].kill()  # type: ignore[attr-defined]
        await asyncio.wait_for(lost.wait(), PATIENCE)
    await machine.run(["true"])
    await machine.crash()
    await begun_once(machine, run)


def without_room(files: RunFiles, spares: SpareFiles, *, open_new: Any = runlog.open_new) -> list[int]:
    """Files of a run whose record cannot be written."""
    *logs, record = open_new(files, spares)
    os.close(record)
    return [*logs, os.open("/dev/full", os.O_WRONLY)]


async def test_a_run_whose_end_found_no_room_is_not_begun_again(machine: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Held("echo x >> count", "exit 3")
    with monkeypatch.context() as patched:
        patched.setattr(runlog, "open_new", without_room)
        run = await machine.submit(program.shell)
        assert await machine.engine.runs.begun(run.id) is None
    agent = machine.engine.driver._live["box"].pid  # type: ignore[attr-defined]
    await machine.engine.crash()
    await asyncio.to_thread(program.release)

    async def collected() -> bool:
        return Path(f"/proc/{agent}/task/{agent}/children").read_text() == ""

    await machine.until(collected)
    await machine.open()
    await begun_once(machine, run)


async def test_a_run_that_ends_while_it_is_found_is_not_begun_again(
    machine: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Held("echo x >> count", "exit 3")
    hello = LiveAgent.hello
    with monkeypatch.context() as patched:
        patched.setattr(runlog, "open_new", without_room)
        run = await machine.submit(program.shell)
        assert await machine.engine.runs.begun(run.id) is None
    await machine.engine.crash()

    async def greeted(live: LiveAgent) -> None:
        await hello(live)
        await asyncio.to_thread(program.release)

        async def heard() -> bool:
            return not live.busy

        await machine.until(heard)

    with monkeypatch.context() as patched:
        patched.setattr(LiveAgent, "hello", greeted)
        await machine.open()
    await begun_once(machine, run)


async def test_another_attempt_is_made_as_the_first_was(double: Lab) -> None:
    await double.sandbox("safe", durable=True)
    count = double.engine.driver.directory("safe") / "count"  # type: ignore[attr-defined]
    script = f"pwd; echo err >&2; echo x >> {count}; [ $(wc -l < {count}) -gt 1 ] || sleep 600"
    run = await double.submit(["sh", "-c", script], "safe", cwd="/usr", metered=False, merge_output=True)
    await double.wrote(run, "err")
    await double.until(lambda: grown(count))
    await double.engine.driver.kill("safe")
    ended = await double.finish(run)
    assert (ended.exit_code, ended.attempts, ended.cost) == (0, 2, Money(0, "USD"))
    assert await double.engine.runs.output(ended) == (b"/usr\nerr\n", b"")
    assert await double.paid() == 0
    await double.books()


async def grown(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


async def test_attempts_have_an_end(double: Lab) -> None:
    await double.sandbox("safe", durable=True)
    run = await double.submit("echo x >> count; echo begun; sleep 600", "safe")
    for attempt in range(1, 6):
        await double.until(lambda attempt=attempt: begun(double, run.id, attempt))
        await double.engine.driver.kill("safe")
    ended = await double.finish(run)
    assert (ended.cause, ended.attempts) == ("lost", 5)
    await double.books()


async def begun(lab: Lab, run_id: str, attempt: int) -> bool:
    record = await lab.engine.runs.get(lab.account, None, run_id)
    return record.attempts == attempt and b"begun" in (await lab.engine.runs.output(record))[0]


async def test_no_money_for_another_attempt(tmp_path: Path) -> None:
    lab = Lab(tmp_path, opening_balance=Money(10**6, "USD"))
    await lab.open()
    await lab.sandbox("safe", durable=True)
    # It would end the run itself once it notices that nothing is left.
    await lab.engine.upkeep.stop()
    run = await lab.submit("echo begun; sleep 600", "safe")
    await lab.wrote(run, "begun")
    balance = await lab.engine.ledger.balance(lab.account)
    await lab.engine.ledger.transfer("spent", {f"account:{lab.account}": -balance, "elsewhere": balance})
    held = await lab.engine.ledger.held(lab.account)
    await lab.engine.ledger.transfer("debt", {f"account:{lab.account}": -held, "elsewhere": held})
    await lab.engine.driver.kill("safe")
    ended = await lab.finish(run)
    assert (ended.state, ended.cause, ended.attempts) == ("failed", "lost", 1)
    assert b"add credit" in (await lab.engine.runs.output(ended))[1]
    await lab.books()
    await lab.end()


async def test_a_cancellation_survives_a_crash(double: Lab) -> None:
    run = await double.submit("trap '' TERM; echo begun; while :; do sleep 0.05; done")
    await double.wrote(run, "begun")
    cancelling = asyncio.ensure_future(double.engine.runs.cancel(double.account, "box", run.id, grace=600.0))

    async def cancelled() -> bool:
        return double.engine._dispatcher.jobs[run.id].stop is not None

    await double.until(cancelled)
    await double.engine.store.run(lambda _: None)
    await double.engine.crash()
    with pytest.raises(Exception, match="stopping"):
        await cancelling
    await double.open()
    ended = await double.finish(run)
    assert (ended.state, ended.exit_code) == ("cancelled", 137)
    await double.books()


async def test_a_removal_is_carried_through(double: Lab) -> None:
    run = await double.submit("echo begun; sleep 600")
    await double.wrote(run, "begun")
    queued = await double.submit("true")
    await double.sandbox("other")
    hang = asyncio.Event()

    async def stuck(*_: object, **__: object) -> None:
        hang.set()
        await asyncio.Future()

    double.engine._dispatcher.stop_all = stuck  # type: ignore[method-assign, assignment]
    removing = asyncio.ensure_future(double.engine.sandboxes.delete(double.account, "box"))
    await hang.wait()
    removing.cancel()
    await double.crash()
    with pytest.raises(NotFound):
        await double.engine.sandboxes.get(double.account, "box")
    assert await double.engine.driver.ids() == ["other"]
    for id in (run.id, queued.id):
        ended = await double.engine.runs.get(double.account, "box", id)
        assert (ended.state, ended.exit_code) == ("cancelled", 137)
    await double.books()


async def test_a_sandbox_made_but_not_recorded_is_removed(double: Lab) -> None:
    reached = asyncio.Event()

    async def stop_there(step: str, *_: str) -> None:
        if step == "created":
            reached.set()
            await asyncio.Future()

    double.engine.driver._on_step = stop_there  # type: ignore[attr-defined]
    creating = asyncio.ensure_future(double.sandbox("second"))
    await reached.wait()
    creating.cancel()
    assert "second" in await double.engine.driver.ids()
    await double.crash()
    assert await double.engine.driver.ids() == ["box"]
    await double.sandbox("second")


async def test_leases_that_nothing_stands_on_are_closed_for_the_time_seen(timeless: Lab, clock: VirtualClock) -> None:
    # It looks on its own when time passes; what was seen last is for the test to say.
    await timeless.engine.upkeep.stop()
    terminal = await timeless.engine.sandboxes.open_terminal(timeless.account, "box", command="sleep 600")
    clock.advance(90)
    await timeless.engine.upkeep.extend_holds()
    seen = (await timeless.engine.leases.current())[0]
    clock.advance(30)
    await terminal.cancel()
    terminal.close()
    await timeless.engine.crash()
    clock.advance(100_000)
    await timeless.open()
    await timeless.books()
    node = timeless.engine.nodes.local
    hourly = seen.cpu_millis * node.cpu_hour.amount / 1000 + seen.memory_bytes / 2**30 * node.memory_gib_hour.amount
    assert abs(await timeless.paid() - hourly * 90 / 3600) <= 1


class Crashes:
    """Lets everything happen up to the n-th step of the store or the driver, and nothing from there on."""

    def __init__(self, lab: Lab, steps: int) -> None:
        self.left = steps
        self.reached = asyncio.Event()
        self.lab = lab

    def arm(self) -> None:
        run = self.lab.engine.store.run

        async def step_then_run(fn: Any, *args: Any, **kwargs: Any) -> Any:
            await self.step()
            result = await run(fn, *args, **kwargs)
            await self.step()
            return result

        self.lab.engine.store.run = step_then_run  # type: ignore[method-assign]
        self.lab.engine.driver._on_step = self.step  # type: ignore[attr-defined]

    async def step(self, *_: str) -> None:
        if self.left == 0:
            self.reached.set()
            await asyncio.Future()
        self.left -= 1


@pytest.fixture
async def fragile(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path)
    await lab.open()
    await lab.sandbox()
    await lab.sandbox("safe", durable=True)
    yield lab
    await lab.end()


@pytest.mark.parametrize(("sandbox", "agent_dies"), [("box", False), ("box", True), ("safe", True)])
@pytest.mark.parametrize("steps", range(15))
async def test_death_at_every_step(fragile: Lab, steps: int, agent_dies: bool, sandbox: str) -> None:
    """Two runs of one session, one of them keyed, and a server that dies at each step of them in turn."""
    crashes = Crashes(fragile, steps)
    crashes.arm()
    ids = [new_ulid(), new_ulid()]
    command = 'echo "$1" >/dev/null; echo x >> count; exit 3'

    async def work() -> None:
        first = await fragile.submit(command, sandbox, id=ids[0], idempotency=KEY, timeout=600)
        second = await fragile.submit("echo y >> second; exit 4", sandbox, id=ids[1])
        await fragile.engine.runs.wait(first.id)
        await fragile.engine.runs.wait(second.id)

    working = asyncio.ensure_future(work())
    await asyncio.wait(
        (working, asyncio.ensure_future(crashes.reached.wait())), return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE
    )
    await fragile.engine.crash()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    if agent_dies:
        await fragile.engine.driver.kill(sandbox)
    await fragile.open()
    accepted = [run.id for run in await fragile.engine.runs.list(fragile.account)]
    assert accepted in ([], ids[:1], ids[::-1])
    ended = {id: await fragile.finish(id) for id in accepted}
    files = fragile.engine.driver.directory(sandbox) / "files"  # type: ignore[attr-defined]
    for id, code, file in ((ids[0], 3, files / "count"), (ids[1], 4, files / "second")):
        times = len(file.read_text().splitlines()) if file.exists() else 0
        if id not in ended:
            assert times == 0
        elif ended[id].cause == "lost":
            assert sandbox == "box"
            assert (times, ended[id].exit_code, agent_dies) in ((0, -1, True), (1, -1, True), (0, -1, False))
        else:
            assert ended[id].exit_code == code
            assert times == 1 if sandbox == "box" else 1 <= times <= ended[id].attempts
    again = await fragile.submit(command, sandbox, idempotency=KEY, timeout=600)
    if ids[0] in ended:
        assert again.id == ids[0]
    await fragile.finish(again)
    await fragile.books()
    costs = [run.cost.amount for run in await fragile.engine.runs.list(fragile.account) if run.cost]
    assert await fragile.paid() == sum(costs)
