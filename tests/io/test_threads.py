"""What only threads can do: share a client, and cancel each other's waits."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from skerry import Arker
from skerry._io._sync.driver import Driver
from skerry._io._sync.httpx import HttpxTransport
from skerry._io.inprocess import InProcessTransport
from skerry._io.waiting import sleep
from skerry._kernel.interception import Interceptors, RequestInfo
from skerry._kernel.options import Deadline, RequestOptions
from skerry._kernel.request import Request
from skerry.errors import ConfigurationError, DeadlineExceededError
from tests.io.asgi_app import app
from tests.io.dialects import TOY, toy_call
from tests.io.script import Scripted, answer
from tests.io.server import LoopbackServer

LONG = 3600.0


def test_cancelling_from_another_thread_ends_a_back_off() -> None:
    deadline, waiting = Deadline(), threading.Event()

    def sleeper(seconds: float, given: Deadline | None) -> None:
        waiting.set()
        sleep(LONG, given)

    def cancel() -> None:
        waiting.wait(60)
        deadline.cancel()

    other = threading.Thread(target=cancel)
    other.start()
    driver = Driver(TOY, Scripted(answer(503)), sleeper=sleeper)
    with pytest.raises(DeadlineExceededError, match="cancelled"):
        driver.send(toy_call(), RequestOptions(deadline=deadline))
    other.join()


def test_sleeping_to_the_end() -> None:
    sleep(0.001)
    sleep(0.001, Deadline())


def test_one_transport_for_many_threads(server: LoopbackServer) -> None:
    transport = HttpxTransport()

    def ask(number: int) -> str:
        return transport.send(Request("GET", f"{server.url}/n{number}", timeout=60)).text

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(64))) == [f"/n{number}" for number in range(64)]
    assert len(transport._own) == 1
    transport.close()


def test_a_forked_child_gets_its_own_connections(server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = HttpxTransport()
    transport.send(Request("GET", server.url, timeout=60))
    parents = transport._own["http"]
    monkeypatch.setattr("skerry._io.waiting.os.getpid", lambda: -1)
    transport.send(Request("GET", server.url, timeout=60))
    assert transport._own["http"] is not parents
    transport.close()
    parents.close()


def test_one_client_for_many_threads(server: LoopbackServer) -> None:
    with Arker("k", base_url=server.url, environ={}) as arker, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: arker.with_raw_response.get(f"vm-{number}"), range(40)))
    assert [answer.body for answer in answers] == [f"/v1/vms/vm-{number}".encode() for number in range(40)]
    assert {answer.attempts for answer in answers} == {1}


def test_an_application_on_a_loop_that_runs_already() -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    transport = InProcessTransport(app, loop)
    try:
        assert transport.send(Request("POST", "http://h.test/echo", body=b"x", timeout=60)).body == b"x"
        transport.close()
        assert loop.is_running()
        with pytest.raises(ConfigurationError, match="closed"):
            transport.send(Request("POST", "http://h.test/echo"))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_coroutines_cannot_be_hooks_of_threads() -> None:
    async def before(request: RequestInfo) -> None:
        raise AssertionError("nobody awaits this")

    transport = Scripted(answer(200))
    driver = Driver(replace(TOY, interceptors=Interceptors([before], [])), transport)
    with pytest.raises(ConfigurationError, match="plain function"):
        driver.send(toy_call())
    assert transport.sent == []
