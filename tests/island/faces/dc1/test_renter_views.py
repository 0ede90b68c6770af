"""What a renter sees of its jobs and money, and how it leaves."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from skerry.island.faces.dc1 import tables
from skerry.networks.dc1 import signing
from tests.island.faces.dc1.stage import Stage
from tests.island.faces.dc1.work import cancel, complete, fail, host, register, submit

pytestmark = pytest.mark.anyio


@pytest.fixture
async def busy(stage: Stage) -> tuple[int, str, list[Any]]:
    """A renter with five jobs: completed, completed a day later, failed, cancelled, and one that waits."""
    renter_id, key = await register(stage)
    provider = await host(stage)
    jobs = [await submit(stage, renter_id, provider_id=provider)]
    await complete(stage, jobs[0])
    stage.clock.advance(86_400)
    await host(stage)
    jobs += [await submit(stage, renter_id, 150, provider_id=provider, model="=cmd|' /C calc'!A0")]
    await complete(stage, jobs[1], 120_000)
    jobs += [await submit(stage, renter_id, provider_id=provider), await submit(stage, renter_id)]
    await fail(stage, jobs[2])
    await cancel(stage, jobs[3])
    jobs += [await submit(stage, renter_id)]
    return renter_id, key, jobs


Busy = tuple[int, str, list[Any]]


async def test_pages(stage: Stage, busy: Busy) -> None:
    _, key, jobs = busy
    page = await stage.rent("GET", "/api/renters/jobs?limit=1&page=2&status=completed", key=key)
    assert page.json == {
        "jobs": [
            {
                "job_id": jobs[0].job_id,
                "template_id": None,
                "provider_id": 1,
                "status": "completed",
                "started_at": None,
                "completed_at": "2026-03-22T19:30:00.000Z",
                "cost_halala": 11,
                "output_tokens": 0,
                "input_tokens": None,
            }
        ],
        "total": 2,
        "page": 2,
        "limit": 1,
        "pages": 2,
    }
    everything = await stage.ask("GET", "/api/renters/jobs", headers={"Authorization": f"Bearer {key}"})
    assert [job["job_id"] for job in everything.json["jobs"]] == [job.job_id for job in reversed(jobs)]
    for query in ("page=-1&limit=0", "page=x&limit=x", "page=9999999999999999999&limit=9999"):
        assert (await stage.rent("GET", f"/api/renters/jobs?{query}", key=key)).status == 200
        assert (await stage.rent("GET", f"/api/renters/me/jobs?{query}", key=key)).status == 200
    refused = await stage.ask("GET", "/api/renters/jobs")
    assert refused.status == 401


async def test_mine(stage: Stage, busy: Busy) -> None:
    _, key, jobs = busy
    page = await stage.rent("GET", "/api/renters/me/jobs?limit=2", key=key)
    assert page.json["pagination"] == {"page": 0, "limit": 2, "total": 5, "pages": 3}
    assert page.json["jobs"][0] == {
        "id": jobs[4].id,
        "job_id": jobs[4].job_id,
        "job_type": "llm_inference",
        "model": "mistralai/Mistral-7B-Instruct-v0.2",
        "status": "pending",
        "cost_halala": 75,
        "submitted_at": "2026-03-23T19:30:00.000Z",
        "started_at": None,
        "completed_at": None,
        "duration_minutes": 5,
        "provider_gpu": None,
        "cost_sar": "0.7500",
    }
    one = await stage.rent("GET", f"/api/renters/me/jobs/{jobs[0].job_id}", key=key)
    assert (one.json["job"]["provider_gpu"], one.json["job"]["cost_sar"]) == ("NVIDIA GeForce RTX 4090", "0.1100")
    for path in ("nothing", jobs[0].job_id):
        other = await stage.rent("GET", f"/api/renters/me/jobs/{path}")
        assert (other.status, other.json) == (404, {"error": "Job not found"})


async def test_a_table_is_no_program(stage: Stage, busy: Busy) -> None:
    _, key, jobs = busy
    answer = await stage.rent("GET", "/api/renters/me/jobs/export", key=key)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [row["job_id"] for row in rows] == [job.job_id for job in reversed(jobs)]
    assert rows[3]["model"] == "'=cmd|' /C calc'!A0"
    assert rows[3]["cost_halala"] == "30"


async def test_spending(stage: Stage, busy: Busy) -> None:
    _, key, _ = busy
    assert (await stage.rent("GET", "/api/renters/me/spending", key=key)).json == {
        "all_time": {"total_jobs": 2, "total_halala": 41, "total_sar": 0.41},
        "monthly": [{"month": "2026-03", "jobs": 2, "total_halala": 41}],
        "last_30_days": [
            {"date": "2026-03-23", "jobs": 1, "total_halala": 30},
            {"date": "2026-03-22", "jobs": 1, "total_halala": 11},
        ],
    }
    stage.clock.advance(86_400 * 29)
    later = (await stage.rent("GET", "/api/renters/me/spending", key=key)).json
    assert [day["date"] for day in later["last_30_days"]] == ["2026-03-23"]


async def test_analytics(stage: Stage, busy: Busy) -> None:
    _, key, _ = busy
    for query, period in (("", "30d"), ("?period=7d", "7d"), ("?period=90d", "90d"), ("?period=x", "30d")):
        assert (await stage.rent("GET", f"/api/renters/me/analytics{query}", key=key)).json == {
            "period": period,
            "daily_spend": [
                {"day": "2026-03-22", "total_halala": 75, "job_count": 1},
                {"day": "2026-03-23", "total_halala": 375, "job_count": 4},
            ],
            "status_counts": [
                {"status": "cancelled", "count": 1},
                {"status": "completed", "count": 2},
                {"status": "failed", "count": 1},
                {"status": "pending", "count": 1},
            ],
            "avg_duration_minutes": 5,
            "completed_job_count": 2,
            "top_gpus": [{"gpu_model": "NVIDIA GeForce RTX 4090", "job_count": 3, "total_halala": 300}],
        }


async def test_the_wallet_while_jobs_go_on(stage: Stage, busy: Busy) -> None:
    renter_id, key, _ = busy
    expected = {
        "balance_halala": 1000 - 41 - 75,
        "balance_sar": 8.84,
        "held_halala": 75,
        "held_sar": 0.75,
        "available_halala": 884,
        "total_spent_halala": 41,
        "total_spent_sar": 0.41,
        "total_jobs": 5,
    }
    assert (await stage.rent("GET", "/api/renters/balance", key=key)).json == expected
    own = await stage.rent("GET", f"/api/renters/{renter_id}/balance", key=key)
    assert own.json == {"renter_id": renter_id, **expected}


async def test_transactions_sum_to_the_balance(stage: Stage, busy: Busy) -> None:
    renter_id, key, _ = busy
    await stage.rent("POST", f"/api/renters/{renter_id}/topup", {"amount_sar": 1}, key=key)
    moves = (await stage.rent("GET", f"/api/renters/{renter_id}/transactions", key=key)).json
    assert sum(move["amount_halala"] for move in moves["transactions"]) == 984
    assert moves["pagination"]["total"] == len(moves["transactions"])
    kinds = [move["type"] for move in moves["transactions"]]
    assert kinds[0] == "topup"
    assert kinds[-1] == "opening_balance"
    assert kinds.count("hold") == 5
    assert kinds.count("release") == 4
    lines = (await stage.rent("GET", f"/api/renters/{renter_id}/ledger?limit=200", key=key)).json["ledger"]
    assert sum(line["amount_halala"] for line in lines if line["account"] == "held") == 75
    second = await stage.rent("GET", f"/api/renters/{renter_id}/transactions?limit=1&offset=1", key=key)
    assert second.json["transactions"] == moves["transactions"][1:2]


async def test_invoices(stage: Stage, busy: Busy) -> None:
    renter_id, key, jobs = busy
    found = (await stage.rent("GET", "/api/renters/me/invoices?limit=1", key=key)).json
    assert found["pagination"]["total"] == 2
    (bill,) = found["invoices"]
    assert (bill["job_id"], bill["gross_halala"], bill["platform_fee_halala"]) == (jobs[1].job_id, 30, 8)
    assert bill["renter_id"] == renter_id
    assert bill["settlement_hash"] == signing.settlement_hash(bill)
    table = await stage.rent("GET", f"/api/renters/me/invoices/{bill['invoice_id']}/csv", key=key)
    (row,) = csv.DictReader(io.StringIO(table.body.decode()))
    assert row["gross_halala"] == "30"
    assert row["model"].startswith("'=")
    for name in ("nothing", f"INV-{jobs[2].job_id}"):
        assert (await stage.rent("GET", f"/api/renters/me/invoices/{name}/csv", key=key)).status == 404
    assert (await stage.rent("GET", f"/api/renters/me/invoices/{bill['invoice_id']}/csv")).status == 404


async def test_saved_jobs(stage: Stage) -> None:
    _, key = await register(stage)
    path = "/api/renters/me/templates"
    body = {"name": "mine", "job_type": "llm_inference", "params": {"prompt": "if a < b:\n"}, "id": 5}
    made = await stage.rent("POST", path, body, key=key)
    assert made.status == 201
    template = made.json["template"]
    assert template["params"] == {"prompt": "if a < b:\n"}
    assert (await stage.rent("GET", path, key=key)).json == {"templates": [template]}
    assert (await stage.rent("GET", path)).json == {"templates": []}
    for name in (template["id"], "x", "99999999999999999999"):
        assert (await stage.rent("DELETE", f"{path}/{name}")).status == 404
    assert (await stage.rent("DELETE", f"{path}/{template['id']}", key=key)).json == {"success": True}
    for bad in ({}, {"name": ""}, {"name": "x" * 121}, [], {"name": "big", "params": "x" * 70_000}):
        assert (await stage.rent("POST", path, bad, key=key)).status == 400
    for _ in range(50):
        assert (await stage.rent("POST", path, {"name": "n"}, key=key)).status == 201
    assert (await stage.rent("POST", path, {"name": "n"}, key=key)).status == 400


async def test_export(stage: Stage, busy: Busy) -> None:
    _, key, jobs = busy
    for path in ("/api/renters/me/export", "/api/renters/me/data-export"):
        found = await stage.rent("GET", path, key=key)
        assert [job["job_id"] for job in found.json["jobs"]] == [job.job_id for job in jobs]
        assert found.json["renter"]["email"] == "renter1@example.sa"
        assert key not in found.body.decode()


async def test_leaving(stage: Stage, busy: Busy) -> None:
    renter_id, key, jobs = busy
    yes = {"confirm": "DELETE_MY_ACCOUNT", "reason": "enough"}
    scoped = (await stage.rent("POST", "/api/renters/me/keys", {"scopes": ["admin"]}, key=key)).json["key"]
    for body in ({}, [], {"confirm": True}, {**yes, "reason": 5}):
        assert (await stage.rent("DELETE", "/api/renters/me", body, key=key)).status == 400
    refused = await stage.rent("DELETE", "/api/renters/me", yes, key=key)
    assert (refused.status, refused.json["active_jobs"]) == (409, 1)
    await cancel(stage, jobs[4])
    refused = await stage.rent("DELETE", "/api/renters/me", yes, key=key)
    assert (refused.status, refused.json["balance_halala"]) == (409, 959)
    taken = {"amount_halala": -959, "reason": "paid out"}
    assert (await stage.administer("POST", f"/api/admin/renters/{renter_id}/balance", taken)).status == 200
    gone = await stage.rent("DELETE", "/api/renters/me", yes, key=key)
    assert (gone.status, gone.json["deleted_at"]) == (200, "2026-03-23T19:30:00.000Z")
    assert (await stage.rent("GET", "/api/renters/me", key=key)).status == 404
    assert (await stage.rent("GET", "/api/renters/jobs", key=scoped)).status == 401
    seen = (await stage.administer("GET", f"/api/admin/renters/{renter_id}")).json["renter"]
    assert (seen["status"], seen["name"], seen["phone"]) == ("deleted", "Deleted renter", None)
    for verb, body in (("credit", {"amount_halala": 5, "reason": "x"}), ("suspend", {}), ("unsuspend", {})):
        assert (await stage.administer("POST", f"/api/admin/renters/{renter_id}/{verb}", body)).status == 409
    # The address is free again, the jobs and the books are as they were.
    again, _ = await register(stage)
    assert again != renter_id
    assert await stage.count(tables.jobs) == 5
    await stage.again()
    await stage.audit()


async def test_the_islands_own_account_stays(stage: Stage) -> None:
    refused = await stage.rent("DELETE", "/api/renters/me", {"confirm": "DELETE_MY_ACCOUNT"})
    assert refused.status == 409
    assert (await stage.rent("GET", "/api/renters/me")).status == 200
