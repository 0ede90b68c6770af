"""The httpx2 transport over real sockets."""

from __future__ import annotations

import weakref
from pathlib import Path

import httpx2
import pytest

from skerry._io._async.httpx import AsyncHttpxTransport
from skerry._io.choice import async_transport_for
from skerry._kernel.request import BodySource, Request, Response, TransportFailure
from skerry.errors import ConfigurationError
from tests.io.script import AsyncScripted, answer
from tests.io.server import LoopbackServer

pytestmark = pytest.mark.anyio


async def test_what_is_built_is_what_is_sent(server: LoopbackServer) -> None:
    transport = AsyncHttpxTransport()
    target = "/v1/vms/a%2Fb%20c%3Fd%23%C3%A9!~*'()/%2E%2E/x?filter[a]=%5b1%5D&q=a%20b+c"
    response = await transport.send(Request("GET", server.url + target, (("x-a", "1"),), timeout=60))
    await transport.aclose()
    seen = server.seen[0]
    assert seen.target == target
    assert response.body.decode() == target
    assert seen.body == b""
    assert set(seen.headers) == {"host", "x-a", "user-agent", "accept"}
    assert seen.headers["user-agent"].startswith("skerry/")


async def test_bodies_get_a_length_and_no_type(server: LoopbackServer, tmp_path: Path) -> None:
    file = tmp_path / "big"
    file.write_bytes(b"x" * 300_000)

    def pieces() -> object:
        with file.open("rb") as stream:
            while piece := stream.read(100_000):
                yield piece

    transport = AsyncHttpxTransport()
    await transport.send(Request("PUT", server.url + "/a", body=b"bytes", timeout=60))
    await transport.send(Request("PUT", server.url + "/b", body=BodySource(pieces, 300_000), timeout=60))  # type: ignore[arg-type]
    await transport.aclose()
    assert [len(seen.body) for seen in server.seen] == [5, 300_000]
    for seen in server.seen:
        assert "content-type" not in seen.headers
        assert "transfer-encoding" not in seen.headers


async def test_answers_are_complete_values(server: LoopbackServer) -> None:
    transport = AsyncHttpxTransport()
    response = await transport.send(Request("GET", server.url + "/x", timeout=60))
    await transport.aclose()
    assert response.status == 200
    assert response.request_id == "r1"
    assert [value for name, value in response.headers if name == "set-cookie"] == ["a=1", "b=2"]


async def test_cookies_are_not_sent_back(server: LoopbackServer) -> None:
    transport = AsyncHttpxTransport()
    for _ in range(2):
        await transport.send(Request("GET", server.url + "/x", timeout=60))
    await transport.aclose()
    assert "cookie" not in server.seen[1].headers


async def test_redirects_are_answers(server: LoopbackServer) -> None:
    transport = AsyncHttpxTransport()
    response = await transport.send(Request("GET", server.url + "/redirect", timeout=60))
    await transport.aclose()
    assert (response.status, response.header("location")) == (302, "/elsewhere")
    assert len(server.seen) == 1


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
async def test_no_proxy_stands_before_this_machine(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    # The same server plays the proxy, which is told whole URLs.
    monkeypatch.setenv(variable, server.url)
    transport = AsyncHttpxTransport()
    await transport.send(Request("GET", server.url + "/itself", timeout=60))
    await transport.send(Request("GET", server.url.replace("127.0.0.1", "localhost") + "/alias", timeout=60))
    await transport.send(Request("GET", "http://elsewhere.invalid/far", timeout=60))
    await transport.aclose()
    assert [seen.target for seen in server.seen] == ["/itself", "/alias", "http://elsewhere.invalid/far"]


@pytest.mark.parametrize("path", ["/silent", "/trickle"])
async def test_no_complete_answer_in_time(server: LoopbackServer, path: str) -> None:
    transport = AsyncHttpxTransport()
    # What is late is the answer, not the connection, which is there by now.
    await transport.send(Request("GET", server.url, timeout=60))
    with pytest.raises(TransportFailure) as caught:
        await transport.send(Request("GET", server.url + path, timeout=0.2))
    await transport.aclose()
    assert caught.value.kind == "timeout"


async def test_a_cut_connection(server: LoopbackServer) -> None:
    transport = AsyncHttpxTransport()
    with pytest.raises(TransportFailure) as caught:
        await transport.send(Request("GET", server.url + "/cut", timeout=60))
    assert caught.value.kind == "broken"
    with pytest.raises(TransportFailure) as caught:
        await _read(transport, Request("GET", server.url + "/cut", timeout=60))
    assert caught.value.kind == "broken"
    await transport.aclose()


async def _read(transport: AsyncHttpxTransport, request: Request) -> Response:
    async with transport.stream(request) as streamed:
        return await streamed.aread()


async def test_nobody_listens(server: LoopbackServer) -> None:
    transport = AsyncHttpxTransport()
    with pytest.raises(TransportFailure) as caught:
        await transport.send(Request("GET", "http://127.0.0.1:1/", timeout=60))
    await transport.aclose()
    assert caught.value.kind == "never_sent"
    assert caught.value.message


@pytest.mark.parametrize("url", ["/relative", "ftp://h.test/", "", "http:nothing"])
async def test_urls_that_lead_nowhere(url: str) -> None:
    transport = AsyncHttpxTransport()
    with pytest.raises(TransportFailure) as caught:
        await transport.send(Request("GET", url, timeout=60))
    assert caught.value.kind == "never_sent"


async def test_streams_arrive_piece_by_piece(server: LoopbackServer) -> None:
    transport = AsyncHttpxTransport()
    async with transport.stream(Request("GET", server.url + "/trickle", timeout=60)) as streamed:
        assert streamed.status == 200
        async for piece in streamed.chunks:
            assert piece.strip(b".") == b""
            break
    await transport.aclose()


async def test_an_injected_client_adds_nothing_and_stays_open(server: LoopbackServer) -> None:
    async with httpx2.AsyncClient(
        headers={"authorization": "Bearer theirs", "x-theirs": "1"},
        cookies={"c": "1"},
        base_url="http://else.test",
        trust_env=False,
    ) as client:
        transport = async_transport_for(client)
        await transport.send(Request("GET", server.url + "/x", timeout=60))
        await transport.aclose()
        assert not client.is_closed
    assert set(server.seen[0].headers) == {"host", "user-agent", "accept"}


async def test_a_closed_client_says_so(server: LoopbackServer) -> None:
    transport = AsyncHttpxTransport()
    await transport.aclose()
    await transport.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await transport.send(Request("GET", server.url, timeout=60))


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_an_unclosed_client_warns(server: LoopbackServer) -> None:
    transport = AsyncHttpxTransport()
    await transport.send(Request("GET", server.url, timeout=60))
    inner = list(transport._own.values())
    with pytest.warns(ResourceWarning, match="was not closed"):
        del transport
    for client in inner:
        await client.aclose()


async def test_one_never_used_does_not_warn() -> None:
    transport = AsyncHttpxTransport()
    gone = weakref.ref(transport)
    del transport
    assert gone() is None


async def test_what_may_be_handed_in() -> None:
    scripted = AsyncScripted(answer())
    assert async_transport_for(scripted) is scripted
    with pytest.raises(ConfigurationError, match="must be an"):
        async_transport_for(object())  # type: ignore[arg-type]
