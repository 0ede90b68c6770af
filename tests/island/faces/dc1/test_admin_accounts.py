"""What the operator does about renters, money and images."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skerry.island.admin.auth import owner_key
from tests.island.faces.dc1.stage import Stage
from tests.island.faces.dc1.work import complete, fail, host, register, submit

pytestmark = pytest.mark.anyio

ROUTES = [
    ("GET", "dashboard"),
    ("GET", "overview"),
    ("GET", "renters"),
    ("GET", "renters/1"),
    ("POST", "renters/1/suspend"),
    ("POST", "renters/1/unsuspend"),
    ("POST", "renters/1/credit"),
    ("POST", "renters/1/balance"),
    ("POST", "renters/1/rotate-key"),
    ("POST", "bulk/renters"),
    ("GET", "payments"),
    ("POST", "payments/x/confirm-topup"),
    ("POST", "payments/x/refund"),
    ("POST", "payments/x/reject"),
    ("GET", "finance/summary"),
    ("GET", "finance/transactions"),
    ("GET", "escrow"),
    ("GET", "audit"),
    ("GET", "pricing"),
    ("POST", "pricing"),
    ("PATCH", "pricing"),
    ("POST", "containers/approve-image"),
    ("POST", "containers/scan-image"),
    ("GET", "containers/security-status"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_the_operator_alone(stage: Stage, method: str, path: str) -> None:
    _, key = await register(stage)
    for headers in ({}, {"x-admin-token": "nope"}, {"x-renter-key": key}, {"Authorization": f"Bearer {key}"}):
        answer = await stage.ask(method, f"/api/admin/{path}", {}, headers=headers)
        assert (answer.status, answer.json) == (401, {"error": "Admin access denied"})


async def test_the_owners_key_is_the_operators(stage: Stage) -> None:
    owner = owner_key(stage.lab.data)
    for headers in ({"Authorization": f"Bearer {owner}"}, {"x-admin-token": owner}):
        assert (await stage.ask("GET", "/api/admin/overview", headers=headers)).status == 200


async def test_credit(stage: Stage) -> None:
    renter_id, key = await register(stage)
    path = f"/api/admin/renters/{renter_id}/credit"
    given = await stage.administer("POST", path, {"amount_halala": 100, "reason": "goodwill"})
    assert given.json == {
        "success": True,
        "renter_id": renter_id,
        "name": "Renter One",
        "previous_balance": 1000,
        "granted_halala": 100,
        "new_balance": 1100,
        "reason": "goodwill",
    }
    for body in (
        {},
        [],
        {"amount_halala": 0, "reason": "x"},
        {"amount_halala": -5, "reason": "x"},
        {"amount_halala": 1.5, "reason": "x"},
        {"amount_halala": "5", "reason": "x"},
        {"amount_halala": True, "reason": "x"},
        {"amount_halala": 10**13, "reason": "x"},
        {"amount_halala": 5},
        {"amount_halala": 5, "reason": " "},
        {"amount_halala": 5, "reason": "x" * 501},
    ):
        assert (await stage.administer("POST", path, body)).status == 400, body
    for number in ("999", "x", "99999999999999999999"):
        missing = f"/api/admin/renters/{number}/credit"
        answer = await stage.administer("POST", missing, {"amount_halala": 5, "reason": "x"})
        assert (answer.status, answer.json) == (404, {"error": "Renter not found"})
    assert (await stage.rent("GET", "/api/renters/balance", key=key)).json["balance_halala"] == 1100
    await stage.audit()


async def test_adjustments_at_once_never_go_below_nothing(stage: Stage) -> None:
    renter_id, _ = await register(stage)
    path = f"/api/admin/renters/{renter_id}/balance"
    body = {"amount_halala": -400, "reason": "taken back"}
    answers = await asyncio.gather(*(stage.administer("POST", path, body) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 200, 400, 400, 400]
    refused = next(answer for answer in answers if answer.status == 400)
    assert refused.json == {"error": "Adjustment would make the balance negative", "balance_halala": 200}
    more = await stage.administer("POST", path, {"amount_halala": 50, "reason": "given"})
    assert (more.json["previous_balance"], more.json["adjustment"], more.json["new_balance"]) == (200, 50, 250)
    for bad in ({"amount_halala": 0, "reason": "x"}, {"amount_halala": 5}):
        assert (await stage.administer("POST", path, bad)).status == 400
    await stage.audit()


async def test_suspension(stage: Stage) -> None:
    renter_id, key = await register(stage)
    scoped = (await stage.rent("POST", "/api/renters/me/keys", {}, key=key)).json["key"]
    told = await stage.administer("POST", f"/api/admin/renters/{renter_id}/suspend", {"reason": "asleep"})
    assert told.json == {"success": True, "message": "Renter Renter One suspended"}
    assert (await stage.rent("GET", "/api/renters/me", key=key)).status == 404
    assert (await stage.rent("GET", "/api/renters/jobs", key=scoped)).status == 401
    again = {"name": "Renter", "email": "renter1@example.sa"}
    assert (await stage.ask("POST", "/api/renters/register", again)).status == 409
    seen = (await stage.administer("GET", f"/api/admin/renters/{renter_id}")).json["renter"]
    assert (seen["status"], seen["status_reason"]) == ("suspended", "asleep")
    told = await stage.administer("POST", f"/api/admin/renters/{renter_id}/unsuspend")
    assert told.json == {"success": True, "message": "Renter Renter One reactivated"}
    assert (await stage.rent("GET", "/api/renters/me", key=key)).status == 200


async def test_a_lost_key(stage: Stage) -> None:
    renter_id, key = await register(stage)
    new = (await stage.administer("POST", f"/api/admin/renters/{renter_id}/rotate-key")).json["new_key"]
    assert (await stage.rent("GET", "/api/renters/me", key=key)).status == 404
    assert (await stage.rent("GET", "/api/renters/me", key=new)).json["renter"]["id"] == renter_id


async def test_lists(stage: Stage) -> None:
    numbers = [(await register(stage, f"r{n}@example.sa", f"Renter 100% {n}"))[0] for n in range(3)]
    await stage.administer("POST", f"/api/admin/renters/{numbers[0]}/suspend")
    page = (await stage.administer("GET", "/api/admin/renters?limit=2&page=1")).json
    assert [row["id"] for row in page["renters"]] == numbers[:0:-1]
    assert page["pagination"] == {"page": 1, "limit": 2, "total": 4, "pages": 2}
    for query, found in (
        ("status=suspended", numbers[:1]),
        ("status=active,suspended&search=100%25", numbers[::-1]),
        ("search=R1@", numbers[1:2]),
        ("search=_", []),
        ("search=nobody", []),
    ):
        listed = (await stage.administer("GET", f"/api/admin/renters?{query}")).json
        assert [row["id"] for row in listed["renters"]] == found, query
    assert "dc1-renter-" not in str(page)


async def test_bulk(stage: Stage) -> None:
    one, key = await register(stage, "a@example.sa")
    two, _ = await register(stage, "b@example.sa")
    path = "/api/admin/bulk/renters"
    body: dict[str, Any] = {"ids": [one, two, one, 999], "action": "credit", "amount_halala": 25}
    told = await stage.administer("POST", path, body)
    assert told.json == {"success": True, "action": "credit", "processed": 2, "failed": 1, "total": 3}
    assert (await stage.rent("GET", "/api/renters/balance", key=key)).json["balance_halala"] == 1025
    told = await stage.administer("POST", path, {"ids": [one], "action": "suspend"})
    assert told.json["processed"] == 1
    assert (await stage.rent("GET", "/api/renters/me", key=key)).status == 404
    await stage.administer("POST", path, {"ids": [one], "action": "unsuspend"})
    assert (await stage.rent("GET", "/api/renters/me", key=key)).status == 200
    for bad in (
        {},
        [],
        {"ids": [], "action": "suspend"},
        {"ids": [True], "action": "suspend"},
        {"ids": ["1"], "action": "suspend"},
        {"ids": [2**40], "action": "suspend"},
        {"ids": [one], "action": "delete"},
        {"ids": [one], "action": ["suspend"]},
        {"ids": [one], "action": "credit"},
        {"ids": list(range(1, 502)), "action": "suspend"},
    ):
        assert (await stage.administer("POST", path, bad)).status == 400, bad
    await stage.audit()


async def test_the_front_page(stage: Stage) -> None:
    renter_id, _ = await register(stage)
    provider = await host(stage)
    done = await submit(stage, renter_id, provider_id=provider)
    await complete(stage, done)
    stage.clock.advance(5 * 3_600)
    await fail(stage, await submit(stage, renter_id))
    await submit(stage, renter_id, status="running")
    await submit(stage, renter_id, status="queued")
    found = (await stage.administer("GET", "/api/admin/dashboard")).json
    assert found["stats"] == {
        "total_providers": 1,
        # It was heard of five hours ago.
        "online_now": 0,
        "offline": 1,
        "total_renters": 2,
        "active_renters": 2,
        "total_renter_balance_halala": 100_000 + 1000 - 11 - 150,
        "total_jobs": 4,
        "completed_jobs": 1,
        "failed_jobs": 1,
        "active_jobs": 1,
        "total_revenue_halala": 11,
        "total_dc1_fees_halala": 3,
        # It is another day since.
        "today_revenue_halala": 0,
        "today_dc1_fees_halala": 0,
        "today_jobs": 0,
        "timestamp": "2026-03-23T00:30:00.000Z",
    }
    assert found["gpu_breakdown"] == [{"gpu_model": "NVIDIA RTX 4090", "count": 1}]
    assert found["recent_signups"][0]["email"] == "p1@example.sa"
    assert found["recent_heartbeats"][0]["provider_hostname"] == "gpu-host-01"
    assert (await stage.administer("GET", "/api/admin/overview")).json == {
        "providersRegistered": 1,
        "providersOnline": 0,
        "jobsQueued": 1,
        "jobsRunning": 1,
        "jobsCompleted": 1,
        "revenueSARToday": 0,
        "revenueSARTotal": 0.11,
        "timestamp": "2026-03-23T00:30:00.000Z",
    }


async def test_where_every_halala_is(stage: Stage) -> None:
    renter_id, key = await register(stage)
    provider = await host(stage)
    await complete(stage, await submit(stage, renter_id, provider_id=provider))
    held = await submit(stage, renter_id, 40)
    locked = await submit(stage, renter_id, 60, status="running", provider_id=provider)
    body = {"amount_halala": 500, "payment_method": "bank_transfer"}
    payment = (await stage.rent("POST", "/api/payments/topup", body, key=key)).json["topup_id"]
    await stage.administer("POST", f"/api/admin/payments/{payment}/confirm-topup")
    sums = (await stage.administer("GET", "/api/admin/finance/summary")).json
    assert sums == {
        "total_renter_balance_halala": 100_000 + 1000 - 11 - 100 + 500,
        "held_halala": 100,
        "provider_balances_halala": 8,
        "pending_withdrawals_halala": 0,
        "platform_balance_halala": 3,
        "total_revenue_halala": 11,
        "given_halala": 101_000,
        "paid_in_halala": 500,
        "payments": {"paid": {"count": 1, "amount_halala": 500}},
        "timestamp": "2026-03-22T19:30:00.000Z",
    }
    there = ("total_renter_balance_halala", "held_halala", "provider_balances_halala", "platform_balance_halala")
    assert sum(sums[name] for name in there) == sums["given_halala"] + sums["paid_in_halala"]
    holds = (await stage.administer("GET", "/api/admin/escrow")).json
    assert [(hold["id"], hold["status"]) for hold in holds["escrow"]] == [
        (f"esc-{locked.job_id}", "locked"),
        (f"esc-{held.job_id}", "held"),
    ]
    assert holds["summary"] == {
        "held": {"count": 1, "amount_halala": 40},
        "locked": {"count": 1, "amount_halala": 60},
    }
    assert (await stage.administer("GET", "/api/admin/audit")).json["ok"] is True
    lines = (await stage.administer("GET", "/api/admin/finance/transactions?limit=200")).json
    assert sum(line["amount_halala"] for line in lines["transactions"]) == 0
    assert lines["pagination"]["total"] == len(lines["transactions"])


async def test_prices_are_read_and_not_set(stage: Stage) -> None:
    found = (await stage.administer("GET", "/api/admin/pricing")).json
    assert (found["mode"], found["editable"]) == ("flat", False)
    assert {"job_type": "llm_inference", "rate_halala_per_min": 15} in found["pricing"]
    for method, path in (("POST", "pricing"), ("PATCH", "pricing"), ("PATCH", "pricing/rtx-4090")):
        answer = await stage.administer(method, f"/api/admin/{path}", {"rate_halala": 1})
        assert answer.status == 400
        assert "published" in answer.json["error"]


async def test_images(stage: Stage) -> None:
    path = "/api/admin/containers/approve-image"
    digest = "sha256:" + "a" * 64
    told = await stage.administer("POST", path, {"image_ref": "acme/tool:1", "digest": digest, "description": None})
    assert told.status == 200
    assert (told.json["image"]["image_ref"], told.json["image"]["digest"]) == ("acme/tool:1", digest)
    assert (await stage.administer("POST", path, {"image_ref": "acme/tool:1"})).json["image"]["digest"] is None
    pinned = await stage.administer("POST", path, {"image_ref": f"acme/tool@{digest}"})
    assert pinned.json["image"]["digest"] == digest
    for bad in (
        {},
        [],
        {"image_ref": "Not An Image"},
        {"image_ref": "acme/tool:1", "digest": "sha256:short"},
        {"image_ref": f"acme/tool@{digest}", "digest": "sha256:" + "b" * 64},
        {"image_ref": 5},
    ):
        assert (await stage.administer("POST", path, bad)).status == 400, bad
    status = (await stage.administer("GET", "/api/admin/containers/security-status")).json
    mine = [image for image in status["images"] if image["source"] == "admin"]
    assert [image["pinned"] for image in mine] == [False, True]
    # Nothing is called safe that nobody looked at.
    assert {image["scan_status"] for image in status["images"]} == {"not_scanned"}
    scan = await stage.administer("POST", "/api/admin/containers/scan-image", {"image_ref": "acme/tool:1"})
    assert (scan.status, scan.json["code"]) == (503, "NO_SCANNER")
