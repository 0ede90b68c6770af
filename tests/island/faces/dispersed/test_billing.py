"""What runs cost: the published rules to the last micro, and books that are right whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from skerry.island.faces.dispersed.errors import Fault
from skerry.island.faces.dispersed.jobs.billing import charge, duration_ms, hold_amount
from skerry.island.faces.dispersed.jobs.lifecycle import JOB_STATUSES, RUN_STATUSES, TERMINAL
from skerry.money import Money
from tests.island.faces.dispersed.network import Network

RATES = st.integers(0, 10**9)
TIMES = st.integers(0, 10 * 365 * 86_400_000)
CORE = 20_000


def test_the_worked_example() -> None:
    """An RTX 5090 for 389 s: 0.074558 USD (section 5.3)."""
    assert charge(690_000, 389_000) == 74_558


@given(RATES, TIMES)
def test_charges_are_rounded_half_up(rate: int, milliseconds: int) -> None:
    exact = Decimal(rate) * milliseconds / 3_600_000
    assert charge(rate, milliseconds) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))


@given(RATES, TIMES)
def test_holds_are_rounded_up_and_cover_the_charge(rate: int, milliseconds: int) -> None:
    held = hold_amount(rate, milliseconds)
    assert held % 100 == 0
    assert 0 <= held * 3_600_000 - rate * milliseconds < 100 * 3_600_000
    assert charge(rate, milliseconds) <= held


@given(st.integers(0, 2**50), st.none() | st.integers(0, 2**50), st.integers(0, 2**50))
def test_no_clock_makes_a_duration_negative(started: int, completed: int | None, now: int) -> None:
    assert (duration_ms(started, completed, now) or 0) >= 0
    assert duration_ms(None, completed, now) is None


@pytest.mark.anyio
async def test_a_batch_run_is_charged_for_its_time_and_the_rest_returns(network: Network) -> None:
    before = await network.balance()
    uuid = await network.create("exec sleep 600", max_timeout_run_ms=3_600_000, cpu_count=2)
    run = await network.run_reaches(uuid, "RUNNING")
    assert run.hourly_rate == 2 * CORE
    assert await network.held() == 40_000
    assert await network.balance() == before - 40_000
    network.virtual.advance(389)
    cost = await network.runs.cost(network.call(), run.uuid)
    assert (cost["pending_usd"], cost["captured_usd"], cost["is_final"]) == (Decimal("0.004322"), 0, False)
    assert cost["authorized_usd"] == Decimal("0.04")
    await network.cancel(uuid)
    await network.ended(uuid)
    cost = await network.runs.cost(network.call(), run.uuid)
    assert (cost["duration_ms"], cost["captured_usd"]) == (389_000, Decimal("0.004322"))
    assert (cost["pending_usd"], cost["total_cost_usd"], cost["is_final"]) == (0, Decimal("0.004322"), True)
    authorizations, transactions = await network.money()
    assert [(row.amount, row.status, row.approved) for row in authorizations] == [(40_000, "CLOSED", 1)]
    assert authorizations[0].expires_at == run.created_at + (300_000 + 3_600_000 + 3_600_000) * 1_000
    assert [(row.type, row.amount, row.authorization_uuid) for row in transactions] == [
        ("CAPTURE", 4_322, authorizations[0].uuid)
    ]
    assert await network.balance() == before - 4_322
    await network.empty()


@pytest.mark.anyio
async def test_a_batch_run_never_costs_more_than_was_held(network: Network) -> None:
    before = await network.balance()
    uuid = await network.create("exec sleep 600", max_timeout_run_ms=300_000)
    await network.reaches(uuid, "RUNNING")
    network.virtual.advance(86_400)
    network.scheduler.wake()
    await network.ended(uuid)
    assert before - await network.balance() == hold_amount(CORE, 300_000) == 1_700


@pytest.mark.anyio
async def test_a_persistent_run_pays_hour_by_hour_and_the_rest_by_the_millisecond(network: Network) -> None:
    before = await network.balance()
    uuid = await network.create("exec sleep 600", task="PERSISTENT")
    run = await network.run_reaches(uuid, "RUNNING")
    authorizations, _ = await network.money()
    assert authorizations[0].expires_at == run.created_at + 7_200_000_000
    await network.pass_time(3_600)
    authorizations, transactions = await network.money()
    assert [(row.status, row.amount) for row in authorizations] == [("CLOSED", CORE), ("OPEN", CORE)]
    assert [(row.type, row.amount) for row in transactions] == [("CAPTURE", CORE)]
    assert (await network.runs_of(uuid))[0].authorization_uuid == authorizations[1].uuid
    # The server may be busy or dead over several hours.
    await network.pass_time(3 * 3_600)
    await network.pass_time(1_800)
    cost = await network.runs.cost(network.call(), run.uuid)
    assert (cost["captured_usd"], cost["pending_usd"]) == (Decimal("0.08"), Decimal("0.01"))
    await network.cancel(uuid)
    await network.ended(uuid)
    _, transactions = await network.money()
    assert [row.amount for row in transactions] == [CORE] * 4 + [CORE // 2]
    assert before - await network.balance() == 90_000
    assert (await network.runs.cost(network.call(), run.uuid))["total_cost_usd"] == Decimal("0.09")
    await network.empty()


@pytest.mark.anyio
async def test_a_persistent_run_that_ends_on_the_hour_pays_one_hour(network: Network) -> None:
    before = await network.balance()
    uuid = await network.create("exec sleep 600", task="PERSISTENT")
    run = await network.run_reaches(uuid, "RUNNING")
    await network.engine.store.run(
        network.scheduler.progress.end, run.uuid, "COMPLETED", now=run.started_at + 3_600_000_000
    )
    assert before - await network.balance() == CORE
    authorizations, _ = await network.money()
    assert len(authorizations) == 1
    network.scheduler.wake()


@pytest.mark.anyio
async def test_a_persistent_run_out_of_credit_is_ended_and_its_job_has_failed(network: Network) -> None:
    balance = await network.balance()
    await network.engine.ledger.hold(network.account, "elsewhere", Money(balance - 2 * CORE - 5, "USD"))
    uuid = await network.create("exec sleep 600", task="PERSISTENT", max_retry_count=3)
    await network.reaches(uuid, "RUNNING")
    await network.pass_time(2 * 3_600)
    job = await network.ended(uuid)
    run = await network.run_of(uuid)
    assert (job["status"], job["status_reason"]) == ("FAILED", "INSUFFICIENT_BALANCE")
    assert (run["status"], run["status_reason"]) == ("CANCELLED", "INSUFFICIENT_BALANCE")
    authorizations, transactions = await network.money()
    assert [(row.approved, row.status_reason) for row in authorizations] == [
        (1, None),
        (1, None),
        (0, "INSUFFICIENT_BALANCE"),
    ]
    assert [row.amount for row in transactions] == [CORE, CORE]
    assert await network.balance() == 5
    cost = await network.runs.cost(network.call(), run["uuid"])
    assert (cost["billable_ms"], cost["is_final"]) == (7_200_000, True)
    await network.engine.ledger.release(network.account, "elsewhere")
    await network.empty()


@pytest.mark.anyio
async def test_preparing_costs_nothing(network: Network) -> None:
    network.images.held = asyncio.Event()
    before = await network.balance()
    uuid = await network.create(max_timeout_start_ms=10_000_000)
    await network.run_reaches(uuid, "PREPARING")
    network.virtual.advance(5_000)
    network.images.held.set()
    await network.ended(uuid)
    assert await network.balance() == before


@pytest.mark.anyio
@pytest.mark.parametrize("task", ["BATCH", "PERSISTENT"])
@pytest.mark.parametrize("jump", [8 * 3_600, -8 * 3_600])
async def test_a_clock_that_jumps_neither_ends_a_run_nor_is_paid_for(network: Network, task: str, jump: int) -> None:
    """A laptop that slept, or an administrator who set the clock."""
    before = await network.balance()
    uuid = await network.create("exec sleep 600", task=task)
    await network.reaches(uuid, "RUNNING")
    await network.pass_time(100)
    network.virtual.jump(jump)
    await network.pass_time(260)
    assert (await network.job(uuid))["status"] == "RUNNING"
    network.virtual.jump(jump)
    await network.cancel(uuid)
    await network.ended(uuid)
    assert (await network.run_of(uuid))["duration_ms"] == 360_000
    assert before - await network.balance() == CORE // 10
    await network.empty()


class Market(RuleBasedStateMachine):
    """Jobs come, end, are cancelled, time passes, servers die: books, states and capacity stay right."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.network = Network(Path(self.folder.name), opening_balance=Money(2_000_000, "USD"))
        self.number = 0
        self.live: dict[str, Path] = {}
        self.seen: dict[str, str] = {}
        self.runner.run(self.network.open())

    @rule(
        persistent=st.booleans(),
        cores=st.integers(0, 3),
        retries=st.integers(0, 2),
        nodes=st.integers(1, 2),
        gpus=st.sampled_from([0, 0, 0, 1]),
        image=st.sampled_from(["host", "host", "host", "nowhere"]),
    )
    def create(self, persistent: bool, cores: int, retries: int, nodes: int, gpus: int, image: str) -> None:
        self.number += 1
        end = Path(self.folder.name) / f"end-{self.number}"
        # The double cannot end a command that is just being started; that one goes with its directory.
        command = f"until [ -e {end} ] || [ ! -d {end.parent} ]; do sleep 0.01; done; exit $(cat {end})"

        async def work() -> str:
            return await self.network.create(
                command,
                {"image": image},
                task="PERSISTENT" if persistent else "BATCH",
                cpu_count=cores,
                gpu_count=gpus,
                max_retry_count=retries,
                max_node_count=nodes,
            )

        with contextlib.suppress(Fault):
            self.live[self.runner.run(work())] = end

    @precondition(lambda self: self.live)
    @rule(data=st.data(), code=st.sampled_from([0, 0, 1]))
    def finish(self, data: st.DataObject, code: int) -> None:
        end = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        fresh = end.with_suffix(".new")
        fresh.write_text(str(code))
        fresh.rename(end)
        self.runner.run(asyncio.sleep(0.05))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        uuid = data.draw(st.sampled_from(sorted(self.live)))

        async def work() -> None:
            with contextlib.suppress(Fault):
                await self.network.cancel(uuid)

        self.runner.run(work())

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def cancel_run(self, data: st.DataObject) -> None:
        uuid = data.draw(st.sampled_from(sorted(self.live)))

        async def work() -> None:
            for run in (await self.network.runs_of(uuid))[-1:]:
                with contextlib.suppress(Fault):
                    await self.network.write(self.network.runs.cancel, run.uuid)

        self.runner.run(work())

    @rule(seconds=st.sampled_from([1, 30, 300, 3_600, 4 * 3_600, 100_000]))
    def pass_time(self, seconds: int) -> None:
        self.runner.run(self.network.pass_time(seconds))

    @rule(seconds=st.sampled_from([-7_200, 3, 30_000]))
    def jump(self, seconds: int) -> None:
        self.network.virtual.jump(seconds)

    @rule(seconds=st.sampled_from([0, 10, 7_200]), lost=st.booleans())
    def crash(self, seconds: int, lost: bool) -> None:
        async def work() -> None:
            await self.network.scheduler.stop()
            await self.network.engine.crash()
            if lost:
                for id in await self.network.engine.driver.ids():
                    await self.network.engine.driver.kill(id)  # type: ignore[attr-defined]
            self.network.virtual.advance(seconds)
            await self.network.open()

        self.runner.run(work())

    @invariant()
    def everything_is_right(self) -> None:
        if not hasattr(self, "live"):
            return

        async def look() -> None:
            await self.network.sound()
            free = await self.network.engine.store.read(self.network.engine.capacity.held)
            node = self.network.engine.nodes.local
            assert sum(part.cpu_millis for part in free) <= node.cpu_millis
            assert sum(part.memory_bytes for part in free) <= node.memory_bytes
            assert await self.network.balance() >= 0
            for uuid in list(self.live):
                status = (await self.network.job(uuid))["status"]
                assert status in JOB_STATUSES
                # Nothing comes back from where it ended.
                assert self.seen.get(uuid) not in TERMINAL or self.seen[uuid] == status
                self.seen[uuid] = status
                assert {run.status for run in await self.network.runs_of(uuid)} <= set(RUN_STATUSES)

        self.runner.run(look())

    def teardown(self) -> None:
        if not hasattr(self, "live"):
            return

        async def work() -> None:
            for uuid in self.live:
                with contextlib.suppress(Fault):
                    await self.network.cancel(uuid)
                await self.network.ended(uuid)
            await self.network.empty()
            _, transactions = await self.network.money()
            spent = 2_000_000 - await self.network.balance()
            assert spent == sum(row.amount for row in transactions)

        try:
            self.runner.run(work())
        finally:
            self.runner.run(self.network.end())
            self.runner.close()
            self.folder.cleanup()


TestMarket = Market.TestCase
TestMarket.settings = settings(
    max_examples=8, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
