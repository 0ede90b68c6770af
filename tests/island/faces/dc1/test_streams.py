"""Streams of a job: live, whole whatever the client's pace, ended with the job, and gone with the client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.island.engine.lab import PATIENCE
from tests.island.faces.dc1.following import follow
from tests.island.faces.dc1.hosts import Host, host, submit
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio


async def begun(stage: Stage, mine: Host, **more: Any) -> str:
    job = await submit(stage, mine, **more)
    assert await mine.claim() is not None
    return str(job["job_id"])


async def write(mine: Host, job: str, *messages: str, level: str = "info") -> None:
    lines = [{"level": level, "message": message} for message in messages]
    assert (await mine.post(f"/api/jobs/{job}/logs", lines=lines)).status == 200


def watchers(stage: Stage) -> int:
    changes = stage.face.service.working.changes
    return sum(len(found) for job, found in changes._watches.items() if job is not None)


async def test_a_log_as_it_is_written(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    await write(mine, job, "one", "two")
    async with follow(stage, f"/api/jobs/{job}/logs/stream") as client:
        assert client.headers["content-type"] == "text/event-stream"
        assert client.headers["cache-control"] == "no-cache, no-transform"
        assert "content-length" not in client.headers
        assert [(await client.data())["line"] for _ in range(2)] == ["one", "two"]
        await write(mine, job, "three\nof two lines مرحبا", level="warn")
        assert await client.data() == {
            "schema_version": "2026-03-20.v1",
            "type": "log",
            "event_type": "job.log",
            "line_no": 3,
            "level": "warn",
            "line": "three\nof two lines مرحبا",
            "logged_at": "2026-03-22T19:30:00.000Z",
            "ts": stage.now // 1_000,
        }
        await mine.finish(job)
        assert await client.data() == {"type": "end", "status": "completed", "ts": stage.now // 1_000}
        await asyncio.wait_for(client.ended.wait(), PATIENCE)
    assert watchers(stage) == 0


async def test_from_a_line_on(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    await write(mine, job, *(str(number) for number in range(1, 6)))
    await mine.finish(job)
    async with follow(stage, f"/api/jobs/{job}/logs/stream?since=3") as client:
        assert [(await client.data())["line"] for _ in range(2)] == ["4", "5"]
        assert (await client.data())["type"] == "end"
    async with follow(stage, f"/api/jobs/{job}/logs/stream", {"last-event-id": "4"}) as client:
        assert (await client.data())["line"] == "5"


async def test_a_slow_client_gets_everything(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    gate = asyncio.Event()
    async with follow(stage, f"/api/jobs/{job}/logs/stream", gate=gate) as client:
        for part in range(4):
            await write(mine, job, *(f"{part}-{number}" for number in range(400)))
        await mine.finish(job)
        # Nobody waited for this client.
        assert client.sent == 0
        gate.set()
        lines = [(await client.data())["line"] for _ in range(1_600)]
        assert lines == [f"{part}-{number}" for part in range(4) for number in range(400)]
        assert (await client.data())["type"] == "end"


async def test_a_client_that_leaves(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    for kind in ("logs/stream", "stream", "lifecycle/stream"):
        async with follow(stage, f"/api/jobs/{job}/{kind}") as client:
            await stage.lab.until(lambda: waits(stage))
            client.leave()
            await asyncio.wait_for(client.ended.wait(), PATIENCE)
        assert watchers(stage) == 0


async def waits(stage: Stage) -> bool:
    return watchers(stage) == 1


async def test_states(stage: Stage) -> None:
    mine = await host(stage)
    job = (await submit(stage, None, gpu_requirements={"min_vram_gb": 23}, provider_id=None))["job_id"]
    async with follow(stage, f"/api/jobs/{job}/stream") as client:
        first = await client.frame()
        assert first["event"] in ("job_queued", "provider_assigned")
        await mine.claim()
        assert await client.frame() == {
            "event": "job_running",
            "data": f'{{"event":"job_running","status":"running","provider_id":{mine.id},"elapsed_sec":0,'
            '"tokens_used":null,"cost_usd":0.2}',
        }
        stage.clock.advance(60)
        await mine.finish(job, gpu_seconds_used=60)
        assert await client.frame() == {
            "event": "job_completed",
            "data": f'{{"event":"job_completed","status":"completed","provider_id":{mine.id},"elapsed_sec":60,'
            '"tokens_used":null,"cost_usd":0.04}',
        }
        assert await client.frame() == {"event": "end", "data": f'{{"status":"completed","ts":{stage.now // 1_000}}}'}


@pytest.mark.parametrize("end", ["cancel", "fail"])
async def test_states_of_what_comes_to_nothing(stage: Stage, end: str) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    async with follow(stage, f"/api/jobs/{job}/stream") as client:
        assert (await client.frame())["event"] == "job_running"
        if end == "cancel":
            await stage.rent("POST", f"/api/jobs/{job}/cancel")
        else:
            await mine.post(f"/api/jobs/{job}/fail", error="x")
        frame = await client.frame()
        assert frame["event"] == "job_failed"
        assert (await client.frame())["event"] == "end"


async def test_life_cycle(stage: Stage) -> None:
    mine = await host(stage)
    job = (await submit(stage, mine))["job_id"]
    async with follow(stage, f"/api/jobs/{job}/lifecycle/stream") as client:
        assert (await client.data())["event_type"] == "job.submitted"
        await mine.claim()
        await mine.post(f"/api/jobs/{job}/progress", phase="generating")
        changed = await client.data()
        assert (changed["event_type"], changed["sequence_no"]) == ("job.phase.changed", 2)
        await mine.finish(job)
        assert (await client.data())["event_type"] == "job.completed"
        assert (await client.data())["type"] == "end"
    async with follow(stage, f"/api/jobs/{job}/lifecycle/stream?since_sequence=2") as client:
        assert (await client.data())["event_type"] == "job.completed"


async def test_silence_is_broken(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    # However much time goes by until it speaks, nobody ends the job meanwhile.
    await stage.face.service.working.watch.stop()
    async with follow(stage, f"/api/jobs/{job}/logs/stream") as client:
        await stage.lab.until(lambda: waits(stage))

        async def spoke() -> bool:
            # It cannot be seen from here when the stream has begun to wait.
            stage.clock.advance(15)
            return client.sent > 0

        await stage.lab.until(spoke)
        assert await client.comment() == b": still here\n\n"


async def test_streams_end_with_the_island(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    async with follow(stage, f"/api/jobs/{job}/logs/stream") as client:
        await stage.lab.until(lambda: waits(stage))
        stage.face.service.working.changes.close()
        await asyncio.wait_for(client.ended.wait(), PATIENCE)


async def test_many_streams(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)

    async def read() -> list[str]:
        async with follow(stage, f"/api/jobs/{job}/logs/stream") as client:
            found = []
            while (told := await client.data())["type"] != "end":
                found.append(told["line"])
            return found

    readers = [asyncio.ensure_future(read()) for _ in range(20)]
    for number in range(30):
        await write(mine, job, str(number))
    await mine.finish(job)
    assert await asyncio.gather(*readers) == [[str(number) for number in range(30)]] * 20


async def test_a_server_that_breaks_off(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    reading = asyncio.ensure_future(stage.send("GET", f"/api/jobs/{job}/logs/stream?key={stage.key}"))
    await stage.lab.until(lambda: waits(stage))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert watchers(stage) == 0


async def test_the_headers_of_a_stream(stage: Stage) -> None:
    job = (await submit(stage, None))["job_id"]
    answer = await stage.send("HEAD", f"/api/jobs/{job}/logs/stream?key={stage.key}")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"", "text/event-stream")
    assert watchers(stage) == 0


async def test_who_may_not_follow(stage: Stage) -> None:
    job = (await submit(stage, None))["job_id"]
    for kind in ("logs/stream", "stream", "lifecycle/stream"):
        answer = await stage.send("GET", f"/api/jobs/{job}/{kind}")
        assert (answer.status, answer.json) == (403, {"error": "Forbidden"})
        answer = await stage.send("GET", f"/api/jobs/nope/{kind}")
        assert (answer.status, answer.json) == (404, {"error": "Job not found"})
