"""Drawing with a stand-in for the diffusion environment: who draws, in which order, and what is left afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skerry.island.clock import VirtualClock
from skerry.island.engine.errors import Invalid, NoCapacity, NotFound, Unavailable, Unsupported
from skerry.island.workers.image import DiffusionWorkers
from tests.island.diffusion.diffusion_lab import (
    PATIENCE,
    add_model,
    decode,
    drawing,
    read_pid,
    running,
    until,
    workers_of,
)

pytestmark = pytest.mark.anyio


def when_generating(begun: asyncio.Event) -> Callable[[str], None]:
    return lambda phase: begun.set() if phase == "generating" else None


async def test_a_picture_is_drawn(workers: DiffusionWorkers) -> None:
    phases: list[str] = []
    picture = await workers.generate(
        "org/model", "a lighthouse", steps=12, width=72, height=64, seed=7, on_phase=phases.append
    )
    assert decode(picture.png)[:2] == (72, 64) == (picture.width, picture.height)
    assert (picture.model, picture.seed, picture.steps, picture.device) == ("org/model", 7, 12, "cpu")
    assert (picture.seconds, picture.demo, picture.withheld) == (0.5, False, False)
    assert picture.total_seconds > 0
    assert phases == ["loading_model", "generating", "formatting"]


async def test_a_model_is_loaded_once_and_a_phase_may_be_awaited(workers: DiffusionWorkers) -> None:
    phases: list[str] = []

    async def hear(phase: str) -> None:
        await asyncio.sleep(0)
        phases.append(phase)

    first = await workers.generate("org/model", "a", seed=3, width=64, height=64)
    pids = workers.loaded
    second = await workers.generate("org/model", "a", seed=3, width=64, height=64, on_phase=hear)
    assert workers.loaded == pids
    assert phases == ["generating", "formatting"]
    assert first.png == second.png
    assert (await workers.generate("org/model", "naked", width=64, height=64)).withheld


async def test_no_seed_and_seed_zero_are_random_and_told(workers: DiffusionWorkers) -> None:
    pictures = [await workers.generate("org/model", "a", seed=seed, width=64, height=64) for seed in (None, 0, 0)]
    assert len({picture.seed for picture in pictures}) == 3
    again = await workers.generate("org/model", "a", seed=pictures[0].seed, width=64, height=64)
    assert again.png == pictures[0].png


async def test_pictures_of_one_model_wait_for_each_other(workers: DiffusionWorkers) -> None:
    active = most = 0

    def hear(phase: str) -> None:
        nonlocal active, most
        active += {"generating": 1, "formatting": -1}.get(phase, 0)
        most = max(most, active)

    drawn = await asyncio.gather(
        *(workers.generate("org/model", "a", seed=n, width=64, height=64, on_phase=hear) for n in range(1, 6))
    )
    assert [picture.seed for picture in drawn] == [1, 2, 3, 4, 5]
    assert (most, len(workers.loaded)) == (1, 1)


async def test_another_model_takes_the_place_of_one_that_idles(tmp_path: Path) -> None:
    folders = [add_model(tmp_path, f"org/m{number}") for number in range(3)]
    async with workers_of(tmp_path, processes=2) as workers:
        for number in (0, 1, 0, 2):
            await workers.generate(f"org/m{number}", "a", width=64, height=64)
        assert set(workers.loaded) == {"org/m0", "org/m2"} or set(workers.loaded) == {"org/m1", "org/m2"}
        assert len([folder for folder in folders if running(read_pid(folder))]) == 2
    assert not any(running(read_pid(folder)) for folder in folders)


async def test_another_model_waits_for_one_that_draws(tmp_path: Path) -> None:
    add_model(tmp_path, "org/one")
    two = add_model(tmp_path, "org/two")
    async with workers_of(tmp_path) as workers:
        begun = asyncio.Event()
        slow = asyncio.create_task(workers.generate("org/one", "slow", on_phase=when_generating(begun)))
        await begun.wait()
        waiting = asyncio.create_task(workers.generate("org/two", "a", width=64, height=64))
        await until(lambda: workers.waiting == 1)
        assert not (two / "pid").exists()
        slow.cancel()
        assert (await asyncio.wait_for(waiting, PATIENCE)).model == "org/two"
        await asyncio.gather(slow, return_exceptions=True)


async def test_a_model_that_idles_is_unloaded(tmp_path: Path) -> None:
    folder = add_model(tmp_path, "org/model")
    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    async with workers_of(tmp_path, clock=clock, idle_seconds=60) as workers:
        await workers.generate("org/model", "a", width=64, height=64)
        clock.advance(59)
        await workers.generate("org/model", "a", width=64, height=64)
        pid = read_pid(folder)
        clock.advance(59)
        await asyncio.sleep(0)
        assert running(pid)
        clock.advance(2)
        await until(lambda: not running(pid))
        await until(lambda: not workers.loaded)
        await workers.generate("org/model", "a", width=64, height=64)
        assert read_pid(folder) != pid


async def test_a_cancelled_picture_leaves_the_model_loaded(workers: DiffusionWorkers) -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(workers.generate("org/model", "slow", on_phase=when_generating(begun)))
    await begun.wait()
    pids = workers.loaded
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await workers.generate("org/model", "a", width=64, height=64)).seed
    assert workers.loaded == pids


async def test_a_cancelled_picture_that_does_not_stop_ends_its_process(tmp_path: Path) -> None:
    folder = add_model(tmp_path, "org/model")
    async with workers_of(tmp_path, grace_seconds=0.2) as workers:
        begun = asyncio.Event()
        task = asyncio.create_task(workers.generate("org/model", "hang", on_phase=when_generating(begun)))
        await begun.wait()
        pid = read_pid(folder)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not running(pid)
        await workers.generate("org/model", "a", width=64, height=64)


async def test_loading_can_be_cancelled(tmp_path: Path) -> None:
    folder = add_model(tmp_path, "org/model", "hang")
    async with workers_of(tmp_path) as workers:
        task = asyncio.create_task(workers.generate("org/model", "a"))
        await until((folder / "environment").exists)
        pid = read_pid(folder)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not running(pid)


async def test_waiting_can_be_cancelled(workers: DiffusionWorkers) -> None:
    begun = asyncio.Event()
    slow = asyncio.create_task(workers.generate("org/model", "slow", on_phase=when_generating(begun)))
    await begun.wait()
    waiting = asyncio.create_task(workers.generate("org/model", "a", width=64, height=64))
    await until(lambda: workers.waiting == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    await asyncio.wait_for(workers.generate("org/model", "a", width=64, height=64), PATIENCE)


async def test_closing_ends_what_draws_and_refuses_what_waits(tmp_path: Path) -> None:
    folder = add_model(tmp_path, "org/model")
    workers = workers_of(tmp_path)
    begun = asyncio.Event()
    tasks = [asyncio.create_task(workers.generate("org/model", "slow", on_phase=when_generating(begun)))]
    await begun.wait()
    tasks.append(asyncio.create_task(workers.generate("org/model", "a")))
    await until(lambda: workers.waiting == 1)
    await workers.aclose()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(ended, Unavailable)
        assert ended.message == "the picture workers are closed"
    assert not running(read_pid(folder))
    with pytest.raises(Unavailable, match="closed"):
        await workers.generate("org/model", "a")


@pytest.mark.parametrize(
    ("wish", "error", "words"),
    [
        ("die", Unavailable, f"org/model was killed by signal {signal.SIGABRT.value}: something went badly wrong"),
        ("end", Unavailable, "ended with status 3"),
        ("garbage", Unavailable, "did not keep to its protocol"),
        ("other json", Unavailable, "did not keep to its protocol"),
        ("endless", Unavailable, "did not keep to its protocol"),
        ("no png", Unavailable, "did not keep to its protocol"),
        ("eat", NoCapacity, r"org/model ran out of memory \(a process may use 0.5 GiB\)"),
        ("refuse out_of_memory", NoCapacity, "ran out of memory"),
        ("refuse failed", Unavailable, "org/model: it is what it is"),
        ("refuse invalid", Invalid, "it is what it is"),
        ("refuse cannot_load", Unsupported, "it is what it is"),
        ("refuse nonsense", Unavailable, "did not keep to its protocol"),
    ],
)
async def test_what_goes_wrong_is_said_and_left_behind(
    tmp_path: Path, wish: str, error: type[Exception], words: str
) -> None:
    folder = add_model(tmp_path, "org/model")
    async with workers_of(tmp_path, memory_bytes=512 << 20) as workers:
        with pytest.raises(error, match=words):
            await asyncio.wait_for(workers.generate("org/model", wish, width=64, height=64), PATIENCE)
        pid = read_pid(folder)
        survives = wish.startswith("refuse ") and wish != "refuse nonsense"
        assert running(pid) is survives
        picture = await workers.generate("org/model", "a", width=64, height=64)
        assert decode(picture.png)[:2] == (64, 64)
        assert (read_pid(folder) == pid) is survives
        # While loading, the same happens, and nothing stays.
        broken = add_model(tmp_path, "org/broken", wish)
        if wish != "no png":
            with pytest.raises(error, match=words.replace("org/model", "org/broken")):
                await asyncio.wait_for(workers.generate("org/broken", "a"), PATIENCE)
            assert not running(read_pid(broken))


async def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    folder, broken = add_model(tmp_path, "org/model"), add_model(tmp_path, "org/broken", "hang")
    async with workers_of(tmp_path, picture_seconds=0.3) as workers:
        with pytest.raises(Unavailable, match=r"a picture took org/model longer than 0\.3 seconds"):
            await workers.generate("org/model", "hang")
        assert not running(read_pid(folder))
    async with workers_of(tmp_path, load_seconds=1.0) as workers:
        loading = asyncio.create_task(workers.generate("org/broken", "a"))
        await until(lambda: drawing(broken) != [])
        with pytest.raises(Unavailable, match="loading took org/broken longer than 1 seconds"):
            await loading
        assert drawing(broken) == []


async def test_what_a_dead_process_had_started_ends_too(tmp_path: Path) -> None:
    folder = add_model(tmp_path, "org/model")
    async with workers_of(tmp_path) as workers:
        with pytest.raises(Unavailable, match="killed by signal"):
            await workers.generate("org/model", "child")
        child = int((folder / "child").read_text())
        await until(lambda: not running(child))


async def test_a_process_that_was_killed_while_it_idled_is_replaced(workers: DiffusionWorkers) -> None:
    await workers.generate("org/model", "a", width=64, height=64)
    pid = workers.loaded["org/model"]
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not running(pid))
    await until(lambda: not workers.loaded)
    await workers.generate("org/model", "a", width=64, height=64)
    assert workers.loaded["org/model"] != pid


async def test_a_failing_listener_ends_the_picture_alone(workers: DiffusionWorkers) -> None:
    def fail(phase: str) -> None:
        raise LookupError(phase)

    with pytest.raises(LookupError, match="loading_model"):
        await workers.generate("org/model", "a", on_phase=fail)
    await workers.generate("org/model", "a", width=64, height=64)
    with pytest.raises(LookupError, match="generating"):
        await workers.generate("org/model", "a", on_phase=fail)
    await workers.generate("org/model", "a", width=64, height=64)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": "  "}, "needs a prompt"),
        ({"prompt": "a" * 20_001}, "prompt has 20001 characters"),
        ({"negative_prompt": "a" * 20_001}, "negative_prompt has 20001"),
        ({"steps": 0}, "steps is 0; use 1 to 200"),
        ({"steps": 201}, "steps is 201"),
        ({"width": 63}, "width is 63; use 64 to 2048 pixels"),
        ({"height": 2049}, "height is 2049"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1 << 63}, "or 0 for a random one"),
        ({"model": "../../etc"}, "is no name of a model"),
    ],
)
async def test_what_is_out_of_bounds_is_refused(
    workers: DiffusionWorkers, changes: dict[str, object], words: str
) -> None:
    wanted: dict[str, object] = {"model": "org/model", "prompt": "a", **changes}
    with pytest.raises(Invalid, match=words):
        await workers.generate(**wanted)  # type: ignore[arg-type]
    assert not workers.loaded


async def test_a_default_stands_in_and_is_told(tmp_path: Path) -> None:
    add_model(tmp_path, "org/model")
    async with workers_of(tmp_path, default_model="org/model") as workers:
        assert (await workers.generate("no/where", "a", width=64, height=64)).model == "org/model"
    # Also when the hub was asked in vain.
    async with workers_of(tmp_path, default_model="org/model", hub=True) as workers:
        phases: list[str] = []
        picture = await workers.generate("no/where", "a", width=64, height=64, on_phase=phases.append)
        assert picture.model == "org/model"
        assert phases == ["loading_model", "loading_model", "generating", "formatting"]
        assert set(workers.loaded) == {"org/model"}


async def test_without_a_default_a_missing_model_is_refused(tmp_path: Path) -> None:
    async with workers_of(tmp_path) as workers:
        with pytest.raises(NotFound, match="there is no model no/where here; `skerry diffusion status` lists"):
            await workers.generate("no/where", "a")
    async with workers_of(tmp_path, hub=True, default_model="also/missing") as workers:
        with pytest.raises(Unavailable, match="no/where is not on this machine, and the hub cannot be reached"):
            await workers.generate("no/where", "a")


async def test_the_environment_of_a_process_has_none_of_our_secrets(tmp_path: Path) -> None:
    folder = add_model(tmp_path, "org/model")
    given = {
        "SKERRY_API_KEY": "secret",
        "HF_TOKEN": "secret",
        "DATABASE_URL": "secret",
        "CUDA_VISIBLE_DEVICES": "1",
        "PATH": "/usr/bin",
    }
    async with workers_of(tmp_path, environ=given) as workers:
        await workers.generate("org/model", "a", width=64, height=64)
    seen = json.loads((folder / "environment").read_text())
    assert "secret" not in seen.values()
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["HF_HUB_OFFLINE"]) == ("1", "1")
    assert seen["DIFFUSERS_DISABLE_REMOTE_CODE"] == "1"
