"""DC1 on the island: from submission to result, many jobs at once, and what stands before a model that is served.

The model is the demo, which computes next to nothing, so that what is added is not hidden behind a model's work.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench.harness import Row, Series, in_turn
from bench.llm import Bare
from bench.peers import bubblewrap, works
from bench.queue_peer import jobs_per_second
from bench.served import Served
from skerry import AsyncDC1
from skerry.island.workers.llm import ModelStore, available

_MODEL = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
_MESSAGES = [{"role": "user", "content": "hi"}]
_SCRIPT = "print(6 * 7)\n"
# The interpreter that sandboxes have, whatever the path of this process says.
_PYTHON = [shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or sys.executable, "-c", _SCRIPT]
_OFTEN = 0.003
_PATIENCE = 300.0
_SUBMITTERS = 16
_TOKENS = 32
"""The fewest that a job may ask for."""


def script(island: Served, rounds: int) -> list[Row]:
    """A program of one line, from submission to its output in hand, beside the same program without anything."""
    with island.dc1() as client:

        def ours() -> None:
            job = client.jobs.create(job_type="custom_container", duration_minutes=1, params={"script": _SCRIPT}).job
            output = client.jobs.wait(job.id, timeout=_PATIENCE, poll_interval=_OFTEN)
            if output.text != "42\n":
                raise RuntimeError(f"a job failed: {output.error}")

        subjects: dict[str, Callable[[], object]] = {"skerry": ours}
        wrapped = bubblewrap()
        if wrapped and works([*wrapped, "true"]):
            subjects["bubblewrap"] = lambda: subprocess.run([*wrapped, *_PYTHON], check=True, capture_output=True)
        subjects["subprocess"] = lambda: subprocess.run(_PYTHON, check=True, capture_output=True)
        found, *others = in_turn(subjects, rounds)
    return [Row("DC1: script, submit to result", found, others)]


async def _all_scripts(island: Served, count: int) -> float:
    numbers = iter(range(count))

    async def submit(client: AsyncDC1) -> None:
        for _ in numbers:
            await client.jobs.create(job_type="custom_container", duration_minutes=1, params={"script": _SCRIPT})

    async with island.async_dc1() as client:
        before = (await client.jobs.page(limit=1, status="completed")).total or 0
        start = time.perf_counter()
        await asyncio.gather(*(submit(client) for _ in range(_SUBMITTERS)))
        while True:
            done = ((await client.jobs.page(limit=1, status="completed")).total or 0) - before
            if done >= count:
                return count / (time.perf_counter() - start)
            if time.perf_counter() - start > _PATIENCE:
                raise RuntimeError(f"only {done} of {count} jobs were done")
            await asyncio.sleep(0.02)


def many_scripts(island: Served, count: int) -> list[Row]:
    """Jobs submitted over HTTP, each held for, run in a sandbox of its own and settled; beside queues of processes."""
    ours = Series("skerry", [uvloop.run(_all_scripts(island, count))], unit="/s")
    peers = [Series("huey + subprocess", [jobs_per_second(_PYTHON, count)], unit="/s")]
    wrapped = bubblewrap()
    if wrapped and works([*wrapped, "true"]):
        peers.insert(0, Series("huey + bubblewrap", [jobs_per_second([*wrapped, *_PYTHON], count)], unit="/s"))
    return [Row(f"DC1: {count} scripts", ours, peers)]


@contextmanager
def _engines(island: Served) -> Iterator[Bare | None]:
    """The bare engine with the model that the island has too; None where there is no engine."""
    reason = available()
    if reason is not None:
        print(f"dc1: {reason}", file=sys.stderr)
        yield None
        return
    here = ModelStore.of(island.data_dir, {})
    if here.find(_MODEL) is None:
        here.add_demo(_MODEL)
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as directory:
        bare = Bare(ModelStore(Path(directory)).add_demo("demo").path)
        try:
            yield bare
        finally:
            bare.close()


def text(island: Served, rounds: int) -> list[Row]:
    """A job that asks a model that is loaded, from submission to its text in hand, beside the bare engine."""
    with _engines(island) as bare, island.dc1() as client:
        if bare is None:
            return []
        params = {"model": _MODEL, "prompt": "hi", "max_tokens": _TOKENS}

        def ours() -> None:
            job = client.jobs.create(job_type="llm_inference", duration_minutes=1, params=params).job
            output = client.jobs.wait(job.id, timeout=_PATIENCE, poll_interval=_OFTEN)
            if not output.ok:
                raise RuntimeError(f"a job failed: {output.error}")

        found, peer = in_turn({"skerry": ours, "bare engine": lambda: bare.answer(_MESSAGES, _TOKENS)}, rounds)
    return [Row(f"DC1: text of {_TOKENS} tokens, submit to result", found, [peer])]


def served_model(island: Served, rounds: int) -> list[Row]:
    """One token, and the first piece of a stream: by `/serve`, by `/v1`, and asking the bare engine."""
    with _engines(island) as bare, island.dc1() as client:
        if bare is None:
            return []
        endpoint = client.jobs.serve_vllm(_MODEL, duration_minutes=60)
        serve, openai = _Asking(endpoint.url), _Asking(f"{island.base_url('dc1')}/v1", island.key("dc1"))
        try:
            whole = in_turn(
                {
                    "/serve": lambda: serve.answer(1),
                    "/v1": lambda: openai.answer(1),
                    "bare engine": lambda: bare.answer(_MESSAGES, 1),
                },
                rounds,
            )
            firsts = [Series("/serve"), Series("/v1"), Series("bare engine")]
            for number in range(rounds + 3):
                for series, asking in zip(firsts, (serve, openai, bare), strict=True):
                    sample = asking.first_piece()
                    if number >= 3:
                        series.samples.append(sample)
        finally:
            serve.close()
            openai.close()
            client.jobs.complete(endpoint.job_id or "")
    rows = []
    for name, (by_serve, by_v1, peer) in (("a token", whole), ("first piece of a stream", firsts)):
        rows += [Row(f"DC1: {name}, /serve", by_serve, [peer]), Row(f"DC1: {name}, /v1", by_v1, [peer])]
    return rows


class _Asking:
    """Somebody who asks a model by plain HTTP, on a connection that stays open."""

    def __init__(self, url: str, key: str = "not-needed") -> None:
        parts = urlsplit(url)
        self._path = f"{parts.path}/chat/completions"
        self._headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)

    def _ask(self, **body: Any) -> http.client.HTTPResponse:
        asked = {"model": _MODEL, "messages": _MESSAGES, "temperature": 0, **body}
        self._connection.request("POST", self._path, json.dumps(asked), self._headers)
        answer = self._connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {answer.read()[:300]!r}")
        return answer

    def answer(self, tokens: int) -> None:
        """A whole answer."""
        found = json.loads(self._ask(max_tokens=tokens).read())
        assert 0 < found["usage"]["completion_tokens"] <= tokens

    def first_piece(self) -> float:
        """Milliseconds until the first text, on a new connection as the bare engine needs one; the rest is read too."""
        start, first = time.perf_counter_ns(), 0
        self._connection.close()
        answer = self._ask(max_tokens=16, stream=True)
        while line := answer.readline():
            if not first and line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                first = time.perf_counter_ns()
        return (first - start) / 1e6

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
