"""Jobs in the operator's hands."""

from __future__ import annotations

import pytest

from skerry.networks.dc1.signing import verify_task_spec
from tests.island.faces.dc1.hosts import host, row, submit
from tests.island.faces.dc1.stage import SECRET, Stage

pytestmark = pytest.mark.anyio


async def test_who_may(stage: Stage) -> None:
    for method, path in (
        ("GET", "/api/admin/jobs"),
        ("GET", "/api/admin/jobs/1"),
        ("POST", "/api/admin/jobs/1/cancel"),
        ("POST", "/api/admin/jobs/1/requeue"),
        ("POST", "/api/jobs/test"),
        ("GET", "/api/jobs/scheduler/health"),
    ):
        for headers in ({}, {"x-admin-token": "nope"}, {"x-renter-key": stage.key}):
            answer = await stage.ask(method, path, headers=headers)
            assert (answer.status, answer.json) == (401, {"error": "Admin access denied"})


async def test_lists(stage: Stage) -> None:
    mine = await host(stage)
    done = (await submit(stage, mine))["job_id"]
    await mine.claim()
    stage.clock.advance(60)
    await mine.finish(done, gpu_seconds_used=60)
    broken = (await submit(stage, mine, "training"))["job_id"]
    await mine.post(f"/api/jobs/{broken}/fail", error="x")
    await submit(stage, mine)
    found = (await stage.administer("GET", "/api/admin/jobs?status=completed,failed&limit=1")).json
    assert found["stats"] == {
        "total": 3,
        "completed": 1,
        "failed": 1,
        "active": 1,
        "total_revenue_halala": 15,
    }
    assert found["pagination"] == {"page": 1, "limit": 1, "total": 2, "pages": 2}
    (job,) = found["jobs"]
    assert (job["job_id"], job["provider_name"], job["gpu_model"], job["renter_name"]) == (
        broken,
        "farm",
        "RTX 4090",
        "local",
    )
    for query, count in (("search=train", 1), (f"search={done[-6:]}", 1), ("search=FARM", 3), ("search=%25", 0)):
        assert len((await stage.administer("GET", f"/api/admin/jobs?{query}")).json["jobs"]) == count, query
    one = (await stage.administer("GET", f"/api/admin/jobs/{done}")).json
    assert (one["job"]["renter_name"], len(one["executions"]), len(one["events"])) == ("local", 1, 2)
    assert (await stage.administer("GET", "/api/admin/jobs/nope")).status == 404


async def test_cancel(stage: Stage) -> None:
    mine = await host(stage)
    job = (await submit(stage, mine))["job_id"]
    await mine.claim()
    answer = await stage.administer("POST", f"/api/admin/jobs/{job}/cancel")
    assert answer.json == {
        "success": True,
        "job_id": job,
        "previous_status": "running",
        "new_status": "cancelled",
        "refunded_halala": 75,
    }
    assert (await stage.administer("POST", f"/api/admin/jobs/{job}/cancel")).status == 400
    await stage.audit()


async def test_requeue(stage: Stage) -> None:
    mine = await host(stage)
    job = (await submit(stage, mine))["job_id"]
    answer = await stage.administer("POST", f"/api/admin/jobs/{job}/requeue")
    assert (answer.status, answer.json["error"]) == (400, "Only failed jobs can be re-queued")
    await mine.post(f"/api/jobs/{job}/fail", error="x")
    answer = await stage.administer("POST", f"/api/admin/jobs/{job}/requeue")
    assert (answer.status, answer.json["previous_status"], answer.json["held_halala"]) == (200, "failed", 75)
    assert answer.json["requeued_from_job_id"] == job
    old, new = await row(stage, job), await row(stage, answer.json["job_id"])
    assert (old.status, new.status, new.task_spec) == ("failed", "pending", old.task_spec)
    assert (await stage.balance()).amount == 100_000 - 75
    await stage.audit()


async def test_trying_a_provider_out(stage: Stage) -> None:
    mine = await host(stage)
    answer = await stage.administer("POST", "/api/jobs/test", {"provider_id": mine.id})
    job = answer.json["job"]
    assert job["job_id"].startswith("test-")
    assert {name: job[name] for name in ("provider_id", "status", "task_spec")} == {
        "provider_id": mine.id,
        "status": "pending",
        "task_spec": {"benchmark": "matmul", "matrix_size": 4096, "iterations": 5},
    }
    kept = await row(stage, job["job_id"])
    assert verify_task_spec(SECRET, kept.task_spec, kept.task_spec_hmac)
    claimed = await mine.claim()
    assert (claimed["job_id"], claimed["job_type"]) == (job["job_id"], "benchmark")
    stage.clock.advance(20)
    await mine.finish(job["job_id"])
    kept = await row(stage, job["job_id"])
    assert (kept.status, kept.charged) == ("completed", 0)
    view = (await stage.administer("GET", f"/api/jobs/{job['job_id']}")).json["job"]
    assert (view["renter_id"], view["container_spec"], view["workspace_volume_name"]) == (None, None, None)
    assert (await stage.rent("GET", f"/api/jobs/{job['job_id']}")).status == 403
    for given, status in ((None, 400), (99, 404), ("x", 404), (True, 404), (2**40, 404)):
        assert (await stage.administer("POST", "/api/jobs/test", {"provider_id": given})).status == status
    answer = await stage.administer("POST", "/api/jobs/test", {"provider_id": str(mine.id)})
    second = answer.json["job"]["job_id"]
    await mine.post(f"/api/jobs/{second}/fail", error="x")
    answer = await stage.administer("POST", f"/api/admin/jobs/{second}/requeue")
    assert answer.json["job_id"].startswith("test-")
    await stage.audit()
