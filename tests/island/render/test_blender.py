"""Real Blender, whichever is here: `SKERRY_RENDER_ENVIRONMENT` and the `blender` program on PATH."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from skerry.island.images.store import ImageStore
from skerry.island.workers.render import RenderSpec, RenderWorkers, blender
from skerry.island.workers.render.blender import Blender
from tests.island.render.pictures import difference, pixels
from tests.island.render.render_lab import finished, opened, render

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
FOUND = blender.candidates(Path("/nonexistent"))
NONE = blender.available(Path("/nonexistent"))


@dataclass
class Studio:
    """A Blender, a scene made by it, and workers that use it."""

    blender: Blender
    scene: Path
    workers: RenderWorkers


def by_hand(found: Blender, script: str, *arguments: str) -> None:
    done = subprocess.run(found.command(str(HERE / script), *arguments), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(params=FOUND or [None], ids=lambda found: f"{found.kind}-{found.version}" if found else "none")
async def studio(request: pytest.FixtureRequest, scratch: Path) -> AsyncIterator[Studio]:
    if request.param is None:
        pytest.skip(f"Blender is not tested: {NONE}")
    scene = scratch / "cube.blend"
    by_hand(request.param, "scene_script.py", str(scene))
    async with opened(scratch, request.param, images=ImageStore(scratch / "images")) as workers:
        await workers.recover(())
        await workers.start("w", queue="q")
        yield Studio(request.param, scene, workers)


async def frame(workers: RenderWorkers, id: str, number: int) -> bytes:
    file = await workers.frame(id, number)
    assert file is not None, (await workers.log(id)).decode()
    return file.path.read_bytes()


async def test_frames_are_what_blender_renders_by_hand(studio: Studio, scratch: Path) -> None:
    job = await render(studio.workers, studio.scene, RenderSpec(first=1, last=5, step=2))
    assert (job.state, job.done) == ("finished", 3), (await studio.workers.log("job")).decode()
    by_hand(studio.blender, "direct_script.py", str(studio.scene), "3", str(scratch / "direct.png"))
    direct = (scratch / "direct.png").read_bytes()
    assert len(set(pixels(direct)[2])) > 5
    ours = await frame(studio.workers, "job", 3)
    assert difference(ours, direct) < 1
    assert difference(await frame(studio.workers, "job", 1), direct) > 5
    assert b"the scene's script runs" not in await studio.workers.log("job")


async def test_a_package_with_its_scripts_and_another_format(studio: Studio, scratch: Path) -> None:
    package = scratch / "package.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.write(studio.scene, "shot.blend")
        archive.writestr("enabled_addons.json", '["sprinkles"]')
    spec = RenderSpec(first=2, last=2, format="JPEG", engine="CYCLES", scripts=True)
    job = await render(studio.workers, package, spec)
    assert (job.state, job.extension) == ("finished", "jpg"), (await studio.workers.log("job")).decode()
    assert (await frame(studio.workers, "job", 2))[:3] == b"\xff\xd8\xff"
    said = (await studio.workers.log("job")).decode()
    assert "add-ons are not enabled here: sprinkles" in said
    # What its scripts can do is what the sandbox lets them: neither the machine's network nor its files.
    assert "the scene's script runs" in said
    assert "it cannot call: Connection refused" in said
    assert "it sees ['etc'] False" in said


async def test_what_is_no_scene_fails_with_a_reason(studio: Studio, scratch: Path) -> None:
    (scratch / "bad.blend").write_bytes(b"BLENDER-v300" + os.urandom(4000))
    await studio.workers.submit("q", "bad", scratch / "bad.blend", RenderSpec(first=1, last=2))
    bad = await finished(studio.workers, "bad")
    assert (bad.state, bad.failed) == ("failed", 2)
    assert bad.error


async def test_the_score_is_measured(studio: Studio) -> None:
    if studio.blender != FOUND[0]:
        pytest.skip("measuring takes long; one Blender is enough")
    assert studio.workers.score() == 0
    measured = await studio.workers.measure()
    assert measured.score > 0
    assert measured.devices == ("CPU",)
    assert len(measured.seconds) >= 3
    assert studio.workers.score() == measured.score
