"""What renters decide about jobs: cancelled, tried again, stopped; and what comes of two decisions at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.store import ledger
from skerry.money import Money
from tests.island.faces.dc1.hosts import Host, host, row, submit
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio


async def begun(stage: Stage, mine: Host, job_type: str = "llm_inference", **more: Any) -> str:
    job = await submit(stage, mine, job_type, **more)
    claimed = await mine.claim()
    assert claimed["job_id"] == job["job_id"]
    return str(job["job_id"])


async def failed(stage: Stage, mine: Host, **more: Any) -> str:
    job = await begun(stage, mine, **more)
    answer = await mine.post(f"/api/jobs/{job}/fail", error="Image pull failed")
    assert answer.json["refunded_halala"] == 75
    return job


async def events(stage: Stage, job: str) -> list[tuple[str, str, str]]:
    found = (await stage.rent("GET", f"/api/jobs/{job}/lifecycle")).json["events"]
    return [(event["event_type"], event["status"], event["source"]) for event in found]


async def test_cancel_in_every_state(stage: Stage) -> None:
    mine = await host(stage)
    pending = (await submit(stage, mine))["job_id"]
    queued = (await submit(stage, mine))["job_id"]
    alone = (await submit(stage, None, gpu_requirements={"min_vram_gb": 999}))["job_id"]
    answer = await stage.rent("POST", f"/api/jobs/{pending}/cancel")
    assert answer.status == 200
    assert answer.json["next_job_promoted"]["job_id"] == queued
    row_view = answer.json["job"]
    assert {name: answer.json[name] for name in ("success", "job_id", "status", "refunded_halala")} == {
        "success": True,
        "job_id": pending,
        "status": "cancelled",
        "refunded_halala": 75,
    }
    assert (row_view["status"], row_view["actual_cost_halala"]) == ("cancelled", None)
    assert row_view["refunded_at"] is not None
    assert (await row(stage, queued)).status == "pending"
    for job in (queued, alone):
        assert (await stage.rent("POST", f"/api/jobs/{job}/cancel")).status == 200
    running = await begun(stage, mine)
    stage.clock.advance(30)
    assert (await stage.rent("POST", f"/api/jobs/{running}/cancel")).json["refunded_halala"] == 75
    assigned = (await submit(stage, mine))["job_id"]
    answer = await stage.ask("GET", f"/api/jobs/assigned?key={mine.key}")
    assert answer.json["job"]["job_id"] == assigned
    assert (await stage.rent("POST", f"/api/jobs/{assigned}/cancel")).status == 200
    assert await events(stage, assigned) == [
        ("job.submitted", "pending", "renter"),
        ("job.cancelled", "cancelled", "renter"),
    ]
    assert (await stage.balance()).amount == 100_000
    await stage.audit()


async def test_what_cannot_be_cancelled(stage: Stage) -> None:
    mine = await host(stage)
    completed, broken, cancelled = await begun(stage, mine), "", ""
    await mine.finish(completed)
    broken = await failed(stage, mine)
    cancelled = (await submit(stage, mine))["job_id"]
    await stage.rent("POST", f"/api/jobs/{cancelled}/cancel")
    before = await stage.balance()
    for job, status in ((completed, "completed"), (broken, "failed"), (cancelled, "cancelled")):
        answer = await stage.rent("POST", f"/api/jobs/{job}/cancel")
        assert (answer.status, answer.json) == (400, {"error": f"Cannot cancel job with status: {status}"})
    assert await stage.balance() == before
    answer = await stage.rent("POST", "/api/jobs/nope/cancel")
    assert (answer.status, answer.json) == (404, {"error": "Job not found"})
    for headers in ({}, {"x-renter-key": "nope"}, {"x-provider-key": mine.key}):
        answer = await stage.ask("POST", f"/api/jobs/{completed}/cancel", headers=headers)
        assert (answer.status, answer.json) == (403, {"error": "Forbidden"})
    assert (await stage.administer("POST", f"/api/jobs/{completed}/cancel")).status == 400


async def test_the_operator_cancels(stage: Stage) -> None:
    job = (await submit(stage, None))["job_id"]
    assert (await stage.administer("POST", f"/api/jobs/{job}/cancel")).status == 200
    assert (await events(stage, job))[-1] == ("job.cancelled", "cancelled", "admin")


async def test_serving_may_be_charged_for(tmp_path: Path) -> None:
    stage = Stage(tmp_path, dc1={"charge_cancelled_serving": True})
    await stage.open()
    try:
        mine = await host(stage)
        for ready, seconds, refund, charged in ((False, 120, 1200, None), (True, 120, 1160, 40), (True, 0, 1200, None)):
            job = await begun(stage, mine, "vllm_serve", duration_minutes=60)
            if ready:
                address = {"port": 8100, "provider_ip": "10.1.2.3"}
                assert (await mine.post(f"/api/jobs/{job}/endpoint-ready", **address)).status == 200
            stage.clock.advance(seconds)
            answer = await stage.rent("POST", f"/api/jobs/{job}/cancel")
            assert (answer.json["refunded_halala"], answer.json["job"]["actual_cost_halala"]) == (refund, charged)
            output = await stage.rent("GET", f"/api/jobs/{job}/output")
            assert (output.status, output.json["cost_halala"]) == (410, charged or 0)
            assert output.json["refunded_halala"] == refund
            await mine.beat()
        assert (await stage.balance()).amount == 100_000 - 40
        await stage.audit()
    finally:
        await stage.close()


async def test_retry(stage: Stage) -> None:
    mine = await host(stage)
    params = {"prompt": "a < b", "model": "microsoft/phi-2", "x": [1, None]}
    job = await failed(stage, mine, params=params, priority=1, pricing_class="economy")
    answer = await stage.rent("POST", f"/api/jobs/{job}/retry")
    made = answer.json["job"]
    old, new = await row(stage, job), await row(stage, made["job_id"])
    assert (answer.status, answer.json) == (
        201,
        {
            "success": True,
            "job": {
                "id": new.id,
                "job_id": new.job_id,
                "status": "pending",
                "job_type": "llm_inference",
                "model": "microsoft/phi-2",
                "cost_halala": 75,
                "provider_id": mine.id,
                "pricing_class": "economy",
                "prewarm_requested": False,
                "retried_from_job_id": old.id,
            },
            "attempt": 2,
            "new_balance_halala": 100_000 - 75,
        },
    )
    for name in ("task_spec", "task_spec_hmac", "params", "container_spec", "priority", "duration_minutes"):
        assert getattr(old, name) == getattr(new, name), name
    assert old.status == "failed"
    assert await events(stage, made["job_id"]) == [
        ("job.submitted", "pending", "renter"),
        ("job.retried", "pending", "renter"),
    ]
    await mine.claim()
    await mine.post(f"/api/jobs/{made['job_id']}/fail", error="again")
    assert (await stage.rent("POST", f"/api/jobs/{made['job_id']}/retry")).json["attempt"] == 3
    await stage.audit()


async def test_retry_elsewhere_when_the_provider_is_gone(stage: Stage) -> None:
    mine = await host(stage)
    job = await failed(stage, mine)
    await stage.lab.engine.store.run(provider_rows.change, mine.id, stage.now, status="offline")
    answer = await stage.rent("POST", f"/api/jobs/{job}/retry")
    assert (answer.status, answer.json["job"]["provider_id"], answer.json["queued"]) == (201, None, True)
    other = await host(stage, "other")
    answer = await stage.rent("POST", f"/api/jobs/{job}/retry")
    assert answer.json["job"]["provider_id"] == other.id


async def test_what_cannot_be_retried(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    answer = await stage.rent("POST", f"/api/jobs/{job}/retry")
    assert (answer.status, answer.json) == (
        400,
        {"error": "Only failed jobs can be retried", "current_status": "running"},
    )
    for ident in ("nope", "999"):
        answer = await stage.rent("POST", f"/api/jobs/{ident}/retry")
        assert (answer.status, answer.json) == (404, {"error": "Job not found"})
    registered = {"name": "Else", "email": "else@example.sa"}
    stranger = (await stage.ask("POST", "/api/renters/register", registered)).json["api_key"]
    assert (await stage.rent("POST", f"/api/jobs/{job}/retry", key=stranger)).status == 404
    assert (await stage.ask("POST", f"/api/jobs/{job}/retry")).status == 401
    assert (await stage.rent("POST", f"/api/jobs/{job}/retry", key="nope")).status == 403
    await mine.post(f"/api/jobs/{job}/fail", error="x")

    def spend(connection: Connection) -> None:
        account = ledger.owner(stage.lab.engine.account_id)
        entries = {account: Money(-99_950, "SAR"), "grant": Money(99_950, "SAR")}
        ledger.transfer(connection, "test", entries, memo="", now=stage.now)

    await stage.lab.engine.store.run(spend)
    answer = await stage.rent("POST", f"/api/jobs/{job}/retry")
    assert (answer.status, answer.json) == (
        402,
        {"error": "insufficient_balance", "required_halala": 75, "available_halala": 50},
    )


async def test_retries_are_limited(tmp_path: Path) -> None:
    stage = Stage(tmp_path, dc1={"rate_limits": True, "rates": (("submit", None), ("all", None))})
    await stage.open()
    try:
        for _ in range(3):
            assert (await stage.rent("POST", "/api/jobs/1/retry")).status == 404
        answer = await stage.rent("POST", "/api/jobs/1/retry")
        assert answer.json == {"error": "Rate limit exceeded", "retryAfterSeconds": 60, "retryAfterMs": 60_000}
        assert (await stage.rent("POST", "/api/jobs/2/retry")).status == 404
    finally:
        await stage.close()


async def test_complete(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine, "vllm_serve", duration_minutes=60)
    waiting = (await submit(stage, mine))["job_id"]
    stage.clock.advance(90)
    answer = await stage.rent("POST", f"/api/jobs/{job}/complete")
    body = answer.json
    assert answer.status == 200
    assert (body["success"], body["job"]["status"], body["status"]) == (True, "completed", "completed")
    assert body["billing"] == {"actual_cost_halala": 30, "provider_earned_halala": 22, "dc1_fee_halala": 8}
    assert body["refunded_halala"] == 1170
    assert body["next_job_promoted"]["job_id"] == waiting
    assert (await stage.balance()).amount == 100_000 - 30 - 75
    answer = await stage.rent("POST", f"/api/jobs/{job}/complete")
    assert (answer.status, answer.json) == (400, {"error": "Job is not running", "current_status": "completed"})
    answer = await stage.rent("POST", f"/api/jobs/{waiting}/complete")
    assert (answer.status, answer.json["current_status"]) == (400, "pending")
    await stage.audit()


async def test_complete_counts_no_more_time_than_there_was(stage: Stage) -> None:
    mine = await host(stage)
    for seconds, charged in ((60, 15), (10_000, 30), (0, 0)):
        job = await begun(stage, mine)
        stage.clock.advance(120)
        await mine.beat()
        body = {"duration_seconds": seconds}
        answer = await mine.post(f"/api/jobs/{job}/complete", **body)
        assert answer.json["billing"]["actual_cost_halala"] == charged
    job = await begun(stage, mine)
    for bad in (-1, "x", True):
        answer = await stage.rent("POST", f"/api/jobs/{job}/complete", {"duration_seconds": bad})
        assert answer.status == 400
    assert (await stage.ask("POST", f"/api/jobs/{job}/complete")).status == 403
    assert (await stage.administer("POST", f"/api/jobs/{job}/complete")).status == 200


async def test_nothing_can_be_paused(stage: Stage) -> None:
    mine = await host(stage)
    job = (await submit(stage, mine))["job_id"]
    answer = await stage.rent("POST", f"/api/jobs/{job}/pause")
    assert (answer.status, answer.json["error"]) == (400, "Job is not active")
    await mine.claim()
    answer = await stage.rent("POST", f"/api/jobs/{job}/pause")
    assert (answer.status, answer.json) == (400, {"error": "Checkpointing is not enabled for this job"})
    answer = await stage.rent("POST", f"/api/jobs/{job}/resume")
    assert (answer.status, answer.json["error"]) == (400, "Job is not paused")
    assert (await stage.rent("POST", "/api/jobs/nope/pause")).status == 404
    assert (await stage.ask("POST", f"/api/jobs/{job}/resume")).status == 403


async def test_cancel_and_result_at_once(stage: Stage) -> None:
    mine = await host(stage)
    for turn in range(12):
        job = await begun(stage, mine)
        stage.clock.advance(40)
        await mine.beat()
        report = {"job_id": job, "success": True, "result": "done", "gpu_seconds_used": 40}
        both = [
            stage.rent("POST", f"/api/jobs/{job}/cancel"),
            mine.post("/api/providers/job-result", **report),
            stage.rent("POST", f"/api/jobs/{job}/complete"),
        ]
        turned = both[turn % 3 :] + both[: turn % 3]
        answers = await asyncio.gather(*turned)
        kept = await row(stage, job)
        assert kept.status in ("completed", "cancelled")
        assert (kept.charged, kept.refunded_at is not None) in ((10, False), (0, True))
        won = sum(answer.status == 200 and "message" not in answer.json for answer in answers)
        assert won == 1
    held = await stage.lab.engine.ledger.held(stage.lab.engine.account_id, "SAR")
    assert held.amount == 0
    await stage.audit()


async def test_two_cancellations_at_once(stage: Stage) -> None:
    job = (await submit(stage, None))["job_id"]
    answers = await asyncio.gather(*(stage.rent("POST", f"/api/jobs/{job}/cancel") for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400, 400]
    assert (await stage.balance()).amount == 100_000
    await stage.audit()


async def test_retries_at_once_are_separate_jobs(stage: Stage) -> None:
    mine = await host(stage)
    job = await failed(stage, mine)
    answers = await asyncio.gather(*(stage.rent("POST", f"/api/jobs/{job}/retry") for _ in range(3)))
    assert len({answer.json["job"]["job_id"] for answer in answers}) == 3
    assert (await stage.balance()).amount == 100_000 - 3 * 75
    await stage.audit()
