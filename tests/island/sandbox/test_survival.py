"""Sandboxes outlive the server: a server killed without warning is followed by one that finds everything again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skerry.island.sandbox.agent.agent import VERSION
from skerry.island.sandbox.handles.live import LiveAgent
from skerry.island.sandbox.handles.spares import SpareFiles
from skerry.island.sandbox.handles.warm import WarmShells
from skerry.island.sandbox.spec import SandboxSpec
from tests.island.sandbox import sandbox_lab
from tests.island.sandbox.sandbox_lab import PATIENCE, Lab, alive, until

pytestmark = pytest.mark.anyio

SERVER = """
import asyncio, os, signal, sys
from pathlib import Path
from skerry.island.sandbox.spec import ExecSpec, SandboxSpec
from tests.island.sandbox.sandbox_lab import ENV, Lab

async def main() -> None:
    lab = Lab(Path(sys.argv[1]))
    await lab.driver.start()
    box = await lab.box("box")
    commands = {
        "quick": "echo quick; printf state >&9; exit 9",
        "slow": "echo begun; while ! test -e /tmp/go; do sleep 0.02; done; echo ended; exit 3",
        "forever": "echo begun; sleep 1000",
        "limited": "echo begun; sleep 1000",
    }
    started = {}
    for name, text in commands.items():
        timeout = 1.0 if name == "limited" else None
        started[name] = await box.exec(
            ExecSpec(id=name, argv=("sh", "-c", text), env=ENV, timeout=timeout, keep_state=True)
        )
    await started["quick"].wait()
    for name in ("slow", "forever", "limited"):
        async for _ in started[name].follow("stdout"):
            break
    if "frozen" in sys.argv:
        lab.driver._built["box"].freeze()
    if "half" in sys.argv:
        (lab.state / "sandboxes" / "half" / "upper").mkdir(parents=True)
    zygote = lab.driver._builder.launcher.pid
    print(lab.pid("box"), zygote, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def crashed(directory: Path, *words: str) -> tuple[int, int]:
    """Let a server do its work and die; the ids of the agent and the zygote."""
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])}
    process = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", SERVER, str(directory), *words],
        env=environment,
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    agent, zygote = map(int, process.stdout.split())
    return agent, zygote


@pytest.fixture
async def after(scratch: Path) -> AsyncIterator[tuple[Lab, int]]:
    """A second server where a first one was killed, and the agent's process id."""
    agent, zygote = await crashed(scratch, "half")
    await until(lambda: not alive(zygote))
    assert alive(agent)
    async with sandbox_lab.lab(scratch) as lab:
        yield lab, agent
    assert not alive(agent)


async def test_everything_is_found_again(after: tuple[Lab, int]) -> None:
    lab, agent = after
    box = await lab.driver.find("box")
    assert box is not None
    assert lab.pid("box") == agent
    assert await lab.driver.ids() == ["box"]

    quick = await box.attach("quick")
    assert quick is not None
    result = await quick.wait()
    assert (result.exit_code, result.state, quick.files.stdout.read_bytes()) == (9, b"state", b"quick\n")
    assert [chunk async for chunk in quick.follow("stdout", 2)] == [b"ick\n"]
    assert await box.attach("unheard-of") is None

    slow = await box.attach("slow")
    assert slow is not None
    await lab.run(box, "touch /tmp/go")
    seen = b"".join([chunk async for chunk in slow.follow("stdout")])
    assert seen == b"begun\nended\n"
    assert (await asyncio.wait_for(slow.wait(), PATIENCE)).exit_code == 3

    forever = await box.attach("forever")
    assert forever is not None
    await forever.cancel()
    assert (await asyncio.wait_for(forever.wait(), PATIENCE)).cause == "cancelled"


async def test_time_limits_need_no_server(scratch: Path) -> None:
    agent, _ = await crashed(scratch)
    lab = Lab(scratch)
    files = lab.driver.run_files("box", "limited")
    await until(lambda: files.stdout.with_suffix(".json").stat().st_size > 0)
    result = await lab.driver.result("box", "limited")
    assert result is not None
    assert (result.exit_code, result.cause) == (124, "timeout")
    assert alive(agent)
    await lab.driver.start()
    await lab.driver.stop()
    assert not alive(agent)


async def test_an_agent_that_died_with_the_server(scratch: Path) -> None:
    agent, _ = await crashed(scratch)
    os.kill(agent, signal.SIGKILL)
    await until(lambda: not alive(agent))
    async with sandbox_lab.lab(scratch) as lab:
        assert await lab.driver.find("box") is None
        assert await lab.driver.result("box", "forever") is None
        ended = await lab.driver.result("box", "quick")
        assert ended is not None
        assert ended.exit_code == 9
        box = await lab.driver.open("box")
        assert await box.attach("forever") is None
        assert await lab.output(box, "echo new") == "new\n"
        report = await lab.driver.fork("box", SandboxSpec(id="child", image="host"))
        assert report.method == "relayer"


async def test_a_server_killed_in_the_middle_of_a_fork(scratch: Path) -> None:
    agent, _ = await crashed(scratch, "frozen")
    async with sandbox_lab.lab(scratch) as lab:
        box = await lab.driver.find("box")
        assert box is not None
        assert lab.pid("box") == agent
        assert await lab.output(box, "echo thawed") == "thawed\n"


async def test_stopping_gently_leaves_sandboxes_alive(scratch: Path) -> None:
    first = Lab(scratch)
    await first.driver.start()
    box = await first.box()
    await box.exec(first.spec("sleep 1000", id="long"))
    agent = first.pid("box")
    await first.driver.stop(kill=False)
    assert alive(agent)
    async with sandbox_lab.lab(scratch) as second:
        found = await second.driver.find("box")
        assert found is not None
        assert await found.attach("long") is not None
        assert await second.driver.suspend("box") is False
    assert not alive(agent)


async def test_a_run_that_ends_while_its_agent_is_greeted(tmp_path: Path) -> None:
    """The answer and the end that follows it are read in one go: nobody has had a chance to wait for the end yet."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    threads = ThreadPoolExecutor(1)
    spares = SpareFiles(tmp_path, threads)
    live = LiveAgent("box", tmp_path, ours, lambda _: None, spares, WarmShells())
    counts = dict.fromkeys(("stdout_bytes", "stderr_bytes", "dropped_bytes", "cpu_ns", "max_rss_bytes", "wall_ns"), 0)
    end = {"event": "exit", "run": "brief", "exit_code": 7, "cause": "exited", "state_bytes": None, **counts}
    try:
        theirs.send(json.dumps({"n": 1, "ok": True, "version": VERSION, "runs": ["brief"], "port": None}).encode())
        theirs.send(json.dumps(end).encode() + b"\n")
        await live.hello()
        assert not live.busy
    finally:
        live.release()
        theirs.close()
        spares.close()
        threads.shutdown()
