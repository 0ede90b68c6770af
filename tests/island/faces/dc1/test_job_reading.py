"""Reading jobs: rows, lists, logs, life cycles, attempts, queues."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.island.faces.dc1.hosts import RESULT, Host, host, submit
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio


async def get(stage: Stage, target: str) -> Any:
    answer = await stage.rent("GET", target)
    assert answer.status == 200, answer.body
    return answer.json


async def begun(stage: Stage, mine: Host, **more: Any) -> str:
    job = await submit(stage, mine, **more)
    assert await mine.claim() is not None
    return str(job["job_id"])


DOCUMENTED = (
    *("id", "job_id", "provider_id", "renter_id", "job_type", "status", "submitted_at", "started_at", "completed_at"),
    *("duration_minutes", "actual_duration_minutes", "cost_halala", "actual_cost_halala", "priority"),
    *("gpu_requirements", "error", "endpoint_url", "progress_phase", "refunded_at"),
)


async def test_a_row(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine, gpu_requirements={"min_vram_gb": 8, "note": [1]})
    view = (await get(stage, f"/api/jobs/{job}"))["job"]
    assert set(DOCUMENTED) <= view.keys()
    assert view["gpu_requirements"] == {"min_vram_gb": 8, "note": [1]}
    assert isinstance(view["container_spec"], str)
    assert (view["status"], view["elapsed_sec"], view["cost_usd"]) == ("running", 0, 0.2)
    assert "queue_position" not in view
    by_number = (await get(stage, f"/api/jobs/{view['id']}"))["job"]
    assert by_number == view
    stage.clock.advance(42.5)
    await mine.finish(job)
    view = (await get(stage, f"/api/jobs/{job}"))["job"]
    assert (view["cost_halala"], view["actual_cost_halala"], view["provider_earned_halala"]) == (75, 11, 8)
    assert (view["dc1_fee_halala"], view["gpu_seconds_used"], view["actual_duration_minutes"]) == (3, 42.5, 1)
    assert (view["duration_seconds"], view["cost_usd"], view["result"]) == (42, 0.029333, RESULT)
    waiting = (await submit(stage, None, gpu_requirements={"min_vram_gb": 999}))["job_id"]
    assert (await get(stage, f"/api/jobs/{waiting}"))["job"]["queue_position"] == 1


async def test_long_results_are_told_by_output_alone(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    await mine.finish(job, result="x" * 100_000)
    assert (await get(stage, f"/api/jobs/{job}"))["job"]["result"] is None
    assert len((await get(stage, f"/api/jobs/{job}/output"))["result"]["output"]) == 100_000


async def test_numbers_that_are_no_jobs(stage: Stage) -> None:
    for ident in ("0", "1", "99999999999999999999", "-1", "1.0", "%D9%A1", "job-1-aaaaaa", "%00"):
        assert (await stage.rent("GET", f"/api/jobs/{ident}")).status in (400, 404)


async def test_status(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    stage.clock.advance(30)
    assert await get(stage, f"/api/jobs/{job}/status") == {
        "job_id": job,
        "status": "running",
        "tokens_generated": 0,
        "elapsed_seconds": 30,
        "estimated_cost_usd": 0.2,
        "provider_online": True,
    }
    stage.clock.advance(120)
    assert (await get(stage, f"/api/jobs/{job}/status"))["provider_online"] is False


async def test_lists(stage: Stage) -> None:
    mine = await host(stage)
    names = []
    for number in range(5):
        job = await begun(stage, mine, job_type="llm_inference" if number % 2 else "training")
        names.insert(0, job)
        stage.clock.advance(60)
        await mine.beat()
        if number == 3:
            await mine.post(f"/api/jobs/{job}/fail", error="x")
        else:
            await mine.finish(job, gpu_seconds_used=60)
    page = await get(stage, "/api/jobs?limit=2&offset=1")
    assert (page["total"], page["limit"], page["offset"]) == (5, 2, 1)
    assert [job["job_id"] for job in page["jobs"]] == names[1:3]
    assert page["jobs"][0] == {
        "id": 4,
        "job_id": names[1],
        "job_type": "llm_inference",
        "template_name": None,
        "gpu_model": "NVIDIA GeForce RTX 4090",
        "status": "failed",
        "submitted_at": "2026-03-22T19:33:00.000Z",
        "started_at": "2026-03-22T19:33:00.000Z",
        "ended_at": "2026-03-22T19:34:00.000Z",
        "duration_seconds": 60,
        "tokens_used": None,
        "cost_sar": "0.00",
        "refunded": True,
    }
    for query, count in (
        ("status=failed", 1),
        ("status=completed,failed", 5),
        ("status=running", 0),
        ("job_type=training", 3),
        ("from=2026-03-22T19:31:00Z", 4),
        ("from=2026-03-22T19:31:00Z&to=2026-03-22T19:32:00Z", 2),
        ("to=2026-03-22", 5),
        ("since=2026-03-23", 0),
        ("limit=0", 1),
        ("limit=999", 5),
        ("limit=x&offset=-3", 5),
        ("offset=99999999999999999999", 0),
    ):
        assert len((await get(stage, f"/api/jobs?{query}"))["jobs"]) == count, query
    answer = await stage.rent("GET", "/api/jobs?from=yesterday")
    assert (answer.status, answer.json["error"][:4]) == (400, "from")
    history = await get(stage, "/api/jobs/history?limit=2")
    assert (history["total_jobs"], history["total"], history["limit"]) == (2, 5, 2)
    assert history["balance_sar"] == f"{history['balance_halala'] / 100:.2f}"
    assert history["jobs"][0] == {
        "id": 5,
        "job_id": names[0],
        "job_type": "training",
        "status": "completed",
        "submitted_at": "2026-03-22T19:34:00.000Z",
        "started_at": "2026-03-22T19:34:00.000Z",
        "completed_at": "2026-03-22T19:35:00.000Z",
        "progress_phase": None,
        "error": None,
        "actual_cost_halala": 25,
        "cost_halala": 125,
        "actual_duration_minutes": 1,
        "duration_minutes": 5,
        "refunded_at": None,
        "provider_name": "farm",
        "provider_gpu": "NVIDIA GeForce RTX 4090",
        "cost_sar": "0.25",
        "refunded": False,
    }
    assert (history["jobs"][1]["cost_sar"], history["jobs"][1]["refunded"]) == ("0.00", True)


async def test_keys_of_lists(stage: Stage) -> None:
    answer = await stage.send("GET", f"/api/jobs/history?key={stage.key}")
    assert (answer.status, answer.json) == (401, {"error": "Renter API key required"})
    answer = await stage.rent("GET", "/api/jobs/history", key="bad")
    assert (answer.status, answer.json) == (401, {"error": "Invalid renter key"})
    assert (await stage.send("GET", "/api/jobs")).status == 401
    assert (await stage.rent("GET", "/api/jobs", key="bad")).status == 403
    answer = await stage.send("GET", "/api/jobs/active")
    assert (answer.status, answer.json) == (401, {"error": "Authentication required"})


async def test_active(stage: Stage) -> None:
    mine = await host(stage)
    running = await begun(stage, mine)
    queued = (await submit(stage, mine))["job_id"]
    done = (await submit(stage, mine))["job_id"]
    await stage.rent("POST", f"/api/jobs/{done}/cancel")
    alone = (await submit(stage, None, gpu_requirements={"min_vram_gb": 999}))["job_id"]
    assert [job["job_id"] for job in (await get(stage, "/api/jobs/active"))["jobs"]] == [alone, queued, running]
    host_view = (await stage.host_as(mine.key, "GET", "/api/jobs/active")).json["jobs"]
    assert [job["job_id"] for job in host_view] == [queued, running]
    registered = {"name": "Else", "email": "else@example.sa"}
    stranger = (await stage.ask("POST", "/api/renters/register", registered)).json["api_key"]
    assert (await stage.rent("GET", "/api/jobs/active", key=stranger)).json == {"jobs": []}
    assert len((await stage.administer("GET", "/api/jobs/active")).json["jobs"]) == 3


async def test_logs(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    for part in range(5):
        lines = [{"level": "warn", "message": f"{part}-{number}"} for number in range(100)]
        await mine.post(f"/api/jobs/{job}/logs", lines=lines)
    found = await get(stage, f"/api/jobs/{job}/logs")
    assert (len(found["logs"]), found["total_lines"], found["has_more"]) == (200, 500, True)
    assert found["logs"][0] == {
        "line_no": 1,
        "level": "warn",
        "message": "0-0",
        "logged_at": "2026-03-22T19:30:00.000Z",
        "logged_at_ms": stage.now // 1_000,
    }
    found = await get(stage, f"/api/jobs/{job}/logs?since=200&limit=1000")
    assert (found["logs"][0]["line_no"], len(found["logs"]), found["has_more"]) == (201, 300, False)
    assert len((await get(stage, f"/api/jobs/{job}/logs?limit=5000"))["logs"]) == 500
    assert (await get(stage, f"/api/jobs/{job}/logs?attempt=2"))["total_lines"] == 0
    assert (await get(stage, f"/api/jobs/{job}/logs?attempt=1&limit=1"))["has_more"] is True


async def test_attempts(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    stage.clock.advance(5)
    await mine.post(f"/api/jobs/{job}/logs", line="first try")
    again = await mine.post(f"/api/jobs/{job}/result", error="network", transient=True)
    assert again.json["retry"] is True
    assert (await mine.claim())["attempt_number"] == 2
    stage.clock.advance(20)
    await mine.finish(job, gpu_seconds_used=20)
    found = await get(stage, f"/api/jobs/{job}/executions")
    assert {name: found[name] for name in ("job_id", "status", "cost_halala", "actual_cost_halala", "retry_count")} == {
        "job_id": job,
        "status": "completed",
        "cost_halala": 75,
        "actual_cost_halala": 5,
        "retry_count": 1,
    }
    first, second = found["executions"]
    assert (first["attempt_number"], first["ended_at"], first["cost_halala"]) == (1, "2026-03-22T19:30:05.000Z", None)
    assert second == {
        "attempt_number": 2,
        "started_at": "2026-03-22T19:30:05.000Z",
        "ended_at": "2026-03-22T19:30:25.000Z",
        "exit_code": 0,
        "gpu_seconds_used": 20,
        "cost_halala": 5,
    }
    history = await get(stage, f"/api/jobs/{job}/history")
    assert [one["log_available"] for one in history["executions"]] == [True, False]
    assert history["executions"][0]["log_path"].endswith(f"{job}/1.log")
    assert history["job"]["actual_cost_halala"] == 5


async def test_life_cycle(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    for phase in ("downloading_model", "generating"):
        await mine.post(f"/api/jobs/{job}/progress", phase=phase)
    await mine.finish(job)
    found = await get(stage, f"/api/jobs/{job}/lifecycle?limit=2")
    assert (len(found["events"]), found["total_events"], found["has_more"]) == (2, 4, True)
    assert found["events"][0]["payload"] == {
        "renter_id": 1,
        "provider_id": mine.id,
        "job_type": "llm_inference",
        "model": None,
        "pricing_class": "standard",
        "queue_state": "pending",
        "max_duration_seconds": 1800,
    }
    found = await get(stage, f"/api/jobs/{job}/lifecycle?since_sequence=3")
    assert [event["event_type"] for event in found["events"]] == ["job.completed"]


async def test_queues(stage: Stage) -> None:
    mine = await host(stage)
    running = await begun(stage, mine)
    low = (await submit(stage, mine, priority=3))["job_id"]
    high = (await submit(stage, mine, priority=1))["job_id"]
    found = (await stage.send("GET", f"/api/jobs/queue/{mine.id}")).json
    assert found == {
        "queue": [
            {"job_id": running, "status": "running"},
            {"job_id": high, "status": "queued"},
            {"job_id": low, "status": "queued"},
        ],
        "total": 3,
    }
    for other in ("99", "x", "99999999999"):
        assert (await stage.send("GET", f"/api/jobs/queue/{other}")).json == {"queue": [], "total": 0}
    status = (await stage.send("GET", "/api/jobs/queue/status")).json
    assert status["queued_total"] == 2
    assert [job["job_id"] for job in status["queue"]] == [high, low]
    assert sum(bucket["queued"] for bucket in status["buckets"]) == 2
    # Everybody may ask, so nothing is told of whose they are.
    assert "renter" not in json.dumps(status)


async def test_a_stranger_is_not_told_the_name_that_opens_a_served_model(stage: Stage) -> None:
    mine = await host(stage)
    serving = await begun(stage, mine, job_type="vllm_serve", duration_minutes=60, params={})
    waits = (await submit(stage, mine, job_type="vllm_serve", params={}))["job_id"]
    queue, status = f"/api/jobs/queue/{mine.id}", "/api/jobs/queue/status"
    numbers = [str((await get(stage, f"/api/jobs/{name}"))["job"]["id"]) for name in (serving, waits)]
    signed_up = await stage.ask("POST", "/api/renters/register", {"name": "Other", "email": "other@example.org"})
    stranger, other = await stage.send("GET", queue), await stage.rent("GET", queue, key=signed_up.json["api_key"])
    for answer in (stranger, other):
        assert [job["job_id"] for job in answer.json["queue"]] == numbers
    assert [job["job_id"] for job in (await stage.send("GET", status)).json["queue"]] == numbers[1:]
    assert [job["job_id"] for job in (await stage.rent("GET", queue)).json["queue"]] == [serving, waits]
    assert [job["job_id"] for job in (await stage.administer("GET", status)).json["queue"]] == [waits]
    assert [job["job_id"] for job in (await stage.send("GET", f"{queue}?key={mine.key}")).json["queue"]] == [
        serving,
        waits,
    ]


async def test_the_scheduler_explains(stage: Stage) -> None:
    mine = await host(stage)
    job = (await submit(stage, None, gpu_requirements={"min_vram_gb": 40, "gpu_type": "A100"}))["job_id"]
    assert (await stage.send("GET", f"/api/jobs/scheduler/diagnostics/{job}")).status == 401
    found = (await stage.administer("GET", f"/api/jobs/scheduler/diagnostics/{job}")).json
    (verdict,) = found["providers"]
    assert (verdict["provider_id"], verdict["eligible"]) == (mine.id, False)
    assert len(verdict["reasons"]) == 2
    fits = (await submit(stage, None))["job_id"]
    found = (await stage.administer("GET", f"/api/jobs/scheduler/diagnostics/{fits}")).json
    assert found["provider_id"] == mine.id
    assert (await stage.administer("GET", "/api/jobs/scheduler/diagnostics/nope")).status == 404
    health = (await stage.administer("GET", "/api/jobs/scheduler/health")).json
    assert (health["status"], health["providers"]["available"], health["jobs"]["queued"]) == ("ok", 1, 1)
    stage.clock.advance(700)
    health = (await stage.administer("GET", "/api/jobs/scheduler/health")).json
    assert health["status"] == "no_capacity"
