"""The data directory: private, versioned, and refused with advice when it cannot be used."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from skerry.island.store.errors import StoreError
from skerry.island.store.layout import explained, prepare, write_private


def test_it_is_made_closed_to_others_and_marked(tmp_path: Path) -> None:
    data = tmp_path / "a" / "b"
    prepare(data)
    prepare(data)
    assert data.stat().st_mode & 0o777 == 0o700
    assert json.loads((data / "layout.json").read_bytes()) == {"version": 1}
    assert sorted(path.name for path in data.iterdir()) == ["layout.json"]


def test_what_an_earlier_release_left_open_is_closed_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o755)
    for name in ("island.db", "island.db-wal", "owner.key", "server.json"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    for name in ("objects", "sandboxes", "others"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    (tmp_path / "elsewhere").symlink_to("/etc/hostname")
    prepare(tmp_path)
    modes = {path.name: path.lstat().st_mode & 0o777 for path in tmp_path.iterdir() if not path.is_symlink()}
    assert modes == {
        "island.db": 0o600,
        "island.db-wal": 0o600,
        "layout.json": 0o600,
        "objects": 0o700,
        "others": 0o755,
        "owner.key": 0o600,
        "sandboxes": 0o711,
        "server.json": 0o644,
    }
    prepare(tmp_path)
    (said,) = (record.getMessage() for record in caplog.records if record.name.startswith("skerry"))
    assert "island.db, island.db-wal, objects, owner.key, sandboxes" in said


def test_a_later_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "layout.json").write_text('{"version": 2}')
    with pytest.raises(StoreError, match="upgrade Skerry") as caught:
        prepare(tmp_path)
    assert caught.value.reason == "newer"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version": null}', b"\xff"])
def test_a_spoiled_mark_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "layout.json").write_bytes(content)
    with pytest.raises(StoreError) as caught:
        prepare(tmp_path)
    assert caught.value.reason in ("damaged", "newer")


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    with pytest.raises(StoreError, match="--data-dir"):
        prepare(tmp_path / "data")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError) as caught:
            prepare(tmp_path / "data")
        assert caught.value.reason == "read_only"
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.EROFS, "read_only"),
        (errno.EACCES, "read_only"),
        (errno.EIO, "unreachable"),
    ],
)
def test_what_the_system_says_becomes_advice(number: int, reason: str) -> None:
    assert explained(OSError(number, os.strerror(number)), Path("/data")).reason == reason


def test_private_files_are_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_private(path, b"one")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
