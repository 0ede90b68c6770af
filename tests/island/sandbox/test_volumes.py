"""Volumes: other images' files inside, read-only, inherited by forks, and never where they could do harm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.handles.sandbox import AgentSandbox
from skerry.island.sandbox.spec import SandboxSpec, Volume
from tests.island.sandbox.sandbox_lab import Lab, Root

pytestmark = pytest.mark.anyio


@pytest.fixture
def data(lab: Lab) -> Path:
    """The tree of a second image, `data`."""
    directory = lab.directory / "data"
    (directory / "deep").mkdir(parents=True)
    (directory / "deep/file").write_text("precious\n")
    (directory / "run").write_text("#!/bin/sh\necho ran\n")
    (directory / "run").chmod(0o755)
    (directory / "away").symlink_to("/etc/passwd")
    host = lab.images.rootfs

    def rootfs(image_id: str) -> Root:
        return Root(directory, ()) if image_id == "data" else host(image_id)

    lab.images.rootfs = rootfs  # type: ignore[method-assign]
    return directory


async def boxed(lab: Lab, *volumes: Volume, id: str = "box") -> AgentSandbox:
    await lab.driver.create(SandboxSpec(id=id, image="host", volumes=volumes))
    return await lab.driver.open(id)


async def test_it_can_be_read_and_run_but_not_changed(lab: Lab, data: Path) -> None:
    box = await boxed(lab, Volume("data", "/data"), Volume("data", "/opt/a/b"))
    assert await lab.output(box, "cat /data/deep/file /opt/a/b/deep/file; /data/run") == "precious\nprecious\nran\n"
    assert (await lab.output(box, "stat -c %u /data/deep/file")).strip() == "0"
    for harm in ("echo x > /data/deep/file", "rm /data/run", "touch /data/new", "chmod 777 /data", "rmdir /data"):
        result, _, err = await lab.run(box, harm)
        assert result.exit_code != 0, harm
        assert b"ead-only" in err or b"busy" in err, err
    for way in ("mount -o remount,rw /data", "umount /data"):
        assert (await lab.run(box, way))[0].exit_code != 0
    assert sorted(os.listdir(data)) == ["away", "deep", "run"]
    assert (data / "deep/file").read_text() == "precious\n"


async def test_it_comes_back_and_forks_have_it_too(lab: Lab, data: Path) -> None:
    box = await boxed(lab, Volume("data", "/data"))
    await lab.output(box, "echo mine > /home/user/file")
    await lab.driver.kill("box")
    assert await lab.output(await lab.driver.open("box"), "cat /data/deep/file ~/file") == "precious\nmine\n"
    for parent, child in (("box", "running"), ("running", "idle")):
        if child == "idle":
            await lab.driver.suspend(parent)
        await lab.driver.fork(parent, SandboxSpec(id=child, image="host"))
        assert await lab.output(await lab.driver.open(child), "cat /data/deep/file ~/file") == "precious\nmine\n"


async def test_a_whole_system_can_be_a_volume(lab: Lab, data: Path) -> None:
    box = await boxed(lab, Volume("host", "/mnt/host"))
    assert await lab.output(box, "/mnt/host/usr/bin/env -i /mnt/host/usr/bin/printf hello") == "hello"
    assert (await lab.run(box, "touch /mnt/host/usr/x"))[0].exit_code != 0


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "data",
        "/a/../b",
        "/a//b",
        "/a/",
        "/./a",
        "/dev",
        "/dev/x",
        "/proc/1",
        "/sys",
        "/usr",
        "/usr/x",
        "/a\0b",
    ],
)
async def test_where_it_cannot_be(lab: Lab, data: Path, path: str) -> None:
    with pytest.raises(SandboxError) as refused:
        await boxed(lab, Volume("data", path))
    assert refused.value.reason == "path"
    assert await lab.driver.ids() == []


async def test_what_cannot_be_together_or_is_not_there(lab: Lab, data: Path) -> None:
    for first, second in (("/a", "/a"), ("/a", "/a/b"), ("/a/b", "/a")):
        with pytest.raises(SandboxError, match="another volume"):
            await boxed(lab, Volume("data", first), Volume("data", second))
    with pytest.raises(SandboxError) as refused:
        await boxed(lab, Volume("absent", "/a"))
    assert refused.value.reason == "unknown_image"
    with pytest.raises(SandboxError, match="16"):
        await boxed(lab, *(Volume("data", f"/v{number}") for number in range(17)))
    box = await boxed(lab, *(Volume("data", f"/v{number}") for number in range(16)))
    assert await lab.output(box, "cat /v*/deep/file | wc -l") == "16\n"


async def test_a_link_in_the_way_is_not_followed(lab: Lab, data: Path) -> None:
    box = await boxed(lab, Volume("data", "/opt/here/data"))
    assert await lab.output(box, "cat /opt/here/data/deep/file") == "precious\n"
    # The way to it is turned into a link while it is away.
    await lab.output(box, "mv /opt/here /opt/there; ln -s /etc /opt/here")
    await lab.driver.kill("box")
    with pytest.raises(SandboxError, match="/opt/here/data"):
        await lab.driver.open("box")
