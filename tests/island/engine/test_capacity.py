"""Any history of taking, releasing, undoing and crashing leaves exact sums and never more than the machine has."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from sqlalchemy import Connection, create_engine, event

from skerry.island.engine.capacity import Capacity
from skerry.island.engine.errors import Conflict, Invalid, NoCapacity
from skerry.island.engine.records import Account, Gpu, Node
from skerry.island.store import accounts, migrate
from skerry.island.store import sandboxes as sandbox_rows
from skerry.island.store.store import Store
from skerry.money import Money

FLOOR = 100
GPUS = tuple(Gpu(index=index, name="X", memory_bytes=1, uuid=f"GPU-{index}") for index in (0, 1, 3))


def node(**changes: object) -> Node:
    price = Money(0, "USD")
    values: dict = {"cpu_millis": 1000, "memory_bytes": 100, "disk_bytes": 50, "gpus": GPUS, **changes}
    return Node(id="local", name="n", state="ready", cpu_hour=price, memory_gib_hour=price, gpu_hour=price, **values)


def prepare(connection: Connection) -> None:
    sandbox_rows.put_node(connection, node())
    accounts.add(connection, Account(id="a", name="a", created_at=datetime(2026, 1, 1, tzinfo=UTC)), 0)


class Crash(BaseException):
    """The process dies here."""


class Machine(RuleBasedStateMachine):
    taken = Bundle("taken")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.engine = create_engine(f"sqlite:///{Path(self.folder.name) / 'x.db'}")
        migrate.upgrade(self.engine)
        with self.engine.begin() as connection:
            prepare(connection)
        self.capacity = Capacity(node(), FLOOR)
        self.countdown: int | None = None
        event.listen(self.engine, "before_cursor_execute", self._statement)
        self.model: dict[str, tuple[int, int, int, tuple[int, ...]]] = {}
        self.number = 0

    def _statement(self, *_: object) -> None:
        if self.countdown is not None:
            self.countdown -= 1
            if self.countdown < 0:
                raise Crash

    @rule(
        target=taken,
        cpu=st.integers(0, 1200),
        memory=st.integers(0, 60),
        disk=st.integers(0, 30),
        gpus=st.lists(st.sampled_from([0, 1, 3]), unique=True, max_size=2),
        crash=st.none() | st.integers(0, 6),
    )
    def take(self, cpu: int, memory: int, disk: int, gpus: list[int], crash: int | None) -> str:
        self.number += 1
        id = f"t{self.number}"
        used = self.model.values()
        fits = (
            max(cpu, FLOOR) + sum(one[0] for one in used) <= 1000
            and memory + sum(one[1] for one in used) <= 100
            and disk + sum(one[2] for one in used) <= 50
            and not {index for one in used for index in one[3]} & set(gpus)
        )
        ask = {"cpu_millis": cpu, "memory_bytes": memory, "disk_bytes": disk, "gpus": gpus, "now": self.number}
        self.countdown = crash
        done = False
        try:
            with suppress(Crash), self.engine.begin() as connection:
                self.capacity.take(connection, id, "a", **ask)
                done = True
            assert fits or not done
        except NoCapacity:
            assert not fits
        finally:
            self.countdown = None
        if done:
            self.model[id] = (max(cpu, FLOOR), memory, disk, tuple(gpus))
        return id

    @rule(id=consumes(taken), undo=st.booleans())
    def release(self, id: str, undo: bool) -> None:
        with suppress(Crash), self.engine.begin() as connection:
            assert self.capacity.release(connection, id) is (id in self.model)
            if undo:
                raise Crash
        if not undo:
            self.model.pop(id, None)

    @rule(id=taken)
    def take_twice(self, id: str) -> None:
        with self.engine.begin() as connection:
            if id in self.model:
                with pytest.raises(Conflict):
                    self.capacity.take(connection, id, "a", cpu_millis=0, memory_bytes=0, disk_bytes=0, gpus=(), now=0)

    @invariant()
    def sums_are_exact(self) -> None:
        with self.engine.begin() as connection:
            free = Capacity(node(), FLOOR).free(connection)
            held = self.capacity.held(connection)
        used = self.model.values()
        assert free.cpu_millis == 1000 - sum(one[0] for one in used) >= 0
        assert free.memory_bytes == 100 - sum(one[1] for one in used) >= 0
        assert free.disk_bytes == 50 - sum(one[2] for one in used) >= 0
        busy = [index for one in used for index in one[3]]
        assert len(busy) == len(set(busy))
        assert [gpu.index for gpu in free.gpus] == [index for index in (0, 1, 3) if index not in busy]
        assert {one.id: (one.cpu_millis, one.memory_bytes, one.disk_bytes, one.gpus) for one in held} == self.model

    def teardown(self) -> None:
        self.engine.dispose()
        self.folder.cleanup()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


@pytest.mark.anyio
async def test_what_can_never_be_is_refused_and_a_machine_may_shrink(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path / 'island.db'}")
    await store.run(prepare)
    ask = {"cpu_millis": 0, "memory_bytes": 0, "disk_bytes": 0, "gpus": (), "now": 1}
    capacity = Capacity(node(), FLOOR)
    for wrong in ({"cpu_millis": -1}, {"disk_bytes": -1}, {"gpus": (2,)}, {"gpus": (0, 0)}):
        with pytest.raises(Invalid):
            await store.run(capacity.take, "t", "a", **{**ask, **wrong})
    await store.run(capacity.take, "t", "a", **{**ask, "cpu_millis": 900, "gpus": (1,)})
    smaller = Capacity(node(cpu_millis=500, gpus=GPUS[:1]), FLOOR)
    free = await store.read(smaller.free)
    assert (free.cpu_millis, [gpu.index for gpu in free.gpus]) == (0, [0])
    with pytest.raises(NoCapacity, match=r"0\.1 of CPU were asked for; 0 are free"):
        await store.run(smaller.take, "u", "a", **ask)
    await store.close()
