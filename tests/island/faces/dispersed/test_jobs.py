"""Jobs and runs on the wire: exact members, lists and filters, refusals, keys that make a request happen once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skerry.island.faces.dispersed import tables
from skerry.island.faces.dispersed.jobs.docker_parameters import MASK
from tests.island.faces.dispersed.stage import Stage

pytestmark = pytest.mark.anyio

# Section 3.2.1.
JOB_MEMBERS = {
    *("object", "uuid", "created_at", "updated_at", "status", "status_reason", "task", "title", "description"),
    *("cpu_count", "gpu_count", "min_ram_gb", "min_vram_gb", "min_storage_gb", "gpu_name", "gpu_registry_uuid"),
    *("parameters", "timeout_assign_at_ms", "started_at", "completed_at", "max_timeout_assign_ms"),
    *("max_timeout_start_ms", "max_timeout_run_ms", "max_retry_count", "max_node_count", "image_size_bytes"),
    *("container_access_tokens", "source_recipe_uuid", "allowed_region_codes", "account_uuid"),
}
# Section 3.3.1.
RUN_MEMBERS = {
    *("object", "uuid", "job_uuid", "status", "status_reason", "job_snapshot", "node_uuid", "node_urls"),
    *("container_access_tokens", "hourly_rate_usd", "duration_ms", "started_at_ms", "completed_at_ms", "created_at"),
    *("updated_at", "exit_code", "attempt", "gpu_name", "gpu_count", "authorization_uuid"),
}
NOWHERE = "NVIDIA RTX 4090"


def job(docker: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A job that waits, because no machine here has what it wants."""
    container = {"image": "me/x", **(docker or {})}
    return {
        "task": "BATCH",
        "title": "t",
        "gpu_count": 1,
        "gpu_name": NOWHERE,
        "max_timeout_run_ms": 60_000,
        "parameters": {"type": "docker", "parameters": container},
        **fields,
    }


async def make(stage: Stage, docker: dict[str, Any] | None = None, **fields: Any) -> Any:
    return await stage.ok("POST", "/v1/jobs", job(docker, **fields), status=201)


async def test_a_job_has_every_member_and_no_secret(stage: Stage) -> None:
    docker = {
        "secret": "hush-1",
        "volumes": [{"mount": "/v", "image": "a", "secret": "hush-2"}],
        "env": {"TOKEN": "kept as given"},
        "host": "",
        "unknown": "left out",
    }
    made = await make(stage, docker)
    assert set(made) == JOB_MEMBERS
    inner = made["parameters"]["parameters"]
    assert (inner["secret"], inner["volumes"][0]["secret"], inner["env"]) == (MASK, MASK, {"TOKEN": "kept as given"})
    assert "unknown" not in inner
    assert made["timeout_assign_at_ms"] == stage.now_ms + 300_000
    assert made["created_at"] == "2026-04-21T10:00:00.000Z"
    assert (made["status"], made["description"], made["started_at"]) == ("PENDING", None, None)
    assert len(made["container_access_tokens"][0]["token"]) >= 32
    listed = await stage.ok("GET", "/v1/jobs")
    assert listed["total"] == 1
    assert "hush" not in json.dumps([made, listed, await stage.ok("GET", f"/v1/jobs/{made['uuid'].upper()}")])
    for path in stage.lab.data.glob("island.db*"):
        content = path.read_bytes()
        assert b"hush-" not in content
        assert made["container_access_tokens"][0]["token"].encode() not in content


async def test_a_run_has_every_member(stage: Stage) -> None:
    made = await make(stage, gpu_count=0)

    async def over() -> bool:
        shown = await stage.ok("GET", f"/v1/jobs/{made['uuid']}")
        return bool(shown["status"] == "FAILED")

    await stage.lab.until(over)
    listed = await stage.ok("GET", f"/v1/job-runs?filter%5Bjob_uuid%5D={made['uuid']}")
    (run,) = listed["data"]
    assert set(run) == RUN_MEMBERS
    assert set(run["job_snapshot"]) == JOB_MEMBERS
    assert (run["object"], run["job_snapshot"]["uuid"], run["hourly_rate_usd"]) == ("job_run", made["uuid"], 0.02)
    detail = await stage.ok("GET", f"/v1/job-runs/{run['uuid']}")
    assert set(detail) == RUN_MEMBERS | {"logs"}
    for name in ("cost-summary", "cost_summary", "cost"):
        cost = await stage.ok("GET", f"/v1/job-runs/{run['uuid']}/{name}")
        assert (cost["object"], cost["total_cost_usd"], cost["is_final"]) == ("job_run_cost_summary", 0, True)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["big", "small"]),
        ("sort=created_at", ["small", "big"]),
        ("filter%5Bmin_ram_gb%5D=8,16", ["big"]),
        ("filter%5Bmin_ram_gb%5D=4", ["small"]),
        ("filter%5Bmin_ram_gb%5D=,4", ["small"]),
        ("filter%5Bcpu_count%5D=1,2", ["big", "small"]),
        ("filter%5Bgpu_count%5D=3", ["big"]),
        ("filter%5Bmin_vram_gb%5D=24", ["big"]),
        ("filter%5Bmin_storage_gb%5D=100", ["small"]),
        ("filter%5Btask%5D=PERSISTENT", ["small"]),
        ("filter%5Btask%5D=PERSISTENT,BATCH", ["big", "small"]),
        ("filter%5Bstatus%5D=PENDING&limit=1", ["big"]),
        ("filter%5Bstatus%5D=RUNNING,FAILED", []),
        ("filter%5Brecipe_uuid%5D=019582a6-27fc-731d-af0a-594f04d6d0d5", []),
        ("filter%5Bcreated_at%5D=2026-04-21,2026-04-22", ["big", "small"]),
        ("filter%5Bcreated_at%5D=,2026-04-21", []),
        ("page=3", []),
    ],
)
async def test_lists(stage: Stage, query: str, found: list[str]) -> None:
    await make(
        stage, title="small", task="PERSISTENT", max_timeout_run_ms=None, cpu_count=1, min_ram_gb=4, min_storage_gb=100
    )
    stage.clock.advance(1)
    await make(stage, title="big", cpu_count=2, gpu_count=3, min_ram_gb=16, min_vram_gb=24)
    listed = await stage.ok("GET", f"/v1/jobs?{query}".rstrip("?"))
    assert [one["title"] for one in listed["data"]] == found


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/v1/jobs?filter%5Bstatus%5D=SLEEPING", "filter[status]"),
        ("/v1/jobs?filter%5Bnode_urls%5D=x", "filter[node_urls]"),
        ("/v1/job-runs?filter%5Blogs%5D=x", "filter[logs]"),
        ("/v1/job-runs?limit=51", "limit"),
    ],
)
async def test_lists_that_cannot_be(stage: Stage, path: str, word: str) -> None:
    fault = await stage.fails(400, "VALIDATION_ERROR", "GET", path)
    assert [issue["path"] for issue in fault["details"]] == [[word]]


async def test_bad_bodies(stage: Stage) -> None:
    fault = await stage.fails(400, "VALIDATION_ERROR", "POST", "/v1/jobs", job(title=3, cpu_count=-1))
    assert [issue["path"] for issue in fault["details"]] == [["title"], ["cpu_count"]]
    await stage.fails(400, "BAD_REQUEST", "POST", "/v1/jobs")
    unknown = {"gpu_name": None, "gpu_registry_uuid": "019582a6-27fc-731d-af0a-594f04d6d0d5"}
    fault = await stage.fails(400, "VALIDATION_ERROR", "POST", "/v1/jobs", job(**unknown))
    assert fault["details"][0]["path"] == ["gpu_registry_uuid"]
    made = await make(stage)
    for body in ({"reason": 3}, [], "stop"):
        await stage.fails(400, "VALIDATION_ERROR", "PUT", f"/v1/jobs/{made['uuid']}/cancel", body)
    assert await stage.count(tables.jobs) == 1


@pytest.mark.parametrize("uuid", ["missing-uuid", "019582a6-27fc-731d-af0a-594f04d6d0d5", "%00", "x%2Fy"])
async def test_what_is_not_there(stage: Stage, uuid: str) -> None:
    for method, path in (
        ("GET", f"/v1/jobs/{uuid}"),
        ("PUT", f"/v1/jobs/{uuid}/cancel"),
        ("GET", f"/v1/job-runs/{uuid}"),
        ("POST", f"/v1/job-runs/{uuid}/cancel"),
        ("GET", f"/v1/job-runs/{uuid}/cost-summary"),
    ):
        answer = await stage.ask(method, path)
        assert (answer.status, answer.code) in ((404, "NOT_FOUND"), (400, "BAD_REQUEST")), (path, answer.body)
        assert answer.status == 404 or uuid == "%00"


async def test_another_account_sees_nothing(stage: Stage) -> None:
    made = await make(stage)
    stranger = await stage.stranger()
    for method, path in (("GET", f"/v1/jobs/{made['uuid']}"), ("PUT", f"/v1/jobs/{made['uuid']}/cancel")):
        await stage.fails(404, "NOT_FOUND", method, path, pair=stranger)
    assert (await stage.ok("GET", "/v1/jobs", pair=stranger))["total"] == 0
    assert (await stage.ok("GET", "/v1/job-runs", pair=stranger))["total"] == 0


async def test_a_keyed_request_makes_one_job(stage: Stage) -> None:
    headers = {"X-Idempotency-Key": "once"}
    first = await stage.ask("POST", "/v1/jobs", job(), headers=headers)
    again = await stage.ask("POST", "/v1/jobs", job(), headers=headers)
    assert (first.status, again.status, first.body) == (201, 201, again.body)
    assert again.headers["x-idempotent-replayed"] == "true"
    assert await stage.count(tables.jobs) == 1
    await stage.again()
    after = await stage.ask("POST", "/v1/jobs", job(), headers=headers)
    assert (after.status, after.body) == (201, first.body)
    assert await stage.count(tables.jobs) == 1


async def test_a_server_with_work_is_not_idle(stage: Stage) -> None:
    assert not await stage.app.busy()
    made = await make(stage)
    assert await stage.app.busy()
    assert (await stage.ok("POST", f"/v1/jobs/{made['uuid']}/cancel"))["status"] == "CANCELLED"
    assert not await stage.app.busy()


async def test_cooking_makes_a_job(stage: Stage) -> None:
    recipe = await stage.ok("POST", "/v1/job-recipes", {"name": "r", "payload": job({"secret": "hush"})}, status=201)
    made = await stage.ok("POST", f"/v1/job-recipes/{recipe['uuid']}/cook", {"title": "cooked"}, status=201)
    assert (made["title"], made["source_recipe_uuid"]) == ("cooked", recipe["uuid"])
    assert made["parameters"]["parameters"]["secret"] == MASK
    found = await stage.ok("GET", f"/v1/jobs?filter%5Brecipe_uuid%5D={recipe['uuid']}")
    assert [one["uuid"] for one in found["data"]] == [made["uuid"]]
