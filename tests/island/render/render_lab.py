"""What tests of render workers share: a double for Blender that does as its scene says, and workers that clean up."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from skerry.island.clock import Clock
from skerry.island.sandbox.spec import Limits
from skerry.island.settings import Settings
from skerry.island.workers.render import RenderJob, RenderSpec, RenderWorkers
from skerry.island.workers.render.blender import Blender
from tests.island.sandbox.sandbox_lab import HostImage

PATIENCE = 60.0
PYTHON = Path("/usr/bin/python3")
LIMITS = Limits(disk_bytes=1 << 30)

DOUBLE = '''#!/usr/bin/python3 -I
"""Writes a text for each frame, or does what the scene's JSON wishes for it in place of that."""
import json, os, socket, sys, time
task = json.loads(sys.argv[-1])
wish = json.loads(open(task["source"], "rb").read()[7:] or "{}")
def tell(text):
    os.write(1, ("\\nskerry " + text + "\\n").encode())
os.makedirs("out", exist_ok=True)
if "fatal" in wish:
    tell("fatal " + wish["fatal"])
    sys.exit(3)
if "look" in wish:
    for path in wish["look"]:
        print("can see" if os.path.exists(path) else "cannot see", path, flush=True)
    try:
        socket.create_connection(tuple(wish["call"]), 2)
        print("can call", flush=True)
    except OSError as error:
        print("cannot call:", error.strerror, flush=True)
tell("format png")
for frame in task["frames"]:
    name = "out/%04d.png" % frame
    does = wish.get(str(frame))
    time.sleep(wish.get("pause", 0))
    if does == "die":
        os.kill(os.getpid(), 9)
    elif does == "hang":
        print("hanging", flush=True)
        time.sleep(600)
    elif does == "wait":
        while not os.path.exists(os.path.join(os.path.dirname(task["source"]), "go")):
            time.sleep(0.01)
    elif does == "fail":
        tell("failed %d this one is too hard" % frame)
        continue
    elif does == "link":
        os.symlink("/etc/passwd", name)
    elif does == "pipe":
        os.mkfifo(name)
    elif does == "directory":
        os.mkdir(name)
    elif does == "eat":
        eaten = [b"x" * (1 << 20) for _ in range(2000)]
    elif does == "babble":
        block = b"x" * (1 << 20)
        for _ in range(20):
            os.write(1, block)
    if does not in ("lie", "link", "pipe", "directory"):
        with open("out/.part", "w") as file:
            file.write("frame %d of %s" % (frame, wish.get("name", "?")))
        os.replace("out/.part", name)
    tell("frame %d" % frame)
'''


def double(directory: Path) -> Blender:
    """A program that takes Blender's place."""
    directory.mkdir(exist_ok=True)
    program = directory / "blender"
    program.write_text(DOUBLE)
    program.chmod(0o755)
    return Blender(kind="program", program=program, version="4.5.1", trees=(directory,))


def scene(directory: Path, **wishes: Any) -> Path:
    """A .blend file for the double."""
    path = directory / "wish.blend"
    path.write_bytes(b"BLENDER" + json.dumps(wishes).encode())
    return path


def release(directory: Path, *, id: str = "job") -> None:
    """Let frames of a job go on that wait, and those that would."""
    (directory / "render" / "jobs" / id / "input" / "go").touch()


@contextlib.asynccontextmanager
async def opened(
    directory: Path,
    found: Blender,
    *,
    limits: Limits = LIMITS,
    images: Any = None,
    driver: str = "namespace",
    clock: Clock | None = None,
) -> AsyncIterator[RenderWorkers]:
    """Workers over a directory, closed at the end unless they have crashed."""
    workers = await RenderWorkers.open(
        directory / "render",
        images=images or HostImage(directory / "image"),
        settings=Settings(data_dir=directory, driver=driver),
        found=found,
        limits=limits,
        clock=clock,
    )
    try:
        yield workers
    finally:
        if not workers.closed:
            await workers.close()


async def finished(workers: RenderWorkers, id: str) -> RenderJob:
    """A job once it is over."""
    async with asyncio.timeout(PATIENCE):
        return await workers.wait(id)


async def until_done(workers: RenderWorkers, id: str, frames: int) -> None:
    """Return once so many frames of a job are there."""
    async with asyncio.timeout(PATIENCE):
        while (await workers.job(id)).done < frames:
            await asyncio.sleep(0.01)


async def render(workers: RenderWorkers, source: Path, spec: RenderSpec, *, id: str = "job") -> RenderJob:
    """Hand in a job for the queue `q` and wait for its end."""
    await workers.submit("q", id, source, spec)
    return await finished(workers, id)
