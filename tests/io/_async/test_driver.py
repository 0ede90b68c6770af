"""The driver: retries, hooks, deadlines, raw capture."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from skerry._io._async.driver import AsyncDriver
from skerry._kernel.hooks import Hooks
from skerry._kernel.interception import Interceptors, RequestInfo, ResponseInfo
from skerry._kernel.options import Deadline, RequestOptions
from skerry._kernel.raw import async_raw
from skerry._kernel.request import Response, TransportFailure
from skerry._kernel.retry import ONCE
from skerry.errors import (
    ConnectionFailedError,
    DeadlineExceededError,
    InvalidRequestError,
    ProtocolError,
    ServerError,
    SkerryError,
)
from tests.io.dialects import TOY, toy_call
from tests.io.script import AsyncScripted, Notes, Step, answer

pytestmark = pytest.mark.anyio


def _driver(*steps: Step, **options: Any) -> tuple[AsyncDriver, AsyncScripted, Notes]:
    transport, notes = AsyncScripted(*steps), Notes()
    driver = AsyncDriver(TOY, transport, effects=notes.effects, sleeper=notes.async_sleep, **options)
    return driver, transport, notes


async def test_each_try_is_signed_afresh() -> None:
    driver, transport, notes = _driver(answer(503), answer(500), answer(200, {"a": 1}))
    assert await driver.send(toy_call(body={"b": 2})) == {"a": 1}
    assert [request.header("authorization") for request in transport.sent] == ["Signed 1", "Signed 2", "Signed 3"]
    assert {request.body for request in transport.sent} == {b'{"b": 2}'}
    assert notes.slept == [1.0, 2.0]


async def test_the_last_error_is_raised() -> None:
    driver, transport, _ = _driver(answer(503), answer(500), answer(502, x_request_id="r-9"))
    with pytest.raises(ServerError, match="HTTP 502") as caught:
        await driver.send(toy_call())
    assert len(transport.sent) == 3
    assert caught.value.network == "toy"
    assert caught.value.operation == "toys.make"
    assert caught.value.request_id == "r-9"
    assert caught.value.__notes__ == ["after 3 tries"]


async def test_unsafe_calls_are_repeated_only_when_never_sent() -> None:
    driver, transport, _ = _driver(TransportFailure("no route", "never_sent"), TransportFailure("cut"), answer(200))
    with pytest.raises(ConnectionFailedError, match="cut") as caught:
        await driver.send(toy_call("unsafe"))
    assert len(transport.sent) == 2
    assert caught.value.outcome == "unknown"
    assert isinstance(caught.value.__cause__, TransportFailure)


async def test_a_key_makes_an_unsafe_call_repeatable() -> None:
    driver, transport, _ = _driver(TransportFailure("cut"), answer(200))
    await driver.send(toy_call("unsafe", keyed=True))
    assert len(transport.sent) == 2


async def test_callers_may_ask_for_fewer_retries_not_more() -> None:
    for retries, tries in ((0, 1), (1, 2), (9, 3)):
        driver, transport, _ = _driver(answer(503))
        with pytest.raises(ServerError):
            await driver.send(toy_call(), RequestOptions(retries=retries))
        assert len(transport.sent) == tries


async def test_a_call_may_bring_its_own_policy_and_error_parser() -> None:
    driver, transport, _ = _driver(answer(503))
    with pytest.raises(ProtocolError, match="mine"):
        await driver.send(toy_call(retry=ONCE, error=lambda response: ProtocolError("mine")))
    assert len(transport.sent) == 1


async def test_time_limits_from_call_options_and_dialect() -> None:
    driver, transport, _ = _driver(answer(200))
    await driver.send(toy_call())
    await driver.send(toy_call(timeout=600.0))
    await driver.send(toy_call(timeout=600.0), RequestOptions(timeout=5))
    await driver.send(toy_call(timeout=None))
    await driver.send(toy_call(), RequestOptions(timeout=None))
    assert [request.timeout for request in transport.sent] == [30.0, 600.0, 5, None, None]


async def test_headers_of_options_dialect_and_call() -> None:
    driver, transport, _ = _driver(answer(200), options=RequestOptions(headers={"X-A": "client", "x-b": "client"}))
    await driver.send(toy_call(headers=(("x-c", "call"),)), RequestOptions(headers={"x-a": "mine", "X-C": "mine"}))
    sent = transport.sent[0]
    assert [sent.header(name) for name in ("x-a", "x-b", "x-c", "x-toy")] == ["mine", "client", "call", "1"]


async def test_nothing_of_ours_goes_to_foreign_hosts() -> None:
    driver, transport, _ = _driver(answer(200), options=RequestOptions(headers={"x-a": "client"}))
    await driver.send(toy_call(auth=False), RequestOptions(headers={"x-b": "mine"}))
    assert transport.sent[0].headers == ()


async def test_keys_are_refused_where_the_wire_has_none() -> None:
    driver, transport, _ = _driver(answer(200))
    with pytest.raises(InvalidRequestError, match="takes no idempotency key"):
        await driver.send(toy_call(), RequestOptions(idempotency_key="k"))
    assert transport.sent == []


async def test_a_deadline_bounds_each_try_without_lifting_the_limit() -> None:
    driver, transport, notes = _driver(answer(503))
    deadline = Deadline(10, clock=lambda: notes.now)
    with pytest.raises(ServerError):
        await driver.send(toy_call(), RequestOptions(deadline=deadline, timeout=8))
    assert [request.timeout for request in transport.sent] == [8, 8, 7]


async def test_no_back_off_beyond_the_deadline() -> None:
    driver, transport, notes = _driver(answer(503))
    with pytest.raises(DeadlineExceededError) as caught:
        await driver.send(toy_call(), RequestOptions(deadline=Deadline(2.5, clock=lambda: notes.now)))
    assert len(transport.sent) == 2
    assert notes.slept == [1.0]
    assert isinstance(caught.value.__cause__, ServerError)
    assert caught.value.network == "toy"


async def test_nothing_is_sent_after_the_deadline() -> None:
    driver, transport, _ = _driver(answer(200))
    deadline = Deadline()
    deadline.cancel()
    with pytest.raises(DeadlineExceededError, match="cancelled") as caught:
        await driver.send(toy_call(), RequestOptions(deadline=deadline))
    assert transport.sent == []
    assert caught.value.outcome == "not_sent"


async def test_running_out_of_time_in_flight_is_the_deadlines_error() -> None:
    notes = Notes()
    deadline = Deadline(5, clock=lambda: notes.now)

    def late(request: object) -> Any:
        notes.now += 6
        raise TransportFailure("no answer in time", "timeout")

    driver = AsyncDriver(TOY, AsyncScripted(late), effects=notes.effects, sleeper=notes.async_sleep)
    with pytest.raises(DeadlineExceededError) as caught:
        await driver.send(toy_call(), RequestOptions(deadline=deadline))
    assert caught.value.outcome == "unknown"


async def test_hooks_see_masked_values() -> None:
    seen: list[Any] = []
    hooks = Hooks([seen.append], [seen.append], [seen.append], [seen.append])
    driver, _, _ = _driver(answer(503), answer(500), answer(500), hooks=hooks)
    with pytest.raises(ServerError):
        await driver.send(toy_call(body={"a": 1}, headers=(("x-key", "Bearer ark_live_0123456789abcdef"),)))
    names = [type(value).__name__ for value in seen]
    assert names == [
        *("RequestSeen", "ResponseSeen", "RetrySeen"),
        *("RequestSeen", "ResponseSeen", "RetrySeen"),
        *("RequestSeen", "ResponseSeen", "ErrorSeen"),
    ]
    assert "0123456789abcdef" not in repr(seen)
    assert "Signed" not in repr(seen)
    assert seen[0].body_size == 8
    assert [seen[2].delay, seen[5].delay] == [1.0, 2.0]
    assert seen[6].attempt == 3


async def test_a_failing_hook_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def bad(value: object) -> None:
        raise RuntimeError("hook trouble")

    driver, _, _ = _driver(answer(503), answer(200, 1), hooks=Hooks([bad], [bad], [bad], [bad]))
    assert await driver.send(toy_call()) == 1
    assert "hook trouble" in caplog.text


async def test_parser_trouble_is_told_and_raised() -> None:
    seen: list[Any] = []

    def parse(response: object) -> None:
        raise ProtocolError("no sense")

    driver, _, _ = _driver(answer(200), hooks=Hooks(on_error=[seen.append]))
    call = toy_call()
    with pytest.raises(ProtocolError):
        await driver.send(type(call)(call.operation, call.url, parse))
    assert seen[0].error.operation == "toys.make"


async def test_raw_responses() -> None:
    driver, _, _ = _driver(answer(503), answer(201, {"a": 1}, x_request_id="r", x_more="m"))
    seen = await async_raw(driver.send)(toy_call())
    assert (seen.status, seen.attempts, seen.parsed, seen.request_id) == (201, 2, {"a": 1}, "r")
    assert seen.elapsed == 1.0
    assert seen.body == b'{"a": 1}'
    assert seen.header("X-More") == "m"


async def test_raw_of_something_that_sends_nothing() -> None:
    async def nothing() -> None:
        return None

    with pytest.raises(SkerryError, match="no request was sent"):
        await async_raw(nothing)()


async def test_the_servers_wish_is_heard() -> None:
    driver, _, notes = _driver(answer(429, retry_after="7"), answer(503, retry_after_ms="1500"), answer(200))
    await driver.send(toy_call())
    assert notes.slept == [7.0, 1.5]


async def test_debug_log_has_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "skerry")
    driver, _, _ = _driver(answer(200))
    await driver.send(toy_call(body={"password": "hunter2"}))
    assert "toys.make POST https://toy.test/toys -> 200" in caplog.text
    assert "hunter2" not in caplog.text
    assert "Signed" not in caplog.text


async def test_interceptors_work_before_the_signature_and_on_every_answer() -> None:
    seen: list[str] = []

    def before(request: RequestInfo) -> None:
        seen.append(f"before {request.attempt} {'authorization' in request.headers}")
        request.headers.update({"X-Toy": "2", "X-Own": "3", "Content-Type": "text/plain", "Authorization": "forged"})

    def after(response: ResponseInfo, request: RequestInfo) -> None:
        seen.append(f"after {request.attempt} {response.status} {request.headers['x-own']}")

    dialect = replace(TOY, interceptors=Interceptors([before], [after]), defaults=(("x-default", "1"), ("x-own", "1")))
    transport, notes = AsyncScripted(answer(503), TransportFailure("cut"), answer(200)), Notes()
    driver = AsyncDriver(dialect, transport, effects=notes.effects, sleeper=notes.async_sleep)
    call = toy_call(body={}, headers=(("content-type", "application/json"),))
    await driver.send(call, RequestOptions(headers={"X-Default": "mine"}))
    assert seen == ["before 1 False", "after 1 503 3", "before 2 False", "before 3 False", "after 3 200 3"]
    for number, request in enumerate(transport.sent, 1):
        assert [value for name, value in request.headers if name == "authorization"][-1] == f"Signed {number}"
        assert (request.header("x-toy"), request.header("x-own")) == ("1", "3")
        assert (request.header("x-default"), request.header("content-type")) == ("mine", "application/json")
    await driver.send(toy_call(auth=False))
    assert len(seen) == 5
    assert transport.sent[-1].headers == ()


async def test_what_an_interceptor_raises_ends_the_call() -> None:
    def stop(*_: object) -> None:
        raise RuntimeError("stop")

    for interceptors, tries in ((Interceptors([stop], []), 0), (Interceptors([], [stop]), 1)):
        transport = AsyncScripted(answer(503))
        driver = AsyncDriver(replace(TOY, interceptors=interceptors), transport)
        with pytest.raises(RuntimeError, match="stop"):
            await driver.send(toy_call())
        assert len(transport.sent) == tries


async def test_a_network_may_name_its_own_error_for_callers_who_gave_up() -> None:
    class GaveUpError(DeadlineExceededError):
        pass

    deadline = Deadline()
    driver = AsyncDriver(replace(TOY, out_of_time=GaveUpError), AsyncScripted(answer(503)), sleeper=Notes().async_sleep)
    deadline.cancel()
    with pytest.raises(GaveUpError, match="cancelled"):
        await driver.send(toy_call(), RequestOptions(deadline=deadline))
    with pytest.raises(GaveUpError, match="passed"):
        await driver.pause(5, Deadline(1))


class _Sink:
    def __init__(self) -> None:
        self.begun = 0
        self.taken: list[bytes] = []

    def begin(self) -> None:
        self.begun += 1
        self.taken.clear()

    def write(self, chunk: bytes) -> None:
        self.taken.append(chunk)


async def test_a_body_may_go_elsewhere_while_it_arrives() -> None:
    driver, transport, _ = _driver(answer(503, "later"), TransportFailure("cut"), answer(200, "whole"))
    sink = _Sink()
    assert await driver.send(toy_call(), into=sink) is None
    # Refusals are read, for they say why; only a success reaches the sink.
    assert (sink.begun, b"".join(sink.taken), len(transport.sent)) == (1, b'"whole"', 3)
    driver, _, _ = _driver(answer(404, "no"))
    with pytest.raises(ProtocolError, match='"no"'):
        await driver.send(
            toy_call(error=lambda answered: ProtocolError(answered.text)), RequestOptions(retries=0), into=sink
        )
    assert sink.begun == 1


async def test_a_sink_that_fails_ends_the_call() -> None:
    class Full(_Sink):
        def write(self, chunk: bytes) -> None:
            raise OSError("no space left")

    driver, transport, _ = _driver(answer(200, "whole"))
    with pytest.raises(OSError, match="no space left"):
        await driver.send(toy_call(), into=Full())
    assert len(transport.sent) == 1


async def test_a_body_that_takes_too_long_is_late() -> None:
    driver, transport, _ = _driver(answer(200, "whole"))
    with pytest.raises(ConnectionFailedError, match="no complete answer"):
        await driver.send(toy_call(), RequestOptions(timeout=1e-9, retries=0), into=_Sink())
    assert len(transport.sent) <= 1


async def test_the_dialect_says_what_asks_to_wait() -> None:
    driver, _, notes = _driver(answer(503, retry_after="7"), answer(200, 1))
    quiet = driver.but(dialect=replace(TOY, retry_after=lambda response: None))
    assert await quiet.send(toy_call()) == 1
    assert notes.slept == [1.0]


async def test_interceptors_may_have_a_view_of_their_own() -> None:
    class View(RequestInfo):
        pass

    seen: list[object] = []
    interceptors = Interceptors((seen.append,), (lambda response, request: seen.append((response, request)),), View)
    driver, _, _ = _driver(answer(200, 1))
    await driver.but(dialect=replace(TOY, interceptors=interceptors)).send(toy_call())
    assert isinstance(seen[0], View)
    response, request = seen[1]  # type: ignore[misc]
    assert request is seen[0]
    assert (response.elapsed, response.status) == (0.0, 200)
    assert ResponseInfo(Response(200, headers_after=0.25), 9.0).elapsed == 0.25
