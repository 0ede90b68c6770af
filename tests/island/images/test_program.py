"""What images run: their own configuration, users looked up in hostile files, and the host's variable."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.engine.errors import Invalid, NotFound
from skerry.island.images.index import ImageConfig
from skerry.island.images.program import program
from skerry.island.images.rootfs import LocalRootFs
from skerry.island.images.store import ImageStore
from skerry.island.images.users import find_user

PASSWD = """root:x:0:0:root:/root:/bin/sh
broken line
duser:x:1000:1001:,,,:/home/duser:/bin/bash
odd:x:1002:no:::
big:x:99999:0:::
nowhere:x:1003:1003::relative:/bin/sh
1005:x:1004:1004::/five:/bin/sh
"""
GROUP = "root:x:0:\nduser:x:1001:\nvideo:x:44:duser,other\naudio:x:29:duser\nbad:x:x:duser\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, (), "/root"),
        ("root", 0, 0, (), "/root"),
        ("duser", 1000, 1001, (29, 44), "/home/duser"),
        ("1000", 1000, 1001, (29, 44), "/home/duser"),
        ("duser:video", 1000, 44, (), "/home/duser"),
        ("duser:7", 1000, 7, (), "/home/duser"),
        ("4242", 4242, 0, (), "/"),
        ("4242:4243", 4242, 4243, (), "/"),
        ("nowhere", 1003, 1003, (), "/"),
        ("1005", 1004, 1004, (), "/five"),
        (":video", 0, 44, (), "/root"),
    ],
)
def test_who_is_meant(root: Path, text: str, uid: int, gid: int, groups: tuple[int, ...], home: str) -> None:
    found = find_user(root, text)
    assert (found.uid, found.gid, found.groups, found.home) == (uid, gid, groups, home)


@pytest.mark.parametrize("text", ["nobody", "odd", "duser:nogroup", "70000", "1:70000", "big", "-1", "duser:-1"])
def test_who_is_not_there(root: Path, text: str) -> None:
    with pytest.raises(Invalid):
        find_user(root, text)


@given(text=st.text(max_size=20))
def test_any_text_is_a_user_or_a_refusal(text: str) -> None:
    try:
        found = find_user(Path("/nonexistent"), text)
    except Invalid:
        return
    assert 0 <= found.uid <= 65_535
    assert 0 <= found.gid <= 65_535


def test_files_of_the_machine_are_not_read_for_the_images(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("leak:x:7:7::/:\n")
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to(secret)
    with pytest.raises(Invalid):
        find_user(root, "leak")
    inner = root / "inner"
    inner.mkdir()
    (inner / "etc").symlink_to(tmp_path)
    (tmp_path / "passwd").write_text("leak:x:7:7::/:\n")
    with pytest.raises(Invalid):
        find_user(inner, "leak")


def test_entrypoint_command_place_and_user(root: Path) -> None:
    files = LocalRootFs(directory=root, env={"PATH": "/bin", "USER": "given"})
    config = ImageConfig(entrypoint=("/run",), command=("-a", "b"), working_dir="srv", user="duser")
    found = program("x", config, files)
    assert (found.argv, found.cwd, found.user) == (("/run", "-a", "b"), "/srv", "duser")
    assert found.env == {"PATH": "/bin", "USER": "given", "HOME": "/home/duser"}
    assert program("x", ImageConfig(command=("sh",)), files).cwd == "/"
    for nothing in (ImageConfig(), ImageConfig(command=("",))):
        with pytest.raises(Invalid, match="skerry image define"):
            program("x", nothing, files)
    with pytest.raises(Invalid, match="no user"):
        program("x", ImageConfig(command=("sh",), user="absent"), files)


@pytest.mark.anyio
async def test_programs_of_stored_images(store: ImageStore, registry: Any, tar: Any) -> None:
    registry.add("team/tool:1", registry.image(tar.make(tar.file("a", b"1"))))
    image = await store.pull(f"{registry.host}/team/tool:1")
    found = store.program(image.id)
    assert (found.argv, found.cwd, found.env["GREETING"], found.user) == (("sh",), "/srv", "hello", "")
    with pytest.raises(NotFound):
        store.program("img-none")


def test_the_host_runs_the_command_of_a_variable(store: ImageStore) -> None:
    argv = store.program("host").argv
    run = subprocess.run(argv, env={"SKERRY_COMMAND": "echo $A; exit 3", "A": "b c"}, capture_output=True, check=False)
    assert (run.returncode, run.stdout) == (3, b"b c\n")
    without = subprocess.run(argv, env={}, capture_output=True, check=False)
    assert without.returncode != 0
    assert b"SKERRY_COMMAND" in without.stderr
    assert b"set it" in without.stderr
