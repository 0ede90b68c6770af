"""Real pictures: `SKERRY_TEST_DIFFUSION` names a Python with diffusers, or a data directory with an environment."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from skerry.island.engine.errors import NoCapacity, NotFound, Unavailable, Unsupported
from skerry.island.workers.image import DiffusionChoices, DiffusionWorkers, environment, install
from skerry.island.workers.image.choices import STATE
from tests.island.diffusion.diffusion_lab import decode, running
from tests.island.diffusion.hub_double import COMMIT, hub

NAMED = os.environ.get("SKERRY_TEST_DIFFUSION", "")
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not NAMED, reason="SKERRY_TEST_DIFFUSION names no environment with diffusers"),
]

DEMO = "org/demo"


def given() -> environment.Environment:
    """The environment that is named."""
    place = Path(NAMED) / STATE / "venv"
    return environment.find(Path(NAMED), DiffusionChoices(python=place if place.is_dir() else Path(NAMED)))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a demo."""
    directory = tmp_path_factory.mktemp("diffusion")
    install.make_demos(given(), directory / STATE, [DEMO])
    return directory


def opened(home: Path, *, environ: dict[str, str] | None = None, **choices: Any) -> DiffusionWorkers:
    variables = {"PATH": os.environ["PATH"], "HF_HOME": str(home / "no-cache"), **(environ or {})}
    return DiffusionWorkers(
        home, choices=DiffusionChoices(**{"python": given().python, "hub": False, **choices}), environ=variables
    )


@pytest.fixture
async def workers(home: Path) -> AsyncIterator[DiffusionWorkers]:
    async with opened(home) as workers:
        yield workers


async def test_pictures_are_drawn_as_asked(workers: DiffusionWorkers) -> None:
    assert workers.unready() is None
    for width, height in ((64, 64), (256, 256), (100, 72), (251, 131)):
        phases: list[str] = []
        picture = await workers.generate(
            DEMO, "منارة a lighthouse 灯台", steps=5, width=width, height=height, seed=3, on_phase=phases.append
        )
        found = decode(picture.png)
        assert found[:2] == (width, height) == (picture.width, picture.height)
        # Noise, but neither black nor white nor one colour.
        assert len(set(found[2])) > 100
        assert picture.demo
        assert picture.device in ("cpu", "cuda")
        assert 0 < picture.seconds <= picture.total_seconds
        assert phases[-2:] == ["generating", "formatting"]


async def test_a_seed_draws_the_same_picture_in_another_process(home: Path, workers: DiffusionWorkers) -> None:
    async def draw(workers: DiffusionWorkers, prompt: str, seed: int, negative: str = "") -> bytes:
        picture = await workers.generate(
            DEMO, prompt, negative_prompt=negative, steps=6, width=64, height=64, seed=seed
        )
        return decode(picture.png)[2]

    first = await draw(workers, "a lighthouse", 7)
    assert await draw(workers, "a lighthouse", 7) == first
    assert await draw(workers, "a lighthouse", 8) != first
    assert await draw(workers, "a harbour", 7) != first
    assert await draw(workers, "a lighthouse", 7, negative="blurry") != first
    async with opened(home) as others:
        assert await draw(others, "a lighthouse", 7) == first
        assert set(others.loaded.values()).isdisjoint(workers.loaded.values())


async def test_a_cancelled_picture_stops_between_two_steps(workers: DiffusionWorkers) -> None:
    await workers.generate(DEMO, "a", steps=1, width=64, height=64)
    pids = workers.loaded
    begun = asyncio.Event()
    task = asyncio.create_task(
        workers.generate(
            DEMO,
            "a",
            steps=200,
            width=256,
            height=256,
            on_phase=lambda phase: begun.set() if phase == "generating" else None,
        )
    )
    await begun.wait()
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < workers.choices.grace_seconds
    assert (await workers.generate(DEMO, "a", steps=1, width=64, height=64)).png
    assert workers.loaded == pids
    await workers.aclose()
    assert not any(map(running, pids.values()))


async def test_too_little_memory_is_said_and_survived(home: Path) -> None:
    async with opened(home, environ={"CUDA_VISIBLE_DEVICES": ""}, memory_bytes=1400 << 20) as workers:
        await workers.generate(DEMO, "a", steps=1, width=64, height=64)
        pids = workers.loaded
        with pytest.raises(NoCapacity, match=rf"{DEMO} ran out of memory \(a process may use 1\.4 GiB\)"):
            await workers.generate(DEMO, "a", steps=1, width=2048, height=2048)
        await workers.generate(DEMO, "a", steps=1, width=64, height=64)
        assert workers.loaded == pids


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


async def test_pickles_and_code_of_models_are_refused_unread(home: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    install.make_demos(given(), tmp_path / STATE, ["org/pickled", "org/coded", "org/broken"])
    models = tmp_path / STATE / "models" / "org"
    weights = models / "pickled" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    weights.with_suffix(".bin").write_bytes(pickle.dumps(Bomb(mark)))
    index = models / "coded" / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_bytes()), "unet": ["own", "Own"]}))
    (models / "coded" / "unet" / "own.py").write_text(f"open({str(mark)!r}, 'w')\nclass Own: pass\n")
    (models / "broken" / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"\0" * 1000)
    async with opened(tmp_path) as workers:
        with pytest.raises(Unsupported, match=r"its unet has weights as pickles alone"):
            await workers.generate("org/pickled", "a")
        with pytest.raises(Unsupported, match="org/coded: "):
            await workers.generate("org/coded", "a")
        with pytest.raises(Unsupported, match="org/broken: "):
            await workers.generate("org/broken", "a")
        assert not workers.loaded
    assert not mark.exists()


async def test_a_model_comes_from_the_hub_once(home: Path, tmp_path: Path) -> None:
    with hub("far", home / STATE / "models" / DEMO) as address:
        variables = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        async with opened(tmp_path, environ=variables, hub=True) as workers:
            with pytest.raises(NotFound, match="the hub has no model no/where"):
                await workers.generate("no/where", "a")
            fetched = await workers.generate("far/away", "a lighthouse", steps=2, width=64, height=64, seed=5)
            assert fetched.model == "far/away"
        async with opened(tmp_path, environ=variables, hub=True, hub_room_bytes=1 << 60) as workers:
            with pytest.raises(NoCapacity, match="has too little room"):
                await workers.generate("far/off", "a")
    # The hub is gone, the model is not.
    async with opened(tmp_path, environ=variables, hub=False) as workers:
        (model,) = workers.models()
        assert (model.name, model.source) == ("far/away", "cache")
        assert model.folder is not None
        assert model.folder.name == COMMIT
        again = await workers.generate("far/away", "a lighthouse", steps=2, width=64, height=64, seed=5)
    assert again.png == fetched.png
    async with opened(tmp_path, environ=variables, hub=True, default_model="far/away") as workers:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="the hub cannot be reached"):
            async with opened(home, environ=variables, hub=True) as strict:
                await strict.generate("no/where", "a")
        assert time.monotonic() - began < 15
        picture = await workers.generate("no/where", "a lighthouse", steps=2, width=64, height=64, seed=5)
        assert (picture.model, picture.png) == ("far/away", fetched.png)


async def test_a_demo_is_the_same_every_time_and_says_what_it_is(home: Path, tmp_path: Path) -> None:
    install.make_demos(given(), tmp_path / STATE, [DEMO, "sdxl"])
    install.make_demos(given(), tmp_path / STATE, [DEMO])
    first = home / STATE / "models" / DEMO
    names = sorted(path.relative_to(first).as_posix() for path in first.rglob("*") if path.is_file())
    for folder in (tmp_path / STATE / "models" / DEMO, tmp_path / STATE / "models" / "sdxl"):
        assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == names
        assert all((folder / name).read_bytes() == (first / name).read_bytes() for name in names)
    assert "random weights" in (first / "README.md").read_text()
    assert sum((first / name).stat().st_size for name in names) < 8 << 20
