"""What the island adds to a language model: answers through the pool, beside the bare engine's own.

The model is the demo, which computes next to nothing, so that what is added is not hidden behind a model's work.
"""

from __future__ import annotations

import asyncio
import http.client
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.harness import Row, Series, in_turn
from skerry.island.workers.llm import LlmSettings, LlmWorkers, ModelStore, available

_PROMPT = "abcdefghijklmno"
"""15 bytes; with the mark of a beginning 16 tokens."""

_MESSAGES = [{"role": "user", "content": "hi"}]
_TOKENS = 16


def pool(rounds: int) -> list[Row]:
    """16 tokens after 16, and the first piece of a stream; nothing where there is no engine."""
    reason = available()
    if reason is not None:
        print(f"llm: {reason}", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as directory:
        store = ModelStore(Path(directory))
        bare = Bare(store.add_demo("demo").path)
        loop = asyncio.new_event_loop()
        workers = loop.run_until_complete(LlmWorkers.open(store, settings=LlmSettings(threads=1)))
        try:
            return [_completion(loop, workers, bare, rounds), _first_piece(loop, workers, bare, rounds)]
        finally:
            loop.run_until_complete(workers.close())
            loop.close()
            bare.close()


def _completion(loop: asyncio.AbstractEventLoop, workers: LlmWorkers, bare: Bare, rounds: int) -> Row:
    def through() -> None:
        answer = loop.run_until_complete(workers.complete("demo", _PROMPT, max_tokens=_TOKENS, temperature=0))
        assert (answer.prompt_tokens, answer.completion_tokens) == (16, _TOKENS)

    subject, served, inside = in_turn(
        {"pool": through, "bare server": bare.complete, "in process": bare.complete_inside}, rounds
    )
    return Row("llm: 16 tokens after a prompt of 16", subject, [served, inside])


def _first_piece(loop: asyncio.AbstractEventLoop, workers: LlmWorkers, bare: Bare, rounds: int) -> Row:
    """Until the first text is there; the rest is read too, but not counted."""

    async def through() -> float:
        body = {"model": "demo", "messages": _MESSAGES, "max_tokens": _TOKENS, "temperature": 0, "stream": True}
        start, first = time.perf_counter_ns(), 0
        async with workers.chat(body) as answer:
            async for event in answer.events():
                if not first and event["choices"][0]["delta"].get("content"):
                    first = time.perf_counter_ns()
        return (first - start) / 1e6

    subject, served = Series("pool"), Series("bare server")
    for number in range(rounds + 3):
        samples = loop.run_until_complete(through()), bare.first_piece()
        if number >= 3:
            subject.samples.append(samples[0])
            served.samples.append(samples[1])
    return Row("llm: first piece of a stream", subject, [served])


class Bare:
    """The engine as its package has it, in this process, asked over its own HTTP server and past it."""

    def __init__(self, path: Path) -> None:
        library: Any = importlib.import_module("xllamacpp")
        parameters = library.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx, parameters.n_parallel, parameters.port = 8192, 4, 0
        parameters.cpuparams.n_threads = 1
        parameters.cache_prompt = parameters.fit_params = parameters.warmup = False
        parameters.verbosity = 1
        self._server: Any = library.Server(parameters)
        self._address = self._server.listening_address.removeprefix("http://")
        self._connection = http.client.HTTPConnection(self._address)

    def complete(self) -> None:
        """By HTTP, on one connection that stays open."""
        body = {"prompt": _PROMPT, "max_tokens": _TOKENS, "temperature": 0}
        self._connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(self._connection.getresponse().read())
        assert answer["usage"]["completion_tokens"] == _TOKENS

    def complete_inside(self) -> None:
        """By a call of the library."""
        answer = self._server.handle_completions({"prompt": _PROMPT, "max_tokens": _TOKENS, "temperature": 0})
        assert answer["usage"]["completion_tokens"] == _TOKENS

    def first_piece(self) -> float:
        """By HTTP, on a new connection, as it closes each after a stream; milliseconds."""
        body = {"messages": _MESSAGES, "max_tokens": _TOKENS, "temperature": 0, "stream": True}
        start, first = time.perf_counter_ns(), 0
        self._connection.close()
        self._connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        while line := answer.readline():
            if not first and line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                first = time.perf_counter_ns()
        return (first - start) / 1e6

    def answer(self, messages: list[dict[str, str]], tokens: int) -> None:
        """By HTTP, to a chat."""
        body = {"messages": messages, "max_tokens": tokens, "temperature": 0}
        self._connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(self._connection.getresponse().read())
        assert 0 < answer["usage"]["completion_tokens"] <= tokens

    def close(self) -> None:
        """End the server."""
        self._connection.close()
        self._server = None
