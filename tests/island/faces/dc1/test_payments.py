"""Payments: promised, confirmed, given back, each once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from skerry.island.faces.dc1 import tables
from tests.island.faces.dc1.stage import Stage
from tests.island.faces.dc1.work import register, submit

pytestmark = pytest.mark.anyio
TRANSFER = {"amount_sar": 25.5, "payment_method": "bank_transfer"}


async def has(stage: Stage, key: str) -> int:
    return int((await stage.rent("GET", "/api/payments/balance", key=key)).json["balance_halala"])


async def test_balance(stage: Stage) -> None:
    renter_id, key = await register(stage)
    assert (await stage.rent("GET", "/api/payments/balance", key=key)).json == {
        "balance_sar": 10,
        "balance_halala": 1000,
        "renter_id": renter_id,
        "name": "Renter One",
        "email": "renter1@example.sa",
    }
    assert (await stage.ask("GET", "/api/payments/balance")).status == 400


@pytest.mark.parametrize("method", ["creditcard", "applepay", None])
async def test_cards_need_a_gateway(stage: Stage, method: str | None) -> None:
    body = {"amount_halala": 500, **({"payment_method": method} if method else {})}
    answer = await stage.rent("POST", "/api/payments/topup", body)
    assert answer.status == 503
    assert answer.json["code"] == "GATEWAY_NOT_CONFIGURED"
    assert await stage.count(tables.payments) == 0


async def test_a_bank_transfer(stage: Stage) -> None:
    renter_id, key = await register(stage)
    begun = await stage.rent("POST", "/api/payments/topup", TRANSFER, key=key)
    assert begun.status == 201
    payment = begun.json["topup_id"]
    assert begun.json["status"] == "pending"
    assert begun.json["amount_halala"] == 2550
    assert begun.json["expires_at"] == "2026-03-25T19:30:00.000Z"
    assert begun.json["instructions"]["reference"].startswith("DC1-260322-")
    assert await has(stage, key) == 1000
    seen = await stage.rent("GET", f"/api/payments/verify/{payment}", key=key)
    assert (seen.json["status"], seen.json["payment_id"]) == ("pending", payment)
    # Nobody else's, and not before the operator says so.
    other = await stage.rent("GET", f"/api/payments/verify/{payment}")
    assert (other.status, other.json) == (404, {"error": "Payment not found"})
    assert (await stage.rent("POST", f"/api/admin/payments/{payment}/confirm-topup", key=key)).status == 401

    paid = await stage.administer("POST", f"/api/admin/payments/{payment}/confirm-topup")
    assert (paid.status, paid.json["new_balance_halala"], paid.json["renter_id"]) == (200, 3550, renter_id)
    again = await stage.administer("POST", f"/api/admin/payments/{payment}/confirm-topup")
    assert (again.status, again.json["current_status"]) == (409, "paid")
    assert await has(stage, key) == 3550
    history = await stage.rent("GET", "/api/payments/history?limit=5", key=key)
    assert history.json["pagination"] == {"limit": 5, "offset": 0, "total": 1}
    assert history.json["summary"] == {"total_paid_sar": 25.5, "total_paid_halala": 2550}

    back = await stage.administer("POST", f"/api/admin/payments/{payment}/refund", {"reason": "by mistake"})
    assert (back.status, back.json["status"], back.json["new_balance_halala"]) == (200, "refunded", 1000)
    again = await stage.administer("POST", f"/api/admin/payments/{payment}/refund")
    assert (again.status, again.json["current_status"]) == (409, "refunded")
    assert (await stage.rent("GET", "/api/payments/history", key=key)).json["summary"]["total_paid_halala"] == 0
    await stage.audit()


async def test_confirmed_by_two_at_once(stage: Stage) -> None:
    _, key = await register(stage)
    payment = (await stage.rent("POST", "/api/payments/topup", TRANSFER, key=key)).json["topup_id"]
    answers = await asyncio.gather(
        *(stage.administer("POST", f"/api/admin/payments/{payment}/confirm-topup") for _ in range(5))
    )
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    answers = await asyncio.gather(
        *(stage.administer("POST", f"/api/admin/payments/{payment}/refund") for _ in range(5))
    )
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
    assert await has(stage, key) == 1000
    await stage.audit()


async def test_what_was_spent_is_not_given_back(stage: Stage) -> None:
    renter_id, key = await register(stage)
    payment = (await stage.rent("POST", "/api/payments/topup", TRANSFER, key=key)).json["topup_id"]
    await stage.administer("POST", f"/api/admin/payments/{payment}/confirm-topup")
    await submit(stage, renter_id, 1500)
    refused = await stage.administer("POST", f"/api/admin/payments/{payment}/refund")
    assert refused.status == 409
    assert refused.json == {
        "error": "The balance does not cover the refund",
        "balance_halala": 2050,
        "refund_halala": 2550,
    }
    await stage.audit()


async def test_a_transfer_that_did_not_come(stage: Stage) -> None:
    _, key = await register(stage)
    payment = (await stage.rent("POST", "/api/payments/topup", TRANSFER, key=key)).json["topup_id"]
    gone = await stage.administer("POST", f"/api/admin/payments/{payment}/reject", {"reason": "nothing came"})
    assert (gone.json["status"], gone.json["reason"]) == ("failed", "nothing came")
    assert (await stage.administer("POST", f"/api/admin/payments/{payment}/confirm-topup")).status == 409
    for verb in ("confirm-topup", "refund", "reject"):
        assert (await stage.administer("POST", f"/api/admin/payments/nothing/{verb}")).status == 404
    listed = await stage.administer("GET", "/api/admin/payments?status=failed")
    assert [row["payment_id"] for row in listed.json["payments"]] == [payment]
    assert await has(stage, key) == 1000


async def test_promises_are_limited(stage: Stage) -> None:
    _, key = await register(stage)
    answers = await asyncio.gather(*(stage.rent("POST", "/api/payments/topup", TRANSFER, key=key) for _ in range(22)))
    assert sorted(answer.status for answer in answers) == [201] * 20 + [409] * 2


async def test_sandbox(stage: Stage) -> None:
    _, key = await register(stage)
    made = await stage.rent("POST", "/api/payments/topup-sandbox", {"amount_halala": 100}, key=key)
    assert made.status == 200
    assert (made.json["status"], made.json["new_balance_halala"]) == ("paid", 1100)
    mine = await stage.rent("GET", "/api/renters/me/payments", key=key)
    assert [row["payment_method"] for row in mine.json["payments"]] == ["sandbox"]
    back = await stage.administer("POST", f"/api/admin/payments/{made.json['payment_id']}/refund")
    assert back.json["new_balance_halala"] == 1000
    await stage.audit()


async def test_where_nobody_credits_itself(tmp_path: Any) -> None:
    stage = Stage(tmp_path, dc1={"sandbox_topup": False})
    await stage.open()
    try:
        for path in ("/api/renters/topup", "/api/renters/1/topup", "/api/payments/topup-sandbox"):
            assert (await stage.rent("POST", path, {"amount_halala": 500})).status == 403
        assert str(await stage.balance()) == "1000.00 SAR"
    finally:
        await stage.close()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "(root)"),
        ({"amount_halala": 99}, "amount_halala"),
        ({"amount_halala": 1_000_001}, "amount_halala"),
        ({"amount_sar": 0.99}, "amount_sar"),
        ({"amount_sar": 10_000.5}, "amount_sar"),
        ({"amount_halala": 500, "payment_method": "cash"}, "payment_method"),
    ],
)
async def test_amounts_that_are_refused(stage: Stage, body: dict[str, Any], field: str) -> None:
    answer = await stage.rent("POST", "/api/payments/topup", body)
    assert answer.status == 400
    assert [issue["field"] for issue in answer.json["fields"]] == [field]
