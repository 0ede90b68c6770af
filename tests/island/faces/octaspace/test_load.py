"""The load of the processors, from the kernel's counters at moments of the island's clock."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from skerry.island.clock import VirtualClock
from skerry.island.faces.octaspace.nodes import machine
from skerry.island.faces.octaspace.nodes.machine import Load
from tests.island.faces.octaspace.stage import Stage


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))


class Counters:
    """A kernel whose counters the test sets."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "stat"
        self.set(0, 0)

    def set(self, busy: int, idle: int) -> None:
        self.path.write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n")


@pytest.fixture
def counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counters:
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    return Counters(tmp_path)


def test_load_is_what_happened_since_the_last_look(counters: Counters, clock: VirtualClock) -> None:
    load = Load(clock.monotonic)
    counters.set(25, 75)
    assert load.percent() == 25
    counters.set(125, 75)
    # Two looks within a second see the same.
    clock.advance(0.9)
    assert load.percent() == 25
    clock.advance(0.1)
    assert load.percent() == 100
    clock.advance(60)
    counters.set(125, 1075)
    assert load.percent() == 0


def test_a_kernel_without_counters_has_no_load(
    tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    load = Load(clock.monotonic)
    clock.advance(5)
    assert load.percent() == 0


@pytest.mark.anyio
async def test_a_node_tells_the_load_memory_and_disk_of_this_machine(stage: Stage) -> None:
    node, *_ = await stage.nodes()
    stage.clock.advance(2)
    data = (await stage.ok("GET", f"/nodes/{node}"))["data"]
    assert 0 <= data["cpu_load_percent"] <= 100
    assert data["memory"]["available_memory"] > 0
    assert 0 < data["disk"]["free"] <= data["disk"]["size"]
    listed = next(one for one in await stage.ok("GET", "/nodes") if one["id"] == node)["system"]
    assert listed["cpu_load_percent"] == data["cpu_load_percent"]
    assert listed["disk"]["size"] == data["disk"]["size"]
