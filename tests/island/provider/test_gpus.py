"""GPUs of jobs in sandboxes, language models and pictures: no two kinds of work ever have the same one.

The machine is made to believe that it has two; vLLM and the pictures' worker are the doubles of their own tests.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from skerry.island.engine import gpus
from skerry.island.engine.errors import NoCapacity, Unavailable
from skerry.island.engine.records import Gpu
from skerry.island.ground.waiting import give_up
from skerry.island.provider import rooms
from skerry.island.provider.records import ProviderJob
from skerry.island.workers.image import DiffusionChoices, DiffusionWorkers
from skerry.island.workers.image.process import PictureProcess
from skerry.island.workers.llm import LlmSettings, LlmWorkers, ModelStore, vllm
from tests.island.diffusion.diffusion_lab import STAND_IN, add_model
from tests.island.engine.lab import Lab
from tests.island.llm.llm_lab import lives, pids, until
from tests.island.llm.test_vllm import DOUBLE, report, weights

pytestmark = pytest.mark.anyio
CARDS = tuple(Gpu(index=index, name="H100", memory_bytes=80 << 30, uuid=f"GPU-{index}") for index in range(2))


def job(number: int) -> ProviderJob:
    return ProviderJob(id=number, job_id=f"job-{number}", job_type="training")


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    monkeypatch.setattr(gpus, "detect", lambda: CARDS)
    it = Lab(tmp_path)
    await it.open()
    yield it
    await it.end()


@pytest.fixture
async def ending() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as it:
        yield it


async def models_of(lab: Lab, directory: Path, ending: AsyncExitStack) -> LlmWorkers:
    program = directory / "vllm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {DOUBLE} "$@"\n')
    program.chmod(0o755)
    lending, store = lab.engine.lending, ModelStore(directory / "models")
    settings = LlmSettings(patience=0.05)
    found = [vllm.Vllm(str(program), "0")]
    workers = await LlmWorkers.open(store, settings=settings, found=found, lender=lending)
    ending.push_async_callback(workers.close)
    lending.on_wanted(workers.yield_gpu, workers.idle_leases)
    return workers


def pictures_of(lab: Lab, directory: Path, ending: AsyncExitStack) -> DiffusionWorkers:
    workers = DiffusionWorkers(
        directory,
        choices=DiffusionChoices(hub=False, grace_seconds=2.0),
        environ={"HF_HOME": str(directory / "no-cache")},
        python=Path(sys.executable),
        script=STAND_IN,
        lender=lab.engine.lending,
    )
    ending.push_async_callback(workers.aclose)
    lab.engine.lending.on_wanted(workers.yield_gpu, workers.idle_leases)
    return workers


async def lent(lab: Lab) -> list[int]:
    held = await lab.engine.store.read(lab.engine.capacity.held)
    return sorted(index for one in held for index in one.gpus)


async def test_models_have_what_no_job_has(lab: Lab, tmp_path: Path, ending: AsyncExitStack) -> None:
    first, second = weights(tmp_path, "org/a"), weights(tmp_path, "org/b")
    models = await models_of(lab, tmp_path, ending)
    assert await rooms.take_gpus(lab.engine, job(1), 1) == (0,)
    await models.complete("org/a", "hi", max_tokens=1)
    assert report(first)["gpus"] == "1"
    # An idle model makes room for another, then for a job; a job does for nobody.
    await models.complete("org/b", "hi", max_tokens=1)
    assert (report(second)["gpus"], await lent(lab)) == ("1", [0, 1])
    process = pids(models)["org/b"]
    assert await rooms.take_gpus(lab.engine, job(2), 1) == (1,)
    assert not lives(process)
    with pytest.raises(NoCapacity, match=r"no room for org/a now: 1 GPUs are asked for; 0 are free"):
        await models.complete("org/a", "hi", max_tokens=1)
    await rooms.leave(lab.engine, job(2))
    await models.serve("job-3", "org/a")
    assert await lent(lab) == [0, 1]
    # What is served is in use for as long as it is served.
    with pytest.raises(NoCapacity, match="0 are free"):
        await rooms.take_gpus(lab.engine, job(4), 1)
    await models.stop("job-3")
    assert await rooms.take_gpus(lab.engine, job(4), 1) == (1,)


async def test_pictures_have_what_no_model_has(lab: Lab, tmp_path: Path, ending: AsyncExitStack) -> None:
    folder = add_model(tmp_path, "org/pictures")
    weights(tmp_path, "org/a")
    models, pictures = await models_of(lab, tmp_path, ending), pictures_of(lab, tmp_path, ending)
    await models.serve("job-1", "org/a")
    await pictures.generate("org/pictures", "a lighthouse", width=64, height=64, steps=1)
    seen = json.loads((folder / "environment").read_text())
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["CUDA_DEVICE_ORDER"]) == ("1", "PCI_BUS_ID")
    assert await lent(lab) == [0, 1]
    assert await rooms.take_gpus(lab.engine, job(2), 1) == (1,)
    assert pictures.loaded == {}
    with pytest.raises(NoCapacity, match="0 are free"):
        await pictures.generate("org/pictures", "a lighthouse", width=64, height=64, steps=1)
    await rooms.leave(lab.engine, job(2))
    await models.stop("job-1")
    await pictures.generate("org/pictures", "a lighthouse", width=64, height=64, steps=1)
    # Its process dies: what it had is given back with the next thing that is heard of it.
    await pictures.aclose()
    await until(lambda: pictures.loaded == {})
    assert await lent(lab) == []


async def test_what_a_model_that_does_not_load_had_is_given_back(
    lab: Lab, tmp_path: Path, ending: AsyncExitStack
) -> None:
    (weights(tmp_path, "org/a") / "broken").touch()
    add_model(tmp_path, "org/pictures", "die")
    models, pictures = await models_of(lab, tmp_path, ending), pictures_of(lab, tmp_path, ending)
    for asking in (models.complete("org/a", "hi"), pictures.generate("org/pictures", "x", width=64, height=64)):
        with pytest.raises(Exception, match="org/"):
            await asking
    await models.close()
    assert await lent(lab) == []


async def test_a_crash_leaves_gpus_to_jobs_alone(lab: Lab) -> None:
    await lab.engine.lending.take("llm-1", 1)
    assert await rooms.take_gpus(lab.engine, job(1), 1) == (1,)
    engine = await lab.crash()
    assert await lent(lab) == [1]
    assert await engine.lending.take("llm-1", 1) == (0,)


async def test_a_picture_that_was_to_leave_gives_its_gpu_back_also_when_nobody_wants_it_any_more(
    lab: Lab, tmp_path: Path, ending: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(tmp_path, "org/pictures")
    pictures = pictures_of(lab, tmp_path, ending)
    await pictures.generate("org/pictures", "a lighthouse", width=64, height=64, steps=1)
    close, leaving = PictureProcess.close, asyncio.Event()

    async def closing(process: PictureProcess) -> None:
        leaving.set()
        await close(process)

    monkeypatch.setattr(PictureProcess, "close", closing)
    os.kill(pictures.loaded["org/pictures"], signal.SIGSTOP)
    wanting = asyncio.ensure_future(rooms.take_gpus(lab.engine, job(1), 2))
    await leaving.wait()
    await give_up(wanting)
    assert wanting.cancelled()
    assert await lent(lab) == []


async def test_a_full_disk_keeps_no_gpu(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lending, run = lab.engine.lending, lab.engine.store.run
    await lending.take("llm-1", 1)
    assert await rooms.take_gpus(lab.engine, job(1), 1) == (1,)

    async def full(*_: object, **__: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(lab.engine.store, "run", full)
    await lending.give("llm-1")
    await rooms.leave(lab.engine, job(1), rooms.Traces(gpus=True))
    monkeypatch.setattr(lab.engine.store, "run", run)
    assert await lent(lab) == [0, 1]
    await lending.again()
    assert await lent(lab) == []


async def test_gpus_are_nobodys_before_their_program_has_ended(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "_RETRY_SECONDS", 0.0)
    assert await rooms.take_gpus(lab.engine, job(1), 1) == (0,)
    refused: list[list[int]] = []

    async def cancel(*_: object, **__: object) -> bool:
        refused.append(await lent(lab))
        if len(refused) < 3:
            raise Unavailable("the disk is full")
        return True

    monkeypatch.setattr(lab.engine.runs, "cancel", cancel)
    await rooms.leave(lab.engine, job(1), rooms.Traces(begun=1, going=True, gpus=True))
    assert (refused, await lent(lab)) == ([[0]] * 3, [])
