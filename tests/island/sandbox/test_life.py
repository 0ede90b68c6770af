"""The life of sandboxes: made, opened, put to rest, forked, changed, killed, removed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from skerry.island.sandbox.agent.start import report
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.limits.cgroups import Cgroups
from skerry.island.sandbox.namespace.launcher import Launcher
from skerry.island.sandbox.spec import Limits, NetworkPolicy, SandboxSpec
from tests import processes
from tests.island.sandbox import sandbox_lab
from tests.island.sandbox.sandbox_lab import PATIENCE, Lab, alive, until

pytestmark = pytest.mark.anyio


async def test_creating_starts_no_process(lab: Lab) -> None:
    await lab.driver.create(SandboxSpec(id="quiet", image="host"))
    assert await lab.driver.ids() == ["quiet"]
    assert await lab.driver.find("quiet") is None
    assert lab.driver._builder.launcher.pid is None


async def test_opening_is_idempotent_and_shared(lab: Lab) -> None:
    await lab.driver.create(SandboxSpec(id="a", image="host"))
    boxes = await asyncio.gather(*(lab.driver.open("a") for _ in range(20)))
    assert len({id(box) for box in boxes}) == 1
    assert await lab.driver.find("a") is boxes[0]
    assert await lab.output(boxes[0], "hostname; id -u; pwd", cwd="/home/user") == "a\n0\n/home/user\n"


async def test_an_agent_gets_short_turns_of_the_processor_and_a_command_does_not(lab: Lab) -> None:
    await lab.driver.create(SandboxSpec(id="a", image="host"))
    box = await lab.driver.open("a")
    assert os.sched_getscheduler(lab.pid("a")) & os.SCHED_RESET_ON_FORK
    policy = ("python3", "-ISc", "import os; print(os.sched_getscheduler(0))")
    assert await lab.output(box, policy) == f"{os.SCHED_OTHER}\n"


async def test_a_caller_that_gives_up_does_not_spoil_the_start(lab: Lab) -> None:
    await lab.driver.create(SandboxSpec(id="a", image="host"))
    first = asyncio.create_task(lab.driver.open("a"))
    second = asyncio.create_task(lab.driver.open("a"))
    await asyncio.sleep(0)
    first.cancel()
    assert await lab.output(await second, "echo up") == "up\n"


async def test_burst(lab: Lab) -> None:
    async def one(number: int) -> str:
        return await lab.output(await lab.box(f"b{number}"), "hostname")

    async with asyncio.timeout(5 * PATIENCE):
        names = await asyncio.gather(*(one(number) for number in range(100)))
    assert names == [f"b{number}\n" for number in range(100)]


async def test_what_cannot_be(lab: Lab) -> None:
    await lab.box("a")
    for spec, reason in (
        (SandboxSpec(id="a", image="host"), "exists"),
        (SandboxSpec(id="b", image="none"), "unknown_image"),
        (SandboxSpec(id="../b", image="host"), "path"),
        (SandboxSpec(id="", image="host"), "path"),
    ):
        with pytest.raises(SandboxError) as caught:
            await lab.driver.create(spec)
        assert caught.value.reason == reason
    for call in (lab.driver.open("none"), lab.driver.remove("none"), lab.driver.fork("none", spec)):
        with pytest.raises(SandboxError) as caught:
            await call
    with pytest.raises(SandboxError) as caught:
        await lab.driver.open("none")
    assert caught.value.reason == "unknown_sandbox"
    assert await lab.driver.find("none") is None


@pytest.mark.parametrize("where", ["here", "zygote"])
async def test_a_start_without_room_is_told_as_that(lab: Lab, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")

    def refuse(*_: object) -> None:
        raise full

    async def build(_: object, request: dict[str, object], fds: Sequence[int]) -> None:
        with socket.socket(fileno=os.dup(fds[0])) as control:
            report(control, full)

    await lab.driver.create(SandboxSpec(id="box", image="host"))
    with monkeypatch.context() as patched:
        if where == "here":
            patched.setattr(Cgroups, "create", refuse)
        else:
            patched.setattr(Launcher, "build", build)
        with pytest.raises(SandboxError) as caught:
            await lab.driver.open("box")
    assert caught.value.reason == "disk_full"
    assert await lab.output(await lab.driver.open("box"), "echo on") == "on\n"


async def test_rest_keeps_files_and_handles(lab: Lab) -> None:
    box = await lab.box()
    await lab.output(box, "echo kept > /home/user/file; echo also > /tmp/file")
    pid = lab.pid("box")
    assert await lab.driver.suspend("box") is True
    assert not alive(pid)
    assert await lab.driver.find("box") is None
    assert await lab.driver.suspend("box") is True
    assert await lab.output(box, "cat /home/user/file /tmp/file") == "kept\nalso\n"


async def test_no_rest_while_something_runs(lab: Lab) -> None:
    box = await lab.box()
    process = await box.exec(lab.spec("sleep 1000"))
    assert await lab.driver.suspend("box") is False
    await process.cancel()
    await process.wait()
    # What the command had started may die a moment after it.
    await until(lambda: lab.driver.suspend("box"))


async def test_commands_and_rest_race_without_loss(lab: Lab) -> None:
    box = await lab.box()

    async def rests() -> None:
        for _ in range(8):
            await lab.driver.suspend("box")

    async def commands(name: int) -> list[str]:
        return [await lab.output(box, f"echo {name}.{i}") for i in range(8)]

    _, first, second = await asyncio.gather(rests(), commands(1), commands(2))
    assert first == [f"1.{i}\n" for i in range(8)]
    assert second == [f"2.{i}\n" for i in range(8)]


async def test_kill_ends_everything_at_once(lab: Lab) -> None:
    box = await lab.box()
    process = await box.exec(lab.spec("trap '' TERM HUP; setsid sleep 1000 & while :; do sleep 1; done"))
    pid = lab.pid("box")
    await lab.driver.kill("box")
    result = await process.wait()
    assert (result.exit_code, result.cause) == (137, "cancelled")
    assert not alive(pid)
    assert await lab.output(box, "echo back") == "back\n"


async def test_removal_leaves_nothing(lab: Lab) -> None:
    box = await lab.box()
    await lab.output(box, "mkdir -m 0 /home/user/closed; echo x > /home/user/file")
    process = await box.exec(lab.spec("sleep 1000"))
    await lab.driver.remove("box")
    assert (await process.wait()).cause == "cancelled"
    assert await lab.driver.ids() == []
    assert not (lab.state / "sandboxes" / "box").exists()
    with pytest.raises(SandboxError) as caught:
        await box.exec(lab.spec("true"))
    assert caught.value.reason == "unknown_sandbox"


async def test_the_loss_of_an_agent_is_told(lab: Lab) -> None:
    lost: list[tuple[str, str]] = []

    async def note(sandbox_id: str, cause: str) -> None:
        lost.append((sandbox_id, cause))

    lab.driver.on_lost(note)
    box = await lab.box()
    process = await box.exec(lab.spec("echo said; sleep 1000"))
    async for _ in process.follow("stdout"):
        break
    follower = asyncio.create_task(_collect(process.follow("stdout")))
    os.kill(lab.pid("box"), signal.SIGKILL)
    result = await asyncio.wait_for(process.wait(), PATIENCE)
    assert (result.exit_code, result.cause, result.stdout_bytes) == (-1, "lost", 5)
    assert await asyncio.wait_for(follower, PATIENCE) == b"said\n"
    await until(lambda: lost == [("box", "died")])
    assert await lab.output(box, "echo again") == "again\n"


async def _collect(chunks: object) -> bytes:
    return b"".join([chunk async for chunk in chunks])  # type: ignore[attr-defined]


async def test_the_zygote_can_die(lab: Lab) -> None:
    await lab.box("a")
    zygote = lab.driver._builder.launcher.pid
    assert zygote is not None
    os.kill(zygote, signal.SIGKILL)
    await until(lambda: not alive(zygote))
    assert await lab.output(await lab.box("b"), "echo b") == "b\n"
    assert await lab.output(await lab.driver.open("a"), "echo a") == "a\n"


async def test_fork_of_one_at_rest_takes_its_files(lab: Lab) -> None:
    parent = await lab.box("parent")
    await lab.output(parent, "mkdir d; echo 1 > d/file; echo gone > removed", cwd="/home/user")
    report = await lab.driver.fork("parent", SandboxSpec(id="child", image="whatever"))
    assert (report.method, report.frozen_ns) == ("relayer", 0)
    child = await lab.driver.open("child")
    assert (
        await lab.output(child, "hostname; cat d/file; rm removed; echo 2 > d/file", cwd="/home/user") == "child\n1\n"
    )
    assert await lab.output(parent, "cat d/file removed", cwd="/home/user") == "1\ngone\n"
    await lab.driver.fork("child", SandboxSpec(id="grandchild", image="host"))
    grandchild = await lab.driver.open("grandchild")
    assert await lab.output(grandchild, "cat d/file; ls", cwd="/home/user") == "2\nd\n"
    await lab.driver.remove("child")
    assert await lab.output(grandchild, "cat d/file", cwd="/home/user") == "2\n"


async def test_fork_of_a_running_one_copies_as_of_now(lab: Lab) -> None:
    parent = await lab.box("parent")
    process = await parent.exec(
        lab.spec("i=0; while :; do i=$((i+1)); echo $i > /home/user/n; echo $i >> /home/user/log; done")
    )
    await until(lambda: _has(lab.state / "sandboxes/parent/upper/home/user/log"))
    report = await lab.driver.fork("parent", SandboxSpec(id="child", image="host"))
    assert report.method in ("reflink", "copy")
    assert report.frozen_ns > 0
    child = await lab.driver.open("child")
    last = int((await lab.output(child, "tail -n 1 /home/user/log")).strip() or 0)
    number = (await lab.output(child, "cat /home/user/n")).strip()
    assert number == "" or 0 <= int(number) - last <= 1
    before = int(await lab.output(parent, "wc -l < /home/user/log"))

    async def goes_on() -> bool:
        return int(await lab.output(parent, "wc -l < /home/user/log")) > before

    await until(goes_on)
    assert before >= last
    await process.cancel()
    await process.wait()


def _has(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


async def test_fork_of_a_running_one_by_signals(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = await lab.box("parent")
    monkeypatch.setattr(lab.driver._built["parent"], "freeze", lambda: False)
    process = await parent.exec(lab.spec("while :; do echo x >> /home/user/log; sleep 0.001; done"))
    sleeper = await parent.exec(lab.spec("kill -STOP $$; echo continued"))
    await until(lambda: _has(lab.state / "sandboxes/parent/upper/home/user/log"))
    await until(lambda: "T" in map(processes.state, processes.children(lab.pid("parent"))))
    report = await lab.driver.fork("parent", SandboxSpec(id="child", image="host"))
    assert report.method in ("reflink", "copy")
    child = await lab.driver.open("child")
    assert int(await lab.output(child, "wc -l < /home/user/log")) > 0
    before = int(await lab.output(parent, "wc -l < /home/user/log"))

    async def goes_on() -> bool:
        return int(await lab.output(parent, "wc -l < /home/user/log")) > before

    await until(goes_on)
    assert sleeper.files.stdout.read_bytes() == b""
    for running in (process, sleeper):
        await running.cancel()
        await running.wait()


async def test_an_agent_that_answers_too_late_leaves_nothing_standing_still(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = await lab.box("parent")
    log = lab.state / "sandboxes/parent/upper/home/user/log"
    process = await parent.exec(lab.spec("while :; do echo x >> /home/user/log; sleep 0.001; done"))
    await until(lambda: _has(log))
    monkeypatch.setattr(lab.driver._built["parent"], "freeze", lambda: False)
    os.kill(lab.pid("parent"), signal.SIGSTOP)
    try:
        monkeypatch.setattr("skerry.island.sandbox.namespace.driver._ANSWER_SECONDS", 0.05)
        # It does not get as far as the freezing while it is asked whether anything lives.
        monkeypatch.setattr(lab.driver, "_retire", _refuse)
        with pytest.raises(SandboxError, match="does not answer") as caught:
            await lab.driver.fork("parent", SandboxSpec(id="child", image="host"))
        assert caught.value.reason == "lost"
    finally:
        os.kill(lab.pid("parent"), signal.SIGCONT)
    # The agent answers in order: it has heard all of that when it has heard this.
    await lab.output(parent, "true")
    before = log.stat().st_size
    await until(lambda: log.stat().st_size > before)
    assert await lab.driver.ids() == ["parent"]
    await process.cancel()
    await process.wait()


async def _refuse(_: object) -> bool:
    return False


async def test_a_failed_fork_leaves_the_parent_running(lab: Lab) -> None:
    parent = await lab.box("parent")
    await lab.box("taken")
    process = await parent.exec(lab.spec("sleep 0.3; echo done"))
    with pytest.raises(SandboxError) as caught:
        await lab.driver.fork("parent", SandboxSpec(id="taken", image="host"))
    assert caught.value.reason == "exists"
    assert (await asyncio.wait_for(process.wait(), PATIENCE)).exit_code == 0


async def test_deep_chains_are_flattened(scratch: Path) -> None:
    async with sandbox_lab.lab(scratch, max_layers=4) as lab:
        box = await lab.box("f0")
        for number in range(1, 8):
            await lab.output(box, f"echo {number} > /home/user/{number}")
            await lab.driver.fork(f"f{number - 1}", SandboxSpec(id=f"f{number}", image="host"))
            box = await lab.driver.open(f"f{number}")
        await until(lambda: not lab.driver._background)
        assert lab.driver._builder.layers.depth("f7") < 7
        assert await lab.output(box, "cat /home/user/*") == "1\n2\n3\n4\n5\n6\n7\n"


async def test_limits_can_change_while_it_lives(lab: Lab) -> None:
    box = await lab.box(limits=Limits(pids=100))
    await lab.driver.reconfigure("box", limits=Limits(pids=200, output_bytes=10), network=NetworkPolicy())
    assert (await lab.run(box, "echo 123456789abcdef"))[1] == b"123456789a"
    assert await lab.driver.suspend("box")
    assert (await lab.run(box, "echo 123456789abcdef"))[1] == b"123456789a"


async def test_descriptor_limits(lab: Lab) -> None:
    for number, limit in enumerate((64, 2000)):
        box = await lab.box(f"box{number}", limits=Limits(open_files=limit))
        assert await lab.output(box, "ulimit -n; ulimit -c") == f"{limit}\n0\n"


async def test_a_deep_state_directory(scratch: Path) -> None:
    state = scratch / ("deep" * 20) / ("er" * 40)
    async with sandbox_lab.lab(scratch, state=state) as lab:
        assert await lab.output(await lab.box("x" * 64), "echo fits") == "fits\n"


async def test_odd_characters_in_paths(scratch: Path) -> None:
    async with sandbox_lab.lab(scratch, state=scratch / "a b,c:d\\e=ü") as lab:
        box = await lab.box()
        await lab.output(box, "echo 1 > /home/user/file")
        await lab.driver.fork("box", SandboxSpec(id="child", image="host"))
        assert await lab.output(await lab.driver.open("child"), "cat /home/user/file") == "1\n"


async def test_barriers_are_named(lab: Lab) -> None:
    box = await lab.box()
    active = set(box.barriers.active)
    assert {"user-namespace", "pid-namespace", "network-namespace", "mount-namespace", "overlay", "seccomp"} <= active
    assert box.barriers.driver == "namespace"
    assert ("mapped-ids" in active) == (os.geteuid() == 0)


async def test_a_caller_that_gives_up_leaves_nothing_half_done(lab: Lab) -> None:
    box = await lab.box("parent")
    process = await box.exec(lab.spec("while :; do echo x >> /home/user/log; sleep 0.01; done"))
    for number in range(12):
        child = f"child{number}"
        task = asyncio.create_task(lab.driver.fork("parent", SandboxSpec(id=child, image="host")))
        await asyncio.sleep(number * 0.002)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await until(lambda: not lab.driver._whole_tasks)
    for child in await lab.driver.ids():
        await lab.output(await lab.driver.open(child), "true")
    before = process.files.stdout.stat().st_size
    assert before == 0
    for _ in range(10):
        task = asyncio.create_task(lab.driver.suspend("parent"))
        await asyncio.sleep(0)
        task.cancel()
    await lab.output(box, "echo still here")
    assert process._result is None
    await process.cancel()
    await process.wait()
