"""Images defined by hand: whose files they have, what they run, and what outlives what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from skerry.island.engine.errors import Conflict, Invalid, NotFound
from skerry.island.images.define import Overrides
from skerry.island.images.program import HOST_CONFIG
from skerry.island.images.store import ImageStore
from skerry.island.sandbox.driver import SandboxError

pytestmark = pytest.mark.anyio

RUN = Overrides(entrypoint=("/run.sh",), env={"A": "1"}, working_dir="/srv", user="7")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    root = tmp_path / "m"
    (root / "usr/bin").mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    (root / "etc").mkdir()
    (root / "etc/shells").write_text("/bin/sh\n")
    return root


@pytest.fixture
def local(tmp_path: Path, machine: Path) -> ImageStore:
    return ImageStore(tmp_path / "images", machine=machine)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "run.sh"
    path.write_text("#!/bin/sh\necho hello\n")
    path.chmod(0o700)
    return path


@pytest.fixture
async def base(local: ImageStore, tmp_path: Path, tar: Any) -> str:
    path = tmp_path / "base.tar"
    path.write_bytes(
        tar.make(
            tar.directory("opt", mode=0o750),
            tar.file("opt/data", b"data", mode=0o640),
            tar.link("opt/link", "data"),
            tar.link("away", "/opt"),
        )
    )
    overrides = Overrides(entrypoint=("/old",), command=("x",), env={"B": "2"})
    return (await local.import_tar(path, "base", overrides=overrides)).id


async def test_another_program_over_the_same_files(local: ImageStore, base: str) -> None:
    image = await local.define("mine", "base", overrides=RUN)
    assert image.source == "define base"
    assert local.rootfs(image.id).directory == local.rootfs(base).directory
    program = local.program(image.id)
    assert (program.argv, program.cwd, program.user) == (("/run.sh",), "/srv", "7")
    assert {"A": "1", "B": "2"}.items() <= program.env.items()
    assert local.program(base).argv == ("/old", "x")
    assert local.program((await local.define("more", "base", overrides=Overrides(command=("y",)))).id).argv == (
        "/old",
        "y",
    )
    assert (await local.define("again", "base", overrides=RUN)).id == image.id


async def test_its_files_outlive_the_image_it_was_made_from(local: ImageStore, base: str) -> None:
    first = await local.define("first", "base", overrides=RUN)
    second = await local.define("second", "first", overrides=Overrides(command=("y",)))
    tree = local.rootfs(base).directory
    local.remove("base")
    local.remove("first")
    reopened = ImageStore(local.directory, machine=Path("/nonexistent"))
    for store in (local, reopened):
        assert (store.rootfs(second.id).directory / "opt/data").read_bytes() == b"data"
    reopened.remove("second")
    assert not tree.exists()
    assert reopened.resolve(first.id) is None


async def test_files_lie_over_those_of_the_other(local: ImageStore, base: str, script: Path) -> None:
    data = script.with_name("data")
    data.write_text("mine")
    image = await local.define(
        "mine", "base", overrides=RUN, files=[(script, "/run.sh"), (data, "/away/data"), (data, "/new/deep/file")]
    )
    root, below = local.rootfs(image.id).directory, local.rootfs(base).directory
    assert (root / "run.sh").read_text() == script.read_text()
    assert (root / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (root / "opt/data").read_bytes() == (root / "new/deep/file").read_bytes() == b"mine"
    assert (below / "opt/data").read_bytes() == b"data"
    assert not (below / "run.sh").exists()
    assert os.readlink(root / "opt/link") == "data"
    assert (root / "opt").stat().st_mode & 0o777 == 0o750
    assert os.path.samestat(os.lstat(root / "opt/link"), os.lstat(below / "opt/link")), "nothing was copied"
    assert image.size_bytes == 4 + len(script.read_bytes()) + 8
    local.remove("base")
    assert (root / "opt/data").read_bytes() == b"mine"
    data.write_text("other")
    changed = await local.define("mine", "mine", files=[(data, "/opt/data")])
    assert (local.rootfs(changed.id).directory / "opt/data").read_bytes() == b"other"
    assert (local.rootfs(changed.id).directory / "run.sh").exists()


async def test_over_the_host(local: ImageStore, machine: Path, script: Path) -> None:
    plain = await local.define("plain", "host", overrides=Overrides(env={"A": "1"}))
    assert local.program(plain.id).argv == HOST_CONFIG.entrypoint
    assert local.rootfs(plain.id).binds == local.rootfs("host").binds
    assert {"A": "1", "LANG": "C.UTF-8"}.items() <= local.rootfs(plain.id).env.items()
    image = await local.define("mine", "plain", overrides=RUN, files=[(script, "/run.sh"), (script, "/etc/mine/x")])
    more = await local.define("more", "mine", files=[(script, "/opt/more")])
    root = local.rootfs(image.id)
    assert root.binds == local.rootfs("host").binds
    assert (root.directory / "run.sh").exists()
    assert (root.directory / "etc/shells").read_text() == "/bin/sh\n"
    assert not (local.rootfs("host").directory / "run.sh").exists()
    # The machine changes, and the images with it.
    (machine / "etc/shells").write_text("/bin/sh\n/bin/zsh\n")
    os.utime(machine / "etc", ns=(0, 0))
    for id, paths in ((image.id, ("run.sh", "etc/mine/x")), (more.id, ("run.sh", "etc/mine/x", "opt/more"))):
        renewed = local.rootfs(id).directory
        assert renewed != root.directory
        assert "zsh" in (renewed / "etc/shells").read_text()
        assert all((renewed / path).exists() for path in paths)
    reopened = ImageStore(local.directory, machine=machine)
    assert (reopened.rootfs(more.id).directory / "opt/more").exists()
    local.remove("mine")
    local.remove("more")
    left = os.listdir(local.directory / "rootfs")
    assert all(name.startswith("host-") for name in left), left
    assert list((local.directory / "incoming").iterdir()) == []


async def test_what_cannot_be_defined(local: ImageStore, base: str, script: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await local.define("mine", "absent")
    for name in ("host", "Bad Name"):
        with pytest.raises(Invalid):
            await local.define(name, "base")
    for path in ("run.sh", "/../run.sh", "/", "/proc/x", "/dev/x", "/sys/x", "/opt", "/opt/data/x", "/a\0b"):
        with pytest.raises(Invalid):
            await local.define("mine", "base", files=[(script, path)])
    for path in ("/usr/bin/x", "/bin/x", "/usr/x"):
        with pytest.raises(Invalid, match="machine itself"):
            await local.define("mine", "host", files=[(script, path)])
    for source in (tmp_path / "absent", tmp_path):
        with pytest.raises(NotFound):
            await local.define("mine", "base", files=[(source, "/x")])
    for overrides in (
        Overrides(entrypoint=("a\0",)),
        Overrides(env={"": "x"}),
        Overrides(env={"A=": "x"}),
        Overrides(working_dir="srv"),
        Overrides(working_dir="/a/../b"),
    ):
        with pytest.raises(Invalid):
            await local.define("mine", "base", overrides=overrides)
    assert len(local.list()) == 2
    assert list((local.directory / "incoming").iterdir()) == []
    secret = tmp_path / "secret"
    secret.write_text("precious")
    (local.rootfs(base).directory / "opt/out").symlink_to(secret)
    image = await local.define("mine", "base", files=[(script, "/opt/out")])
    assert secret.read_text() == "precious"
    assert not (local.rootfs(image.id).directory / "opt/out").is_symlink()


async def test_one_in_use_stays(local: ImageStore, base: str) -> None:
    image = await local.define("mine", "base", overrides=RUN)
    local.in_use = lambda id: id == image.id
    with pytest.raises(Conflict):
        local.remove("mine")
    local.remove("base")
    assert local.program(image.id).argv == ("/run.sh",)


async def test_programs_of_imports_are_part_of_them(local: ImageStore, tmp_path: Path, base: str) -> None:
    plain = await local.import_tar(tmp_path / "base.tar", "plain")
    assert plain.id != base
    with pytest.raises(Invalid, match="does not say what to run"):
        local.program(plain.id)
    assert local.program(base).argv == ("/old", "x")


async def test_directories_of_the_machine_are_shown_as_they_are(local: ImageStore, base: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    image = await local.define("mine", "host", overrides=RUN, trees=[(tree, "/opt//tree")])
    shown = local.rootfs(image.id)
    assert shown.directory == local.rootfs("host").directory
    assert shown.binds == (*local.rootfs("host").binds, (tree, "/opt/tree"))
    assert (await local.define("again", "host", overrides=RUN, trees=[(tree, "/opt/tree")])).id == image.id
    assert (await local.define("plain", "host", overrides=RUN)).id != image.id
    # What stands on it shows them too, and may show more.
    other = tmp_path / "other"
    other.mkdir()
    more = await local.define("more", "mine", trees=[(other, "/srv/other")])
    assert local.rootfs(more.id).binds == (*shown.binds, (other, "/srv/other"))
    alone = await local.define("alone", "base", trees=[(tree, "/srv/tree")])
    assert local.rootfs(alone.id).binds == ((tree, "/srv/tree"),)
    other.rmdir()
    with pytest.raises(SandboxError, match=r"more.* shows .*/other, which is not there any more"):
        local.rootfs(more.id)
    assert local.rootfs(image.id).binds == shown.binds


@pytest.mark.parametrize("path", ["/", "relative", "/proc/x", "/usr", "/usr/lib/x", "/opt", "/opt/tree/x", "/a/../b"])
async def test_places_where_no_directory_can_be_shown(local: ImageStore, tmp_path: Path, path: str) -> None:
    (tmp_path / "tree").mkdir()
    await local.define("mine", "host", trees=[(tmp_path / "tree", "/opt/tree")])
    with pytest.raises(Invalid):
        await local.define("more", "mine", trees=[(tmp_path / "tree", path)])
    with pytest.raises(NotFound, match="no directory"):
        await local.define("more", "mine", trees=[(tmp_path / "nothing", "/srv/x")])


async def test_the_island_itself_is_never_shown(local: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(local.directory.parent)
    for source in (local.directory, local.directory.parent, tmp_path / "way", tmp_path / "way" / "..", Path("/")):
        with pytest.raises(Invalid, match="own files"):
            await local.define("mine", "host", trees=[(source, "/opt/tree")])
