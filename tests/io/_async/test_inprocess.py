"""Applications in the same process."""

from __future__ import annotations

import pytest

from skerry._io.inprocess import AsyncInProcessTransport
from skerry._kernel.request import BodySource, Request, TransportFailure
from tests.io.asgi_app import app

pytestmark = pytest.mark.anyio


async def test_the_application_sees_the_request() -> None:
    transport = AsyncInProcessTransport(app)
    request = Request("POST", "http://h.test:99/a%2Fb/echo?q=%20", (("x-a", "1"),), b"body", timeout=60)
    response = await transport.send(request)
    await transport.aclose()
    assert response.status == 201
    assert response.header("x-path") == "/a%2Fb/echo"
    assert response.header("x-query") == "q=%20"
    assert response.header("x-host") == "h.test:99"
    assert response.body == b"body"


async def test_bodies_from_sources() -> None:
    transport = AsyncInProcessTransport(app)
    source = BodySource(lambda: iter([b"a", b"b", b"c"]), 3)
    assert (await transport.send(Request("POST", "http://h.test/echo", body=source, timeout=60))).body == b"abc"
    await transport.aclose()


@pytest.mark.parametrize("path", ["fails", "nothing", "half"])
async def test_failing_applications(path: str) -> None:
    transport = AsyncInProcessTransport(app)
    with pytest.raises(TransportFailure, match="the application"):
        await transport.send(Request("GET", f"http://h.test/{path}", timeout=60))
    await transport.aclose()


async def test_an_endless_answer_can_be_left() -> None:
    transport = AsyncInProcessTransport(app)
    taken = b""
    async with transport.stream(Request("GET", "http://h.test/endless", timeout=60)) as streamed:
        async for chunk in streamed.chunks:
            taken += chunk
            if len(taken) > 100:
                break
    await transport.aclose()
    assert taken.startswith(b"tick")


async def test_a_silent_application_runs_out_of_time() -> None:
    transport = AsyncInProcessTransport(app)
    with pytest.raises(TransportFailure) as caught:
        await transport.send(Request("GET", "http://h.test/silent", timeout=0.1))
    await transport.aclose()
    assert caught.value.kind == "timeout"
