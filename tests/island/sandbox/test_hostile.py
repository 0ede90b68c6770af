"""Commands that misuse what they have: the agent and the machine must not care."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.handles.commands import AgentProcess
from skerry.island.sandbox.handles.sandbox import AgentSandbox
from skerry.island.sandbox.linux import syscalls
from skerry.island.sandbox.spec import Limits
from tests.island.sandbox import sandbox_lab
from tests.island.sandbox.sandbox_lab import PATIENCE, Lab, until

pytestmark = pytest.mark.anyio


async def works(lab: Lab, box: AgentSandbox) -> None:
    assert await lab.output(box, "echo works") == "works\n"


async def test_fork_bomb(lab: Lab) -> None:
    box = await lab.box(limits=Limits(pids=60))
    bomb = await box.exec(lab.spec("bomb() { bomb | bomb & }; bomb; sleep 1000", timeout=2, grace=0.1))
    reasons: set[str] = set()

    async def full() -> bool:
        try:
            process = await box.exec(lab.spec("true"))
        except SandboxError as error:
            reasons.add(error.reason)
            return True
        return (await process.wait()).exit_code != 0 or bomb._result is not None

    await until(full)
    assert reasons <= {"limits"}
    await asyncio.wait_for(bomb.wait(), PATIENCE)
    await lab.driver.kill("box")
    await works(lab, box)


async def test_memory_hog(lab: Lab) -> None:
    box = await lab.box(limits=Limits(memory_bytes=96 << 20))
    hog = "x=[]\nwhile 1: x.append(bytearray(4<<20))"
    result, _, _ = await lab.run(box, ("python3", "-c", hog))
    if lab.driver._builder.cgroups.backend == "none" and result.exit_code == 1:
        # Without control groups the hog's own data limit may come first.
        assert result.cause == "exited"
    else:
        assert (result.exit_code, result.cause) == (137, "out_of_memory")
    await works(lab, box)
    result, _, _ = await lab.run(box, "kill -9 $$")
    assert (result.exit_code, result.cause) == (137, "signaled")


async def test_memory_hog_in_many_processes(lab: Lab) -> None:
    box = await lab.box(limits=Limits(memory_bytes=96 << 20))
    hog = (
        "import os, time\nfor i in range(40):\n  if os.fork() == 0:\n    x = bytearray(8 << 20); time.sleep(1000)\n"
        "time.sleep(1000)"
    )
    process = await box.exec(lab.spec(("python3", "-c", hog), timeout=2, grace=0.1))
    await asyncio.wait_for(process.wait(), PATIENCE)
    await works(lab, box)


async def test_zombie_storm(lab: Lab, box: AgentSandbox) -> None:
    # Each child leaves a grandchild behind, which ends as an orphan of the agent's.
    await lab.output(box, "i=0; while [ $i -lt 300 ]; do (true & true &) ; i=$((i+1)); done")

    async def clean() -> bool:
        return "Z" not in await lab.output(box, "cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | cut -d' ' -f1")

    await until(clean)


async def test_attacks_on_the_agent_by_signals(lab: Lab, box: AgentSandbox) -> None:
    pid = lab.pid("box")
    for number in range(1, 65):
        await lab.run(box, f"kill -{number} 1")
    await lab.run(box, "kill -9 -1")
    await works(lab, box)
    assert lab.pid("box") == pid


async def test_output_flood_on_both_streams(lab: Lab) -> None:
    # No piece of what `yes` says ends there, so something is dropped as soon as that much is kept.
    most = (1 << 20) - 1
    box = await lab.box(limits=Limits(output_bytes=most))
    flood = await box.exec(lab.spec("yes & yes >&2"))
    await works(lab, box)
    await until(lambda: all(path.stat().st_size == most for path in (flood.files.stdout, flood.files.stderr)))
    await works(lab, box)
    await flood.cancel(0.1)
    result = await asyncio.wait_for(flood.wait(), PATIENCE)
    assert (result.stdout_bytes, result.stderr_bytes) == (most, most)
    assert result.dropped_bytes > 0


async def test_a_flood_after_the_end(lab: Lab, box: AgentSandbox) -> None:
    result, _, _ = await lab.run(box, "yes & exit 0")
    assert result.exit_code == 0
    await works(lab, box)
    await lab.run(box, "killall yes || pkill yes || kill -9 -1")


async def test_terminals_run_out(lab: Lab, box: AgentSandbox) -> None:
    terminals = await asyncio.gather(*(box.terminal(lab.spec("sleep 1000"), 80, 24) for _ in range(20)))
    for terminal in terminals:
        terminal.close()
    await asyncio.gather(*(terminal.wait() for terminal in terminals))
    await works(lab, box)


async def test_descriptors_of_the_agent_run_out(lab: Lab, box: AgentSandbox) -> None:
    limit = int((Path(f"/proc/{lab.pid('box')}/limits").read_text().split("Max open files")[1]).split()[0])
    started: list[AgentProcess] = []

    async def fill() -> None:
        for _ in range(limit):
            process = await box.exec(lab.spec("sleep 1000"))
            started.append(process)

    with pytest.raises(SandboxError) as caught:
        await fill()
    assert caught.value.reason == "limits"
    for process in started[:50]:
        await process.cancel()
    await asyncio.gather(*(process.wait() for process in started[:50]))
    await works(lab, box)
    await lab.driver.kill("box")


@pytest.fixture
def small_disk(scratch: Path) -> Iterator[Path]:
    """A file system of eight mebibytes."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    place = scratch / "small"
    place.mkdir()
    syscalls.mount("tmpfs", str(place), "tmpfs", 0, "size=8m")
    yield place
    syscalls.umount_detached(str(place))


async def test_full_disk(scratch: Path, small_disk: Path) -> None:
    async with sandbox_lab.lab(scratch, state=small_disk / "state") as lab:
        box = await lab.box()
        result, out, err = await lab.run(box, "cat /dev/zero > /home/user/fill; echo code $?; seq 100000")
        assert result.exit_code == 0
        assert result.dropped_bytes > 0
        assert b"No space" in err or result.stderr_bytes == 0
        assert result.stdout_bytes == len(out)
        with pytest.raises(SandboxError) as caught:
            await box.write_file("new", io.BytesIO(bytes(1 << 20)), 1 << 20, beneath="/home/user")
        assert caught.value.reason == "disk_full"
        await lab.run(box, "rm /home/user/fill")
        await works(lab, box)
