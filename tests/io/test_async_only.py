"""What only coroutines can do: be cancelled, and move to another event loop."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from skerry._io._async.driver import AsyncDriver
from skerry._io._async.httpx import AsyncHttpxTransport
from skerry._io.waiting import async_bounded, async_sleep, async_worked
from skerry._kernel.interception import Interceptors, RequestInfo, ResponseInfo
from skerry._kernel.options import Deadline, RequestOptions
from skerry._kernel.request import Request, TransportFailure
from skerry.errors import ConnectionFailedError, DeadlineExceededError
from tests.io.dialects import TOY, toy_call
from tests.io.script import AsyncScripted, answer
from tests.io.server import LoopbackServer

LONG = 3600.0


@pytest.mark.anyio
async def test_cancelling_a_task_ends_its_back_off() -> None:
    waiting = asyncio.Event()

    async def sleeper(seconds: float, deadline: Deadline | None) -> None:
        waiting.set()
        await async_sleep(LONG, deadline)

    driver = AsyncDriver(TOY, AsyncScripted(answer(503)), sleeper=sleeper)
    task = asyncio.create_task(driver.send(toy_call()))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.anyio
async def test_cancelling_a_deadline_ends_a_back_off() -> None:
    deadline = Deadline()

    async def sleeper(seconds: float, given: Deadline | None) -> None:
        asyncio.get_running_loop().call_soon(deadline.cancel)
        await async_sleep(LONG, given)

    driver = AsyncDriver(TOY, AsyncScripted(answer(503)), sleeper=sleeper)
    with pytest.raises(DeadlineExceededError, match="cancelled"):
        await driver.send(toy_call(), RequestOptions(deadline=deadline))


@pytest.mark.anyio
async def test_cancelling_a_deadline_abandons_a_request_in_flight(server: LoopbackServer) -> None:
    deadline = Deadline()
    transport = AsyncHttpxTransport()
    call = toy_call()
    driver = AsyncDriver(TOY, transport)

    async def give_up() -> None:
        while not server.seen:
            await asyncio.sleep(0)
        deadline.cancel()

    giving_up = asyncio.create_task(give_up())
    with pytest.raises(DeadlineExceededError, match="cancelled") as caught:
        await driver.send(
            type(call)(call.operation, server.url + "/silent", call.parse), RequestOptions(deadline=deadline)
        )
    await giving_up
    await transport.aclose()
    assert caught.value.outcome == "unknown"


@pytest.mark.anyio
async def test_the_time_limit_holds_beside_a_deadline(server: LoopbackServer) -> None:
    transport = AsyncHttpxTransport()
    call = toy_call("unsafe")
    await transport.send(Request("GET", server.url, timeout=60))
    # Whose limit is noticed first, the call's or the same one of its connection, is the machine's to say.
    with pytest.raises(ConnectionFailedError, match=r"within 0\.1 s|no answer in time"):
        await AsyncDriver(TOY, transport).send(
            type(call)(call.operation, server.url + "/silent", call.parse),
            RequestOptions(deadline=Deadline(LONG), timeout=0.1),
        )
    await transport.aclose()


@pytest.mark.anyio
async def test_bounded_leaves_other_timeouts_alone() -> None:
    async def fails(_: object) -> None:
        raise TimeoutError("inner")

    for deadline in (None, Deadline()):
        with pytest.raises(TimeoutError, match="inner"):
            await async_bounded(fails, None, 10, deadline)


@pytest.mark.anyio
async def test_bounded_is_not_disturbed_by_a_late_cancel() -> None:
    deadline = Deadline()

    async def quick(_: object) -> int:
        deadline.cancel()
        return 7

    assert await async_bounded(quick, None, None, deadline) == 7
    await asyncio.sleep(0)


@pytest.mark.anyio
async def test_bounded_without_limits_just_awaits() -> None:
    async def quick(value: int) -> int:
        return value + 1

    assert await async_bounded(quick, 1, None, None) == 2
    assert await async_bounded(quick, 1, 5, None) == 2


@pytest.mark.anyio
async def test_a_cancelled_deadline_stops_a_wait_before_it_starts() -> None:
    deadline = Deadline()
    deadline.cancel()
    async with asyncio.timeout(60):
        await async_sleep(LONG, deadline)
    await async_sleep(0.001, Deadline())


def test_a_transport_survives_its_event_loop(server: LoopbackServer) -> None:
    transport = AsyncHttpxTransport()

    async def once() -> int:
        return (await transport.send(Request("GET", server.url + "/x", timeout=60))).status

    first = asyncio.new_event_loop()
    try:
        assert first.run_until_complete(once()) == 200
        inner = next(iter(transport._own.values()))
        first.run_until_complete(inner.aclose())
    finally:
        first.close()

    async def again() -> int:
        try:
            return await once()
        finally:
            await transport.aclose()

    assert asyncio.run(again()) == 200


@pytest.mark.anyio
async def test_failures_inside_a_bound_are_kept() -> None:
    async def fails(_: object) -> None:
        raise TransportFailure("mine", "never_sent")

    with pytest.raises(TransportFailure, match="mine"):
        await async_bounded(fails, None, 1, Deadline())


@pytest.mark.anyio
async def test_hooks_that_take_part_may_be_coroutines() -> None:
    async def before(request: RequestInfo) -> None:
        await asyncio.sleep(0)
        request.headers["x-own"] = "1"

    seen: list[int] = []

    async def after(response: ResponseInfo, request: RequestInfo) -> None:
        await asyncio.sleep(0)
        seen.append(response.status)

    transport = AsyncScripted(answer(200))
    driver = AsyncDriver(replace(TOY, interceptors=Interceptors([before], [after])), transport)
    await driver.send(toy_call())
    assert transport.sent[0].header("x-own") == "1"
    assert seen == [200]


@pytest.mark.anyio
async def test_work_in_a_thread_is_let_end_before_its_task_does() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(LONG)
        done.set()

    task = asyncio.create_task(async_worked(work))
    await asyncio.to_thread(begun.wait, LONG)
    task.cancel()
    asyncio.get_running_loop().call_soon(go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()
