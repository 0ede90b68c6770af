"""A server that renders is killed: no frame is lost, none is counted twice.

Blender stands still at the third frame until it is let go, so that a kill finds it there however late it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from skerry.island.workers.render import RenderSpec
from skerry.island.workers.render.blender import Blender
from tests.island.render.render_lab import PATIENCE, finished, opened, release, scene, until_done

pytestmark = pytest.mark.anyio

FRAMES = 12
ROOT = Path(__file__).parents[3]
SERVER = """
import asyncio, sys
from pathlib import Path
from skerry.island.workers.render import RenderSpec
from tests.island.render import render_lab
async def main(directory):
    async with render_lab.opened(directory, render_lab.double(directory / "double")) as workers:
        await workers.recover(())
        await workers.start("w", queue="q")
        await workers.submit("q", "job", directory / "wish.blend", RenderSpec(first=1, last=int(sys.argv[2])))
        await render_lab.until_done(workers, "job", 2)
        print("begun", flush=True)
        await asyncio.Event().wait()
asyncio.run(main(Path(sys.argv[1])))
"""


async def killed_server(scratch: Path) -> None:
    """Let a server begin to render, and kill it after two frames."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVER, str(scratch), str(FRAMES)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
    )
    assert server.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            assert await server.stdout.readline() == b"begun\n"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGKILL)
        await server.wait()


async def test_a_killed_server_finds_its_render_again(scratch: Path, double: Blender) -> None:
    scene(scratch, name="a", **{"3": "wait"})
    await killed_server(scratch)
    async with opened(scratch, double) as workers:
        await workers.recover(["w"])
        release(scratch)
        job = await finished(workers, "job")
        assert (job.state, job.done) == ("finished", FRAMES)
        assert (await workers.counts()).total == FRAMES
        # One process has rendered all of it.
        assert (await workers.log("job")).count(b"== frames") == 1


async def test_a_killed_machine_begins_again_at_the_first_missing_frame(scratch: Path, double: Blender) -> None:
    scene(scratch, name="a", **{"3": "wait"})
    await killed_server(scratch)
    async with opened(scratch, double) as workers:
        for sandbox in await workers._means.driver.ids():
            await workers._means.driver.kill(sandbox)
        release(scratch)
        before = (await workers.job("job")).done
        await workers.recover(["w"])
        job = await finished(workers, "job")
        assert (job.state, job.done) == ("finished", FRAMES)
        assert (await workers.counts()).total == FRAMES
        headings = [line for line in (await workers.log("job")).splitlines() if line.startswith(b"== frames")]
        assert len(headings) == 2
        assert int(headings[1].split()[2]) > before


async def test_nothing_is_left_of_an_unwanted_worker(scratch: Path, double: Blender) -> None:
    scene(scratch, **{"3": "wait"})
    await killed_server(scratch)
    async with opened(scratch, double) as workers:
        await workers.recover(())
        assert await workers.find("w") is None
        assert await workers._means.driver.ids() == []
        job = await workers.job("job")
        assert not job.over
        assert job.done == 2


async def test_crashes_at_every_step(scratch: Path, double: Blender) -> None:
    source = scene(scratch, name="a", pause=0.03)
    for round in range(4):
        async with opened(scratch, double) as workers:
            await workers.recover(["w"])
            await workers.start("w", queue="q")
            await workers.submit("q", "job", source, RenderSpec(first=1, last=FRAMES))
            await until_done(workers, "job", 2 * round + 1)
            await workers.crash()
    async with opened(scratch, double) as workers:
        await workers.recover(["w"])
        assert (await finished(workers, "job")).done == FRAMES
        assert (await workers.counts()).total == FRAMES


async def test_half_made_things_are_swept(scratch: Path, double: Blender) -> None:
    async with opened(scratch, double) as workers:
        await workers.recover(())
    jobs = scratch / "render" / "jobs"
    for name in (".new-1", "stranger"):
        (jobs / name / "input").mkdir(parents=True)
    async with opened(scratch, double) as workers:
        await workers.recover(())
        assert list(jobs.iterdir()) == []
