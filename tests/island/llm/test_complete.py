"""Answers of the models that jobs share."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from skerry.island.engine.errors import Invalid, NoCapacity, NotFound, TooLarge, Unavailable, Unsupported
from skerry.island.workers.llm import LlmWorkers, Model, demo, llama
from skerry.island.workers.llm.llama import LlamaCpp
from skerry.island.workers.llm.values import Need
from skerry.units import GIB, MIB
from tests.island.llm.llm_lab import LONG, MISTRAL, add_long, lives, opened, pids, until

pytestmark = pytest.mark.anyio

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
HELLO = [{"role": "user", "content": "hello"}]


async def test_a_prompt_is_gone_on_with_and_counted(workers: LlmWorkers) -> None:
    phases: list[str] = []

    async def on_phase(phase: str) -> None:
        phases.append(phase)

    first = await workers.complete(MISTRAL, "abc", max_tokens=16, temperature=0, on_phase=on_phase)
    assert phases == ["loading_model", "generating"]
    # One byte is one token, and the text begins with one that says so.
    assert (first.prompt_tokens, first.completion_tokens, len(first.text)) == (4, 16, 16)
    assert (first.model, first.device, first.finish_reason) == (MISTRAL, "cpu", "length")
    assert 0 < first.seconds <= first.total_seconds
    again = await workers.complete(MISTRAL, "abc", max_tokens=16, temperature=0, on_phase=on_phase)
    assert again.text == first.text
    assert phases == ["loading_model", "generating", "generating"]
    other = await workers.complete(MISTRAL, "abd", max_tokens=16, temperature=0)
    assert other.text != first.text
    assert list(pids(workers)) == [MISTRAL]


async def test_chance_has_a_seed(workers: LlmWorkers) -> None:
    one, two, three = [
        await workers.complete("tiny", "abc", max_tokens=30, temperature=1.5, seed=seed) for seed in (1, 1, 2)
    ]
    assert one.text == two.text != three.text


@pytest.mark.parametrize("text", ["日本語の文", "é\u0301\U0001f9ea", "\u202egnirts", "a\0b", "<s></s>"])
async def test_any_text_can_be_a_prompt(workers: LlmWorkers, text: str) -> None:
    answer = await workers.complete("tiny", text, max_tokens=2)
    assert answer.completion_tokens == 2
    assert answer.prompt_tokens >= 1
    chat = await workers.complete("tiny", messages=[{"role": "user", "content": text}], max_tokens=2)
    assert chat.prompt_tokens > answer.prompt_tokens


async def test_an_answer_ends_where_it_is_told_to(workers: LlmWorkers) -> None:
    whole = await workers.complete("tiny", "abc", max_tokens=40, temperature=0)
    stop = whole.text[10:13]
    cut = await workers.complete("tiny", "abc", max_tokens=40, temperature=0, stop=[stop])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": "a", "max_tokens": 0}, "max_tokens must be"),
        ({"prompt": "a", "max_tokens": True}, "max_tokens must be"),
        ({"prompt": "a", "temperature": -1}, "temperature must be"),
        ({"prompt": "a", "temperature": float("nan")}, "temperature must be"),
        ({"prompt": "a", "stop": ["x"] * 17}, "stop must be"),
        ({"prompt": "a\ud800"}, "half a character"),
        ({"prompt": "a", "messages": HELLO}, "not both"),
        ({}, "a prompt or messages"),
        ({"messages": []}, "non-empty array"),
        ({"messages": [{"content": "a"}]}, "a role and a content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "text only"),
        ({"prompt": "x" * 5000}, "the prompt has 5001 tokens"),
        ({"prompt": "x" * 5 * MIB}, "longer than"),
    ],
)
async def test_what_cannot_be_answered_is_refused(workers: LlmWorkers, options: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await workers.complete("tiny", **options)


async def test_an_answer_that_finds_no_more_room_ends(workers: LlmWorkers) -> None:
    answer = await workers.complete("tiny", "x" * (demo.CONTEXT - 40), max_tokens=100_000)
    assert answer.finish_reason == "length"
    assert answer.prompt_tokens + answer.completion_tokens <= demo.CONTEXT


async def test_a_chat_comes_piece_by_piece(workers: LlmWorkers) -> None:
    body = {"model": MISTRAL, "messages": HELLO, "max_tokens": 12, "temperature": 0}
    async with workers.chat(body) as answer:
        assert not answer.streaming
        whole = answer.body["choices"][0]["message"]["content"]
        assert answer.body["model"] == answer.model == MISTRAL
    async with workers.chat({**body, "stream": True, "stream_options": {"include_usage": True}}) as answer:
        assert answer.streaming
        events = [event async for event in answer.events()]
    pieces = [event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"]]
    assert "".join(pieces) == whole
    assert len([piece for piece in pieces if piece]) == 12
    assert events[-1]["usage"]["completion_tokens"] == 12


async def test_a_model_without_a_way_to_write_chats_is_given_one(workers: LlmWorkers) -> None:
    content = demo.content().replace(b"tokenizer.chat_template", b"tokenizer.chat_tamplete")
    (workers.store.home / "plain.gguf").write_bytes(content)
    answer = await workers.complete("plain", messages=HELLO, max_tokens=1)
    assert answer.prompt_tokens == len("<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n") + 1


async def test_tools_reach_the_model(workers: LlmWorkers) -> None:
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 2}
    async with workers.chat(body) as without, workers.chat({**body, "tools": [TOOL]}) as with_tool:
        more = with_tool.body["usage"]["prompt_tokens"] - without.body["usage"]["prompt_tokens"]
    assert more > len("weather city")
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Abha"}'}}
    talk = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "hot"},
    ]
    async with workers.chat({**body, "messages": talk, "tools": [TOOL], "tool_choice": "auto"}) as answer:
        assert answer.body["choices"][0]["message"]["role"] == "assistant"


async def test_an_answer_can_be_bound_to_a_form(workers: LlmWorkers) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Abha", "Taif"]}}, "required": ["city"]}
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    body = {"model": "tiny", "messages": HELLO, "response_format": form, "max_tokens": 200}
    async with workers.chat(body) as answer:
        assert json.loads(answer.body["choices"][0]["message"]["content"])["city"] in ("Abha", "Taif")


async def test_what_only_an_engine_knows_does_not_reach_it(workers: LlmWorkers) -> None:
    body = {
        "model": "tiny",
        "messages": HELLO,
        "max_tokens": 3,
        "n_predict": 500,
        "id_slot": 77,
        "grammar": "root ::= (",
    }
    async with workers.chat(body) as answer:
        assert answer.body["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize(
    "body", [{"messages": HELLO}, {"model": "", "messages": HELLO}, {"model": 7, "messages": HELLO}]
)
async def test_a_chat_names_its_model(workers: LlmWorkers, body: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="model is required"):
        async with workers.chat(body):
            pass


async def test_nothing_that_one_asked_is_kept_for_the_next(workers: LlmWorkers) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "a secret " * 20}], "max_tokens": 1}
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    for _ in range(2):
        async with workers.chat(body) as answer:
            last = [event async for event in answer.events()][-1]
        assert last["usage"]["prompt_tokens"] > 180
        assert last["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


async def test_the_default_model_stands_in_and_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, "tiny", default_model="tiny") as workers:
        assert (await workers.complete(MISTRAL, "a", max_tokens=1)).model == "tiny"
        # A model that is put there is there.
        workers.store.add_demo(MISTRAL)
        assert (await workers.complete(MISTRAL, "a", max_tokens=1)).model == MISTRAL


async def test_a_model_that_is_not_there_is_refused_with_what_to_do(workers: LlmWorkers) -> None:
    with pytest.raises(NotFound, match="skerry model demo google/gemma-2b`; here are mistralai") as caught:
        await workers.complete("google/gemma-2b", "a")
    assert "skerry model pull" in caught.value.message
    for name in ("../tiny", "/etc/passwd", "a\0b", "", "a//b", "a/../tiny", "x" * 300):
        with pytest.raises(Invalid, match="no name of a model"):
            await workers.complete(name, "a")


async def test_without_an_engine_its_installation_is_the_answer(tmp_path: Path) -> None:
    async with opened(tmp_path, "tiny", found=[]) as workers:
        with pytest.raises(Unsupported, match=r"llama.cpp is not installed; pip install 'skerry\[llm\]'"):
            await workers.complete("tiny", "a")


@pytest.mark.parametrize("content", [b"hello", b"GGUF", b"", demo.content()[:300_000], demo.content()[:3000]])
async def test_a_bad_file_is_refused_before_it_is_loaded(workers: LlmWorkers, content: bytes) -> None:
    (workers.store.home / "bad.gguf").write_bytes(content)
    with pytest.raises(Invalid, match=r"bad\.gguf (is no GGUF|is cut short|cannot be read)"):
        await workers.complete("bad", "a")


async def test_what_the_engine_says_of_a_model_is_passed_on(workers: LlmWorkers) -> None:
    strange = demo.content().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lamas", 1)
    (workers.store.home / "strange.gguf").write_bytes(strange)
    with pytest.raises(Unavailable, match=r"strange cannot be loaded: .*lamas"):
        await workers.complete("strange", "a")
    assert "strange" not in pids(workers)
    assert (await workers.complete("tiny", "a", max_tokens=1)).completion_tokens == 1


async def test_to_cancel_ends_the_generation(tmp_path: Path) -> None:
    async with opened(tmp_path, "tiny", context=LONG) as workers:
        add_long(workers.store, "long")
        # As many as are answered at once, each of which takes many times as long as all else here.
        body = {"model": "long", "messages": HELLO, "stream": True, "max_tokens": LONG}
        began: set[int] = set()

        async def generate(number: int) -> None:
            async with workers.chat(body) as answer:
                async for _ in answer.events():
                    began.add(number)

        going = [asyncio.create_task(generate(number)) for number in range(4)]
        await until(lambda: len(began) == 4)
        waiting = asyncio.create_task(workers.complete("long", "b", max_tokens=1))
        assert not (await asyncio.wait([waiting], timeout=0.2))[0]
        for task in going[1:]:
            task.cancel()
        assert (await waiting).completion_tokens == 1
        assert not going[0].done()
        whole = [asyncio.create_task(workers.complete("long", "c", max_tokens=LONG)) for _ in range(4)]
        await asyncio.wait(whole, timeout=0.2)
        for task in whole:
            task.cancel()
        assert (await workers.complete("long", "d", max_tokens=1)).completion_tokens == 1
        assert not going[0].done()
        going[0].cancel()
        ended = await asyncio.gather(*going, *whole, return_exceptions=True)
        assert {type(one) for one in ended} == {asyncio.CancelledError}


async def test_many_ask_at_once_and_one_process_answers(workers: LlmWorkers) -> None:
    prompts = [f"prompt {number}" for number in range(80)]
    answers = await asyncio.gather(
        *(workers.complete("tiny", prompt, max_tokens=20, temperature=0) for prompt in prompts)
    )
    assert len(pids(workers)) == 1
    for prompt, answer in zip(prompts, answers, strict=True):
        alone = await workers.complete("tiny", prompt, max_tokens=1, temperature=0)
        assert answer.text[:1] == alone.text


async def test_a_process_that_dies_is_started_again(workers: LlmWorkers) -> None:
    await workers.complete("tiny", "a", max_tokens=1)
    first = pids(workers)["tiny"]
    os.kill(first, signal.SIGKILL)
    assert (await workers.complete("tiny", "a", max_tokens=1)).completion_tokens == 1
    second = pids(workers)["tiny"]
    assert second != first
    task = asyncio.create_task(workers.complete("tiny", "a", max_tokens=1500))
    await asyncio.sleep(0)
    os.kill(second, signal.SIGKILL)
    assert (await task).completion_tokens == 1500
    assert pids(workers)["tiny"] not in (first, second)


async def test_a_stream_says_that_its_process_died(tmp_path: Path) -> None:
    async def read(workers: LlmWorkers) -> None:
        async with workers.chat({"model": "long", "messages": HELLO, "stream": True, "max_tokens": LONG}) as answer:
            await anext(answer.events())
            os.kill(pids(workers)["long"], signal.SIGKILL)
            async for _ in answer.events():
                pass

    async with opened(tmp_path, context=LONG) as workers:
        add_long(workers.store, "long")
        with pytest.raises(Unavailable, match="ended while it was answering"):
            await read(workers)


async def test_the_longest_idle_leaves_for_the_next(tmp_path: Path) -> None:
    async with opened(tmp_path, "a", "b", "c", processes=2) as workers:
        for name in ("a", "b", "a", "c"):
            await workers.complete(name, "x", max_tokens=1)
        assert sorted(pids(workers)) == ["a", "c"]


async def test_one_that_is_used_does_not_leave(tmp_path: Path) -> None:
    async with opened(tmp_path, "a", "b", processes=1, patience=0.05) as workers:
        body = {"model": "a", "messages": HELLO, "stream": True, "max_tokens": 1500}
        async with workers.chat(body) as answer:
            await anext(answer.events())
            with pytest.raises(NoCapacity, match="no room for b now") as caught:
                await workers.complete("b", "x", max_tokens=1)
            assert caught.value.retry_after
        assert (await workers.complete("b", "x", max_tokens=1)).model == "b"
        assert list(pids(workers)) == ["b"]


async def test_others_wait_for_one_that_is_used(tmp_path: Path) -> None:
    phases: list[str] = []

    async def on_phase(phase: str) -> None:
        phases.append(phase)

    async with opened(tmp_path, "a", "b", processes=1) as workers:
        async with workers.chat({"model": "a", "messages": HELLO, "stream": True, "max_tokens": 1500}) as answer:
            await anext(answer.events())
            waiting = asyncio.create_task(workers.complete("b", "x", max_tokens=1, on_phase=on_phase))
            await until(lambda: "waiting" in phases)
        assert (await waiting).model == "b"
        assert phases == ["loading_model", "waiting", "generating"]


class _Hungry:
    """llama.cpp, as if each model took a gigabyte of memory for each of those who ask at once."""

    name, version, format, chooses_port = "llama.cpp", "0", "gguf", True

    def __init__(self) -> None:
        self._real = llama.find() or LlamaCpp("0")
        self.context_of, self.launch = self._real.context_of, self._real.launch
        self.most_text = self._real.most_text

    def need_of(self, model: Model, context: int, parallel: int, dtype: str) -> Need:
        return Need(memory_bytes=GIB * parallel)


async def test_memory_is_a_bound_too(tmp_path: Path) -> None:
    async with opened(tmp_path, "a", "b", "c", found=[_Hungry()], memory_bytes=5 * GIB) as workers:
        await workers.complete("a", "x", max_tokens=1)
        assert [one.memory_bytes for one in workers.loaded()] == [4 * GIB]
        await workers.complete("b", "x", max_tokens=1)
        assert list(pids(workers)) == ["b"]
    async with opened(tmp_path, "a", "b", "c", found=[_Hungry()], memory_bytes=2 * GIB + 5) as workers:
        # Where there is less, fewer are answered at once.
        await workers.complete("a", "x", max_tokens=1)
        assert [one.memory_bytes for one in workers.loaded()] == [2 * GIB]
    async with opened(tmp_path, "a", found=[_Hungry()], memory_bytes=GIB - 1) as workers:
        with pytest.raises(Unsupported, match=r"a needs about 1 GiB of memory, and models may use 1024 MiB here"):
            await workers.complete("a", "x", max_tokens=1)


async def test_one_that_nobody_uses_leaves(tmp_path: Path) -> None:
    async with opened(tmp_path, "a", idle_seconds=0.05) as workers:
        async with workers.chat({"model": "a", "messages": HELLO, "stream": True, "max_tokens": 1}) as answer:
            pid = pids(workers)["a"]
            await asyncio.sleep(0.1)
            assert lives(pid)
            assert [event async for event in answer.events()]
        await until(lambda: not lives(pid))
        assert not workers.loaded()
        assert (await workers.complete("a", "x", max_tokens=1)).completion_tokens == 1


async def test_nothing_is_left_when_they_are_closed(tmp_path: Path) -> None:
    async with opened(tmp_path, "a", "b") as workers:
        await workers.complete("a", "x", max_tokens=1)
        (pid,) = pids(workers).values()
        going = asyncio.create_task(workers.complete("b", "x", max_tokens=1500))
        await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await going
    assert not lives(pid)
    with pytest.raises(Unavailable, match="being stopped"):
        await workers.complete("a", "x")


async def test_too_many_messages_are_too_large(workers: LlmWorkers) -> None:
    with pytest.raises(TooLarge, match="together"):
        await workers.complete("tiny", messages=[{"role": "user", "content": "x" * MIB}] * 5)


@pytest.mark.parametrize(
    "said", [{"prompt": "word " * 100_000}, {"messages": [{"role": "user", "content": "ab " * 99_000}]}]
)
async def test_what_is_far_too_long_reaches_no_engine(tmp_path: Path, said: dict[str, Any]) -> None:
    phases: list[str] = []

    async def on_phase(phase: str) -> None:
        phases.append(phase)

    async with opened(tmp_path, "a") as workers:
        # The engine would count its tokens for minutes, and could not be told to stop.
        with pytest.raises(Invalid, match="bytes; shorten it"):
            await workers.complete("a", **said, on_phase=on_phase)
        assert "generating" not in phases
        # What may fit is the engine's to judge.
        with pytest.raises(Invalid, match=r"has \d+ tokens"):
            await workers.complete("a", "word " * 2_000)
