"""`/v1` by servers that providers run themselves, which may be broken, slow to fail, or lie."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select

from skerry.island.faces.dc1 import tables
from skerry.island.faces.dc1.models import resident_endpoints
from tests.held import PATIENCE
from tests.island.faces.dc1.stage import Stage
from tests.loopback import Handler, serving

pytestmark = pytest.mark.anyio
MODEL = "mistralai/Mistral-7B-Instruct-v0.2"
QUESTION = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
GOOD = {"choices": [{"message": {"content": "good"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
Hosts = Callable[..., Any]


@contextmanager
def server(content: bytes, *, status: int = 200, kind: str = "application/json") -> Iterator[str]:
    """A server that answers every question with the same."""

    class Answering(Handler):
        def do_POST(self) -> None:
            self.content()
            self.answer(status, content, {"content-type": kind})

    with serving(Answering) as url:
        yield f"{url}/v1"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a while makes no server one that is not there."""
    monkeypatch.setattr(resident_endpoints, "_CONNECT_SECONDS", PATIENCE)


@pytest.fixture
def hosted(stage: Stage) -> Hosts:
    """Adds a provider with a server of its own."""

    async def host(name: str, url: str) -> str:
        body = {"name": name, "email": f"{name}@example.sa", "gpu_model": "RTX 4090", "os": "linux"}
        made = await stage.ask("POST", "/api/providers/register", body)
        key = str(made.json["api_key"])
        status = {"gpu_name": "RTX 4090", "gpu_vram_mib": 24_564}
        told = {"api_key": key, "gpu_status": status, "vllm_endpoint_url": url}
        assert (await stage.ask("POST", "/api/providers/heartbeat", told)).status == 200
        return key

    return host


async def states(stage: Stage) -> list[str]:
    query = select(tables.jobs.c.status).order_by(tables.jobs.c.id)
    return list(await stage.lab.engine.store.read(lambda c: list(c.execute(query).scalars())))


async def test_a_providers_own_server_is_asked(stage: Stage, hosted: Hosts) -> None:
    with server(json.dumps(GOOD).encode()) as url:
        await hosted("rig", url)
        answer = await stage.rent("POST", "/v1/chat/completions", QUESTION)
    assert answer.status == 200, answer.body
    assert answer.json["choices"][0]["message"]["content"] == "good"
    assert answer.json["usage"]["completion_tokens"] == 2
    assert await states(stage) == ["completed"]
    await stage.audit()


async def test_a_stream_of_a_providers_own_server(stage: Stage, hosted: Hosts) -> None:
    said = b'data: {"choices": [{"delta": {"content": "go"}}]}\n\ndata: {"choices": [{"delta": {"content": "od"}}]}\n\n'
    with server(said + b"data: [DONE]\n\n", kind="text/event-stream") as url:
        await hosted("rig", url)
        answer = await stage.rent("POST", "/v1/chat/completions", {**QUESTION, "stream": True})
    assert b'"content":"go"' in answer.body
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert await states(stage) == ["completed"]
    await stage.audit()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": ["x"]}',
        b'{"choices": [{"message": "x"}]}',
        b'{"choices": [{"message": {"tool_calls": "x"}}]}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": [1]}',
        b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        b'{"choices": [{"message": {"content": "x", "tool_calls": [NaN]}}]}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"x": "' + b"x" * (9 << 20) + b'"}',
    ],
    ids=range(13),
)
async def test_what_is_no_answer_costs_nothing(stage: Stage, hosted: Hosts, said: bytes) -> None:
    before = await stage.balance()
    with server(said) as url:
        await hosted("liar", url)
        answer = await stage.rent("POST", "/v1/chat/completions", QUESTION)
    assert (answer.status, answer.json["error"]) == (503, "no_providers_available")
    assert await states(stage) == ["failed"]
    assert await stage.balance() == before
    await stage.audit()


@pytest.mark.parametrize(
    "said",
    [
        b'data: {"choices": 5}\n\ndata: [DONE]\n\n',
        b'data: {"choices": ["x"]}\n\ndata: [DONE]\n\n',
        b'data: {"choices": [{"delta": "x"}]}\n\ndata: [DONE]\n\n',
        b'data: {"choices": [{"delta": {"content": "\\ud800"}}]}\n\ndata: [DONE]\n\n',
        b'data: {"choices": [{"delta": {"content": "half"}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "half"}}]}\n\ndata: {"error": "boom"}\n\ndata: [DONE]\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
    ids=range(7),
)
async def test_a_stream_that_is_none_costs_nothing(stage: Stage, hosted: Hosts, said: bytes) -> None:
    before = await stage.balance()
    with server(said, kind="text/event-stream") as url:
        await hosted("liar", url)
        answer = await stage.rent("POST", "/v1/chat/completions", {**QUESTION, "stream": True})
    *_, last, done = [event for event in answer.body.decode().split("\n\n") if event]
    assert json.loads(last.removeprefix("data: "))["error"]["error"] == "no_providers_available"
    assert done == "data: [DONE]"
    assert await states(stage) == ["failed"]
    assert await stage.balance() == before
    await stage.audit()


@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_provider_is_asked_when_one_fails(stage: Stage, hosted: Hosts, stream: bool) -> None:
    body = {**QUESTION, "stream": stream}
    events = b'data: {"choices": [{"delta": {"content": "good"}}]}\n\ndata: [DONE]\n\n'
    said = events if stream else json.dumps(GOOD).encode()
    with server(b"", status=500) as broken, server(b"{}") as lying, server(said) as good:
        for name, url in (("broken", broken), ("lying", lying), ("good", good)):
            await hosted(name, url)
        answer = await stage.rent("POST", "/v1/chat/completions", body)
        assert answer.status == 200, answer.body
        assert b"good" in answer.body
        assert await states(stage) == ["failed", "failed", "completed"]
        # Those that failed are asked last for a while.
        assert b"good" in (await stage.rent("POST", "/v1/chat/completions", body)).body
        assert (await states(stage))[3:] == ["completed"]
    await stage.audit()


async def test_no_more_than_three_are_asked(stage: Stage, hosted: Hosts) -> None:
    with server(b"{}") as url:
        for name in ("one", "two", "three", "four"):
            await hosted(name, url)
        answer = await stage.rent("POST", "/v1/chat/completions", QUESTION)
    assert (answer.status, answer.json["error"]) == (503, "no_providers_available")
    assert await states(stage) == ["failed"] * 3
    await stage.audit()
