"""Dispatch: a job for a provider that is there, or none."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.answers import Answer
from tests.island.faces.dc1.hosts import host, row
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio

BODY = {"job_type": "llm_inference", "duration_minutes": 2}


async def dispatch(stage: Stage, key: str = "", **more: Any) -> Answer:
    headers = {"x-renter-key": stage.key, **({"x-idempotency-key": key} if key else {})}
    return await stage.ask("POST", "/api/jobs", {**BODY, **more}, headers=headers)


async def test_dispatched(stage: Stage) -> None:
    mine = await host(stage)
    answer = await dispatch(stage)
    job, told = answer.json["job"], answer.json["dispatch"]
    assert answer.status == 201
    assert {name: value for name, value in job.items() if name not in ("id", "job_id")} == {
        "job_type": "llm_inference",
        "model": None,
        "status": "pending",
        "cost_halala": 30,
        "duration_minutes": 2,
        "pricing_class": "standard",
        "submitted_at": "2026-03-22T19:30:00.000Z",
        "provider_id": mine.id,
        "renter_id": 1,
    }
    assert (told["assigned"], told["queued"], told["provider"]) == (True, False, {"id": mine.id, "name": "farm"})
    assert str(UUID(told["hold_id"])) == told["hold_id"]
    await mine.claim()
    second = await dispatch(stage)
    assert (second.json["job"]["status"], second.json["dispatch"]["queued"]) == ("queued", True)
    assert second.json["job"]["provider_id"] == mine.id
    await stage.audit()


async def test_nobody_is_there(stage: Stage) -> None:
    answer = await dispatch(stage)
    assert (answer.status, answer.json["error"]) == (503, "NO_PROVIDERS_AVAILABLE")
    await host(stage)
    assert (await dispatch(stage, gpu_requirements={"min_vram_gb": 99})).status == 503
    assert (await dispatch(stage, provider_id=77)).status == 404
    assert await stage.jobs() == 0


async def test_refusals(stage: Stage) -> None:
    await host(stage)
    assert (await stage.ask("POST", "/api/jobs", BODY)).status == 401
    assert (await stage.rent("POST", "/api/jobs", BODY, key="nope")).status == 403
    assert (await dispatch(stage, job_type="mining")).status == 400
    answer = await dispatch(stage, duration_minutes=1440)
    assert answer.status == 201
    for _ in range(3):
        answer = await dispatch(stage, duration_minutes=1440)
        assert answer.status == 201
    answer = await dispatch(stage, duration_minutes=1440)
    assert (answer.status, answer.json["error"]) == (402, "Insufficient balance")


async def test_repeated(stage: Stage) -> None:
    await host(stage)
    first, again = await dispatch(stage, "abc"), await dispatch(stage, "abc")
    assert (first.status, again.status) == (201, 200)
    assert again.json == {**first.json, "idempotent": True}
    assert (await dispatch(stage, "abc", duration_minutes=3)).status == 409
    # The other route has keys of its own.
    headers = {"x-renter-key": stage.key, "x-idempotency-key": "abc"}
    assert (await stage.ask("POST", "/api/jobs/submit", BODY, headers=headers)).status == 201
    stage.clock.advance(301)
    await host(stage, "other")
    assert (await dispatch(stage, "abc")).status == 201
    assert await stage.jobs() == 3


async def test_done_and_not_done(stage: Stage) -> None:
    mine, other = await host(stage), await host(stage, "other")
    job = (await dispatch(stage, provider_id=mine.id)).json["job"]["job_id"]
    await mine.claim()
    stage.clock.advance(60)
    target = f"/api/jobs/{job}/complete"
    assert (await stage.ask("PATCH", target)).status == 403
    assert (await stage.ask("PATCH", target, {"api_key": other.key})).status == 403
    answer = await stage.ask("PATCH", target, {"api_key": mine.key})
    assert answer.status == 200
    assert answer.json["billing"] == {"actual_cost_halala": 15, "provider_earned_halala": 11, "dc1_fee_halala": 4}
    assert answer.json["job"]["status"] == "completed"
    answer = await stage.ask("PATCH", target, {"api_key": mine.key})
    assert (answer.status, answer.json) == (409, {"error": "Job already settled", "current_status": "completed"})

    await mine.beat()
    job = (await dispatch(stage, provider_id=mine.id)).json["job"]["job_id"]
    answer = await stage.rent("PATCH", f"/api/jobs/{job}/fail", {"reason": "not today"})
    assert (answer.status, answer.json) == (
        200,
        {
            "success": True,
            "job_id": job,
            "status": "failed",
            "reason": "not today",
            "credit_hold_released": True,
            "released_halala": 30,
        },
    )
    assert (await row(stage, job)).error == "not today"
    answer = await stage.rent("PATCH", f"/api/jobs/{job}/fail")
    assert (answer.status, answer.json["current_status"]) == (409, "failed")
    assert (await stage.rent("PATCH", "/api/jobs/nope/fail")).status == 404
    await stage.audit()


async def test_done_before_it_began(stage: Stage) -> None:
    mine = await host(stage)
    job = (await dispatch(stage)).json["job"]["job_id"]
    answer = await stage.ask("PATCH", f"/api/jobs/{job}/complete", {"api_key": mine.key})
    assert (answer.status, answer.json["billing"]["actual_cost_halala"]) == (200, 0)
    assert (await stage.balance()).amount == 100_000
    assert await mine.claim() is None
