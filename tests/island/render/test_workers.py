"""Render workers over a double for Blender, in real sandboxes."""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from skerry.island.clock import VirtualClock
from skerry.island.engine.errors import Conflict, Invalid, NotFound, Unsupported
from skerry.island.sandbox.spec import GpuDevice, Limits
from skerry.island.workers.render import RenderSpec, RenderWorkers, attempt, available
from skerry.island.workers.render.blender import Blender
from tests.island.render.render_lab import PATIENCE, finished, opened, release, render, scene, until_done

pytestmark = pytest.mark.anyio


async def picture(workers: RenderWorkers, id: str, number: int) -> bytes:
    file = await workers.frame(id, number)
    assert file is not None
    return file.path.read_bytes()


async def states(workers: RenderWorkers, id: str = "job") -> dict[int, str]:
    return {frame.number: frame.state for frame in await workers.frames(id)}


def said(workers: RenderWorkers, claim_id: str) -> bytes:
    """What the process of a claim has written so far."""
    stdout = workers._means.driver.run_files(claim_id, "render").stdout
    return stdout.read_bytes() if stdout.exists() else b""


async def test_frames_come_out_and_are_counted(workers: RenderWorkers, scratch: Path) -> None:
    job = await render(workers, scene(scratch, name="a"), RenderSpec(first=1, last=7, step=3))
    assert (job.state, job.total, job.done, job.extension) == ("finished", 3, 3, "png")
    assert [await picture(workers, "job", number) for number in (1, 4, 7)] == [
        b"frame 1 of a",
        b"frame 4 of a",
        b"frame 7 of a",
    ]
    assert await workers.frame("job", 2) is None
    counted = await workers.counts()
    assert (counted.total, counted.last_day, sum(counted.by_week.values())) == (3, 3, 3)
    assert b"Blender ended with status 0" in await workers.log("job")


async def test_a_worker_takes_jobs_of_its_own_queue_only(workers: RenderWorkers, scratch: Path) -> None:
    await workers.submit("other", "theirs", scene(scratch), RenderSpec(first=1, last=1))
    await render(workers, scene(scratch), RenderSpec(first=1, last=1))
    assert (await workers.job("theirs")).state == "queued"
    await workers.start("w2", queue="other")
    assert (await finished(workers, "theirs")).state == "finished"
    assert [job.id for job in await workers.jobs("other")] == ["theirs"]


async def test_a_frame_that_kills_blender_fails_alone(workers: RenderWorkers, scratch: Path) -> None:
    source = scene(scratch, **{"2": "die", "4": "fail"})
    job = await render(workers, source, RenderSpec(first=1, last=5))
    assert (job.state, job.done, job.failed) == ("failed", 3, 2)
    assert await states(workers) == {1: "done", 2: "failed", 3: "done", 4: "failed", 5: "done"}
    errors = {frame.number: frame.error for frame in await workers.frames("job")}
    assert errors[2] == "Blender was killed by signal 9"
    assert errors[4] == "this one is too hard"
    assert (await workers.counts()).total == 3


async def test_a_file_that_cannot_be_rendered_fails_at_once(workers: RenderWorkers, scratch: Path) -> None:
    job = await render(workers, scene(scratch, fatal="the scene has no camera"), RenderSpec(first=1, last=3))
    assert (job.state, job.error, job.failed) == ("failed", "the scene has no camera", 3)


async def test_what_is_no_picture_of_its_own_is_not_taken(workers: RenderWorkers, scratch: Path) -> None:
    tricks = {"1": "lie", "2": "link", "3": "pipe", "4": "directory"}
    await render(workers, scene(scratch, **tricks), RenderSpec(first=1, last=5))
    assert await states(workers) == {1: "failed", 2: "failed", 3: "failed", 4: "failed", 5: "done"}
    assert await workers.frame("job", 1) is None
    assert await workers.frame("job", 2) is None


async def test_frames_are_found_however_much_blender_says(workers: RenderWorkers, scratch: Path) -> None:
    job = await render(workers, scene(scratch, **{"1": "babble"}), RenderSpec(first=1, last=3))
    assert (job.state, job.done) == ("finished", 3)
    assert len(await workers.log("job")) < 5 << 20


async def test_a_frame_ends_with_its_time(scratch: Path, double: Blender) -> None:
    clock = VirtualClock(datetime.now(UTC))
    async with opened(scratch, double, clock=clock) as workers:
        await workers.recover(())
        worker = await workers.start("w", queue="q")
        await workers.submit("q", "job", scene(scratch, **{"2": "hang"}), RenderSpec(first=1, last=3, frame_seconds=9))
        async with asyncio.timeout(PATIENCE):
            while (await states(workers))[2] != "failed":
                # Time passes only while a process stands still, not while another is begun.
                if any(b"hanging" in said(workers, it.claim.id) for it in worker.attempts):
                    clock.advance(9)
                await asyncio.sleep(0.01)
        job = await finished(workers, "job")
        assert await states(workers) == {1: "done", 2: "failed", 3: "done"}
        assert (job.state, job.error) == ("failed", "Blender ran out of time")


async def test_the_start_has_its_time_as_well(
    workers: RenderWorkers, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "_START_SECONDS", 0.2)
    job = await render(workers, scene(scratch, **{"1": "hang"}), RenderSpec(first=1, last=1, frame_seconds=0.1))
    assert (job.state, job.error) == ("failed", "Blender ran out of time")


async def test_blender_sees_its_own_input_and_no_network(workers: RenderWorkers, scratch: Path) -> None:
    secret = scratch / "secret"
    secret.write_text("s")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wishes = {"look": [str(secret), str(scratch / "render" / "render.db")], "call": listener.getsockname()}
        await render(workers, scene(scratch, **wishes), RenderSpec(first=1, last=1))
    said = (await workers.log("job")).decode()
    assert "can see" not in said.replace("cannot see", "")
    assert "cannot call" in said


async def test_a_job_is_accepted_once(workers: RenderWorkers, scratch: Path) -> None:
    spec = RenderSpec(first=1, last=2)
    await render(workers, scene(scratch), spec)
    again = await workers.submit("q", "job", scene(scratch), spec)
    assert again.state == "finished"
    with pytest.raises(Conflict):
        await workers.submit("q", "job", scene(scratch), RenderSpec(first=1, last=3))
    with pytest.raises(Conflict):
        await workers.submit("other", "job", scene(scratch), spec)
    assert (await workers.counts()).total == 2


async def test_a_cancelled_job_keeps_what_is_there(workers: RenderWorkers, scratch: Path) -> None:
    await workers.submit("q", "job", scene(scratch, **{"3": "hang"}), RenderSpec(first=1, last=9))
    await until_done(workers, "job", 2)
    assert await workers.cancel("job")
    job = await finished(workers, "job")
    assert (job.state, job.done) == ("cancelled", 2)
    assert not await workers.cancel("job")
    assert await picture(workers, "job", 2)
    after = await render(workers, scene(scratch), RenderSpec(first=1, last=1), id="next")
    assert after.state == "finished"


async def test_old_jobs_go_and_stay_counted(workers: RenderWorkers, scratch: Path) -> None:
    await render(workers, scene(scratch), RenderSpec(first=1, last=2))
    assert await workers.expire(datetime.now(UTC) - timedelta(hours=1)) == []
    assert await workers.expire(datetime.now(UTC) + timedelta(hours=1)) == ["job"]
    with pytest.raises(NotFound):
        await workers.job("job")
    assert not list((scratch / "render" / "jobs").iterdir())
    assert (await workers.counts()).total == 2


async def test_another_worker_goes_on_where_one_was_stopped(workers: RenderWorkers, scratch: Path) -> None:
    await workers.submit("q", "job", scene(scratch, **{"3": "wait"}), RenderSpec(first=1, last=12))
    await until_done(workers, "job", 2)
    await workers.stop("w")
    assert await workers.find("w") is None
    stopped = await workers.job("job")
    assert stopped.done == 2
    assert not stopped.over
    release(scratch)
    assert all(frame.tries == 0 for frame in await workers.frames("job"))
    await workers.start("w2", queue="q", envs={"A": "b"})
    assert (await finished(workers, "job")).state == "finished"
    assert (await workers.counts()).total == 12


async def test_workers_are_found_after_a_restart(scratch: Path, double: Blender) -> None:
    async with opened(scratch, double) as workers:
        await workers.recover(())
        await workers.start("w", queue="q")
        await workers.start("x", queue="q")
        await workers.submit("q", "job", scene(scratch, pause=0.05), RenderSpec(first=1, last=8))
        await until_done(workers, "job", 1)
    async with opened(scratch, double) as workers:
        await workers.recover(["w"])
        found = await workers.find("w")
        assert found is not None
        assert found is await workers.start("w", queue="q")
        assert await workers.find("x") is None
        assert (await finished(workers, "job")).state == "finished"
        assert (await workers.counts()).total == 8
        with pytest.raises(Conflict):
            await workers.start("w", queue="another")


@pytest.mark.parametrize(
    "spec",
    [
        RenderSpec(first=-1, last=2),
        RenderSpec(first=3, last=2),
        RenderSpec(first=1, last=2, step=0),
        RenderSpec(first=1, last=1_000_000),
        RenderSpec(first=1, last=1, format="FFMPEG"),
        RenderSpec(first=1, last=1, engine="__import__('os')"),
        RenderSpec(first=1, last=1, batch=0),
        RenderSpec(first=1, last=1, frame_seconds=0),
    ],
)
async def test_what_cannot_be_is_refused(spec: RenderSpec) -> None:
    with pytest.raises(Invalid):
        spec.check()


async def test_bad_names_are_refused(workers: RenderWorkers, scratch: Path) -> None:
    with pytest.raises(Invalid):
        await workers.submit("q", "job", scene(scratch), RenderSpec(first=2, last=1))
    for id in ("", "../x", "a/b", "x" * 65):
        with pytest.raises(Invalid):
            await workers.submit("q", id, scene(scratch), RenderSpec(first=1, last=1))
        with pytest.raises(Invalid):
            await workers.start(id, queue="q")
    for envs in ({"": "x"}, {"A=B": "x"}, {"A": "\0"}):
        with pytest.raises(Invalid):
            await workers.start("y", queue="q", envs=envs)
    with pytest.raises(Invalid):
        await workers.start("y", queue="q", gpus=[0])


async def test_lanes_for_gpus(scratch: Path, double: Blender) -> None:
    async with opened(scratch, double) as workers:
        workers._means.gpus.update({0: GpuDevice(0, "GPU-a"), 1: GpuDevice(1, "GPU-b")})  # type: ignore[attr-defined]
        together = await workers.start("a", queue="q", gpus=[0, 1])
        apart = await workers.start("b", queue="q", gpus=[0, 1], per_gpu=True)
        assert together.record.lanes == ((0, 1),)
        assert apart.record.lanes == ((0,), (1,))
        # This machine has no nodes for them: an honest failure, not a picture from somewhere else.
        job = await render(workers, scene(scratch), RenderSpec(first=1, last=1))
        assert job.state == "failed"
        assert job.error is not None
        assert "GPU" in job.error


async def test_without_a_blender_it_says_what_to_do(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = available(scratch, {"PATH": str(scratch)})
    assert said is not None
    assert "skerry render install" in said
    said = available(scratch, {"PATH": "", "SKERRY_RENDER_ENVIRONMENT": str(scratch / "nothing")})
    assert said is not None
    assert "SKERRY_RENDER_ENVIRONMENT" in said
    monkeypatch.setenv("PATH", str(scratch))
    monkeypatch.delenv("SKERRY_RENDER_ENVIRONMENT", raising=False)
    with pytest.raises(Unsupported):
        await RenderWorkers.open(scratch / "render", images=None, found=None)  # type: ignore[arg-type]


async def test_waiting_for_a_job_that_is_not_there(workers: RenderWorkers) -> None:
    with pytest.raises(NotFound):
        async with asyncio.timeout(PATIENCE):
            await workers.wait("nothing")


async def test_where_namespaces_are_forbidden(scratch: Path, double: Blender) -> None:
    async with opened(scratch, double, driver="process") as workers:
        if "landlock" not in workers.barriers().active:
            pytest.skip("this kernel has no Landlock")
        await workers.recover(())
        await workers.start("w", queue="q")
        wishes = {"name": "a", "look": [], "call": ["127.0.0.1", 9], "1": "link"}
        job = await render(workers, scene(scratch, **wishes), RenderSpec(first=1, last=3))
        assert await states(workers) == {1: "failed", 2: "done", 3: "done"}
        assert await picture(workers, "job", 3) == b"frame 3 of a"
        assert job.extension == "png"
        assert b"cannot call: Permission denied" in await workers.log("job")


async def test_workers_of_one_queue_share_a_job(workers: RenderWorkers, scratch: Path) -> None:
    await workers.start("w2", queue="q")
    job = await render(workers, scene(scratch, name="a", pause=0.02), RenderSpec(first=1, last=12, batch=4))
    assert (job.state, job.done) == ("finished", 12)
    assert (await workers.counts()).total == 12
    headings = [line for line in (await workers.log("job")).splitlines() if line.startswith(b"== frames")]
    taken = [range(int(words[2]), int(words[4][:-1]) + 1) for words in map(bytes.split, headings)]
    assert sorted(frame for frames in taken for frame in frames) == list(range(1, 13))
    assert max(map(len, taken)) == 3


async def test_blender_has_bounds(scratch: Path, double: Blender) -> None:
    limits = Limits(memory_bytes=128 << 20, disk_bytes=1 << 30)
    async with opened(scratch, double, limits=limits) as workers:
        await workers.recover(())
        await workers.start("w", queue="q")
        job = await render(workers, scene(scratch, **{"2": "eat"}), RenderSpec(first=1, last=3))
        assert await states(workers) == {1: "done", 2: "failed", 3: "done"}
        # Where control groups are closed to a plain user, a program that is refused memory ends by itself.
        ends = {"Blender ran out of memory"} | (set() if os.geteuid() == 0 else {"Blender ended with status 1"})
        assert job.error in ends
