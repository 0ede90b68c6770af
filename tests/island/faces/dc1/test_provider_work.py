"""Providers take jobs and report them: progress, logs, endpoints, results."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skerry.island.faces.dc1 import tables
from skerry.island.faces.dc1.jobs import reporting
from skerry.networks.dc1.signing import verify_task_spec
from tests.island.faces.dc1.hosts import RESULT, Host, host, provider_row, row, submit
from tests.island.faces.dc1.stage import SECRET, Stage

pytestmark = pytest.mark.anyio


async def taken(stage: Stage, mine: Host, job_type: str = "llm_inference", **more: Any) -> str:
    """A job that the provider has claimed."""
    job = await submit(stage, mine, job_type, **more)
    assert (await mine.claim())["job_id"] == job["job_id"]
    return str(job["job_id"])


async def test_claim(stage: Stage) -> None:
    mine = await host(stage)
    job = await submit(stage, mine, "vllm_serve", duration_minutes=60)
    found = (await stage.ask("GET", f"/api/providers/{mine.key}/jobs")).json["job"]
    assert found["job_id"] == job["job_id"]
    assert found["task_spec"]["serve_mode"] is True
    assert verify_task_spec(SECRET, found["task_spec_raw"], found["task_spec_hmac"])
    assert found["attempt_number"] == 1
    assert found["params"] == {"prompt": "hi"}
    kept = await row(stage, job["job_id"])
    assert (kept.status, kept.attempt) == ("running", 1)
    assert kept.timeout_at - kept.started_at == 3_600 * 1_000_000
    assert await mine.claim() is None


async def test_looking_takes_nothing(stage: Stage) -> None:
    mine = await host(stage)
    job = await submit(stage, mine)
    for query in (f"key={mine.key}", "status=pending", f"key={mine.key}&status=pending"):
        answer = await stage.host_as(mine.key, "GET", f"/api/providers/{mine.key}/jobs?{query}")
        assert answer.json["job"] is None
        (listed,) = answer.json["jobs"]
        assert (listed["job_id"], listed["status"], listed["cost_halala"]) == (job["job_id"], "pending", 75)
        assert listed["payload"] == {"prompt": "hi"}
    answer = await stage.ask("GET", f"/api/providers/{mine.key}/jobs?status=running")
    assert answer.json == {"jobs": [], "job": None}
    assert (await row(stage, job["job_id"])).status == "pending"


async def test_asking_for_headers_takes_nothing(stage: Stage) -> None:
    mine = await host(stage)
    job = await submit(stage, mine)
    for target in (
        f"/api/providers/{mine.key}/jobs",
        "/api/providers/jobs/next",
        "/api/jobs/assigned",
        "/api/jobs/queue",
    ):
        assert (await stage.host_as(mine.key, "HEAD", target)).status == 404
    assert (await row(stage, job["job_id"])).status == "pending"
    assert (await stage.host_as(mine.key, "HEAD", "/api/providers/me")).status == 200


async def test_a_key_in_the_path_counts(stage: Stage) -> None:
    mine = await host(stage)
    answer = await stage.host_as(mine.key, "GET", "/api/providers/nope/jobs")
    assert (answer.status, answer.json) == (401, {"error": "Invalid API key"})


async def test_every_job_is_claimed_once(stage: Stage) -> None:
    hosts = [await host(stage, f"farm{number}") for number in range(4)]
    for number in range(6):
        # For nobody in particular: too large for all as they were, so that each of them may take it afterwards.
        await submit(stage, None, params={"prompt": str(number)}, gpu_requirements={"min_vram_gb": 30})
    for each in hosts:
        gpu = {"gpu_name": "A100", "gpu_vram_mib": 81_920, "daemon_version": "3.4.0"}
        await each.beat(gpu_status=gpu, gpu_slots={"total": 2, "active": 0, "free": 2})
    found = await asyncio.gather(*(each.claim() for each in hosts for _ in range(3)))
    names = [job["job_id"] for job in found if job is not None]
    assert len(names) == len(set(names)) == 6


async def test_who_may_not_work_gets_nothing(stage: Stage) -> None:
    mine = await host(stage)
    await submit(stage, mine)
    await stage.ask("POST", "/api/providers/pause", {"key": mine.key})
    assert await mine.claim() is None
    await stage.ask("POST", "/api/providers/resume", {"key": mine.key})
    await stage.administer("POST", f"/api/admin/providers/{mine.id}/suspend")
    assert await mine.claim() is None
    assert (await mine.post("/api/providers/heartbeat")).status == 403
    assert (await mine.post("/api/providers/resume")).status == 403
    await stage.administer("POST", f"/api/admin/providers/{mine.id}/unsuspend")
    assert await mine.claim() is None
    await mine.beat()
    assert await mine.claim() is not None


async def test_older_polls(stage: Stage) -> None:
    mine = await host(stage)
    job = await submit(stage, mine)
    found = (await stage.ask("GET", f"/api/jobs/assigned?key={mine.key}")).json["job"]
    assert (found["job_id"], found["status"], found["started_at"]) == (job["job_id"], "assigned", None)
    assert (await stage.ask("GET", f"/api/jobs/queue?key={mine.key}")).json == {"job": None}
    answer = await mine.post(f"/api/jobs/{job['job_id']}/progress", phase="pulling")
    assert answer.json == {"success": True, "phase": "pulling", "cold_start_ms": None}
    assert (await row(stage, job["job_id"])).status == "pulling"
    stage.clock.advance(2)
    await mine.post(f"/api/jobs/{job['job_id']}/progress", phase="loading_model")
    assert (await row(stage, job["job_id"])).status == "running"
    stage.clock.advance(60)
    assert (await mine.finish(job["job_id"]))["cost_halala"] == 11


async def test_signatures_of_task_specs(stage: Stage) -> None:
    mine, other = await host(stage), await host(stage, "other")
    job = await submit(stage, mine)
    mark = (await row(stage, job["job_id"])).task_spec_hmac
    for who, given, valid in (
        (mine, mark, True),
        (mine, mark.upper(), True),
        (mine, "0" * 64, False),
        (mine, "é", False),
    ):
        target = f"/api/jobs/verify-hmac?job_id={job['job_id']}&hmac={given.encode().hex() if given == 'é' else given}"
        assert await who.get(target) == {"valid": valid}
    assert await mine.get(f"/api/jobs/verify-hmac-local?hmac={mark}") == {"valid": True}
    assert (await other.get(f"/api/jobs/verify-hmac-local?hmac={mark}"))["valid"] is False
    answer = await stage.host_as(other.key, "GET", f"/api/jobs/verify-hmac?job_id={job['job_id']}&hmac={mark}")
    assert answer.status == 404
    assert (await stage.host_as(mine.key, "GET", "/api/jobs/verify-hmac")).status == 400
    assert (await stage.host_as(mine.key, "GET", "/api/jobs/verify-hmac-local")).status == 400


async def test_first_token(stage: Stage) -> None:
    mine = await host(stage)
    job = await taken(stage, mine)
    target = f"/api/jobs/{job}/progress"
    stage.clock.advance(1.5)
    assert (await mine.post(target, phase="generating")).json["cold_start_ms"] == 1500
    stage.clock.advance(1)
    assert (await mine.post(target, phase="generating")).json["cold_start_ms"] is None
    valid = "pulling, downloading_model, installing_deps, loading_model, generating, formatting"
    assert (await mine.post(target, phase="dancing")).json == {"error": f"Invalid phase. Valid: {valid}"}
    assert (await mine.post(target)).json == {"error": "api_key and phase required"}
    assert (await mine.post(target, phase=["pulling"])).status == 400
    # A running job is not pulled again.
    await mine.post(target, phase="pulling")
    assert (await row(stage, job)).status == "running"


async def test_progress_of_what_does_not_run(stage: Stage) -> None:
    mine = await host(stage)
    job = await submit(stage, mine)
    answer = await mine.post(f"/api/jobs/{job['job_id']}/progress", phase="generating")
    assert (answer.status, answer.json["current_status"]) == (409, "pending")
    await mine.claim()
    await mine.finish(job["job_id"])
    answer = await mine.post(f"/api/jobs/{job['job_id']}/progress", phase="generating")
    assert (answer.status, answer.json) == (409, {"error": "Job already settled", "current_status": "completed"})


async def test_logs(stage: Stage) -> None:
    mine = await host(stage)
    job = await taken(stage, mine)
    lines = [{"level": "WARN", "message": "w"}, {"level": "odd", "message": "<b> & \n"}, {"message": ""}, 5, "text"]
    answer = await mine.post(f"/api/jobs/{job}/logs", lines=lines)
    assert answer.json == {"success": True, "lines_written": 3, "attempt_number": 1}
    answer = await mine.post(f"/api/jobs/{job}/logs", line="x" * 3000, level="error", logged_at="2026-03-22T19:30:00Z")
    assert answer.json["lines_written"] == 1
    found = (await stage.rent("GET", f"/api/jobs/{job}/logs")).json["logs"]
    assert [(line["level"], line["message"][:10]) for line in found] == [
        ("warn", "w"),
        ("info", "<b> & \n"),
        ("info", "text"),
        ("error", "x" * 10),
    ]
    assert len(found[3]["message"]) == 2000
    answer = await mine.post(f"/api/jobs/{job}/logs", lines=[{"message": "y"}] * 600)
    assert answer.json["lines_written"] == 500
    for body, error in (
        ({}, "Provide line or lines[]"),
        ({"lines": "x"}, "Provide line or lines[]"),
        ({"line": 5}, "Provide line or lines[]"),
        ({"lines": []}, "No valid log lines provided"),
        ({"lines": [{"message": 5}]}, "No valid log lines provided"),
    ):
        answer = await mine.post(f"/api/jobs/{job}/logs", **body)
        assert (answer.status, answer.json) == (400, {"error": error})
    answer = await mine.post(f"/api/jobs/{job}/logs", line="x", attempt_number=2)
    assert answer.status == 409


async def test_strange_moments_of_lines(stage: Stage) -> None:
    mine = await host(stage)
    job = await taken(stage, mine)
    for moment in ("yesterday", "1969-01-01T00:00:00Z", "2026-03-22T19:30:00", 10**30, -5, True, [], 1.5):
        answer = await mine.post(f"/api/jobs/{job}/logs", line="x", logged_at=moment)
        assert answer.status == 200, moment
    found = (await stage.rent("GET", f"/api/jobs/{job}/logs")).json["logs"]
    assert {line["logged_at"] for line in found} == {"2026-03-22T19:30:00.000Z"}
    await mine.post(f"/api/jobs/{job}/logs", line="x", logged_at=1742671800000)
    found = (await stage.rent("GET", f"/api/jobs/{job}/logs")).json["logs"]
    assert found[-1]["logged_at"] == "2025-03-22T19:30:00.000Z"


async def test_endpoint(stage: Stage) -> None:
    mine = await host(stage)
    job = await taken(stage, mine, "vllm_serve")
    target = f"/api/jobs/{job}/endpoint-ready"
    for body, error in (
        ({"port": 80, "provider_ip": "10.1.2.3"}, "Invalid port"),
        ({"port": 65536, "provider_ip": "10.1.2.3"}, "Invalid port"),
        ({"port": True, "provider_ip": "10.1.2.3"}, "Invalid port"),
        ({"port": "x", "provider_ip": "10.1.2.3"}, "Invalid port"),
        ({"provider_ip": "10.1.2.3"}, "Invalid port"),
        ({"port": 8100}, "Cannot resolve provider IP — send provider_ip in body"),
        ({"port": 8100, "provider_ip": "evil.example/x?"}, "Cannot resolve provider IP — send provider_ip in body"),
        ({"port": 8100, "provider_ip": "0.0.0.0"}, "Cannot resolve provider IP — send provider_ip in body"),
        ({"port": 8100, "provider_ip": ["10.1.2.3"]}, "Cannot resolve provider IP — send provider_ip in body"),
    ):
        answer = await mine.post(target, **body)
        assert (answer.status, answer.json) == (400, {"error": error}), body
    answer = await mine.post(target, port=8100, provider_ip="10.1.2.3")
    assert answer.json == {"success": True, "endpoint_url": "http://10.1.2.3:8100/v1"}
    answer = await mine.post(target, port="8101", provider_ip="2001:db8::1")
    assert answer.json["endpoint_url"] == "http://[2001:db8::1]:8101/v1"
    kept = await row(stage, job)
    assert (kept.progress_phase, kept.serve_port, kept.status) == ("serving", 8101, "running")
    await mine.beat(provider_ip="10.9.9.9")
    assert (await mine.post(target, port=8100)).json["endpoint_url"] == "http://10.9.9.9:8100/v1"
    other = await taken(stage, await host(stage, "other"))
    assert (await mine.post(f"/api/jobs/{other}/endpoint-ready", port=8100)).status == 403


async def test_only_servers_have_endpoints(stage: Stage) -> None:
    mine = await host(stage)
    job = await taken(stage, mine)
    answer = await mine.post(f"/api/jobs/{job}/endpoint-ready", port=8100, provider_ip="10.1.2.3")
    assert (answer.status, answer.json) == (400, {"error": "Not a vllm_serve job"})


async def test_result(stage: Stage) -> None:
    mine = await host(stage)
    job = await taken(stage, mine)
    stage.clock.advance(60)
    before = (await stage.balance()).amount
    assert await mine.finish(job, attempt_number=1) == {
        "success": True,
        "job_id": job,
        "status": "completed",
        "actual_minutes": 1,
        "gpu_seconds_used": 42.5,
        "rate_per_gpu_second_halala": 0.25,
        "cost_halala": 11,
        "provider_earned_halala": 8,
        "dc1_fee_halala": 3,
        "restart_count": 0,
        "last_error": None,
    }
    assert (await stage.balance()).amount == before + 64
    assert (await row(stage, job)).result == RESULT
    await stage.audit()


async def test_a_second_report_changes_nothing(stage: Stage) -> None:
    mine = await host(stage)
    job = await taken(stage, mine)
    stage.clock.advance(60)
    reports = [
        mine.post("/api/providers/job-result", job_id=job, success=number % 2 == 0, result=str(number))
        for number in range(6)
    ]
    answers = [answer.json for answer in await asyncio.gather(*reports)]
    settled = [answer for answer in answers if "status" in answer]
    assert len(settled) == 1
    word = settled[0]["status"]
    assert all(answer["message"] == f"Job already settled ({word})" for answer in answers if answer is not settled[0])
    earned = (await mine.get("/api/providers/earnings"))["total_earned_halala"]
    assert earned == settled[0]["provider_earned_halala"]
    await stage.audit()


async def test_nobody_is_paid_for_more_time_than_there_was(stage: Stage) -> None:
    mine = await host(stage)
    for claimed, passed, charged in ((10**9, 40, 10), (1e30, 20, 5), ("9999999", 20, 5), (-5, 20, 0), (7, 20, 2)):
        job = await taken(stage, mine, duration_minutes=60)
        stage.clock.advance(passed)
        await mine.beat()
        told = await mine.finish(job, gpu_seconds_used=claimed)
        assert told["gpu_seconds_used"] <= passed
        assert told["cost_halala"] == charged, claimed
    for unclear in (None, "many", True, [], {}, "1e999", "nan"):
        job = await taken(stage, mine)
        stage.clock.advance(8)
        await mine.beat()
        assert (await mine.finish(job, gpu_seconds_used=unclear))["gpu_seconds_used"] == 8, unclear
    await stage.audit()


async def test_the_hold_is_the_most_that_is_charged(stage: Stage) -> None:
    mine = await host(stage)
    job = await taken(stage, mine, duration_minutes=1, max_duration_seconds=3600)
    stage.clock.advance(80)
    told = await mine.finish(job, gpu_seconds_used=80)
    assert told["cost_halala"] == 20
    assert told["provider_earned_halala"] == 11
    assert (await row(stage, job)).charged == 15
    await stage.audit()


async def test_failure_costs_nothing(stage: Stage) -> None:
    mine = await host(stage)
    before = (await stage.balance()).amount
    job = await taken(stage, mine)
    stage.clock.advance(30)
    told = await mine.finish(job, success=False, result={}, error="CUDA out of memory", restart_count=3, exit_code=137)
    assert (told["status"], told["provider_earned_halala"], told["restart_count"]) == ("failed", 0, 3)
    kept = await row(stage, job)
    assert (kept.error, kept.charged, kept.exit_code, kept.result) == ("CUDA out of memory", 0, 137, "{}")
    assert (await stage.balance()).amount == before
    assert (await provider_row(stage, mine.id)).failed_jobs == 1
    await stage.audit()


async def test_success_is_three_words(stage: Stage) -> None:
    mine = await host(stage)
    for word, status in (
        (True, "completed"),
        ("true", "completed"),
        (1, "completed"),
        ("yes", "failed"),
        ([], "failed"),
    ):
        job = await taken(stage, mine)
        assert (await mine.finish(job, success=word))["status"] == status


async def test_attempts(stage: Stage) -> None:
    mine = await host(stage)
    job = await taken(stage, mine)
    answer = await mine.post("/api/providers/job-result", job_id=job, success=True, attempt_number=2)
    assert (answer.status, answer.json["current_attempt"]) == (409, 1)
    answer = await mine.post(f"/api/jobs/{job}/result", error="gone", transient=True, attempt_number=7)
    assert answer.status == 409
    assert (await row(stage, job)).status == "running"


async def test_results_have_a_size(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "MOST_RESULT", 1 << 20)
    mine = await host(stage)
    job = await taken(stage, mine)
    answer = await mine.post("/api/providers/job-result", job_id=job, success=True, result="x" * ((1 << 20) + 1))
    assert answer.status == 413
    assert (await row(stage, job)).status == "running"
    await mine.finish(job, result="x" * (1 << 20))


@pytest.mark.parametrize("ident", ["nope", "0", "99999999999", "-1", "x" * 500, {}, [], True, 1.5])
async def test_jobs_that_are_not_there(stage: Stage, ident: Any) -> None:
    mine = await host(stage)
    answer = await mine.post("/api/providers/job-result", job_id=ident, success=True)
    assert answer.status in (400, 404)
    assert answer.json["error"] in ("Job not found", "api_key and job_id required")


async def test_older_report(stage: Stage) -> None:
    mine = await host(stage)
    job = await taken(stage, mine)
    await submit(stage, mine)
    stage.clock.advance(61)
    answer = await mine.post(f"/api/jobs/{job}/result", result=RESULT, duration_seconds=61)
    assert answer.status == 200
    assert answer.json["job"]["status"] == "completed"
    expected = {"actual_cost_halala": 15, "provider_earned_halala": 11, "dc1_fee_halala": 4}
    assert answer.json["billing"] == expected
    assert "next_job_promoted" in answer.json
    answer = await mine.post(f"/api/jobs/{job}/result", result=RESULT)
    assert (answer.status, answer.json) == (409, {"error": "Job already settled", "current_status": "completed"})
    answer = await mine.post(f"/api/jobs/{job}/fail", error="x")
    assert (answer.status, answer.json) == (409, {"error": "Job already settled", "current_status": "completed"})
    await stage.audit()


async def test_time_of_many_gpus(stage: Stage) -> None:
    mine = await host(stage)
    gpus = {"gpu_name": "A100", "gpu_vram_mib": 81_920, "gpu_count": 4}
    spec = {"image_type": "llm", "gpu_count": 2}
    reports: tuple[tuple[dict[str, Any], int], ...] = (
        ({"duration_seconds": 15}, 30),
        ({"gpu_seconds": 7}, 7),
        ({"gpu_seconds": 999}, 40),
        ({}, 40),
    )
    for report, counted in reports:
        await mine.beat(gpu_status=gpus)
        job = await taken(stage, mine, container_spec=spec)
        stage.clock.advance(20)
        await mine.post(f"/api/jobs/{job}/result", result=RESULT, **report)
        assert (await row(stage, job)).gpu_ms == counted * 1_000, report


async def test_passing_failures_are_tried_again_twice(stage: Stage) -> None:
    mine = await host(stage)
    before = (await stage.balance()).amount
    job = await taken(stage, mine)
    for number in (1, 2):
        answer = await mine.post(f"/api/jobs/{job}/result", error="flaky", transient=True)
        assert answer.json == {
            "success": False,
            "retry": True,
            "attempt": number,
            "max_retries": 2,
            "job_id": job,
            "message": f"Job re-queued for retry {number}/2",
        }
        kept = await row(stage, job)
        assert (kept.status, kept.error, kept.last_error) == ("queued", f"[retry {number}/2] flaky", "flaky")
        again = await mine.claim()
        assert (again["job_id"], again["attempt_number"]) == (job, number + 1)
    answer = await mine.post(f"/api/jobs/{job}/result", error="flaky", transient=True)
    assert answer.json["job"]["status"] == "failed"
    assert (await stage.balance()).amount == before
    await stage.audit()


async def test_give_up(stage: Stage) -> None:
    mine = await host(stage)
    job = await taken(stage, mine)
    answer = await mine.post(f"/api/jobs/{job}/fail", error="Image pull failed")
    assert answer.json == {"success": True, "job_id": job, "refunded_halala": 75}
    other = await taken(stage, mine)
    answer = await stage.administer("POST", f"/api/jobs/{other}/fail", {"error": "by the operator"})
    assert answer.json["refunded_halala"] == 75
    await stage.audit()


async def test_the_next_job_is_promoted(stage: Stage) -> None:
    mine = await host(stage)
    first = await taken(stage, mine)
    second = await submit(stage, mine)
    assert second["status"] == "queued"
    await mine.finish(first)
    assert (await row(stage, second["job_id"])).status == "pending"


async def test_ends_do_not_collide(stage: Stage) -> None:
    """Whatever ends a job first is the only end of it, and its money moves once."""
    mine = await host(stage)
    opening = (await stage.balance()).amount
    spent = earned = 0
    for number in range(6):
        job = await taken(stage, mine)
        stage.clock.advance(20)
        await mine.beat()
        ends = [
            mine.post("/api/providers/job-result", job_id=job, success=True, result=RESULT, gpu_seconds_used=20),
            stage.rent("POST", f"/api/jobs/{job}/cancel"),
            mine.post(f"/api/jobs/{job}/fail", error="gone"),
            mine.post(f"/api/jobs/{job}/result", error="gone", transient=True),
        ]
        await asyncio.gather(*ends[number % 4 :], *ends[: number % 4])
        kept = await row(stage, job)
        if kept.status == "queued":
            await stage.rent("POST", f"/api/jobs/{job}/cancel")
            kept = await row(stage, job)
        assert kept.status in ("completed", "failed", "cancelled")
        spent, earned = spent + (kept.charged or 0), earned + (kept.provider_earned or 0)
    assert (await stage.balance()).amount == opening - spent
    assert (await mine.get("/api/providers/earnings"))["available_halala"] == earned
    await stage.audit()


async def test_a_claim_and_a_cancellation(stage: Stage) -> None:
    mine = await host(stage)
    for _ in range(4):
        job = await submit(stage, mine)
        found, answer = await asyncio.gather(mine.claim(), stage.rent("POST", f"/api/jobs/{job['job_id']}/cancel"))
        assert answer.status == 200
        assert (await row(stage, job["job_id"])).status == "cancelled"
        if found is not None:
            told = await mine.finish(job["job_id"])
            assert told["message"] == "Job already settled (cancelled)"
    assert (await mine.get("/api/providers/earnings"))["total_earned_halala"] == 0
    await stage.audit()


async def test_a_stranger_touches_no_job(stage: Stage) -> None:
    mine, other = await host(stage, "mine"), await host(stage, "other")
    job = await taken(stage, mine, "vllm_serve")
    for method, target, body, status in (
        ("POST", f"/api/jobs/{job}/progress", {"phase": "generating"}, 403),
        ("POST", f"/api/jobs/{job}/logs", {"line": "x"}, 403),
        ("PATCH", f"/api/providers/jobs/{job}/logs", {"line": "x"}, 403),
        ("POST", f"/api/jobs/{job}/endpoint-ready", {"port": 8100, "provider_ip": "10.0.0.1"}, 403),
        ("POST", "/api/providers/job-result", {"job_id": job, "success": True}, 404),
        ("POST", f"/api/jobs/{job}/result", {"result": "x"}, 403),
        ("POST", f"/api/jobs/{job}/fail", {"error": "x"}, 403),
    ):
        answer = await stage.host_as(other.key, method, target, body)
        assert answer.status == status, target
        # Its renter carries nothing out either.
        answer = await stage.rent(method, target, body)
        assert answer.status in (400, 401, 403), target
    kept = await row(stage, job)
    assert (kept.status, kept.progress_phase, kept.endpoint_url, kept.result) == ("running", None, None, None)
    assert await stage.count(tables.logs) == 0


async def test_reports_survive_a_crash(stage: Stage) -> None:
    mine = await host(stage)
    job = await taken(stage, mine)
    await mine.post(f"/api/jobs/{job}/progress", phase="generating")
    await stage.again()
    stage.clock.advance(20)
    told = await mine.finish(job)
    assert (told["status"], told["gpu_seconds_used"]) == ("completed", 20)
    await stage.again()
    assert (await mine.finish(job))["message"] == "Job already settled (completed)"
    await stage.audit()


@pytest.mark.parametrize(
    "body", [[], "text", 5, None, {"phase": {}}, {"lines": {"a": 1}}, {"port": {}}, {"result": [[]]}]
)
async def test_strange_bodies(stage: Stage, body: Any) -> None:
    mine = await host(stage)
    job = await taken(stage, mine, "vllm_serve")
    for target in ("progress", "logs", "endpoint-ready", "result", "fail"):
        answer = await stage.host_as(mine.key, "POST", f"/api/jobs/{job}/{target}", body)
        assert answer.status in (200, 400, 409), (target, answer.body)
    for target in ("heartbeat", "readiness", "job-result", "daemon-event", "preferences", "me/withdraw", "withdraw"):
        answer = await stage.host_as(mine.key, "POST", f"/api/providers/{target}", body)
        assert answer.status in (200, 400), (target, answer.body)
    await stage.audit()
