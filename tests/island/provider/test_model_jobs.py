"""Jobs of language and image models: what is asked, what is told, what is done when a server dies."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from skerry.island.clock import Clock, SystemClock, VirtualClock
from skerry.island.engine.errors import NoCapacity, Unsupported
from skerry.island.provider.course import Bookmark, Course
from skerry.island.provider.image_job import png_size
from skerry.island.provider.language import ModelServers, ModelsHere
from skerry.island.provider.records import Endpoint, Outcome
from skerry.island.provider.results import OnPhase
from skerry.island.provider.serving_job import ServingJobs
from skerry.island.workers.llm import LlmWorkers, ModelStore
from tests.island.provider.memory_platform import MemoryPlatform, Row
from tests.island.provider.provider_lab import PATIENCE, ProviderLab

pytestmark = pytest.mark.anyio

MODEL = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"


def marked(row: Row) -> dict[str, Any]:
    """The result behind the marker, which is the last line."""
    assert row.outcome is not None
    assert row.outcome.success, row.outcome
    line = row.outcome.result.splitlines()[-1]
    assert line.startswith("DC1_RESULT_JSON:")
    found: dict[str, Any] = json.loads(line.removeprefix("DC1_RESULT_JSON:"))
    return found


@asynccontextmanager
async def with_models(
    tmp_path: Path, *names: str, clock: Clock | None = None
) -> AsyncIterator[tuple[ProviderLab, LlmWorkers]]:
    store = ModelStore(tmp_path / "models")
    for name in names:
        store.add_demo(name)
    workers = await LlmWorkers.open(store)
    lab = await ProviderLab(tmp_path, clock=clock, models=workers, servers=ModelServers(workers)).open()
    try:
        yield lab, workers
    finally:
        await lab.end()
        await workers.close()


async def test_a_question_is_answered_in_the_networks_words(tmp_path: Path) -> None:
    async with with_models(tmp_path, MODEL) as (lab, _):
        row = await lab.done(lab.platform.submit("llm_inference", {"prompt": "Haiku?", "maxTokens": "40"}))
        found = marked(row)
        assert list(found) == [
            *("type", "prompt", "response", "model", "tokens_generated", "tokens_per_second"),
            *("gen_time_s", "total_time_s", "device"),
        ]
        assert found["type"] == "text"
        assert found["prompt"] == "Haiku?"
        assert found["model"] == MODEL
        assert found["tokens_generated"] == 40
        assert found["device"] == "cpu"
        assert found["response"]
        assert row.phases == ["loading_model", "generating", "formatting"]
        assert row.outcome is not None
        assert row.outcome.gpu_seconds > 0
        # Of the OpenAI-style routes, whose answers may be shorter.
        chat = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3, "temperature": 0, "model": MODEL}
        row = await lab.done(lab.platform.submit("vllm", chat))
        assert marked(row)["tokens_generated"] == 3


async def test_a_model_that_is_not_there_is_the_jobs_failure(tmp_path: Path) -> None:
    async with with_models(tmp_path) as (lab, _):
        row = await lab.done(lab.platform.submit("llm_inference", {"prompt": "x"}))
        assert row.status == "failed"
        assert row.outcome is not None
        assert MODEL in (row.outcome.error or "")
        assert not row.outcome.transient


async def test_a_model_is_served_until_its_time_is_used_up(tmp_path: Path) -> None:
    clock = VirtualClock(datetime.now(UTC))
    async with with_models(tmp_path, MODEL, clock=clock) as (lab, workers):
        row = lab.platform.submit("vllm_serve", {"max_model_len": 512}, duration_minutes=5)
        await lab.until(lambda: row.endpoint is not None)
        clock.advance(300)
        await lab.done(row)
        found = marked(row)
        assert found["type"] == "endpoint"
        assert found["endpoint_url"] == row.endpoint
        assert found["openai_compatible"] is True
        assert found["model"] == MODEL
        assert row.outcome is not None
        assert row.outcome.gpu_seconds == 300
        assert workers.servings() == []


async def test_a_cancelled_server_is_gone_and_a_killed_one_is_begun_again(tmp_path: Path) -> None:
    async with with_models(tmp_path, MODEL) as (lab, workers):
        row = lab.platform.submit("vllm_serve", {"max_model_len": 512})
        await lab.until(lambda: row.endpoint is not None)
        await lab.loop.close()
        for key in workers.servings():
            await workers.stop(key)
        row.endpoint = None
        # The next process finds the job running, and nothing of its server: it is served anew.
        await lab.crash()
        await lab.until(lambda: row.endpoint is not None)
        lab.platform.cancel(row)
        await lab.done(row)
        assert workers.servings() == []
        assert row.reports == 0


class Sleepless(VirtualClock):
    """Time passes only by being slept away, all at once."""

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)


@dataclass
class Fragile:
    """Servers that die when they are told to."""

    lives: int = 0
    starts: int = 0
    ended: int = 0
    refuse: Exception | None = None

    async def serve(
        self, key: str, model: str, *, max_model_len: int, dtype: str, on_phase: OnPhase
    ) -> tuple[Endpoint, str]:
        self.starts += 1
        if self.refuse is not None:
            raise self.refuse
        await on_phase("loading_model")
        return Endpoint(8100), model

    async def well(self, key: str) -> bool:
        return self.starts > self.lives

    async def end(self, key: str) -> None:
        self.ended += 1


async def carried(servers: Fragile, tmp_path: Path) -> tuple[Outcome, Row]:
    clock = Sleepless(datetime.now(UTC))
    platform = MemoryPlatform(clock.now)
    row = platform.submit("vllm_serve", duration_minutes=10)
    job = await platform.claim()
    assert job is not None
    serving = ServingJobs(servers, None, clock)
    async with Course(platform, job, SystemClock(), Bookmark(tmp_path / "mark.json")) as course:
        outcome = await asyncio.wait_for(serving.carry(job, course), PATIENCE)
        await course.told(PATIENCE)
    return outcome, row


async def test_a_server_that_dies_is_started_again_three_times(tmp_path: Path) -> None:
    servers = Fragile(lives=2)
    outcome, row = await carried(servers, tmp_path)
    assert outcome.success
    assert outcome.restarts == 2
    assert servers.starts == 3
    assert sum("started again" in line.message for line in row.lines) == 2
    servers = Fragile(lives=99)
    outcome, row = await carried(servers, tmp_path)
    assert not outcome.success
    assert servers.starts == 4
    assert "died 4 times" in (outcome.error or "")


async def test_a_server_that_cannot_be_says_why(tmp_path: Path) -> None:
    outcome, _ = await carried(Fragile(refuse=Unsupported("the model is too large")), tmp_path)
    assert outcome.error == "the model is too large"
    assert not outcome.transient
    servers = Fragile(refuse=NoCapacity("no room now"))
    outcome, _ = await carried(servers, tmp_path)
    assert servers.starts == 4
    assert outcome.error == "no room now"


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + b"\x7f" * width * 3 for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@dataclass
class Drawn:
    png: bytes
    seed: int
    model: str
    seconds: float = 1.26
    total_seconds: float = 2.0
    device: str = "cuda:0"


class Painter:
    """Draws grey pictures of the size that is asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def generate(self, model: str, prompt: str, *, on_phase: OnPhase, **asked: Any) -> Drawn:
        self.asked.append({"model": model, "prompt": prompt, **asked})
        await on_phase("generating")
        return Drawn(png(asked["width"], asked["height"]), asked["seed"] or 77, model)


async def test_a_picture_is_drawn_in_the_networks_words(tmp_path: Path) -> None:
    painter = Painter()
    lab = await ProviderLab(tmp_path, pictures=painter).open()
    try:
        params = {"prompt": "A mosque", "width": 301, "height": "2000", "steps": 3, "seed": 123}
        found = marked(await lab.done(lab.platform.submit("image_generation", params)))
        assert list(found) == [
            *("type", "format", "encoding", "width", "height", "steps", "seed", "prompt", "model"),
            *("gen_time_s", "total_time_s", "device", "data"),
        ]
        assert (found["width"], found["height"], found["steps"], found["seed"]) == (296, 1024, 5, 123)
        assert (found["gen_time_s"], found["device"], found["model"]) == (1.3, "cuda", "CompVis/stable-diffusion-v1-4")
        assert png_size(base64.b64decode(found["data"])) == (296, 1024)
        assert marked(await lab.done(lab.platform.submit("image_generation", {})))["seed"] == 77
        assert painter.asked[1]["seed"] is None
        assert painter.asked[1]["negative_prompt"] == "blurry, low quality, distorted"
    finally:
        await lab.end()


def test_models_of_this_machine_may_be_asked_for_beside_the_networks(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    store.add_demo("me/mine")
    here = ModelsHere(store, {MODEL})
    assert "me/mine" in here
    assert MODEL in here
    assert "who/knows" not in here
    assert "../../etc/passwd" not in here
    assert 7 not in here
    assert datetime.now(UTC) not in here
