"""What a sandbox has besides its image: volumes that keep their images, GPUs that are paid for, users, programs."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.island.engine import gpus
from skerry.island.engine.errors import Conflict, Invalid, NotFound
from skerry.island.engine.records import Gpu
from skerry.island.images.define import Overrides
from skerry.island.sandbox.spec import Volume
from tests.island.engine.lab import Lab

pytestmark = pytest.mark.anyio

CARDS = (Gpu(index=0, name="X", memory_bytes=1, uuid="GPU-a"), Gpu(index=1, name="X", memory_bytes=1, uuid="GPU-b"))


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Lab]:
    """An engine over this machine's own driver, with the image `data`."""
    it = Lab(tmp_path, real=True)
    await it.open()
    archive = tmp_path / "data.tar"
    with tarfile.open(archive, "w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = 9
        tar.addfile(entry, io.BytesIO(b"precious\n"))
    await it.engine.images.import_tar(archive, "data")
    yield it
    await it.end()


async def test_a_volume_keeps_its_image_until_the_last_sandbox_goes(machine: Lab) -> None:
    engine = machine.engine
    await machine.sandbox("box", volumes=[Volume("data", "/data")])
    assert (await machine.run("cat /data/file"))[1] == "precious\n"
    child = await engine.sandboxes.fork(machine.account, "box", id="child")
    data = engine.images.resolve("data")
    assert child.volumes == (Volume(data, "/data"),)
    assert (await machine.run("cat /data/file", "child"))[1] == "precious\n"
    with pytest.raises(Conflict, match="sandboxes"):
        engine.images.remove("data")
    await engine.sandboxes.delete(machine.account, "box")
    engine = await machine.crash()
    assert (await engine.sandboxes.get(machine.account, "child")).volumes == child.volumes
    assert (await machine.run("cat /data/file", "child"))[1] == "precious\n"
    with pytest.raises(Conflict):
        engine.images.remove("data")
    await engine.sandboxes.delete(machine.account, "child")
    engine.images.remove("data")


async def test_volumes_that_cannot_be(machine: Lab) -> None:
    for volume, kind in (
        (Volume("absent", "/data"), NotFound),
        (Volume("data", "/proc/x"), Invalid),
        (Volume("data", "data"), Invalid),
        (Volume("data", "/usr/share"), Invalid),
    ):
        with pytest.raises(kind):
            await machine.sandbox("box", volumes=[volume])
    with pytest.raises(Invalid, match="16 volumes"):
        await machine.sandbox("box", volumes=[Volume("data", f"/v{number}") for number in range(20)])
    assert (await machine.engine.sandboxes.list(machine.account))[1] == 0
    assert await machine.engine.driver.ids() == []


async def test_an_image_runs_its_program_in_a_sandbox(machine: Lab, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\necho $A $1 $(pwd) $(id -u)\necho wrong >&2\nexit 3\n")
    script.chmod(0o755)
    overrides = Overrides(entrypoint=("/opt/job.sh",), command=("hi",), env={"A": "1"}, working_dir="/opt", user="user")
    image = await machine.engine.images.define("job", "host", overrides=overrides, files=[(script, "/opt/job.sh")])
    await machine.engine.sandboxes.create(
        machine.account, id="box", network="arker", image=image.id, metered=False, volumes=[Volume("data", "/data")]
    )
    program = machine.engine.images.program(image.id)
    run, out, err = await machine.run(
        list(program.argv),
        env=program.env,
        cwd=program.cwd,
        user=program.user,
        metered=False,
        merge_output=True,
    )
    uid = 1000 if "mapped-ids" in machine.engine.driver.barriers().active else 0
    assert (run.exit_code, out, err) == (3, f"1 hi /opt {uid}\nwrong\n", "")
    await machine.books()


async def test_gpus_are_kept_and_paid_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "detect", lambda: CARDS)
    lab = Lab(tmp_path)
    await lab.open()
    await lab.sandbox("plain")
    await lab.sandbox("box", gpus=[1])
    for wrong in ([2], [0, 0], [-1]):
        with pytest.raises(Invalid):
            await lab.sandbox("other", gpus=wrong)
    run = await lab.submit("echo begun; echo $CUDA_VISIBLE_DEVICES; sleep 600", "box")
    await lab.wrote(run, "begun\n0\n")
    (lease,) = await lab.engine.leases.current()
    assert lease.gpus == 1
    other = await lab.submit("echo begun; sleep 600", "plain")
    await lab.wrote(other, "begun")
    held = {lease.sandbox_id: lease.held.amount for lease in await lab.engine.leases.current()}
    assert held["box"] > held["plain"]
    for one in (run, other):
        await lab.engine.runs.cancel(lab.account, one.sandbox_id, one.id)
    assert (await lab.engine.sandboxes.fork(lab.account, "box", id="child")).gpus == ()
    engine = await lab.crash()
    assert (await engine.sandboxes.get(lab.account, "box")).gpus == (1,)
    await lab.books()
    await lab.end()
