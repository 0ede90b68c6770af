"""Who gets a node, in which order, at what price, and what is said to those who wait."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.island.engine.records import Gpu
from skerry.island.faces.dispersed.errors import Fault
from skerry.island.faces.dispersed.jobs.placement import GB, Card, Need, Offer, place, why_not
from skerry.island.faces.dispersed.nodes.gpu_models import uuid_of
from skerry.island.settings import Dispersed as DispersedSettings
from skerry.money import Money
from skerry.units import MIB
from tests.island.faces.dispersed.network import Network

CARD = Card(index=0, name="NVIDIA GeForce RTX 4090", vram_gb=24, rate=350_000, registry_uuid="r-4090")
BIG = Card(index=1, name="NVIDIA RTX 5090", vram_gb=32, rate=690_000, registry_uuid="r-5090")


def offer(name: str = "n", cards: tuple[Card, ...] = (), **fields: object) -> Offer:
    """A node with eight processors, nothing of it taken."""
    usual: dict[str, object] = {
        "node_uuid": name,
        "local": False,
        "region_code": None,
        "reputation": 50,
        "assignable": True,
        "cpu_millis": 8_000,
        "memory_bytes": 16 * GB,
        "disk_bytes": 100 * GB,
        "cards": cards,
        "all_cores": 8,
        "all_memory_bytes": 16 * GB,
        "all_disk_bytes": 100 * GB,
        "all_cards": cards,
        "core_rate": 20_000,
    }
    return Offer(**{**usual, **fields})  # type: ignore[arg-type]


def test_the_cheapest_then_the_best_reputation() -> None:
    dear, cheap = offer("dear", (BIG,)), offer("cheap", (CARD,))
    found = place(Need(gpu_count=1), [dear, cheap])
    assert found is not None
    assert (found.node_uuid, found.rate, found.cards) == ("cheap", 350_000, (CARD,))
    better = offer("better", (CARD,), reputation=90)
    assert place(Need(gpu_count=1), [cheap, better, dear]).node_uuid == "better"  # type: ignore[union-attr]
    assert place(Need(cores=3), [offer()]).rate == 60_000  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("need", "fits"),
    [
        (Need(gpu_count=1, gpu_name="RTX 4090"), True),
        (Need(gpu_count=1, gpu_name="nvidia  geforce rtx 4090"), True),
        (Need(gpu_count=1, gpu_name="RTX 4080"), False),
        (Need(gpu_count=2), False),
        (Need(gpu_count=1, min_vram_gb=24), True),
        (Need(gpu_count=1, min_vram_gb=25), False),
        (Need(gpu_count=1, gpu_registry_uuid="r-4090"), True),
        (Need(gpu_count=1, gpu_registry_uuid="r-5090"), False),
        (Need(cores=9), False),
        (Need(memory_bytes=17 * GB), False),
        (Need(disk_bytes=101 * GB), False),
        (Need(region_codes=("us-east-1",)), False),
    ],
)
def test_what_fits(need: Need, fits: bool) -> None:
    assert (place(need, [offer(cards=(CARD,))]) is not None) == fits


def test_gpus_of_one_run_are_of_one_model() -> None:
    mixed = offer(cards=(CARD, BIG))
    assert place(Need(gpu_count=2), [mixed]) is None
    twice = offer(cards=(BIG, CARD, Card(index=2, name=CARD.name, vram_gb=24, rate=350_000)))
    found = place(Need(gpu_count=2), [twice])
    assert found is not None
    assert ([card.index for card in found.cards], found.rate) == ([0, 2], 700_000)


def test_reasons_are_honest() -> None:
    assert why_not(Need(gpu_count=1, gpu_name="RTX 4090"), [offer()]) == "No node has 1 GPU RTX 4090"
    assert why_not(Need(gpu_count=2, min_vram_gb=80), [offer(cards=(CARD,))]) == "No node has 2 GPUs with 80 GB"
    assert "largest has 8 processors" in why_not(Need(cores=9), [offer()])
    assert "busy" in why_not(Need(cores=8), [offer(cpu_millis=2_000)])
    assert "away" in why_not(Need(), [offer(assignable=False)])
    assert why_not(Need(region_codes=("eu-west-1",)), [offer()]) == "No node is in eu-west-1"
    assert why_not(Need(), []) == "There is no node"


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 3), st.integers(0, 100)), max_size=6),
    st.integers(1, 9),
    st.integers(0, 3),
)
def test_a_node_is_found_exactly_when_there_is_one(
    nodes: list[tuple[int, bool, int, int]], cores: int, gpus: int
) -> None:
    offers = [
        offer(str(number), (CARD,) * count, cpu_millis=free * 1_000, assignable=there, reputation=reputation)
        for number, (free, there, count, reputation) in enumerate(nodes)
    ]
    fitting = [one for one in offers if one.assignable and one.cores >= cores and len(one.cards) >= gpus]
    found = place(Need(cores=cores, gpu_count=gpus), offers)
    assert (found is None) == (not fitting)
    if found is not None:
        best = max(one.reputation for one in fitting)
        assert found.node_uuid == next(one.node_uuid for one in fitting if one.reputation == best)


async def cores(network: Network) -> int:
    return network.engine.nodes.local.cpu_millis // 1_000


@pytest.mark.anyio
async def test_jobs_that_do_not_fit_together_run_one_after_the_other(network: Network) -> None:
    everything = await cores(network)
    first = await network.create("exec sleep 600", cpu_count=everything)
    await network.reaches(first, "RUNNING")
    second = await network.create("true", cpu_count=everything)

    async def told() -> bool:
        return (await network.job(second))["status_reason"] == "Every node that could take it is busy"

    await network.until(told)
    assert (await network.job(second))["status"] == "PENDING"
    await network.cancel(first)
    assert (await network.ended(second))["status"] == "COMPLETED"
    assert (await network.job(second))["status_reason"] is None
    await network.empty()


@pytest.mark.anyio
async def test_the_oldest_first_and_nobody_blocks_those_behind(network: Network) -> None:
    everything = await cores(network)
    running = await network.create("exec sleep 600", cpu_count=everything)
    await network.reaches(running, "RUNNING")
    impossible = await network.create(cpu_count=10_000)
    older = await network.create("exec sleep 600", cpu_count=everything)
    younger = await network.create("exec sleep 600", cpu_count=everything)
    await network.cancel(running)
    await network.reaches(older, "RUNNING")
    assert (await network.job(younger))["status"] == "PENDING"
    job = await network.job(impossible)
    assert job["status"] == "PENDING"
    assert job["status_reason"].startswith("No node is large enough")
    for uuid in (older, younger, impossible):
        await network.cancel(uuid)
        await network.ended(uuid)
    await network.empty()


@pytest.mark.anyio
async def test_a_job_without_a_node_says_why_and_fails_in_time(network: Network) -> None:
    uuid = await network.create(gpu_count=1, gpu_name="NVIDIA RTX 4090", max_timeout_assign_ms=300_000)

    async def told() -> bool:
        return (await network.job(uuid))["status_reason"] == "No node has 1 GPU NVIDIA RTX 4090"

    await network.until(told)
    job = await network.job(uuid)
    assert job["timeout_assign_at_ms"] == network.now // 1_000 + 300_000
    await network.pass_time(299.999)
    assert (await network.job(uuid))["status"] == "PENDING"
    await network.pass_time(0.001)
    job = await network.job(uuid)
    assert job["status"] == "FAILED"
    assert job["status_reason"] == "No node was found within 300000 ms: No node has 1 GPU NVIDIA RTX 4090"
    assert job["completed_at"]
    assert await network.runs_of(uuid) == []


@pytest.mark.anyio
async def test_a_wait_in_vain_costs_a_retry(network: Network) -> None:
    uuid = await network.create(gpu_registry_uuid=uuid_of("NVIDIA RTX 5090"), gpu_count=1, max_retry_count=1)
    await network.pass_time(300)
    job = await network.job(uuid)
    assert (job["status"], job["timeout_assign_at_ms"]) == ("PENDING", network.now // 1_000 + 300_000)
    await network.pass_time(300)
    assert (await network.job(uuid))["status"] == "FAILED"


@pytest.mark.anyio
async def test_a_model_that_the_registry_does_not_have_is_refused(network: Network) -> None:
    with pytest.raises(Fault) as caught:
        await network.create(gpu_count=1, gpu_registry_uuid="019582a6-27fc-731d-af0a-594f04d6d0d5")
    assert (caught.value.status, [issue.path for issue in caught.value.details]) == (400, [("gpu_registry_uuid",)])


@pytest.mark.anyio
async def test_regions(network: Network) -> None:
    uuid = await network.create(allowed_region_codes=["eu-west-1"])

    async def told() -> bool:
        return (await network.job(uuid))["status_reason"] == "No node is in eu-west-1"

    await network.until(told)
    await network.scheduler.stop()
    await network.engine.close()
    network.change(dispersed=DispersedSettings(region="eu-west-1"))
    await network.open()
    assert (await network.ended(uuid))["status"] == "COMPLETED"


@pytest.mark.anyio
async def test_several_nodes_of_one_job(network: Network) -> None:
    """One machine with room for two runs gives both slots of a job a place, the third when one is free."""
    assert await cores(network) == 2
    uuid = await network.create("exec sleep 600", cpu_count=1, max_node_count=3)

    async def two() -> bool:
        return [run.status for run in await network.runs_of(uuid)] == ["RUNNING", "RUNNING"]

    await network.until(two)
    assert [run.slot for run in await network.runs_of(uuid)] == [0, 1]
    first = (await network.runs_of(uuid))[0]
    await network.write(network.runs.cancel, first.uuid)

    async def three() -> bool:
        return [run.status for run in await network.runs_of(uuid)] == ["CANCELLED", "RUNNING", "RUNNING"]

    await network.until(three)
    assert (await network.job(uuid))["status"] == "RUNNING"
    await network.cancel(uuid)
    assert (await network.ended(uuid))["status"] == "CANCELLED"
    await network.empty()


@pytest.mark.anyio
async def test_without_credit_nothing_is_accepted_and_nothing_is_run(network: Network) -> None:
    balance = await network.balance()
    dear = await network.create(max_timeout_run_ms=300_000_000_000)
    job = await network.ended(dear)
    run = await network.run_of(dear)
    assert (job["status"], job["status_reason"]) == ("FAILED", "INSUFFICIENT_BALANCE")
    assert (run["status"], run["status_reason"], run["duration_ms"]) == ("FAILED", "INSUFFICIENT_BALANCE", None)
    authorizations, transactions = await network.money()
    assert [(row.approved, row.status, row.status_reason) for row in authorizations] == [
        (0, "CLOSED", "INSUFFICIENT_BALANCE")
    ]
    assert transactions == []
    assert await network.balance() == balance
    await network.engine.ledger.hold(network.account, "all", Money(balance, "USD"))
    with pytest.raises(Fault) as caught:
        await network.create()
    assert (caught.value.status, caught.value.code) == (402, "INSUFFICIENT_BALANCE")
    await network.engine.ledger.release(network.account, "all")
    await network.empty()


@pytest.mark.anyio
async def test_an_idle_scheduler_does_not_turn(network: Network) -> None:
    """It sleeps until its heart beats next."""
    assert 0 < await network.scheduler.tick() - network.now <= 15_000_000
    ticks = 0
    real = network.scheduler.tick

    async def counted() -> int:
        nonlocal ticks
        ticks += 1
        return await real()

    network.scheduler.tick = counted  # type: ignore[method-assign]
    network.scheduler.wake()

    async def woken() -> bool:
        return ticks > 0

    await network.until(woken)
    uuid = await network.create()
    await network.ended(uuid)
    assert ticks < 20


@pytest.mark.anyio
async def test_gpus_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has its GPUs for itself, at the registry's rate for their model."""
    cards = tuple(
        Gpu(index=index, name="NVIDIA GeForce RTX 4090", memory_bytes=24_564 * MIB, uuid=f"GPU-{index}")
        for index in range(2)
    )
    monkeypatch.setattr("skerry.island.engine.gpus.detect", lambda: cards)
    network = Network(tmp_path)
    await network.open()
    try:
        docker = {"env": {"SKERRY_COMMAND": "exec sleep 600"}}
        exact = uuid_of("NVIDIA RTX 4090")
        first = await network.create("", docker, gpu_count=1, gpu_registry_uuid=exact, min_vram_gb=24)
        run = await network.run_reaches(first, "RUNNING")
        assert (run.hourly_rate, run.gpu_count, run.gpu_name) == (350_000, 1, "NVIDIA GeForce RTX 4090")
        (part,) = await network.engine.store.read(network.engine.capacity.held)
        assert (part.id, part.gpus) == (run.uuid, (0,))
        sandbox = await network.engine.sandboxes.get(network.account, run.sandbox_id)
        assert sandbox.gpus == (0,)
        both = await network.create(gpu_count=2, gpu_name="RTX 4090")
        other = await network.create("", docker, gpu_count=1)
        await network.reaches(other, "RUNNING")
        assert (await network.job(both))["status_reason"] == "Every node that could take it is busy"
        for uuid in (first, other):
            await network.cancel(uuid)
        await network.ended(both)
        assert (await network.runs_of(both))[0].hourly_rate == 700_000
        await network.empty()
        # A model that is loaded makes room once it is idle; what is free is given first.
        lending, idle = network.engine.lending, list[str]()

        async def leave() -> bool:
            await lending.give(idle.pop())
            return True

        lending.on_wanted(leave, lambda: idle)
        await lending.take("model", 1)
        third = await network.create(gpu_count=2)
        await network.ended(await network.create(gpu_count=1))
        assert (await network.job(third))["status_reason"] == "Every node that could take it is busy"
        idle.append("model")
        assert [gpu.index for gpu in (await network.engine.store.read(lending.free)).gpus] == [1, 0]
        await network.ended(await network.create(gpu_count=1))
        network.scheduler.wake()
        await network.ended(third)
        assert idle == []
    finally:
        await network.end()
