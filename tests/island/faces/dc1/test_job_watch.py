"""What time alone does: deadlines, served models whose time is over, providers that do not come back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skerry.island.faces.dc1.jobs.ending import GONE, NOT_TAKEN, OUTLIVED, TIMED_OUT
from tests.island.faces.dc1.hosts import Host, host, provider_row, row, submit
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio


async def begun(stage: Stage, mine: Host, job_type: str = "llm_inference", **more: Any) -> str:
    job = await submit(stage, mine, job_type, **more)
    assert await mine.claim() is not None
    return str(job["job_id"])


async def look(stage: Stage) -> int:
    return await stage.face.service.working.watch.look()


async def pass_time(stage: Stage, *hosts: Host, seconds: float) -> None:
    """Let time go by, in which these providers are heard of."""
    while seconds > 0:
        stage.clock.advance(min(240.0, seconds))
        seconds -= 240.0
        for one in hosts:
            await one.beat()


async def test_a_job_that_takes_too_long(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine, max_duration_seconds=60)
    waiting = (await submit(stage, mine))["job_id"]
    stage.clock.advance(59)
    assert await look(stage) == 0
    stage.clock.advance(1)
    assert await look(stage) in (0, 1)
    kept = await row(stage, job)
    assert (kept.status, kept.error, kept.charged) == ("failed", TIMED_OUT, 0)
    assert TIMED_OUT == "Job timed out — provider may be offline or model too large"
    events = (await stage.rent("GET", f"/api/jobs/{job}/lifecycle")).json["events"]
    assert (events[-1]["event_type"], events[-1]["source"]) == ("job.timed_out", "system")
    assert (await row(stage, waiting)).status == "pending"
    assert (await stage.balance()).amount == 100_000 - 75
    report = await mine.post("/api/providers/job-result", job_id=job, success=True, result="late")
    assert report.json == {"success": True, "message": "Job already settled (failed)"}
    await stage.audit()


@pytest.mark.parametrize("state", ["assigned", "pulling"])
async def test_jobs_that_were_only_picked_up(stage: Stage, state: str) -> None:
    mine = await host(stage)
    job = (await submit(stage, mine, max_duration_seconds=60))["job_id"]
    await stage.ask("GET", f"/api/jobs/assigned?key={mine.key}")
    if state == "pulling":
        await mine.post(f"/api/jobs/{job}/progress", phase="pulling")
    assert (await row(stage, job)).status == state
    stage.clock.advance(61)
    await look(stage)
    assert (await row(stage, job)).status == "failed"
    await stage.audit()


async def test_jobs_that_nobody_takes_are_given_up(stage: Stage) -> None:
    """Queued ones after 30 minutes, dispatched ones after 10; what has a provider when its hold is good no more."""
    mine = await host(stage)
    pending = await submit(stage, mine, max_duration_seconds=60)
    queued = await submit(stage, None, gpu_requirements={"min_vram_gb": 999})
    body = {"job_type": "benchmark", "duration_minutes": 5, "provider_id": mine.id}
    dispatched = (await stage.rent("POST", "/api/jobs", body)).json["job"]
    jobs = [job["job_id"] for job in (dispatched, queued, pending)]
    assert [(await row(stage, job)).status for job in jobs] == ["queued", "queued", "pending"]
    assert queued["timeout_at"] is None
    passed = 0
    for number, (job, seconds) in enumerate(zip(jobs, (600, 1_800, 1_860), strict=True)):
        await pass_time(stage, mine, seconds=seconds - passed - 1)
        assert (await look(stage), (await row(stage, job)).completed_at) == (0, None)
        stage.clock.advance(1)
        assert await look(stage) in (0, 1)
        assert [(await row(stage, each)).status == "failed" for each in jobs] == [it <= number for it in range(3)]
        passed = seconds
    output = await stage.rent("GET", f"/api/jobs/{jobs[1]}/output")
    told = (output.status, output.json["error"], output.json["refunded_halala"])
    assert told == (410, NOT_TAKEN, queued["cost_halala"])
    last = (await stage.rent("GET", f"/api/jobs/{jobs[1]}/lifecycle")).json["events"][-1]
    assert (last["event_type"], last["status"], last["source"]) == ("job.timed_out", "failed", "system")
    assert (await stage.balance()).amount == 100_000
    await stage.audit()


async def test_a_provider_is_blamed_for_what_it_could_begin(stage: Stage) -> None:
    mine = await host(stage)
    pending = (await submit(stage, mine, max_duration_seconds=60))["job_id"]
    await pass_time(stage, mine, seconds=60)
    queued = [(await submit(stage, mine))["job_id"] for _ in range(2)]
    await pass_time(stage, mine, seconds=1_800)
    await look(stage)
    assert {(await row(stage, job)).error for job in (pending, *queued)} == {NOT_TAKEN}
    events = (await stage.rent("GET", f"/api/jobs/{queued[0]}/lifecycle")).json["events"]
    assert [event["event_type"] for event in events] == ["job.submitted", "job.timed_out"]
    assert (await provider_row(stage, mine.id)).failed_jobs == 1


async def test_nobody_is_given_up_before_providers_could_come_back(stage: Stage) -> None:
    job = (await submit(stage, None, gpu_requirements={"min_vram_gb": 999}))["job_id"]
    stage.clock.advance(86_400)
    # As after a night in which the island was off.
    watch = stage.face.service.working.watch
    await watch.stop()
    watch.start()
    stage.clock.advance(299)
    assert (await look(stage), (await row(stage, job)).status) == (0, "queued")

    async def ended() -> bool:
        stage.clock.advance(0.25)
        return bool((await row(stage, job)).status == "failed")

    await stage.lab.until(ended)
    await stage.audit()


async def test_a_job_runs_for_little_longer_than_was_paid(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine, "training", duration_minutes=0.1)
    assert (await row(stage, job)).max_duration_seconds == 1_800
    stage.clock.advance(65.9)
    assert (await look(stage), (await row(stage, job)).status) == (0, "running")
    stage.clock.advance(0.1)
    await look(stage)
    kept = await row(stage, job)
    assert (kept.status, kept.error, kept.charged) == ("failed", OUTLIVED, 0)
    report = await mine.post("/api/providers/job-result", job_id=job, success=True, result="late", gpu_seconds_used=66)
    assert report.json == {"success": True, "message": "Job already settled (failed)"}
    assert (await stage.balance()).amount == 100_000
    await stage.audit()


async def test_an_image_is_pulled_in_time_that_nobody_pays(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine, "training", duration_minutes=0.1)
    await mine.post(f"/api/jobs/{job}/progress", phase="pulling")
    await pass_time(stage, mine, seconds=600)
    assert (await look(stage), (await row(stage, job)).status) == (0, "running")
    assert (await stage.rent("GET", f"/api/jobs/{job}/status")).json["elapsed_seconds"] is None
    await mine.post(f"/api/jobs/{job}/progress", phase="generating")
    stage.clock.advance(20)
    # A program may print what it likes.
    await mine.post(f"/api/jobs/{job}/progress", phase="pulling")
    stage.clock.advance(45.9)
    assert (await look(stage), (await row(stage, job)).status) == (0, "running")
    stage.clock.advance(0.1)
    await look(stage)
    assert (await row(stage, job)).error == OUTLIVED
    job = await begun(stage, mine, "training")
    await mine.post(f"/api/jobs/{job}/progress", phase="pulling")
    stage.clock.advance(100)
    await mine.post(f"/api/jobs/{job}/progress", phase="loading_model")
    stage.clock.advance(24)
    ended = await mine.post("/api/providers/job-result", job_id=job, success=True, result="done")
    assert (ended.json["gpu_seconds_used"], ended.json["cost_halala"]) == (24, 10)
    await stage.audit()


async def test_a_text_is_bounded_by_what_it_asks_for(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine, "llm_inference", duration_minutes=0.1)
    await pass_time(stage, mine, seconds=600)
    assert (await look(stage), (await row(stage, job)).status) == (0, "running")


async def test_a_model_is_served_for_as_long_as_was_paid(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine, "vllm_serve", duration_minutes=60)
    address = {"port": 8100, "provider_ip": "10.1.2.3"}
    assert (await mine.post(f"/api/jobs/{job}/endpoint-ready", **address)).status == 200
    await pass_time(stage, mine, seconds=3_599)
    await look(stage)
    assert (await row(stage, job)).status == "running"
    stage.clock.advance(1)
    await look(stage)
    kept = await row(stage, job)
    assert (kept.status, kept.charged, kept.error) == ("completed", 1200, None)
    output = await stage.rent("GET", f"/api/jobs/{job}/output")
    assert (output.status, output.json["result"]["endpoint_url"]) == (200, "http://10.1.2.3:8100/v1")
    await stage.audit()


async def test_a_model_that_was_never_served_costs_nothing(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine, "vllm_serve", duration_minutes=1)
    stage.clock.advance(60)
    await look(stage)
    kept = await row(stage, job)
    assert (kept.status, kept.error) == ("failed", TIMED_OUT)
    assert (await stage.balance()).amount == 100_000


async def test_nobody_need_look(stage: Stage) -> None:
    """The watch itself wakes when the next deadline comes."""
    mine = await host(stage)
    job = await begun(stage, mine, "vllm_serve", duration_minutes=0.1)

    async def ended() -> bool:
        # The watch has to have gone to sleep before time can wake it.
        stage.clock.advance(0.25)
        return bool((await row(stage, job)).status == "failed")

    await stage.lab.until(ended)
    kept = await row(stage, job)
    assert kept.completed_at - kept.started_at < 30_000_000


async def test_a_provider_that_does_not_come_back(stage: Stage) -> None:
    mine, other = await host(stage), await host(stage, "other")
    running = await begun(stage, mine)
    pending = (await submit(stage, mine))["job_id"]
    stage.clock.advance(0.001)
    await pass_time(stage, other, seconds=299)
    await look(stage)
    assert (await row(stage, running)).provider_id == mine.id
    await pass_time(stage, other, seconds=2)
    await look(stage)
    kept = await row(stage, running)
    assert (kept.status, kept.provider_id, kept.retry_count, kept.retry_reason) == ("queued", None, 1, GONE)
    assert (kept.started_at, kept.picked_up_at) == (None, None)
    # It may be queued for another half hour, which is no limit of time to anybody.
    assert kept.timeout_at == kept.updated_at + 1_800_000_000
    assert (await stage.rent("GET", f"/api/jobs/{running}")).json["job"]["timeout_at"] is None
    kept = await row(stage, pending)
    assert (kept.status, kept.provider_id, kept.retry_count) == ("queued", None, 0)
    assert {(await other.claim())["job_id"], (await other.claim())["job_id"]} == {running, pending}
    report = await mine.post("/api/providers/job-result", job_id=running, success=True, result="late")
    assert report.status == 404
    assert (await row(stage, running)).status == "running"


async def test_a_job_whose_providers_all_disappear(stage: Stage) -> None:
    first = await host(stage, "host0")
    job = await begun(stage, first)
    for number in range(1, 4):
        stage.clock.advance(301)
        await look(stage)
        if number < 3:
            assert (await row(stage, job)).status == "queued"
            assert (await (await host(stage, f"host{number}")).claim())["job_id"] == job
    kept = await row(stage, job)
    assert (kept.status, kept.error, kept.charged) == ("failed", GONE, 0)
    assert (await stage.balance()).amount == 100_000
    await stage.audit()


async def test_an_island_that_was_away_waits_for_its_providers(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    # Time goes by while nobody watches.
    await stage.app.stop()
    await stage.lab.engine.crash()
    stage.clock.advance(1_000)
    await stage.open()
    await look(stage)
    assert (await row(stage, job)).status == "running"
    stage.clock.advance(301)
    await look(stage)
    assert (await row(stage, job)).status == "queued"


async def test_time_that_was_over_while_the_island_was_away(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine, max_duration_seconds=60)
    stage.clock.advance(3_600)
    await stage.again()

    async def ended() -> bool:
        return bool((await row(stage, job)).status == "failed")

    await stage.lab.until(ended)
    assert (await stage.balance()).amount == 100_000
    await stage.audit()


async def test_result_and_deadline_at_once(stage: Stage) -> None:
    mine = await host(stage)
    for _ in range(6):
        await mine.beat()
        job = await begun(stage, mine, max_duration_seconds=60)
        stage.clock.advance(61)
        report = {"job_id": job, "success": True, "result": "done", "gpu_seconds_used": 60}
        await asyncio.gather(look(stage), mine.post("/api/providers/job-result", **report))
        kept = await row(stage, job)
        assert (kept.status, kept.charged) in (("failed", 0), ("completed", 15))
    held = await stage.lab.engine.ledger.held(stage.lab.engine.account_id, "SAR")
    assert held.amount == 0
    await stage.audit()
