"""A crash or an error at every single step of every operation: nothing is lost and nothing is left over."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.layers.store import LayerStore
from tests.island.sandbox.layer_support import View, make_store, seen


@pytest.fixture(autouse=True)
def _copy_ahead_even_what_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skerry.island.sandbox.layers.store._FEW_BYTES", -1)


STEPS = ("chmod", "chown", "fsync", "link", "mkdir", "mknod", "open", "rename", "rmdir", "symlink", "unlink", "write")


class Crash(BaseException):
    """The process is no more."""


class Calls:
    def __init__(self) -> None:
        self.count = 0


@contextmanager
def failing(at: int, error: Callable[[], BaseException], *, forever: bool) -> Iterator[Calls]:
    """Let the call number `at` that changes the file system raise, and with `forever` all later ones."""
    calls = Calls()
    here = threading.current_thread()
    real = {name: getattr(os, name) for name in STEPS}

    def wrap(name: str) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            # Deletion in the background does not die with this thread's operation.
            if threading.current_thread() is here:
                calls.count += 1
                if calls.count == at or (forever and calls.count > at):
                    raise error()
            return real[name](*args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, wrap(name))
        yield calls


def prepare(directory: Path) -> LayerStore:
    """`parent` with two layers, dirt in its upper, `other` sharing the lowest layer, `old` with a flat chain."""
    store = make_store(directory)
    store.create("parent", "host")
    (store.upper("parent") / "first").write_text("first")
    store.relayer("parent", "other")
    (store.upper("parent") / "second").write_text("second")
    store.relayer("parent", "old")
    (store.upper("parent") / "third").write_text("third")
    os.link(store.upper("parent") / "third", store.upper("parent") / "fourth")
    (store.upper("parent") / "d").mkdir()
    return store


def hold_twice(store: LayerStore) -> None:
    store.hold("parent")
    store.hold("parent")
    store.release("parent")


def copy_ahead(store: LayerStore) -> None:
    store.precopy("parent", "child")
    (store.upper("parent") / "third").write_text("third")
    store.copy("parent", "child", files={"spec.json": b"{}"})


OPERATIONS: dict[str, Callable[[LayerStore], object]] = {
    "create": lambda store: store.create("child", "host", files={"spec.json": b"{}"}),
    "relayer": lambda store: store.relayer("parent", "child", files={"spec.json": b"{}"}),
    "relayer-untouched": lambda store: store.relayer("other", "child"),
    "copy": lambda store: store.copy("parent", "child", files={"spec.json": b"{}"}),
    "copy-ahead": copy_ahead,
    "flatten": lambda store: store.flatten("parent"),
    "remove": lambda store: store.remove("old"),
    "hold": hold_twice,
    "fresh-work": lambda store: store.fresh_work("parent"),
}


def views(store: LayerStore) -> dict[str, View]:
    return {id: seen(store, id) for id in store.ids()}


def check(store: LayerStore, before: dict[str, View], operation: str) -> None:
    """All is as before or as after, everything on disk is needed, and the parent can go on."""
    after = views(store)
    child = after.pop("child", None)
    if operation == "remove":
        assert after in (before, {id: shown for id, shown in before.items() if id != "old"})
    else:
        assert after == before
    if child is not None:
        expected = {"create": {"a": None, "a/x": "image x", "b": "image b"}, "relayer-untouched": before["other"]}
        assert child == expected.get(operation, before["parent"])
        if operation != "relayer-untouched":
            assert (store.directory("child") / "spec.json").read_bytes() == b"{}"
    for id in store.ids():
        store.release(id)
    root = store.directory("parent").parent.parent
    needed = {path.name for id in store.ids() for path in store.lowers(id)[:-1]}
    assert set(os.listdir(root / "layers")) == needed
    assert set(os.listdir(root / "sandboxes")) == set(store.ids())
    assert os.listdir(root / "journal") == []
    for id in store.ids():
        left = set(os.listdir(store.directory(id))) - {"spec.json", "work"}
        assert left <= {"chain.json", "upper", "chain.json.new"}
    store.fresh_work("parent")
    store.relayer("parent", "grandchild")
    assert seen(store, "grandchild") == before["parent"]
    assert store.drain(300)
    assert os.listdir(root / "trash") == []


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_crash_at_any_step_loses_nothing(operation: str, tmp_path: Path) -> None:
    for step in range(1, 200):
        directory = tmp_path / str(step)
        store = prepare(directory)
        before = views(store)
        with failing(step, Crash, forever=True) as calls:
            try:
                OPERATIONS[operation](store)
            except Crash:
                pass
        store.close()
        store = make_store(directory)
        store.recover()
        check(store, before, operation)
        store.close()
        if calls.count < step:
            assert step > 1
            return
    pytest.fail("the operation never ended")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_error_at_any_step_is_reported_and_undone(operation: str, tmp_path: Path) -> None:
    for step in range(1, 200):
        directory = tmp_path / str(step)
        store = prepare(directory)
        before = views(store)
        failed = False
        with failing(step, lambda: OSError(errno.ENOSPC, "No space left on device"), forever=False) as calls:
            try:
                OPERATIONS[operation](store)
            except SandboxError as error:
                failed = error.reason == "disk_full"
                if not failed:
                    raise
        store.drain(300)
        if failed and operation != "fresh-work":
            # The same store goes on, without a restart in between.
            assert "child" not in store.ids()
            assert views(store) in (before, {id: shown for id, shown in before.items() if id != "old"})
            if operation != "hold" and not (operation == "remove" and "old" not in store.ids()):
                OPERATIONS[operation](store)
        store.close()
        store = make_store(directory)
        store.recover()
        check(store, before, operation)
        store.close()
        if calls.count < step:
            return
    pytest.fail("the operation never ended")


def test_a_crash_during_recovery_changes_nothing(tmp_path: Path) -> None:
    for crash in range(4, 40, 5):
        for second in range(1, 12, 2):
            directory = tmp_path / f"{crash}-{second}"
            store = prepare(directory)
            before = views(store)
            with failing(crash, Crash, forever=True) as calls, pytest.MonkeyPatch.context():
                try:
                    store.relayer("parent", "child", files={"spec.json": b"{}"})
                except Crash:
                    pass
            store.close()
            done = calls.count < crash
            store = make_store(directory)
            with failing(second, Crash, forever=True):
                try:
                    store.recover()
                except Crash:
                    pass
            store.close()
            store = make_store(directory)
            store.recover()
            check(store, before, "relayer")
            store.close()
        if done:
            return


FORKING = """
import sys
from pathlib import Path
from tests.island.sandbox.layer_support import make_store
store = make_store(Path(sys.argv[1]))
store.recover()
if not store.ids():
    store.create("parent", "host")
# The file of the child that is still to come may be written or not.
for count in range(len(store.ids()) - 1, 10_000):
    (store.upper("parent") / f"file-{count}").write_text(str(count))
    print(count, flush=True)
    store.relayer("parent", f"child-{count}")
    if count % 3 == 0:
        store.flatten("parent")
"""


def test_killed_for_real(tmp_path: Path) -> None:
    for round in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", FORKING, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        ) as process:
            assert process.stdout is not None
            for _ in range(4 + round):
                last = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
        last = int(rest[-1]) if rest else last
        store = make_store(tmp_path)
        store.recover()
        shown = seen(store, "parent")
        assert {name for name in shown if name.startswith("file-")} >= {f"file-{count}" for count in range(last + 1)}
        for id in store.ids():
            if id.startswith("child-"):
                number = int(id.removeprefix("child-"))
                assert {name for name in seen(store, id) if name.startswith("file-")} >= {
                    f"file-{count}" for count in range(number + 1)
                }
        store.close()


def test_an_unreadable_chain_costs_no_other_sandbox_a_layer(tmp_path: Path) -> None:
    store = prepare(tmp_path)
    (store.directory("parent") / "chain.json").write_text("{")
    store.close()
    store = make_store(tmp_path)
    layers = set(os.listdir(tmp_path / "state" / "layers"))
    assert store.recover().unreadable == ("parent",)
    with pytest.raises(SandboxError, match="cannot be read") as caught:
        store.lowers("parent")
    assert caught.value.reason == "lost"
    store.remove("old")
    assert set(os.listdir(tmp_path / "state" / "layers")) == layers
    assert seen(store, "other")["first"] == "first"
    store.remove("parent")
    store.close()
    store = make_store(tmp_path)
    store.recover()
    assert set(os.listdir(tmp_path / "state" / "layers")) == {path.name for path in store.lowers("other")[:-1]}
    store.close()


def test_a_parent_used_before_recovery_keeps_both_its_uppers(tmp_path: Path) -> None:
    store = prepare(tmp_path)
    before = seen(store, "parent")
    entry_written = False
    for step in range(1, 60):
        if entry_written:
            break
        with failing(step, Crash, forever=True):
            try:
                store.relayer("parent", "child")
            except Crash:
                pass
        journal = list((tmp_path / "state" / "journal").glob("*.json"))
        entry_written = bool(journal) and not (store.upper("parent") / "third").exists()
        if not entry_written:
            store = make_store(tmp_path)
            store.recover()
            if store.exists("child"):
                pytest.fail("the crash came too late")
    store.upper("parent").mkdir(exist_ok=True)
    (store.upper("parent") / "early").write_text("early")
    store = make_store(tmp_path)
    assert store.recover().completed == ("child",)
    assert seen(store, "parent") == {**before, "early": "early"}
    assert seen(store, "child") == before
    store.close()
