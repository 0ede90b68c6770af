"""Jobs that wait: their order, and that a look at them costs what it gives, not what waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.faces.dispersed.jobs.job_rows import find_job
from skerry.island.faces.dispersed.jobs.placement import Need
from skerry.island.faces.dispersed.jobs.waiting import Waiting
from tests.island.faces.dispersed.network import Network


def job(uuid: str, created_at: int = 0, status: str = "PENDING", assign_by: int = 10) -> Any:
    """As much of a row as the order needs."""
    return SimpleNamespace(uuid=uuid, created_at=created_at, status=status, assign_by_ms=assign_by)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3), st.booleans())), st.sets(st.integers(1, 3)))
def test_the_oldest_first_whatever_they_need(jobs: list[tuple[int, int, bool]], refused: set[int]) -> None:
    waiting = Waiting()
    for number, (created, cores, _) in enumerate(jobs):
        waiting.enter(job(f"{number:03}", created), Need(cores=cores))
    for number, (_, _, leaves) in enumerate(jobs):
        if leaves:
            waiting.leave(f"{number:03}")
    stay = [(created, f"{number:03}", cores) for number, (created, cores, leaves) in enumerate(jobs) if not leaves]
    expected = [uuid for _, uuid, cores in sorted(stay) if cores not in refused]
    assert [uuid for uuid, _ in waiting.in_turn({Need(cores=cores) for cores in refused})] == expected
    assert len(waiting) == len(stay)


def test_a_line_that_is_refused_on_the_way_is_left_out_from_then_on() -> None:
    waiting = Waiting()
    for number in range(6):
        waiting.enter(job(str(number), number), Need(cores=1 + number % 2))
    refused: set[Need] = set()
    seen = []
    for uuid, need in waiting.in_turn(refused):
        seen.append(uuid)
        if need.cores == 2:
            refused.add(need)
    assert seen == ["0", "1", "2", "4"]


def test_deadlines_of_those_who_are_still_there() -> None:
    waiting = Waiting()
    waiting.enter(job("a", assign_by=10), Need())
    waiting.enter(job("b", assign_by=20), Need())
    waiting.enter(job("c", assign_by=5, status="RUNNING"), Need())
    assert waiting.deadline() == 10_000
    waiting.enter(job("a", assign_by=30), Need())
    assert waiting.deadline() == 20_000
    waiting.met(20_000)
    assert waiting.deadline() == 30_000
    waiting.leave("a")
    assert waiting.deadline() is None
    waiting.leave("a")


def test_who_rests_stands_in_no_line_until_then() -> None:
    waiting = Waiting()
    waiting.enter(job("a", 1), Need())
    waiting.enter(job("b", 2), Need())
    waiting.rest("a", 50)
    waiting.rest("a", 70)
    waiting.rest("nobody", 1)
    assert ([uuid for uuid, _ in waiting.in_turn(set())], waiting.untold, waiting.rested()) == (["b"], {"b"}, 70)
    waiting.line_up(69)
    assert len(waiting) == 2
    assert waiting.of(Need()) == ["b"]
    waiting.line_up(70)
    assert (waiting.of(Need()), waiting.untold, waiting.rested()) == (["a", "b"], {"a", "b"}, None)
    waiting.rest("b", 90)
    waiting.leave("b")
    assert (waiting.rested(), waiting.of(Need())) == (None, ["a"])
    waiting.rest("a", 90)
    # What was learned anew of it comes first.
    waiting.enter(job("a", 1), Need())
    assert (waiting.rested(), waiting.of(Need())) == (None, ["a"])


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many rows of jobs are read one by one while this lasts."""
    reads: list[int] = [0]

    def found(*given: Any) -> Any:
        reads[0] += 1
        return find_job(*given)

    with monkeypatch.context() as patch:
        patch.setattr("skerry.island.faces.dispersed.jobs.scheduler.find_job", found)
        yield reads


@pytest.mark.anyio
async def test_those_who_wait_slow_nobody_down(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wake looks at as many rows with 200 waiting jobs as with 5; a new job makes it look at no other's."""
    everything = network.engine.nodes.local.cpu_millis // 1_000
    running = await network.create("exec sleep 600", cpu_count=everything)
    await network.reaches(running, "RUNNING")
    costs: list[int] = []
    waiting: list[str] = []
    for many in (5, 195):
        waiting += [await network.create("exec sleep 600", cpu_count=everything) for _ in range(many)]
        await network.scheduler.tick()
        with counted(monkeypatch) as reads:
            small = await network.create(gpu_count=1)
            await network.scheduler.tick()
            network.scheduler.wake()
            await network.scheduler.tick()
        assert (await network.job(small))["status_reason"] == "No node has 1 GPU"
        costs.append(reads[0])
    assert costs == [0, 0]
    with counted(monkeypatch) as reads:
        await network.cancel(running)
        await network.reaches(waiting[0], "RUNNING")
        await network.scheduler.tick()
    assert reads[0] == 1
    page = await network.jobs.list(network.call(query=[("filter[status]", "PENDING"), ("page[limit]", "1")]))
    assert page["data"]


@pytest.mark.anyio
async def test_who_does_not_say_how_much_shares_processors(network: Network) -> None:
    """More such jobs run at once than there are processors; each pays for one."""
    node = network.engine.nodes.local
    uuids = [await network.create("exec sleep 600") for _ in range(node.cpu_millis // 1_000 + 1)]
    for uuid in uuids:
        run = await network.run_reaches(uuid, "RUNNING")
        assert run.hourly_rate == network.settings.dispersed.cpu_hour.amount
        sandbox = await network.engine.sandboxes.get(network.account, run.sandbox_id)
        assert sandbox.limits.cpu_millis == 1_000
    for uuid in uuids:
        await network.cancel(uuid)
        await network.ended(uuid)
    await network.empty()
