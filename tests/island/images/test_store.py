"""The store finds images by name, installs them whole, and recovers from crashes."""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skerry.island.engine.errors import Conflict, Invalid, NotFound, TooLarge, Unavailable, Unsupported
from skerry.island.images import build
from skerry.island.images.pull import Limits
from skerry.island.images.store import ImageStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def archive(tmp_path: Path, tar: Any) -> Path:
    path = tmp_path / "root.tar.gz"
    path.write_bytes(gzip.compress(tar.make(tar.directory("bin"), tar.file("bin/tool", b"tool", mode=0o755))))
    return path


async def test_import(store: ImageStore, archive: Path) -> None:
    image = await store.import_tar(archive, "mine:1")
    assert (image.name, image.source, image.size_bytes) == ("mine:1", "import root.tar.gz", 4)
    root = store.rootfs(image.id)
    assert (root.directory / "bin/tool").read_bytes() == b"tool"
    assert (root.directory / "etc/resolv.conf").is_file()
    assert "PATH" in root.env
    assert store.get("mine:1") == image
    assert ImageStore(store.directory, machine=Path("/nonexistent")).get("mine:1") == image


async def test_names_of_another_machine_are_replaced(store: ImageStore, tmp_path: Path, tar: Any) -> None:
    path = tmp_path / "root.tar"
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.write_bytes(
        tar.make(
            tar.link("etc/resolv.conf", str(victim)),
            tar.file("etc/hosts", b"10.0.0.1 theirs\n"),
            tar.directory("etc/hostname"),
        )
    )
    root = store.rootfs((await store.import_tar(path, "mine")).id).directory
    assert "nameserver" not in (root / "etc/resolv.conf").read_text()
    assert "theirs" not in (root / "etc/hosts").read_text()
    assert victim.read_text() == "precious"


async def test_what_cannot_be_imported(store: ImageStore, tmp_path: Path, tar: Any, archive: Path) -> None:
    saved = tmp_path / "saved.tar"
    saved.write_bytes(tar.make(tar.file("manifest.json", b"[]"), tar.file("oci-layout", b"{}")))
    with pytest.raises(Invalid, match="0 images"):
        await store.import_tar(saved, "mine")
    saved.write_bytes(b"no archive at all")
    with pytest.raises(Invalid):
        await store.import_tar(saved, "mine")
    with pytest.raises(NotFound):
        await store.import_tar(tmp_path / "missing", "mine")
    for name in ("host", "Bad Name", "x@sha256:" + "0" * 64):
        with pytest.raises(Invalid):
            await store.import_tar(archive, name)
    store.limits = Limits(max_entries=1)
    with pytest.raises(TooLarge):
        await store.import_tar(archive, "mine")
    assert os.listdir(store.directory / "incoming") == []
    assert len(store.list()) == 1


async def test_names_and_aliases(store: ImageStore, archive: Path) -> None:
    image = await store.import_tar(archive, "ubuntu:24.04")
    assert store.resolve("ubuntu") is None
    assert store.resolve("docker.io/library/ubuntu:24.04") == image.id
    store.alias("ubuntu", "ubuntu:24.04")
    store.alias("arkuntu", "ubuntu")
    assert store.resolve("arkuntu") == image.id
    assert store.aliases() == {"ubuntu": "ubuntu:24.04", "arkuntu": "ubuntu"}
    assert store.resolve(image.id) == image.id
    assert store.resolve("host") == "host"
    store.alias("own", "host")
    assert store.resolve("own") == "host"
    with pytest.raises(NotFound):
        store.alias("x", "nothing")
    with pytest.raises(Invalid):
        store.alias("host", "ubuntu")
    with pytest.raises(Invalid):
        store.alias("ubuntu", "arkuntu")
    assert store.resolve("arkuntu") == image.id, "a refused alias changes nothing"


async def test_removal(store: ImageStore, archive: Path) -> None:
    image = await store.import_tar(archive, "one:1")
    second = await store.import_tar(archive, "two:2")
    assert (second.id, second.name) == (image.id, "two:2")
    assert [(each.id, each.name) for each in store.list()[1:]] == [(image.id, "one:1"), (image.id, "two:2")]
    store.alias("short", "one:1")
    with pytest.raises(Invalid):
        store.remove("host")
    with pytest.raises(NotFound):
        store.remove("three")
    store.in_use = lambda image_id: image_id == image.id
    store.remove("one:1")
    assert store.get("two:2").name == "two:2"
    assert store.aliases() == {}
    with pytest.raises(Conflict):
        store.remove("two:2")
    store.in_use = lambda image_id: False
    directory = store.rootfs(image.id).directory
    store.remove("two:2")
    assert not directory.exists()
    assert store.resolve("two:2") is None
    again = await store.import_tar(archive, "one:1")
    store.remove(again.id)
    assert len(store.list()) == 1


async def test_a_crash_leaves_no_half_image(store: ImageStore, archive: Path) -> None:
    kept = await store.import_tar(archive, "kept")
    lost = await store.import_tar(archive, "kept:other")
    assert lost.id == kept.id
    half = store.directory / "incoming/HALF"
    (half / "root/etc").mkdir(parents=True)
    (half / "root/etc").chmod(0)
    (store.directory / "incoming/file").write_text("")
    (store.directory / "rootfs/img-unknown").mkdir()
    working = store.directory / "incoming/WORKING"
    working.mkdir()
    descriptor = os.open(working, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        ImageStore(store.directory, machine=Path("/nonexistent"))
        assert os.listdir(store.directory / "incoming") == ["WORKING"], "what another process makes stays"
    finally:
        os.close(descriptor)
    assert os.listdir(store.directory / "rootfs") == [kept.id]
    assert store.rootfs(kept.id).directory.is_dir()


async def test_killed_in_the_middle(tmp_path: Path, tar: Any) -> None:
    fifo = tmp_path / "slow.tar"
    program = (
        "import asyncio, pathlib, sys\n"
        "from skerry.island.images.manifest import this_platform\n"
        "from skerry.island.images.pull import Limits\n"
        "from skerry.island.images.saved import unpack_archive\n"
        "from skerry.island.images.staging import staged\n"
        "with staged(pathlib.Path(sys.argv[1], 'incoming')) as work:\n"
        "    asyncio.run(unpack_archive(pathlib.Path(sys.argv[2]), work, Limits(), this_platform()))\n"
    )
    os.mkfifo(fifo)
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "images"), str(fifo)])
    try:
        with open(fifo, "wb") as feed:
            feed.write(tar.make(tar.file("a", bytes(1 << 20)))[: 1 << 19])
            feed.flush()
            process.kill()
            process.wait()
    finally:
        process.kill()
        process.wait()
    assert len(os.listdir(tmp_path / "images/incoming")) == 1
    ImageStore(tmp_path / "images", machine=Path("/nonexistent"))
    assert os.listdir(tmp_path / "images/incoming") == []


async def test_a_vanished_tree_is_forgotten(store: ImageStore, archive: Path) -> None:
    image = await store.import_tar(archive, "mine")
    store.rootfs(image.id).directory.rename(store.directory.parent / "elsewhere")
    assert ImageStore(store.directory, machine=Path("/nonexistent")).resolve("mine") is None


async def test_two_stores_see_each_other(store: ImageStore, archive: Path) -> None:
    other = ImageStore(store.directory, machine=Path("/nonexistent"))
    image = await store.import_tar(archive, "mine")
    assert other.resolve("mine") == image.id
    other.remove("mine")
    assert store.resolve("mine") is None


def test_a_damaged_table_is_explained(store: ImageStore) -> None:
    (store.directory / "images.json").write_text("{")
    with pytest.raises(Invalid, match="damaged"):
        store.list()
    (store.directory / "images.json").write_text(json.dumps({"version": 2}))
    with pytest.raises(Invalid, match="newer version"):
        store.list()


def fake_mmdebstrap(directory: Path, body: str) -> None:
    """A program of that name, as a builder that needs no network."""
    directory.mkdir(exist_ok=True)
    path = directory / "mmdebstrap"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


async def test_build(store: ImageStore, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "check_tools", lambda: None)
    body = f'echo "$@" > {tmp_path}/arguments\nfor last; do case $last in */root.tar) cp {archive} "$last";; esac; done'
    fake_mmdebstrap(tmp_path / "bin", body)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    image = await store.build("trixie", ["python3", "git"], mirrors=["http://mirror.example/debian"])
    assert (image.name, image.source) == ("skerry/trixie:latest", "mmdebstrap trixie")
    assert (store.rootfs(image.id).directory / "bin/tool").exists()
    arguments = (tmp_path / "arguments").read_text()
    assert "--include=python3,git trixie " in arguments
    assert arguments.rstrip().endswith("http://mirror.example/debian")
    fake_mmdebstrap(tmp_path / "bin", "echo 'E: no such suite' >&2; exit 25")
    with pytest.raises(Unavailable, match="status 25:\nE: no such suite"):
        await store.build("trixie")
    assert os.listdir(store.directory / "incoming") == []


async def test_missing_tools_are_named(store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(Unsupported, match="apt install mmdebstrap"):
        await store.build()
    fake_mmdebstrap(tmp_path / "bin", "true")
    with pytest.raises(Unsupported, match="apt install uidmap"):
        build.check_tools(root=False)


def test_build_commands() -> None:
    target = Path("/t/root.tar")
    assert "--mode=unshare" in build.command("bookworm", [], target, root=False)
    assert "--mode=root" in build.command("bookworm", ["g++", "libc6:i386", "bash=5.2-1"], target, root=True)
    for suite, packages, mirrors in (
        ("--hook=x", [], []),
        ("bookworm", ["--include"], []),
        ("bookworm", ["a,b"], []),
        ("bookworm", [], ["--aptopt=x"]),
    ):
        with pytest.raises(Invalid):
            build.command(suite, packages, target, mirrors=mirrors)
