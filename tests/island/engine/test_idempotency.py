"""The same request twice does its work once."""

from __future__ import annotations

import asyncio

import pytest

from skerry.island.clock import VirtualClock
from skerry.island.engine.errors import Conflict, NotFound, PaymentRequired
from skerry.island.engine.idempotency import IdempotencyKey
from skerry.money import Money
from tests.island.engine.lab import Lab

pytestmark = pytest.mark.anyio

KEY = IdempotencyKey("arker:box", "k", "f1")


async def test_the_same_key_returns_the_same_run(lab: Lab) -> None:
    first = await lab.finish(await lab.submit("echo x >> count; cat count", idempotency=KEY))
    again = await lab.submit("echo x >> count; cat count", idempotency=KEY)
    assert again == first
    assert (await lab.run("wc -l < count"))[1].strip() == "1"
    with pytest.raises(Conflict, match="different request"):
        await lab.submit("other", idempotency=IdempotencyKey("arker:box", "k", "f2"))
    other_scope = await lab.submit("true", idempotency=IdempotencyKey("arker:other", "k", "f2"))
    assert other_scope.id != first.id
    await lab.finish(other_scope)
    await lab.books()


async def test_duplicates_at_the_same_moment_wait_for_one_run(double: Lab) -> None:
    async def once() -> tuple[str, bytes]:
        run = await double.finish(await double.submit("echo x >> count; cat count; sleep 0.1", idempotency=KEY))
        return run.id, (await double.engine.runs.output(run))[0]

    answers = await asyncio.gather(*(once() for _ in range(10)))
    assert len(set(answers)) == 1
    assert answers[0][1] == b"x\n"
    assert await double.engine.runs.busy() is False
    await double.books()


async def test_a_refused_request_binds_nothing(double: Lab) -> None:
    with pytest.raises(NotFound):
        await double.submit("true", session_id="nothing", idempotency=KEY)
    balance = await double.engine.ledger.balance(double.account)
    poor = {f"account:{double.account}": -balance, "elsewhere": balance}
    await double.engine.ledger.transfer("spent", poor)
    with pytest.raises(PaymentRequired):
        await double.submit("true", idempotency=KEY)
    await double.engine.ledger.grant(double.account, Money(10**6, "USD"), "more")
    changed = IdempotencyKey(KEY.scope, KEY.key, "another fingerprint")
    assert (await double.run("echo bound now", idempotency=changed))[1] == "bound now\n"


async def test_a_key_stays_bound_over_a_crash(double: Lab) -> None:
    run = await double.submit("echo begun; sleep 0.5; echo x >> count", idempotency=KEY)
    await double.wrote(run, "begun")
    await double.crash()
    again = await double.submit("echo begun; sleep 0.5; echo x >> count", idempotency=KEY)
    assert again.id == run.id
    await double.finish(run)
    assert (await double.run("wc -l < count"))[1].strip() == "1"


async def test_keys_are_kept_as_long_as_runs_and_never_shorter_than_their_own(
    timeless: Lab, clock: VirtualClock
) -> None:
    upkeep = timeless.engine.upkeep
    ended = await timeless.finish(await timeless.submit("true", idempotency=KEY))
    going = IdempotencyKey("arker:box", "going", "f")
    running = await timeless.submit("until [ -e stop ]; do sleep 0.02; done", idempotency=going)
    other = await timeless.engine.sessions.create(timeless.account, "box")
    clock.advance(timeless.settings.run_retention - 1)
    await upkeep.forget_old()
    assert (await timeless.submit("true", idempotency=KEY)).id == ended.id
    clock.advance(2)
    await upkeep.forget_old()
    assert (await timeless.submit("x", idempotency=going)).id == running.id
    fresh = await timeless.submit("true", idempotency=KEY, session_id=other.id)
    assert fresh.id != ended.id
    await timeless.run("touch stop", session_id=other.id)
    await timeless.finish(running)


async def test_for_other_faces(double: Lab) -> None:
    service = double.engine.idempotency
    assert await service.find(KEY) is None
    assert await asyncio.gather(service.bind(KEY, "a"), service.bind(KEY, "b")) == ["a", "a"]
    assert await service.find(KEY) == "a"
    with pytest.raises(Conflict):
        await service.find(IdempotencyKey(KEY.scope, KEY.key, "f2"))
    with pytest.raises(Conflict):
        await service.bind(IdempotencyKey(KEY.scope, KEY.key, "f2"), "c")
