"""Servers of one job, asked as their users ask: with OpenAI's own client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import openai
import pytest

from skerry.island.engine.errors import Conflict, Invalid, NoCapacity, NotFound, Unavailable
from skerry.island.workers.llm import LlmWorkers, Serving, dedicated, demo
from tests.island.llm.llm_lab import MISTRAL, lives, opened, pid_of, until
from tests.processes import state

pytestmark = pytest.mark.anyio

HELLO = [{"role": "user", "content": "hello"}]


def client(serving: Serving, key: str | None = None) -> openai.AsyncOpenAI:
    # A kept connection may be closed by the engine in the very moment in which it is used again, for which there are
    # retries; what is to be seen here is each first answer.
    return openai.AsyncOpenAI(
        base_url=serving.base_url,
        api_key=key or serving.api_key or "none",
        max_retries=0,
        default_headers={"Connection": "close"},
    )


async def test_openais_client_is_answered(workers: LlmWorkers) -> None:
    serving = await workers.serve("job-1", MISTRAL)
    assert serving.base_url == f"http://127.0.0.1:{serving.port}/v1"
    assert (serving.model, serving.used_model, serving.engine, serving.device) == (MISTRAL, MISTRAL, "llama.cpp", "cpu")
    async with client(serving) as ai:
        assert [model.id async for model in ai.models.list()] == [MISTRAL]
        whole = await ai.chat.completions.create(model=MISTRAL, messages=HELLO, max_tokens=8, temperature=0)
        assert (whole.model, whole.usage and whole.usage.completion_tokens) == (MISTRAL, 8)
        text = ""
        async with await ai.chat.completions.create(
            model=MISTRAL, messages=HELLO, max_tokens=8, temperature=0, stream=True
        ) as stream:
            async for chunk in stream:
                assert chunk.model == MISTRAL
                text += chunk.choices[0].delta.content or ""
        assert text == whole.choices[0].message.content
        plain = await ai.completions.create(model=MISTRAL, prompt="hello", max_tokens=4)
        assert len(plain.choices[0].text) == 4


async def test_it_answers_to_the_name_that_was_asked_for(tmp_path: Path) -> None:
    async with opened(tmp_path, "tiny", default_model="tiny") as workers:
        serving = await workers.serve("job-1", "meta-llama/Meta-Llama-3-8B-Instruct")
        assert serving.used_model == "tiny"
        async with client(serving) as ai:
            answer = await ai.chat.completions.create(model=serving.model, messages=HELLO, max_tokens=1)
            assert answer.model == "meta-llama/Meta-Llama-3-8B-Instruct"


async def test_the_key_is_needed_and_shown_nowhere(workers: LlmWorkers) -> None:
    serving = await workers.serve("job-1", "tiny")
    assert serving.api_key is not None
    assert len(serving.api_key) >= 40
    assert serving.api_key not in repr(serving)
    async with client(serving, "wrong") as ai:
        with pytest.raises(openai.AuthenticationError):
            await ai.chat.completions.create(model="tiny", messages=HELLO, max_tokens=1)
    pid = pid_of(workers, "job-1")
    for name in ("cmdline", "environ"):
        assert serving.api_key.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()


async def test_a_servers_context_is_what_was_asked_for(workers: LlmWorkers) -> None:
    serving = await workers.serve("job-1", "tiny", max_model_len=512, dtype="bfloat16")
    assert serving.max_model_len == 512
    assert (await workers.serve("job-2", "tiny", max_model_len=100_000)).max_model_len == demo.CONTEXT
    async with client(serving) as ai:
        with pytest.raises(openai.BadRequestError, match="exceeds the available context size"):
            await ai.completions.create(model="tiny", prompt="x" * 600, max_tokens=1)
        # Each of those who ask at once has all of it.
        answers = await asyncio.gather(
            *(ai.completions.create(model="tiny", prompt="x" * 450, max_tokens=20) for _ in range(4))
        )
        assert [answer.usage and answer.usage.completion_tokens for answer in answers] == [20] * 4


async def test_the_same_key_is_the_same_server(workers: LlmWorkers) -> None:
    first, second = await asyncio.gather(workers.serve("job-1", "tiny"), workers.serve("job-1", "tiny"))
    assert first is second is workers.serving("job-1")
    assert workers.servings() == ["job-1"]
    with pytest.raises(Conflict, match="serves tiny"):
        await workers.serve("job-1", MISTRAL)
    pid = pid_of(workers, "job-1")
    assert pid is not None
    await workers.stop("job-1")
    await workers.stop("job-1")
    assert not lives(pid)
    with pytest.raises(NotFound):
        workers.serving("job-1")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", first.port)) != 0


async def test_a_servers_process_is_started_again_at_the_same_port(workers: LlmWorkers) -> None:
    serving = await workers.serve("job-1", "tiny")
    first = pid_of(workers, "job-1")
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: pid_of(workers, "job-1") not in (None, first))
    assert workers.serving("job-1") == serving
    async with client(serving) as ai:
        assert (await ai.completions.create(model="tiny", prompt="x", max_tokens=1)).model == "tiny"


async def test_one_that_ends_again_and_again_is_given_up(workers: LlmWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedicated, "_PAUSES", (0.0, 0.0))
    serving = await workers.serve("job-1", "tiny")
    (workers.store.home / "tiny.gguf").write_bytes(b"GGUF no more")
    pid = pid_of(workers, "job-1")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    def failed() -> bool:
        try:
            return workers.serving("job-1") is not serving
        except Unavailable as error:
            return "tiny ended 3 times: tiny cannot be loaded" in error.message

    await until(failed)
    await workers.stop("job-1")
    assert workers.servings() == []


async def test_to_cancel_a_start_leaves_nothing(workers: LlmWorkers) -> None:
    going = asyncio.create_task(workers.serve("job-1", "tiny"))
    await until(lambda: workers.servings())
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert workers.servings() == []
    assert workers.loaded() == []


async def test_a_stop_that_is_given_up_ends_the_server_all_the_same(tmp_path: Path) -> None:
    async with opened(tmp_path, "tiny", processes=1) as workers:
        await workers.serve("job-1", "tiny")
        pid = pid_of(workers, "job-1")
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: state(pid) == "T")
        stopping = asyncio.create_task(workers.stop("job-1"))
        await until(lambda: workers.servings() == [])
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        os.kill(pid, signal.SIGCONT)
        # There is room for one at a time.
        assert (await workers.complete("tiny", "x", max_tokens=1)).completion_tokens == 1
        assert not lives(pid)


async def test_a_server_does_not_leave_for_others(tmp_path: Path) -> None:
    async with opened(tmp_path, "a", "b", processes=1, patience=0.05) as workers:
        await workers.complete("a", "x", max_tokens=1)
        await workers.serve("job-1", "b")
        assert [(one.model, one.key) for one in workers.loaded()] == [("b", "job-1")]
        with pytest.raises(NoCapacity):
            await workers.complete("a", "x", max_tokens=1)
        with pytest.raises(NoCapacity):
            await workers.serve("job-2", "a")
        await workers.stop("job-1")
        assert (await workers.complete("a", "x", max_tokens=1)).completion_tokens == 1


async def test_an_open_server_asks_for_no_key(workers: LlmWorkers) -> None:
    serving = await workers.open_serving("job-1", "tiny", host="0.0.0.0")
    assert (serving.api_key, serving.host) == (None, "0.0.0.0")
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{serving.port}/v1", api_key="any") as ai:
        assert (await ai.completions.create(model="tiny", prompt="x", max_tokens=1)).model == "tiny"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match="couldn't bind"):
            await workers.open_serving("job-2", "tiny", host="127.0.0.1", port=port)
    again = await workers.open_serving("job-2", "tiny", host="127.0.0.1", port=port)
    assert again.port == port


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"key": "../x"}, "no key of a server"),
        ({"max_model_len": 5}, "max_model_len"),
        ({"max_model_len": True}, "max_model_len"),
        ({"dtype": "int3"}, "dtype must be one of"),
    ],
)
async def test_what_cannot_be_served_is_refused(workers: LlmWorkers, options: dict[str, object], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await workers.serve(**{"key": "job-1", "model": "tiny", **options})  # type: ignore[arg-type]


async def test_requests_are_forwarded_without_their_key(workers: LlmWorkers) -> None:
    await workers.serve("job-1", "tiny")
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 3, "stream": True}
    async with workers.forward("job-1", "POST", "chat/completions", json.dumps(body).encode()) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        pieces = [piece async for piece in answer.pieces]
    assert len(pieces) > 3
    assert b"".join(pieces).endswith(b"data: [DONE]\n\n")
    async with workers.forward("job-1", "POST", "chat/completions", b"{}") as answer:
        assert answer.status in (400, 500)
        assert "error" in json.loads(b"".join([piece async for piece in answer.pieces]))
    async with workers.forward("job-1", "GET", "models") as answer:
        assert json.loads(b"".join([piece async for piece in answer.pieces]))["data"][0]["id"] == "tiny"
    for method, path in (("GET", "../props"), ("POST", "models"), ("GET", "lora-adapters"), ("DELETE", "models")):
        with pytest.raises(NotFound, match="does not answer"):
            async with workers.forward("job-1", method, path):
                pass
    with pytest.raises(NotFound):
        async with workers.forward("job-2", "GET", "models"):
            pass
