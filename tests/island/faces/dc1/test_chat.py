"""`/v1` over a real engine and a tiny model."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from skerry.island.engine.errors import Invalid
from skerry.island.faces.dc1 import tables
from skerry.island.faces.dc1.errors import Fault, fault_of
from skerry.island.faces.dc1.models import chat_requests, resident_endpoints
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.workers.llm.models import ModelStore
from tests.answers import Answer
from tests.held import PATIENCE
from tests.island.faces.dc1.hosts import host
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio
MODEL = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
SAID = [{"role": "user", "content": "What is the capital of Saudi Arabia?"}]


@pytest.fixture
async def able(tmp_path: Path, template: Path) -> AsyncIterator[Stage]:
    """A face whose machine has a model."""
    pytest.importorskip("xllamacpp", reason="llama.cpp's wheel is not installed")
    shutil.copytree(template, tmp_path / "data")
    ModelStore.of(tmp_path / "data", {}).add_demo(MODEL)
    stage = Stage(tmp_path)
    await stage.open()
    await stage.lab.engine.store.run(_own_provider, stage)
    yield stage
    await stage.close()


def _own_provider(connection: Connection, stage: Stage) -> None:
    provider_rows.add(
        connection,
        name="here",
        email="here@island.invalid",
        gpu_model="CPU",
        os="linux",
        now=stage.now,
        node_id=stage.lab.engine.nodes.local.id,
        status="online",
        approval="approved",
        last_heartbeat=stage.now,
        vram_mib=16_000,
        slots=8,
    )


async def jobs(stage: Stage) -> list[Any]:
    """Every job."""
    return list(await stage.lab.engine.store.read(lambda c: list(c.execute(select(tables.jobs)))))


def events(answer: Answer) -> list[Any]:
    """What was streamed, without its end, which must be there."""
    lines = [line.removeprefix("data: ") for line in answer.body.decode().split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


async def test_chat(able: Stage) -> None:
    before = await able.balance()
    body = {"model": MODEL, "messages": SAID, "max_tokens": 8, "temperature": 0}
    answer = await able.rent("POST", "/v1/chat/completions", body)
    assert answer.status == 200, answer.body
    found = answer.json
    (job,) = await jobs(able)
    assert found["id"] == f"chatcmpl-{job.job_id}"
    assert found["object"] == "chat.completion"
    assert found["model"] == MODEL
    assert found["choices"][0]["message"]["role"] == "assistant"
    assert 0 < found["usage"]["completion_tokens"] <= 8
    assert found["usage"]["total_tokens"] == sum(
        found["usage"][name] for name in ("prompt_tokens", "completion_tokens")
    )
    assert (job.job_type, job.status, job.priority, job.quote) == ("vllm", "completed", 8, 15)
    assert (before - await able.balance()).amount == found["cost_halala"] == job.charged
    await able.audit()
    output = await able.rent("GET", f"/api/jobs/{job.job_id}/output")
    assert output.json["result"]["response"] == found["choices"][0]["message"]["content"]


async def test_a_bearer_key_and_a_scoped_one(able: Stage) -> None:
    body = {"model": MODEL, "messages": SAID, "max_tokens": 1}
    answer = await able.ask("POST", "/v1/chat/completions", body, headers={"Authorization": f"Bearer {able.key}"})
    assert answer.status == 200
    made = await able.rent("POST", "/api/renters/me/keys", {"label": "x", "scopes": ["billing"]})
    answer = await able.rent("POST", "/v1/chat/completions", body, key=made.json["key"])
    assert (answer.status, answer.json["error"]) == (403, "API key does not have inference scope")
    made = await able.rent("POST", "/api/renters/me/keys", {"label": "x", "scopes": ["inference"]})
    assert (await able.rent("POST", "/v1/chat/completions", body, key=made.json["key"])).status == 200


async def test_stream(able: Stage) -> None:
    body = {"model": MODEL, "messages": SAID, "max_tokens": 8, "stream": True}
    answer = await able.rent("POST", "/v1/chat/completions", body)
    assert answer.headers["content-type"] == "text/event-stream"
    *pieces, last = events(answer)
    assert all(piece["object"] == "chat.completion.chunk" for piece in pieces)
    assert len(pieces) > 1
    assert last["choices"][0]["delta"] == {}
    assert last["choices"][0]["finish_reason"] in ("stop", "length")
    assert last["usage"]["completion_tokens"] <= 8
    (job,) = await jobs(able)
    assert job.status == "completed"
    assert last["cost_halala"] == job.charged
    await able.audit()


async def test_complete(able: Stage) -> None:
    body = {"model": MODEL, "prompt": "To be", "max_tokens": 4}
    found = (await able.rent("POST", "/v1/complete", body)).json
    assert found["choices"][0]["text"] == found["choices"][0]["message"]["content"]
    answer = await able.rent("POST", "/v1/complete/stream", body)
    assert events(answer)[-1]["choices"][0]["finish_reason"] in ("stop", "length")


async def test_refusals(able: Stage) -> None:
    async def refused(body: Any) -> tuple[int, str]:
        answer = await able.rent("POST", "/v1/chat/completions", body)
        return answer.status, answer.json["error"]

    assert await refused({"messages": []}) == (400, "model is required")
    assert await refused({"model": MODEL, "messages": []}) == (400, "messages must be a non-empty array")
    assert (await refused({"model": MODEL, "messages": ["x"]}))[0] == 400
    assert (await refused({"model": MODEL, "messages": [{"role": "king", "content": "x"}]}))[0] == 400
    assert await refused({"model": "who/knows", "messages": SAID}) == (503, "no_capacity")
    assert not await jobs(able)
    await able.audit()


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("n", [0, 2, True, 1.5, "1"], "n must be 1: a request has one answer here"),
        ("top_p", [-0.1, 1.1, 1e99, "1", True], "top_p must be a number from 0 to 1"),
        ("presence_penalty", [-2.1, 1e30, "x"], "presence_penalty must be a number from -2 to 2"),
        ("frequency_penalty", [2.1, [], {}], "frequency_penalty must be a number from -2 to 2"),
        ("seed", [1 << 63, -(1 << 63) - 1, 10**300, 1.5, "7"], "seed must be a whole number of at most 64 bits"),
        ("stop", [5, {}, ["a", 5], ["a"] * 17], "stop must be a text, or up to 16 of them"),
        ("tools", [5, "x", [5]], "tools must be an array of objects"),
        ("tool_choice", [7, []], "tool_choice must be a text or an object"),
        ("response_format", ["json", {}, {"type": 5}], "response_format must be an object with a type"),
    ],
)
def test_values_that_mean_nothing(name: str, values: list[Any], told: str) -> None:
    for value in values:
        with pytest.raises((Fault, Invalid)) as refused:
            chat_requests.read({"model": MODEL, "messages": SAID, name: value})
        fault = fault_of(refused.value)
        assert (fault.status, fault.body["error"].lower()) == (400, told.lower()), value
    fine = {"n": 1, "top_p": 0, "seed": -5, "stop": ["a"], "tools": [{}], "tool_choice": "auto", name: None}
    read = chat_requests.read({"model": MODEL, "messages": SAID, **fine})
    assert read.more == {key: value for key, value in fine.items() if key not in ("n", name)}


def test_what_the_network_has_usual_values_for() -> None:
    """Section 3.8: out of bounds, they count as not given."""
    for value in (0, -1, 8_193, 1e99, 64.0, "64", True, 10**300):
        wanted = chat_requests.read({"model": MODEL, "messages": SAID, "max_tokens": value, "temperature": -1e99})
        assert (wanted.max_tokens, wanted.temperature) == (512, 0.7)


async def test_without_money(able: Stage) -> None:
    made = await able.ask("POST", "/api/renters/register", {"name": "Poor", "email": "poor@example.sa"})
    key = made.json["api_key"]
    body = {"model": MODEL, "messages": SAID, "max_tokens": 8_192}
    for _ in range(3):
        answer = await able.rent("POST", "/v1/chat/completions", {**body, "stop": ["a"], "max_tokens": 1}, key=key)
        assert answer.status == 200, answer.body
    await able.audit()


async def test_a_question_that_was_cut_off_by_the_end_of_the_server(able: Stage) -> None:
    body = {"model": MODEL, "messages": SAID, "max_tokens": 1}
    assert (await able.rent("POST", "/v1/chat/completions", body)).status == 200

    def hang(connection: Connection) -> None:
        connection.execute(tables.jobs.update().values(status="running", charged=None, completed_at=None))

    await able.lab.engine.store.run(hang)
    await able.again()
    (job,) = await jobs(able)
    assert job.status == "failed"


async def test_models(able: Stage) -> None:
    found = (await able.ask("GET", "/v1/models")).json["data"]
    assert MODEL in {model["id"] for model in found}
    assert len(found) == 12


NONSENSE = (
    *(
        b"{}",
        b"[]",
        b"5",
        b"null",
        b"no json",
        b"[" * 50_000,
        b'{"choices":[]}',
        b'{"choices":[5]}',
        b'{"choices":{"a":1}}',
    ),
    *(
        b'{"choices":[{"message":"x"}]}',
        b'{"choices":[{"message":{"content":"\\ud800"}}]}',
        b'{"choices":[{"a":1e999}]}',
    ),
)


async def test_a_providers_server_that_talks_nonsense_costs_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider's server answers whatever it likes: it is refused, and what was held is given back."""
    monkeypatch.setattr(resident_endpoints, "_CONNECT_SECONDS", PATIENCE)
    said: list[tuple[str, bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
        media, body = said[-1]
        answer = f"HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(answer.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    mine = await host(stage)
    heard = {"gpu_name": "RTX 4090", "gpu_vram_mib": 24_564}
    await mine.post("/api/providers/heartbeat", gpu_status=heard, vllm_models=["a/b"], vllm_endpoint_url=url)
    before = await stage.balance()
    question = {"model": "a/b", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
    for body in NONSENSE:
        said.append(("application/json", body))
        answer = await stage.rent("POST", "/v1/chat/completions", question)
        assert (answer.status, answer.json["error"]) == (503, "no_providers_available"), body
        said.append(("text/event-stream", b"data: " + body + b"\n\n"))
        answer = await stage.rent("POST", "/v1/chat/completions", {**question, "stream": True})
        assert (answer.status, answer.body[-14:]) == (200, b"data: [DONE]\n\n"), body
    assert await stage.balance() == before
    # What is counted beyond all reason does not count.
    usage = {"prompt_tokens": 10**30, "completion_tokens": -1}
    said.append(
        ("application/json", json.dumps({"choices": [{"message": {"content": "ok"}}], "usage": usage}).encode())
    )
    answer = await stage.rent("POST", "/v1/chat/completions", question)
    assert answer.status == 200, answer.body
    assert answer.json["choices"][0]["message"]["content"] == "ok"
    assert {job.status for job in await jobs(stage)} <= {"completed", "failed"}
    await stage.audit()
    server.close()
    await server.wait_closed()
