"""How the paths that callers use become those that files really have."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.island.sandbox.process.driver import Paths

ROOT = "/d/sandboxes/child/upper"


@pytest.fixture
def paths() -> Paths:
    return Paths(Path(ROOT), "/home/user")


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/home/user", f"{ROOT}/home/user"),
        ("/home/user/a b", f"{ROOT}/home/user/a b"),
        ("/home/username", "/home/username"),
        ("/tmp/x", f"{ROOT}/tmp/x"),
        ("/tmpx", "/tmpx"),
        ("/usr/bin", "/usr/bin"),
        ("/d/sandboxes/parent/upper/home/user", f"{ROOT}/home/user"),
        (f"{ROOT}/home/user", f"{ROOT}/home/user"),
        ("/d/sandboxes/parent/uppermost", "/d/sandboxes/parent/uppermost"),
        ("relative", "relative"),
    ],
)
def test_directories(paths: Paths, path: str, real: str) -> None:
    assert paths.directory(path) == real


def test_a_data_directory_below_tmp() -> None:
    paths = Paths(Path("/tmp/d/sandboxes/child/upper"), "/home/user")
    assert paths.directory("/tmp/d/sandboxes/parent/upper/x") == "/tmp/d/sandboxes/child/upper/x"
    assert paths.directory("/tmp/d") == "/tmp/d/sandboxes/child/upper/tmp/d"


def test_variables(paths: Paths) -> None:
    assert paths.variable("/home/user/bin:/usr/bin:/tmp") == f"{ROOT}/home/user/bin:/usr/bin:{ROOT}/tmp"
    assert paths.variable("see /home/user") == "see /home/user"
    assert paths.variable("http://x/home/user") == "http://x/home/user"


def test_states_of_a_parent(paths: Paths) -> None:
    state = b'declare -x PWD="/d/sandboxes/parent/upper/home/user"\ncd /d/sandboxes/p2/upper\n\xff'
    assert paths.state(state) == f'declare -x PWD="{ROOT}/home/user"\ncd {ROOT}\n'.encode() + b"\xff"
    assert paths.state(None) is None


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/", ROOT),
        ("/etc/passwd", f"{ROOT}/etc/passwd"),
        ("/home/user/f", f"{ROOT}/home/user/f"),
        (f"{ROOT}/f", f"{ROOT}/f"),
        (f"{ROOT}x/f", f"{ROOT}{ROOT}x/f"),
        ("relative/../x", "relative/../x"),
    ],
)
def test_files(paths: Paths, path: str, real: str) -> None:
    assert paths.file(path) == real
