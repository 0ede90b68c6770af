"""A shell that waits for the next run: used only where a fresh one would be the same, and never in anybody's way."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from skerry.island.sandbox.agent import warm as agent_warm
from skerry.island.sandbox.agent.pipes import STATE_LIMIT, Pipes, read_state
from skerry.island.sandbox.agent.spawn import Spawner
from skerry.island.sandbox.handles.sandbox import AgentSandbox
from skerry.island.sandbox.handles.warm import has_room
from skerry.island.sandbox.spec import ExecResult, ExecSpec, Limits, SandboxSpec
from tests import processes
from tests.island.sandbox import sandbox_lab
from tests.island.sandbox.sandbox_lab import ENV, LIMITS, PATIENCE, Lab, alive, until
from tests.processes import asleep, state

pytestmark = pytest.mark.anyio

READ = 'IFS= read -r -N 1000000 -u 8 text; exec 8<&-; printf + >&9; eval "$text"'
SHELL = ("bash", "-c", READ, "bash")


def spec(lab: Lab, text: str, **fields: Any) -> ExecSpec:
    """A command for a shell that may have been started ahead."""
    given = {"state": text.encode(), "cwd": "/", "keep_state": True, "warm": True, **fields}
    return lab.spec(given.pop("argv", SHELL), **given)


async def run(lab: Lab, box: AgentSandbox, text: str, **fields: Any) -> tuple[ExecResult, str]:
    async with asyncio.timeout(PATIENCE):
        process = await box.exec(spec(lab, text, **fields))
        result = await process.wait()
    return result, process.files.stdout.read_text()


def children(lab: Lab, id: str = "box") -> list[int]:
    """Processes that the agent has started and that live, by their number on this machine."""
    return processes.children(lab.pid(id))


def inside(pid: int) -> int:
    """The number by which the sandbox knows a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])


async def stop(pid: int) -> None:
    """Let a process stand still, so that it reads nothing more."""
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: state(pid) == "T")


async def waiting(lab: Lab, id: str = "box") -> int:
    """The shell that waits in a sandbox where nothing else lives; on this machine's own account."""
    found: list[int] = []

    def ready() -> bool:
        # What the run before left may be ending still: the number and the state are judged together.
        found[:] = children(lab, id)
        # Asleep: it has come to where it reads.
        return asleep(found)

    await until(ready)
    return found[0]


@pytest.fixture
async def ready(lab: Lab, box: AgentSandbox) -> tuple[AgentSandbox, int]:
    """A sandbox in which a shell waits, and that shell."""
    await run(lab, box, "true")
    return box, await waiting(lab)


async def test_the_next_run_goes_on_with_it(lab: Lab, ready: tuple[AgentSandbox, int]) -> None:
    box, pid = ready
    number = inside(pid)
    began = time.monotonic_ns()
    result, out = await run(lab, box, "echo $$; printf kept >&9; echo oops >&2; exit 3")
    assert out == f"{number}\n"
    assert (result.exit_code, result.cause, result.state) == (3, "exited", b"+kept")
    assert (result.stdout_bytes, result.stderr_bytes, result.dropped_bytes) == (len(out), 5, 0)
    assert 0 < result.wall_ns < time.monotonic_ns() - began
    assert result.max_rss_bytes > 0
    second, other = await run(lab, box, "echo $$")
    assert (second.exit_code, second.state) == (0, b"+")
    assert other != out


async def test_each_run_has_one_of_its_own(lab: Lab, box: AgentSandbox) -> None:
    outs = [(await run(lab, box, "echo $$; x=1")) for _ in range(20)]
    assert all(result.exit_code == 0 for result, _ in outs)
    assert len({out for _, out in outs}) == 20


@pytest.mark.parametrize(
    ("fields", "out"),
    [
        ({"env": {**ENV, "X": "1"}}, "/ 1"),
        ({"cwd": "/tmp"}, "/tmp "),
        ({"argv": ("bash", "-c", "Y=1; " + READ, "bash")}, "/ "),
        ({"argv": ("sh", "-c", 'eval "$(cat <&8)" 8<&-', "sh")}, "/ "),
        ({"stdin": b"given"}, "/ given"),
        ({"argv": ("bash", "-c", READ.replace("printf + >&9; ", "")), "keep_state": False}, "/ "),
        ({"warm": False}, "/ "),
    ],
)
async def test_another_wish_gets_a_fresh_one(
    lab: Lab, ready: tuple[AgentSandbox, int], fields: dict[str, Any], out: str
) -> None:
    box, pid = ready
    number = inside(pid)
    result, got = await run(lab, box, 'echo "$PWD $X$(cat)"; echo $$', **fields)
    assert result.exit_code == 0
    first, shell = got.splitlines()
    assert first == out
    assert int(shell) != number


async def test_a_long_beginning_gets_a_fresh_one(lab: Lab, ready: tuple[AgentSandbox, int]) -> None:
    box, pid = ready
    number = inside(pid)
    result, out = await run(lab, box, f"x={'y' * 100_000}; echo ${{#x}} $$")
    length, shell = out.split()
    assert (result.exit_code, length) == (0, "100000")
    assert int(shell) != number


async def test_new_bounds_get_a_fresh_one(lab: Lab, ready: tuple[AgentSandbox, int]) -> None:
    box, pid = ready
    number = inside(pid)
    await lab.driver.reconfigure("box", limits=Limits(disk_bytes=4 << 20))
    _, out = await run(lab, box, "ulimit -f; echo $$")
    bound, shell = out.split()
    assert int(bound) == 4 << 10
    assert int(shell) != number


async def test_another_program_of_that_name_gets_its_turn(lab: Lab, box: AgentSandbox) -> None:
    path = "/home/user/shell"
    argv = (path, "-c", READ, "bash")
    await lab.output(box, f"cp /bin/bash {path}")
    await run(lab, box, "true", argv=argv)
    await waiting(lab)
    await lab.output(box, f"printf '#!/bin/sh\\necho other\\n' > {path}.new; chmod +x {path}.new; mv {path}.new {path}")
    assert (await run(lab, box, "echo same", argv=argv))[1] == "other\n"
    await lab.output(box, f"rm {path}")
    result, _ = await run(lab, box, "echo same", argv=argv)
    assert (result.exit_code, result.cause) == (127, "not_found")


async def test_killed_from_inside(lab: Lab, ready: tuple[AgentSandbox, int]) -> None:
    box, pid = ready
    await lab.output(box, f"kill -9 {inside(pid)}")
    result, out = await run(lab, box, "echo x >> /tmp/count; cat /tmp/count")
    assert (result.exit_code, result.cause, out) == (0, "exited", "x\n")


async def test_killed_before_it_has_begun(lab: Lab, ready: tuple[AgentSandbox, int]) -> None:
    box, pid = ready
    await stop(pid)
    process = await box.exec(spec(lab, "echo x >> /tmp/count; cat /tmp/count; printf kept >&9; exit 5"))
    os.kill(pid, signal.SIGKILL)
    result = await asyncio.wait_for(process.wait(), PATIENCE)
    assert (result.exit_code, result.cause, result.state) == (5, "exited", b"+kept")
    assert process.files.stdout.read_bytes() == b"x\n"


async def test_killed_while_it_is_given_its_run(lab: Lab, box: AgentSandbox) -> None:
    # Not stopped first: a process that is being killed still takes what waits in its pipe.
    for number in range(1, 21):
        await run(lab, box, "true")
        os.kill(await waiting(lab), signal.SIGKILL)
        result, out = await run(lab, box, "echo x >> /tmp/count; grep -c x /tmp/count")
        assert (result.exit_code, result.cause, out) == (0, "exited", f"{number}\n")


async def test_killed_after_it_has_begun(lab: Lab, ready: tuple[AgentSandbox, int]) -> None:
    box, _ = ready
    result, out = await run(lab, box, "echo x >> /tmp/count; cat /tmp/count; kill -9 $$")
    assert (result.exit_code, result.cause, out) == (137, "signaled", "x\n")
    assert await lab.output(box, "cat /tmp/count") == "x\n"


async def test_signalled_before_it_has_begun(lab: Lab, ready: tuple[AgentSandbox, int]) -> None:
    box, pid = ready
    await stop(pid)
    process = await box.exec(spec(lab, "echo begun"))
    await process.signal(signal.SIGKILL)
    result = await asyncio.wait_for(process.wait(), PATIENCE)
    assert (result.exit_code, result.cause) == (137, "signaled")
    assert process.files.stdout.read_bytes() == b""


async def test_cancelled_before_it_has_begun(lab: Lab, ready: tuple[AgentSandbox, int]) -> None:
    box, pid = ready
    await stop(pid)
    process = await box.exec(spec(lab, "echo begun"))
    await process.cancel()
    result = await asyncio.wait_for(process.wait(), PATIENCE)
    assert (result.exit_code, result.cause) == (143, "cancelled")


async def test_timeout_and_cancel(lab: Lab, ready: tuple[AgentSandbox, int]) -> None:
    box, _ = ready
    for seconds in LIMITS:
        result, out = await run(lab, box, "echo begun; sleep 1000 & sleep 1000", timeout=seconds)
        assert (result.exit_code, result.cause) == (124, "timeout")
        if out:
            break
    assert out == "begun\n"
    await waiting(lab)
    process = await box.exec(spec(lab, "echo begun; sleep 1000"))
    async for _ in process.follow("stdout"):
        break
    await process.cancel()
    result = await asyncio.wait_for(process.wait(), PATIENCE)
    assert (result.exit_code, result.cause) == (143, "cancelled")


async def test_its_own_beginning_is_not_paid_by_the_run(lab: Lab, box: AgentSandbox) -> None:
    argv = ("bash", "-c", "for ((i = 0; i < 100000; i++)); do :; done; " + READ, "bash")
    cold, _ = await run(lab, box, "true", argv=argv)
    await waiting(lab)
    warm, _ = await run(lab, box, "true", argv=argv)
    assert warm.cpu_ns < cold.cpu_ns / 3


async def test_it_keeps_nobody_awake(lab: Lab, ready: tuple[AgentSandbox, int]) -> None:
    box, pid = ready
    assert (await box.usage()).processes == 0
    await lab.output(box, "echo content > /tmp/file")
    report = await lab.driver.fork("box", SandboxSpec(id="child", image="host"))
    assert (report.method, report.frozen_ns) == ("relayer", 0)
    assert not alive(pid)
    assert await lab.output(await lab.driver.open("child"), "cat /tmp/file") == "content\n"
    await run(lab, box, "true")
    pid = await waiting(lab)
    assert await lab.driver.suspend("box")
    assert not alive(pid)


async def test_a_running_parent_is_forked_with_it(lab: Lab, ready: tuple[AgentSandbox, int]) -> None:
    box, pid = ready
    number = inside(pid)
    other = await box.exec(lab.spec("echo begun; sleep 1000"))
    async for _ in other.follow("stdout"):
        break
    await lab.driver.fork("box", SandboxSpec(id="child", image="host"))
    # It stood still with the others, and goes on with them.
    assert (await run(lab, box, "echo $$"))[1] == f"{number}\n"
    await other.cancel(0.0)


async def test_few_wait_at_once(lab: Lab) -> None:
    lab.driver._shells._most = 1
    first, second = await lab.box("one"), await lab.box("two")
    await run(lab, first, "true")
    pid = await waiting(lab, "one")
    await run(lab, second, "true")
    await waiting(lab, "two")
    await until(lambda: not alive(pid))
    assert (await run(lab, first, "echo still"))[1] == "still\n"


async def test_a_server_that_goes_leaves_none_behind(lab: Lab, ready: tuple[AgentSandbox, int]) -> None:
    _, pid = ready
    agent = lab.pid("box")
    lab.driver._live["box"].channel.close()
    await until(lambda: not alive(pid))
    assert alive(agent)


@pytest.mark.parametrize("limits", [Limits(pids=16), Limits(memory_bytes=32 << 20)])
async def test_small_sandboxes_have_none(lab: Lab, limits: Limits) -> None:
    assert has_room(Limits())
    assert not has_room(limits)
    box = await lab.box("small", limits=limits)
    for _ in range(3):
        assert (await run(lab, box, "echo $$; sleep 0.1 & sleep 0.1 & wait"))[0].exit_code == 0
    # The agent answers in order, so whatever it had been told after the run is done.
    assert (await box.usage()).processes == 0
    assert children(lab, "small") == []


async def test_state_that_is_too_long(lab: Lab, ready: tuple[AgentSandbox, int]) -> None:
    box, _ = ready
    result, _ = await run(lab, box, "head -c 2000000 /dev/zero >&9; echo more >&9; true")
    assert result.exit_code == 0
    assert result.state is not None
    assert len(result.state) == STATE_LIMIT


async def test_state_where_no_file_may_be_large(lab: Lab) -> None:
    box = await lab.box("tiny", limits=Limits(disk_bytes=64 << 10))
    for _ in range(2):
        result, out = await run(lab, box, "echo out; printf kept >&9")
        assert (result.exit_code, result.state, out) == (0, b"+kept", "out\n")


def test_the_state_file_is_known_by_its_mode() -> None:
    pipes = Pipes(keep=True)
    try:
        assert os.fstat(pipes.state).st_mode & 0o7777 == 0o1600
        os.write(pipes.state, b"a")
        os.write(pipes.state, b"b")
        assert read_state(pipes.state) == b"ab"
    finally:
        pipes.close()


class Timers:
    """Stands for the agent's loop: keeps what shall be called."""

    def __init__(self) -> None:
        self.due: list[Any] = []

    def after(self, seconds: float, function: Any) -> None:
        self.due.append((seconds, function))


def test_it_waits_for_a_minute_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: Any = Timers()
    now = time.monotonic()
    null = os.open("/dev/null", os.O_RDWR)
    warm = agent_warm.WarmShell(timers, Spawner(), null)
    wish: dict[str, Any] = {"argv": list(SHELL), "env": ENV, "cwd": "/", "keep": True}
    try:
        warm.start(wish)
        pid = warm.pid
        assert alive(pid)
        monkeypatch.setattr(agent_warm.time, "monotonic", lambda: now + 40)
        warm.start(wish)
        assert warm.pid == pid
        ((_, expire),) = timers.due
        monkeypatch.setattr(agent_warm.time, "monotonic", lambda: now + 61)
        expire()
        assert warm.pid == pid
        (_, (left, again)) = timers.due
        assert 0 < left < 60
        monkeypatch.setattr(agent_warm.time, "monotonic", lambda: now + 101)
        again()
        assert warm.pid == 0
        os.waitpid(pid, 0)
        assert len(timers.due) == 2
        warm.start({**wish, "argv": ["/no/such/program"]})
        assert warm.pid == 0
    finally:
        monkeypatch.undo()
        warm.discard(wait=True)
        os.close(null)


async def test_an_agent_of_an_older_release_is_served_its_way(lab: Lab, box: AgentSandbox) -> None:
    going = await box.exec(lab.spec("echo begun; sleep 1000"))
    async for _ in going.follow("stdout"):
        break
    lab.driver._live["box"].outdated = True
    result, out = await run(lab, box, "echo same; printf kept >&9")
    assert (result.exit_code, result.state, out) == (0, b"+kept", "same\n")
    await going.cancel(0.0)


async def test_it_makes_room_for_those_who_have_work(scratch: Path) -> None:
    # Only a bound on processes that the kernel refuses with shows what stands in the way.
    async with sandbox_lab.lab(scratch) as lab:
        if "pids" not in str(lab.driver.barriers().missing):
            box = await lab.box("tight", limits=Limits(pids=64))
            await run(lab, box, "true")
            await waiting(lab, "tight")
            filler = await box.exec(lab.spec("for i in $(seq 60); do sleep 1000 & done; echo full; wait"))
            async for _ in filler.follow("stdout"):
                break
            assert (await lab.run(box, ("true",)))[0].exit_code == 0
            await filler.cancel(0.0)
