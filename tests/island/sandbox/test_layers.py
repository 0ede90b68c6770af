"""What a layer store promises, call by call."""

from __future__ import annotations

import mmap
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.layers import store as layers_module
from skerry.island.sandbox.layers.store import LayerStore
from tests.island.sandbox.layer_support import make_store, needs_root, seen


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LayerStore]:
    store = make_store(tmp_path)
    store.recover()
    yield store
    store.close()


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy ahead even what is small."""
    monkeypatch.setattr(layers_module, "_FEW_BYTES", -1)


def reason(store: LayerStore, method: str, *arguments: str) -> str:
    with pytest.raises(SandboxError) as caught:
        getattr(store, method)(*arguments)
    return caught.value.reason


def test_a_new_sandbox(store: LayerStore) -> None:
    store.create("box", "host", files={"spec.json": b"{}"})
    assert (store.directory("box") / "spec.json").read_bytes() == b"{}"
    assert store.ids() == ["box"]
    assert store.image("box") == "host"
    assert store.depth("box") == 0
    assert store.upper("box").is_dir()
    assert store.work("box").is_dir()
    assert [path.name for path in store.lowers("box")] == ["image"]
    assert stat.S_IMODE(store.upper("box").stat().st_mode) == 0o755


def test_names_are_checked_and_exclusive(store: LayerStore) -> None:
    store.create("box", "host")
    assert reason(store, "create", "box", "host") == "exists"
    assert reason(store, "relayer", "box", "box") == "exists"
    assert reason(store, "copy", "box", "box") == "exists"
    for bad in ("", ".", "..", "a/b", "a.b", "x" * 65):
        assert reason(store, "create", bad, "host") == "path"
        assert reason(store, "upper", bad) == "unknown_sandbox"
    assert reason(store, "create", "other", "nothing") == "unknown_image"
    for method in ("directory", "upper", "lowers", "hold", "release", "remove", "flatten", "disk_bytes"):
        assert reason(store, method, "missing") == "unknown_sandbox"
    assert reason(store, "relayer", "missing", "child") == "unknown_sandbox"
    assert store.ids() == ["box"]


def test_two_threads_cannot_make_the_same_sandbox(store: LayerStore) -> None:
    outcomes: list[str] = []

    def create() -> None:
        try:
            store.create("box", "host")
            outcomes.append("made")
        except SandboxError as error:
            outcomes.append(error.reason)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["exists"] * 7 + ["made"]


def test_an_untouched_upper_makes_no_layer(store: LayerStore) -> None:
    store.create("box", "host")
    os.chmod(store.upper("box"), 0o711)
    for count in range(5):
        store.relayer("box", f"fork-{count}")
    assert store.depth("box") == store.depth("fork-4") == 0
    assert stat.S_IMODE(store.upper("fork-4").stat().st_mode) == 0o711


def test_both_sides_of_a_fork_go_their_own_way(store: LayerStore) -> None:
    store.create("box", "host")
    (store.upper("box") / "file").write_text("before")
    store.relayer("box", "child")
    (store.upper("box") / "file").write_text("parent")
    (store.upper("child") / "file").write_text("child")
    assert seen(store, "box")["file"] == "parent"
    assert seen(store, "child")["file"] == "child"
    store.remove("box")
    assert seen(store, "child")["file"] == "child"
    assert store.depth("child") == 1


def test_a_held_parent_is_not_re_layered(store: LayerStore) -> None:
    store.create("box", "host")
    (store.upper("box") / "file").write_text("x")
    store.hold("box")
    assert store.held("box")
    assert reason(store, "relayer", "box", "child") == "unsupported"
    store.release("box")
    store.release("box")
    store.relayer("box", "child")


def test_a_hold_survives_a_restart(store: LayerStore, tmp_path: Path) -> None:
    store.create("box", "host")
    store.hold("box")
    store.close()
    again = make_store(tmp_path)
    again.recover()
    assert again.held("box")
    again.close()


def test_a_fork_costs_the_same_however_much_there_is(store: LayerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def calls(parent: str, child: str) -> int:
        count = 0
        here = threading.current_thread()
        with monkeypatch.context() as patch:
            for name in ("open", "mkdir", "rename", "unlink", "stat", "lstat", "scandir", "listdir", "link", "chmod"):
                real = getattr(os, name)

                def counted(*args: object, real: object = real, **options: object) -> object:
                    nonlocal count
                    count += threading.current_thread() is here
                    return real(*args, **options)  # type: ignore[operator]

                patch.setattr(os, name, counted)
            store.relayer(parent, child)
        return count

    for name, files in (("small", 1), ("large", 300)):
        store.create(name, "host")
        for count in range(files):
            (store.upper(name) / f"d{count}").mkdir()
            (store.upper(name) / f"d{count}" / "f").write_text("x")
    calls("small", "warm")
    (store.upper("small") / "again").write_text("x")
    first = calls("small", "small-child")
    assert first == calls("large", "large-child")
    for count in range(40):
        (store.upper("large") / f"more-{count}").write_text("x")
        last = calls("large", f"large-child-{count}")
    assert store.depth("large") == 41
    assert last == first


def test_removal_frees_exactly_what_nobody_needs(store: LayerStore, tmp_path: Path) -> None:
    store.create("box", "host")
    (store.upper("box") / "one").write_text("1")
    store.relayer("box", "first")
    (store.upper("box") / "two").write_text("2")
    store.relayer("box", "second")
    layers = tmp_path / "state" / "layers"
    assert len(list(layers.iterdir())) == 2
    store.remove("second")
    store.remove("box")
    assert len(list(layers.iterdir())) == 1
    assert seen(store, "first")["one"] == "1"
    store.remove("first")
    assert list(layers.iterdir()) == []
    assert store.drain(300)
    assert list((tmp_path / "state" / "trash").iterdir()) == []


def test_recovery_throws_away_what_belongs_to_nothing(store: LayerStore, tmp_path: Path) -> None:
    store.create("box", "host")
    state = tmp_path / "state"
    (state / "sandboxes" / "no-chain" / "upper").mkdir(parents=True)
    (state / "sandboxes" / ".box.1234").mkdir()
    (state / "sandboxes" / "cut").mkdir()
    (state / "sandboxes" / "cut" / "chain.json").touch()
    (state / "layers" / "orphan" / "d").mkdir(parents=True)
    (state / "trash" / "old").mkdir()
    (state / "journal" / "x.json.new").write_text("{")
    (state / "journal" / "y.json").touch()
    recovery = store.recover()
    assert recovery.removed == (".box.1234", "cut", "no-chain", "orphan")
    assert store.ids() == ["box"]
    assert store.drain(300)
    for name in ("layers", "trash", "journal"):
        assert list((state / name).iterdir()) == []


def test_disk_bytes_counts_links_once_and_holes_not_at_all(store: LayerStore) -> None:
    store.create("box", "host")
    assert store.disk_bytes("box") == 0
    upper = store.upper("box")
    (upper / "d").mkdir()
    (upper / "d" / "file").write_bytes(b"x" * 100_000)
    os.link(upper / "d" / "file", upper / "linked")
    with open(upper / "sparse", "wb") as file:
        file.truncate(1 << 40)
    (upper / "dangling").symlink_to("/nowhere")
    total = store.disk_bytes("box")
    assert 100_000 <= total < 200_000
    os.chmod(upper / "d", 0)
    assert store.disk_bytes("box") == total
    assert stat.S_IMODE((upper / "d").stat().st_mode) == 0
    os.chmod(upper / "d", 0o700)
    assert store.disk_bytes("box", enough=1) <= total


def test_the_work_directory_can_be_replaced(store: LayerStore) -> None:
    store.create("box", "host")
    (store.work("box") / "work" / "incompat" / "volatile").mkdir(parents=True)
    assert list(store.fresh_work("box").iterdir()) == []


@needs_root
def test_uppers_belong_to_the_owner(tmp_path: Path) -> None:
    store = make_store(tmp_path, owner=(100_000, 100_001))
    store.create("box", "host")
    (store.upper("box") / "file").write_text("x")
    store.relayer("box", "child")
    store.copy("box", "copy")
    for id in ("box", "child", "copy"):
        for path in (store.upper(id), store.work(id)):
            assert (path.stat().st_uid, path.stat().st_gid) == (100_000, 100_001)
        assert store.directory(id).stat().st_mode & 0o001
    store.close()


def snapshot(root: Path) -> dict[str, object]:
    """Everything about a tree that a copy must keep."""
    found: dict[str, object] = {}
    links: dict[int, list[str]] = {}
    for top, directories, files in os.walk(root):
        for name in (".", *directories, *files):
            path = Path(top, name)
            status = path.lstat()
            key = str(path.relative_to(root))
            content: object = None
            if stat.S_ISREG(status.st_mode):
                if not os.access(path, os.R_OK):
                    os.chmod(path, 0o400)
                with open(path, "rb") as file:
                    content = (file.read(100_000), status.st_size)
                os.chmod(path, stat.S_IMODE(status.st_mode))
                links.setdefault(status.st_ino, []).append(key)
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            marks = {
                mark: os.getxattr(path, mark, follow_symlinks=False)
                for mark in os.listxattr(path, follow_symlinks=False)
            }
            found[key] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns,
                status.st_rdev,
                content,
                marks,
            )
    return {**found, "links": sorted(sorted(names) for names in links.values() if len(names) > 1)}


def furnish(upper: Path) -> None:
    """One of everything that can be in an upper."""
    (upper / "d" / "e").mkdir(parents=True)
    (upper / "d" / "file").write_text("content")
    os.link(upper / "d" / "file", upper / "d" / "e" / "linked")
    (upper / "closed").mkdir()
    (upper / "closed" / "inside").write_text("inside")
    os.chmod(upper / "closed", 0o000)
    (upper / "secret").write_text("secret")
    os.chmod(upper / "secret", 0o000)
    (upper / "program").write_text("#!/bin/sh")
    os.chmod(upper / "program", 0o4755)
    (upper / "link").symlink_to("/etc/shadow")
    (upper / "d" / "up").symlink_to("..")
    os.mkfifo(upper / "pipe", 0o640)
    os.mknod(upper / "gone", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    (upper / "opaque").mkdir()
    os.setxattr(upper / "opaque", "user.overlay.opaque", b"y")
    os.setxattr(upper / "d" / "file", "user.colour", b"blue")
    with open(upper / "sparse", "wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"middle")
    os.utime(upper / "d", ns=(1, 2))
    if os.geteuid() == 0:
        os.chown(upper / "d" / "file", 12, 34)
        os.lchown(upper / "link", 12, 34)
        os.setxattr(upper / "pipe", "trusted.overlay.origin", b"handle", follow_symlinks=False)


def test_a_copy_keeps_everything_an_overlay_means(store: LayerStore) -> None:
    store.create("box", "host")
    furnish(store.upper("box"))
    directory = os.open(store.upper("box"), os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        # A socket's whole path has to fit into a hundred bytes.
        listener.bind(f"/proc/self/fd/{directory}/socket")
    os.close(directory)
    expected = snapshot(store.upper("box"))
    del expected["socket"]
    assert store.copy("box", "child", files={"spec.json": b"{}"}) == ("reflink" if store.reflink else "copy")
    made = snapshot(store.upper("child"))
    assert {**made, ".": None, "d": None} == {**expected, ".": None, "d": None}
    assert made["d"] == expected["d"]
    assert (store.upper("child") / "sparse").stat().st_blocks <= 64
    os.chmod(store.upper("child") / "closed", 0o700)
    assert (store.upper("child") / "closed" / "inside").read_text() == "inside"
    assert store.lowers("child") == store.lowers("box")
    assert sorted(os.listdir(store.directory("child"))) == ["chain.json", "spec.json", "upper", "work"]
    if os.geteuid() == 0:
        os.mknod(store.upper("box") / "device", stat.S_IFCHR, os.makedev(1, 3))
        store.copy("box", "no-device")
        assert not (store.upper("no-device") / "device").exists()


@pytest.mark.usefixtures("eager")
def test_what_changed_after_a_copy_ahead_is_copied_again(store: LayerStore) -> None:
    store.create("box", "host")
    upper = store.upper("box")
    furnish(upper)
    for name in ("kept", "same-size", "deleted", "becomes-directory", "mapped", "linked-later", "old-name"):
        (upper / name).write_text(name)
    for name in ("deleted-tree", "becomes-file", "moved-tree"):
        (upper / name / "deep").mkdir(parents=True)
        (upper / name / "deep" / "file").write_text(name)
    times = (upper / "same-size").stat()
    with open(upper / "mapped", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0:1] = b"M"
        if not store.precopy("box", "child"):
            pytest.skip("this file system makes copying ahead needless or unsafe")
        memory[1:2] = b"A"
        (upper / "same-size").write_text("SAME-size")
        os.utime(upper / "same-size", ns=(times.st_atime_ns, times.st_mtime_ns))
        (upper / "deleted").unlink()
        (upper / "becomes-directory").unlink()
        (upper / "becomes-directory").mkdir()
        os.link(upper / "linked-later", upper / "second-name")
        (upper / "old-name").rename(upper / "new-name")
        (upper / "moved-tree").rename(upper / "d" / "moved")
        (upper / "deleted-tree" / "deep" / "file").unlink()
        (upper / "deleted-tree" / "deep").rmdir()
        (upper / "deleted-tree").rmdir()
        (upper / "becomes-file" / "deep" / "file").unlink()
        (upper / "becomes-file" / "deep").rmdir()
        (upper / "becomes-file").rmdir()
        (upper / "becomes-file").write_text("file now")
        (upper / "link").unlink()
        (upper / "link").symlink_to("elsewhere")
        (upper / "new").write_text("new")
        os.chmod(upper / "program", 0o600)
        store.copy("box", "child")
    assert snapshot(store.upper("child")) == snapshot(upper)
    assert store.drain(300)


@pytest.mark.usefixtures("eager")
def test_a_copy_ahead_spares_what_stands_still(store: LayerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create("box", "host")
    (store.upper("box") / "file").write_text("content")
    # The file clock must have moved on, or the file counts as just changed.
    monkeypatch.setattr("skerry.island.sandbox.layers.treecopy._TICK_NS", -10_000_000_000)
    if not store.precopy("box", "child"):
        pytest.skip("this file system makes copying ahead needless or unsafe")
    staged = next(path for path in store.directory("box").parent.iterdir() if path.name.startswith(".child"))
    inode = (staged / "upper" / "file").stat().st_ino
    store.copy("box", "child")
    assert (store.upper("child") / "file").stat().st_ino == inode


@pytest.mark.usefixtures("eager")
def test_a_copy_ahead_can_be_dropped(store: LayerStore) -> None:
    store.create("box", "host")
    (store.upper("box") / "file").write_text("content")
    store.precopy("box", "child")
    store.precopy("box", "child")
    store.forget_copy("child")
    store.forget_copy("child")
    assert os.listdir(store.directory("box").parent) == ["box"]


def test_little_is_not_copied_ahead(store: LayerStore) -> None:
    store.create("box", "host")
    (store.upper("box") / "file").write_text("content")
    assert not store.precopy("box", "child")
    assert os.listdir(store.directory("box").parent) == ["box"]


@pytest.mark.usefixtures("eager")
def test_copying_ahead_from_a_tree_in_turmoil(store: LayerStore) -> None:
    store.create("box", "host")
    upper = store.upper("box")
    outside = store.directory("box") / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    for count in range(100):
        (upper / f"d{count}" / "e").mkdir(parents=True)
        (upper / f"d{count}" / "e" / "f").write_text("x")
    stop = threading.Event()

    def stir() -> None:
        while not stop.is_set():
            for count in range(100):
                directory = upper / f"d{count}"
                directory.rename(upper / "away")
                directory.symlink_to(outside)
                (upper / "away" / "e").rename(upper / "e")
                (upper / "e").rename(upper / "away" / "e")
                directory.unlink()
                (upper / "away").rename(directory)

    thread = threading.Thread(target=stir)
    thread.start()
    try:
        for _ in range(5):
            store.precopy("box", "child")
    finally:
        stop.set()
        thread.join()
    store.copy("box", "child")
    assert snapshot(store.upper("child")) == snapshot(upper)
    assert not list(store.upper("child").rglob("secret"))


def test_a_full_disk_is_said_and_leaves_nothing(store: LayerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create("box", "host")
    (store.upper("box") / "file").write_text("content" * 100_000)

    def full(*args: object, **options: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", full)
    monkeypatch.setattr(os, "pwrite", full)
    monkeypatch.setattr("skerry.island.sandbox.layers.reflink.clone", full)
    assert reason(store, "copy", "box", "child") == "disk_full"
    assert store.ids() == ["box"]
    assert os.listdir(store.directory("box").parent) == ["box"]
