"""Random histories of sandboxes compared with plain dictionaries, on simulated and on real overlays."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tests.island.sandbox.layer_support import View, delete, listing, make_store, mounted, needs_root, seen, write

paths = st.sampled_from(["a", "b", "c", "a/x", "a/y", "c/x", "a/x/k", "a/y/k", "c/x/k", "c/x/l"])
contents = st.sampled_from(["one", "two", ""])


def ancestors(path: str) -> list[str]:
    return [str(parent) for parent in Path(path).parents if str(parent) != "."]


class Histories(RuleBasedStateMachine):
    """Sandboxes written to as an overlay would, forked, flattened, removed, and found again after restarts."""

    real = False
    sandboxes: Bundle[str] = Bundle("sandboxes")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="skerry-layers-"))
        self.store = make_store(self.directory, userxattr=not self.real)
        self.store.recover()
        self.image = listing(self.directory / "image")
        self.models: dict[str, View] = {}
        self.count = 0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)

    def new_id(self) -> str:
        self.count += 1
        return f"box-{self.count}"

    @rule(target=sandboxes)
    def create(self) -> str:
        id = self.new_id()
        self.store.create(id, "host")
        self.models[id] = dict(self.image)
        return id

    @rule(id=sandboxes, path=paths, content=st.none() | contents)
    def write(self, id: str, path: str, content: str | None) -> None:
        model = self.models[id]
        if any(model.get(parent, None) is not None for parent in ancestors(path)):
            return
        if path in model and (content is None or model[path] is None):
            return
        if self.real:
            with mounted(self.store, id, self.directory / "mnt") as root:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                if content is None:
                    (root / path).mkdir()
                else:
                    (root / path).write_text(content)
        else:
            write(self.store.upper(id), self.store.lowers(id), path, content)
        model.update(dict.fromkeys(ancestors(path)))
        model[path] = content

    @rule(id=sandboxes, path=paths)
    def delete(self, id: str, path: str) -> None:
        model = self.models[id]
        if path not in model:
            return
        if self.real:
            with mounted(self.store, id, self.directory / "mnt") as root:
                shutil.rmtree(root / path) if model[path] is None else (root / path).unlink()
        else:
            delete(self.store.upper(id), self.store.lowers(id), path)
        for name in [name for name in model if name == path or name.startswith(path + "/")]:
            del model[name]

    @rule(target=sandboxes, parent=sandboxes)
    def fork_idle(self, parent: str) -> str:
        child = self.new_id()
        self.store.relayer(parent, child)
        self.models[child] = dict(self.models[parent])
        return child

    @rule(target=sandboxes, parent=sandboxes, ahead=st.booleans())
    def fork_running(self, parent: str, ahead: bool) -> str:
        child = self.new_id()
        self.store.hold(parent)
        if ahead:
            self.store.precopy(parent, child)
        self.store.copy(parent, child)
        self.store.release(parent)
        self.models[child] = dict(self.models[parent])
        return child

    @rule(id=sandboxes)
    def flatten(self, id: str) -> None:
        before = self.store.depth(id)
        assert self.store.flatten(id) == min(before, 1) == self.store.depth(id)

    @rule(id=consumes(sandboxes))
    def remove(self, id: str) -> None:
        self.store.remove(id)
        del self.models[id]

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = make_store(self.directory, userxattr=not self.real)
        recovery = self.store.recover()
        assert recovery.removed == recovery.undone == recovery.completed == recovery.unreadable == ()

    @invariant()
    def everyone_sees_what_was_written(self) -> None:
        assert self.store.ids() == sorted(self.models)
        for id, model in self.models.items():
            assert seen(self.store, id, userxattr=not self.real) == model
            if self.real:
                with mounted(self.store, id, self.directory / "mnt") as root:
                    assert listing(root) == model

    @invariant()
    def no_layer_is_kept_for_nothing(self) -> None:
        needed = {path.name for id in self.models for path in self.store.lowers(id)[:-1]}
        assert set(os.listdir(self.directory / "state" / "layers")) == needed


class RealHistories(Histories):
    """The same on overlays that the kernel mounts."""

    real = True


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)

TestRealHistories = needs_root(RealHistories.TestCase)
TestRealHistories.settings = settings(
    max_examples=10, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
