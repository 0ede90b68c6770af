"""Merging layers: whatever was written, deleted and written again reads the same afterwards."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skerry.island.sandbox.layers.store import LayerStore
from tests.island.sandbox.layer_support import delete, listing, make_store, mounted, needs_root, seen, write

PATHS = ["a", "a/x", "a/y", "a/y/k", "a/y/l", "b", "c", "c/x"]

# None makes a directory, False deletes.
changes = st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from([None, False, "1", "2"])), min_size=1, max_size=4)


def apply(store: LayerStore, id: str, path: str, content: str | bool | None) -> None:
    upper, lowers = store.upper(id), store.lowers(id)
    shown = seen(store, id)
    if content is False:
        if path in shown:
            delete(upper, lowers, path)
        return
    for parent in reversed(Path(path).parents[:-1]):
        if shown.get(str(parent), None) is not None:
            delete(upper, lowers, str(parent))
            shown = seen(store, id)
    if path in shown and (content is None) != (shown[path] is None):
        delete(upper, lowers, path)
    elif path in shown and content is None:
        return
    assert content is None or isinstance(content, str)
    write(upper, lowers, path, content)


def apply_really(root: Path, path: str, content: str | bool | None) -> None:
    target = root / path
    if content is False:
        if target.exists():
            os.system(f"rm -r {target}")
        return
    for parent in reversed(target.relative_to(root).parents[:-1]):
        if (root / parent).is_file():
            (root / parent).unlink()
        (root / parent).mkdir(exist_ok=True)
    if target.is_dir() and content is not None:
        os.system(f"rm -r {target}")
    if target.is_file() and content is None:
        target.unlink()
    if content is None:
        target.mkdir(exist_ok=True)
    else:
        assert isinstance(content, str)
        target.write_text(content)


@given(layers=st.lists(changes, min_size=2, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_merge_reads_as_its_layers_did(layers: list[list[tuple[str, str | bool | None]]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = make_store(Path(directory))
        store.create("box", "host")
        for count, layer in enumerate(layers):
            for path, content in layer:
                apply(store, "box", path, content)
            store.relayer("box", f"fork-{count}")
        before = seen(store, "box")
        forks = {id: seen(store, id) for id in store.ids()}
        store.flatten("box")
        assert store.depth("box") <= 1
        assert seen(store, "box") == before
        assert {id: seen(store, id) for id in store.ids()} == forks
        store.close()


@needs_root
@given(layers=st.lists(changes, min_size=2, max_size=4))
@example(layers=[[("a/y/k", None)], [("a/y/k", False)]])
@settings(max_examples=25, deadline=None)
def test_the_kernel_agrees(layers: list[list[tuple[str, str | bool | None]]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = make_store(Path(directory), userxattr=False)
        store.create("box", "host")
        for count, layer in enumerate(layers):
            with mounted(store, "box", Path(directory, "mnt")) as root:
                for path, content in layer:
                    apply_really(root, path, content)
                before = listing(root)
            store.relayer("box", f"fork-{count}")
        store.flatten("box")
        with mounted(store, "box", Path(directory, "mnt")) as root:
            assert listing(root) == before
        store.close()


@pytest.fixture
def store(tmp_path: Path):  # type: ignore[no-untyped-def]
    store = make_store(tmp_path)
    yield store
    store.close()


def layered(store: LayerStore, *contents: str) -> None:
    store.create("box", "host")
    for count, content in enumerate(contents):
        (store.upper("box") / content).write_text(content)
        store.relayer("box", f"fork-{count}")


def test_files_are_linked_not_copied(store: LayerStore) -> None:
    layered(store, "one", "two")
    inode = os.stat(store.lowers("box")[0] / "two").st_ino
    assert store.flatten("box") == 1
    assert os.stat(store.lowers("box")[0] / "two").st_ino == inode


def test_marks_stay_only_where_the_image_has_something_to_hide(store: LayerStore) -> None:
    store.create("box", "host")
    apply(store, "box", "a/y/k", "1")
    store.relayer("box", "fork-0")
    for path in ("a/y/k", "a/x"):
        apply(store, "box", path, False)
    store.relayer("box", "fork-1")
    assert store.flatten("box") == 1
    merged = store.lowers("box")[0]
    assert sorted(os.listdir(merged / "a")) == ["x", "y"]
    assert os.listdir(merged / "a" / "y") == []


def test_siblings_share_a_merge(store: LayerStore) -> None:
    layered(store, "one", "two")
    store.relayer("box", "sibling")
    store.flatten("box")
    store.flatten("sibling")
    assert store.lowers("box") == store.lowers("sibling")
    (store.upper("sibling") / "three").write_text("three")
    store.relayer("sibling", "grandchild")
    assert store.flatten("grandchild") == 1
    assert seen(store, "grandchild")["three"] == "three"


def test_a_held_sandbox_keeps_the_layers_it_was_mounted_with(store: LayerStore) -> None:
    store.create("box", "host")
    for name in ("one", "two"):
        (store.upper("box") / name).write_text(name)
        store.relayer("box", "fork")
        store.remove("fork")
    mounted_with = store.hold("box")
    assert store.flatten("box") == 1
    assert all(path.is_dir() for path in mounted_with)
    store.release("box")
    assert not any(path.is_dir() for path in mounted_with[:-1])
    assert seen(store, "box")["two"] == "two"


def test_layers_that_cannot_be_merged_stay(store: LayerStore) -> None:
    store.create("box", "host")
    for name in ("one", "two"):
        (store.upper("box") / name).mkdir()
        os.setxattr(store.upper("box") / name, "user.overlay.redirect", b"/elsewhere")
        store.relayer("box", f"fork-{name}")
    assert store.flatten("box") == 2
    assert set(os.listdir(store.lowers("box")[0].parent)) == {path.name for path in store.lowers("box")[:-1]}


def test_attributes_of_directories_are_those_of_the_newest_layer(store: LayerStore) -> None:
    store.create("box", "host")
    for mode in (0o750, 0o711):
        (store.upper("box") / "d").mkdir()
        os.chmod(store.upper("box") / "d", mode)
        os.utime(store.upper("box") / "d", ns=(mode, mode))
        store.relayer("box", f"fork-{mode}")
    store.flatten("box")
    status = os.stat(store.lowers("box")[0] / "d")
    assert stat.S_IMODE(status.st_mode) == 0o711
    assert status.st_mtime_ns == 0o711


def test_too_many_links_are_copied(store: LayerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    layered(store, "one", "two")

    def refuse(*args: object, **options: object) -> None:
        raise OSError(31, "Too many links")

    monkeypatch.setattr(os, "link", refuse)
    assert store.flatten("box") == 1
    assert seen(store, "box")["one"] == "one"


def test_a_fork_during_a_merge_is_kept(store: LayerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    layered(store, "one", "two")
    merge = store._merge  # the moment between reading the chain and switching it

    def fork_then_merge(image: str, layers: tuple[str, ...]) -> str | None:
        merged = merge(image, layers)
        (store.upper("box") / "late").write_text("late")
        store.relayer("box", "late")
        return merged

    monkeypatch.setattr(store, "_merge", fork_then_merge)
    assert store.flatten("box") == 2
    assert seen(store, "box")["late"] == "late"
    assert seen(store, "late") == seen(store, "box")
