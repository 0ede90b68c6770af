"""The adapter for vLLM, over a double of its program. No GPU is here, and the real one was not run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from skerry.island.engine.errors import Invalid, NoCapacity, NotFound, Unavailable
from skerry.island.workers.llm import LlmWorkers, ModelStore, engines, llama, process, vllm
from tests.island.llm.llm_lab import lives, opened, pid_of, pids, until

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]
DOUBLE = Path(__file__).with_name("fake_vllm.py")


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The double, first on PATH."""
    file = tmp_path / "bin" / "vllm"
    file.parent.mkdir()
    file.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {DOUBLE} "$@"\n')
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}:{os.environ['PATH']}")
    return file


def weights(directory: Path, name: str, **config: Any) -> Path:
    """A model as its makers publish it, without what matters."""
    folder = directory / "models" / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def test_it_is_found_where_there_are_its_program_and_a_gpu(monkeypatch: pytest.MonkeyPatch, program: Path) -> None:
    assert [engine.name for engine in engines.find([0])] == ["vllm", "llama.cpp"]
    assert [engine.name for engine in engines.find([])] == ["llama.cpp"]
    program.unlink()
    assert [engine.name for engine in engines.find([0])] == ["llama.cpp"]
    monkeypatch.setattr(llama, "find", lambda gpus: None)
    assert engines.available([0]) == llama.MISSING


async def test_a_server_is_started_with_what_was_asked_for(tmp_path: Path) -> None:
    folder = weights(tmp_path, "org/m", max_position_embeddings=2048)
    async with opened(tmp_path, gpus=[3]) as workers:
        serving = await workers.serve("job-1", "org/m", max_model_len=4096, dtype="bfloat16")
        assert (serving.engine, serving.device, serving.max_model_len) == ("vllm", "cuda", 2048)
        told = report(folder)
        assert (told["model"], told["served_model_name"]) == (str(folder), "org/m")
        assert (told["max_model_len"], told["dtype"], told["gpus"]) == (2048, "bfloat16", "3")
        assert (told["host"], told["port"]) == ("127.0.0.1", serving.port)
        assert not told["no_enable_prefix_caching"]
        # A model that does not say how a chat is written is given a way.
        assert "<|im_start|>" in told["chat_template"]
        assert serving.api_key is not None
        for pid in (pid_of(workers, "job-1"), *told["pids"]):
            assert serving.api_key.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        async with openai.AsyncOpenAI(base_url=serving.base_url, api_key=serving.api_key) as ai:
            answer = await ai.chat.completions.create(
                model="org/m", messages=[{"role": "user", "content": "how do you do"}], max_tokens=3
            )
            assert answer.choices[0].message.content == "word word word "
        async with openai.AsyncOpenAI(base_url=serving.base_url, api_key="wrong", max_retries=0) as ai:
            with pytest.raises(openai.AuthenticationError):
                await ai.models.list()
        await workers.stop("job-1")
        assert not any(lives(pid) for pid in told["pids"])


async def test_jobs_share_it_one_model_per_gpu(tmp_path: Path) -> None:
    folder = weights(tmp_path, "org/m")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "..."}')
    other = weights(tmp_path, "org/n")
    async with opened(tmp_path, "tiny", gpus=[0], patience=0.05) as workers:
        answer = await workers.complete("org/m", "a b c", max_tokens=5)
        assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == ("word " * 5, 3, 5)
        assert (answer.device, answer.model) == ("cuda", "org/m")
        told = report(folder)
        assert told["no_enable_prefix_caching"]
        assert told["chat_template"] is None
        with pytest.raises(Invalid, match="maximum context length exceeded"):
            await workers.complete("org/m", "a " * 5000, max_tokens=1)
        body = {"model": "org/m", "messages": [{"role": "user", "content": "a"}], "max_tokens": 2, "stream": True}
        async with workers.chat(body) as chat:
            assert len([event async for event in chat.events()]) == 2
        # What it takes is the GPU; models for the processor stay.
        assert (await workers.complete("tiny", "a", max_tokens=1)).device == "cpu"
        await workers.complete("org/n", "a", max_tokens=1)
        assert sorted(pids(workers)) == ["org/n", "tiny"]
        assert not any(lives(pid) for pid in told["pids"])
        async with workers.chat({**body, "model": "org/n"}) as chat:
            with pytest.raises(NoCapacity, match="no room for org/m"):
                await workers.complete("org/m", "a", max_tokens=1)
            assert [event async for event in chat.events()]
    assert not any(lives(pid) for pid in report(other)["pids"])


async def test_a_port_that_somebody_takes_meanwhile_is_left_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights(tmp_path, "org/m")
    free = process.free_port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        offered = [taken.getsockname()[1]]
        monkeypatch.setattr(process, "free_port", lambda host: offered.pop() if offered else free(host))
        async with opened(tmp_path, gpus=[0]) as workers:
            assert (await workers.complete("org/m", "a", max_tokens=1)).completion_tokens == 1
    assert not offered


async def test_a_gpu_whose_memory_is_in_use_is_not_taken_for_a_port(tmp_path: Path, program: Path) -> None:
    weights(tmp_path, "org/m")
    tried = tmp_path / "tried"
    program.write_text(f"#!/bin/sh\necho x >> {tried}\necho another process has 79 GiB memory in use\nexit 1\n")
    async with opened(tmp_path, gpus=[0]) as workers:
        with pytest.raises(Unavailable, match="memory in use"):
            await workers.complete("org/m", "a", max_tokens=1)
    assert tried.read_text() == "x\n"


async def test_what_it_starts_ends_with_its_guard(tmp_path: Path) -> None:
    folder = weights(tmp_path, "org/m")
    async with opened(tmp_path, gpus=[0]) as workers:
        await workers.complete("org/m", "a", max_tokens=1)
        told = report(folder)
        guard = pids(workers)["org/m"]
        # The program dies: the guard ends with it, and takes its helpers along.
        os.kill(told["pids"][0], signal.SIGKILL)
        await until(lambda: not any(lives(pid) for pid in (guard, *told["pids"])))
        assert (await workers.complete("org/m", "a", max_tokens=1)).completion_tokens == 1
        # The guard dies: the program does too.
        told = report(folder)
        os.kill(pids(workers)["org/m"], signal.SIGKILL)
        await until(lambda: not lives(told["pids"][0]))
        os.kill(told["pids"][1], signal.SIGKILL)


async def test_nothing_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    folder = weights(tmp_path, "org/m")
    command = [sys.executable, "-m", "tests.island.llm.survivor", str(tmp_path), "org/m", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    await until(lambda: not any(lives(pid) for pid in (*pids, *report(folder)["pids"])))


async def test_one_that_does_not_start_says_why(tmp_path: Path) -> None:
    (weights(tmp_path, "org/m") / "broken").touch()
    async with opened(tmp_path, gpus=[0]) as workers:
        with pytest.raises(Unavailable, match="org/m cannot be loaded: ValueError: no such architecture"):
            await workers.complete("org/m", "a")


async def test_without_a_gpu_weights_are_none(tmp_path: Path) -> None:
    weights(tmp_path, "org/m")
    async with opened(tmp_path) as workers:
        with pytest.raises(NotFound, match="is here as safetensors, which only vLLM on a GPU loads"):
            await workers.complete("org/m", "a")
    store = ModelStore(tmp_path / "models")
    store.add_demo("tiny")
    workers = await LlmWorkers.open(store, found=[vllm.Vllm("/bin/false", "0")], gpus=[0])
    with pytest.raises(NotFound, match=r"is here as a GGUF file, which only llama\.cpp loads; pip install"):
        await workers.complete("tiny", "a")
    await workers.close()
