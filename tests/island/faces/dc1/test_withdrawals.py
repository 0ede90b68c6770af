"""Providers have their earnings paid out, and never more than those."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from skerry.island.faces.dc1 import tables
from skerry.island.faces.dc1.money import settling
from skerry.island.store import ledger
from skerry.money import Money
from tests.island.faces.dc1.hosts import Host, host, submit
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio

IBAN = "SA0380000000608010167519"


async def earn(stage: Stage, mine: Host, halala: int) -> None:
    """Have the provider earn something, as a job's settlement would."""

    def pay(connection: Connection) -> None:
        money = Money(halala, "SAR")
        entries = {"grant": -money, settling.earnings(mine.id): money}
        ledger.transfer(connection, f"test:{mine.id}:{halala}", entries, memo="earned", now=stage.now)

    await stage.lab.engine.store.run(pay)


async def test_earnings_of_jobs(stage: Stage) -> None:
    mine = await host(stage)
    for _ in range(2):
        job = await submit(stage, mine)
        await mine.claim()
        stage.clock.advance(42.5)
        await mine.finish(job["job_id"])
        await mine.beat()
    await submit(stage, mine)
    found = await mine.get("/api/providers/earnings")
    assert found["total_earned_halala"] == found["available_halala"] == found["claimable_earnings_halala"] == 16
    assert found["total_earned_sar"] == 0.16
    assert found["escrow"] == {"held_jobs": 1, "held_halala": 75, "locked_jobs": 0, "locked_halala": 0}
    await mine.claim()
    found = await mine.get("/api/providers/earnings")
    assert found["escrow"] == {"held_jobs": 0, "held_halala": 0, "locked_jobs": 1, "locked_halala": 75}
    history = await mine.get("/api/providers/job-history?limit=1")
    assert (history["total_jobs"], history["completed_jobs"], history["success_rate"]) == (3, 2, 67)
    assert len(history["jobs"]) == 1
    daily = await mine.get("/api/providers/earnings-daily")
    assert daily["daily"] == [
        {"day": "2026-03-22", "date": "2026-03-22", "jobs": 2, "earned_halala": 16, "earned_sar": "0.16"}
    ]
    entries = await mine.get("/api/providers/me/earnings/history?limit=1&offset=1")
    assert entries["pagination"] == {"limit": 1, "offset": 1, "total": 2}
    assert [entry["earned_halala"] for entry in entries["history"]] == [8]


async def test_withdraw(stage: Stage) -> None:
    mine = await host(stage)
    await earn(stage, mine, 5_000)
    answer = await mine.post("/api/providers/me/withdraw", amount_halala=2_000, iban="sa03 8000 0000 6080 1016 7519")
    assert answer.status == 201
    assert answer.json["status"] == "pending"
    assert answer.json["destination"] == "SA...7519"
    assert IBAN not in answer.body.decode()
    found = await mine.get("/api/providers/earnings")
    assert (found["available_halala"], found["claimable_earnings_halala"]) == (3_000, 5_000)
    answer = await mine.post("/api/providers/me/withdraw", amount_halala=3_001, iban=IBAN)
    assert (answer.status, answer.json) == (
        400,
        {
            "error": "Requested amount exceeds claimable earnings",
            "claimable_earnings_halala": 5_000,
            "pending_withdrawals_halala": 2_000,
            "available_to_withdraw_halala": 3_000,
        },
    )
    await stage.audit()


@pytest.mark.parametrize("amount", [999, 0, -5, None, "2000", 1000.5, True, [], 10**13, 1e300])
async def test_amounts(stage: Stage, amount: Any) -> None:
    mine = await host(stage)
    await earn(stage, mine, 5_000)
    answer = await mine.post("/api/providers/me/withdraw", amount_halala=amount, iban=IBAN)
    assert (answer.status, answer.json) == (400, {"error": "amount_halala must be an integer and at least 1000"})
    answer = await stage.host_as(mine.key, "POST", f"/api/providers/{mine.id}/payouts", {"amount_usd": 49.99})
    assert answer.json == {
        "error": "BELOW_MINIMUM",
        "message": "Minimum payout is $50",
        "minimumUsd": 50,
        "minimumSar": 187.5,
    }
    assert await stage.count(tables.withdrawals) == 0


@pytest.mark.parametrize("amount", [9.99, 10.001, 0, -20, None, "much", True, [], 1e300, "1e400"])
async def test_riyals(stage: Stage, amount: Any) -> None:
    mine = await host(stage)
    await earn(stage, mine, 5_000)
    body = {"amount_sar": amount, "payout_method": "bank", "payout_details": "x"}
    assert (await mine.post("/api/providers/withdraw", **body)).status == 400
    assert await stage.count(tables.withdrawals) == 0


@pytest.mark.parametrize("iban", [None, 5, "", "SA12", "GB0380000000608010167519", IBAN + "0", "SA" + "٣" * 22])
async def test_accounts(stage: Stage, iban: Any) -> None:
    mine = await host(stage)
    await earn(stage, mine, 5_000)
    answer = await mine.post("/api/providers/me/withdraw", amount_halala=1_000, iban=iban)
    assert answer.status == 400
    assert "IBAN" in answer.json["error"]


async def test_nothing_is_asked_for_twice(stage: Stage) -> None:
    mine = await host(stage)
    await earn(stage, mine, 5_000)
    asked = [mine.post("/api/providers/me/withdraw", amount_halala=2_000, iban=IBAN) for _ in range(8)]
    statuses = sorted(answer.status for answer in await asyncio.gather(*asked))
    assert statuses == [201, 201, *[400] * 6]
    assert (await mine.get("/api/providers/earnings"))["available_halala"] == 1_000
    await stage.audit()


async def test_other_ways(stage: Stage) -> None:
    mine = await host(stage)
    await earn(stage, mine, 50_000)
    details = {"name": "Khalid", "account": "secret-account"}
    body = {"amount_sar": 12.34, "payout_method": "stc_pay", "payout_details": details}
    answer = await mine.post("/api/providers/withdraw", **body)
    assert answer.json["amount_halala"] == 1_234
    assert "secret-account" not in answer.body.decode()
    answer = await stage.host_as(mine.key, "POST", f"/api/providers/{mine.id}/payouts", {"amount_usd": 50})
    assert (answer.status, answer.json["amount_halala"]) == (201, 18_750)
    answer = await stage.host_as(mine.key, "POST", f"/api/providers/{mine.id}/payouts", {"amount_usd": 100})
    assert answer.status == 402
    listed = await mine.get("/api/providers/me/withdrawals")
    assert [entry["amount_halala"] for entry in listed["withdrawals"]] == [18_750, 1_234]
    assert await mine.get("/api/providers/withdrawal-history") == listed
    for wrong in (
        {"payout_method": ""},
        {"payout_method": "a b"},
        {"payout_details": {}},
        {"payout_details": "x" * 5000},
    ):
        assert (await mine.post("/api/providers/withdraw", **{**body, **wrong})).status == 400
    # Keys beside the account's are made for payouts.
    key = (await stage.host_as(mine.key, "POST", f"/api/providers/{mine.id}/keys", {"label": "pay"})).json["key"]
    headers = {"authorization": f"Bearer {key}"}
    answer = await stage.ask("GET", f"/api/providers/{mine.id}/payouts", headers=headers)
    assert answer.json["total"] == 2


async def test_the_operator_pays(stage: Stage) -> None:
    mine = await host(stage)
    await earn(stage, mine, 10_000)
    ids = [
        (await mine.post("/api/providers/me/withdraw", amount_halala=1_000, iban=IBAN)).json["withdrawal_id"]
        for _ in range(3)
    ]
    base = "/api/admin/withdrawals"
    found = (await stage.administer("GET", f"{base}/{ids[0]}")).json["withdrawal"]
    assert found["payout_details"] == {"iban": IBAN}
    assert IBAN not in (await stage.administer("GET", base)).body.decode()
    for path, status in (
        (f"{ids[0]}/approve", "approved"),
        (f"{ids[0]}/approve", "approved"),
        (f"{ids[0]}/paid", "paid"),
        (f"{ids[0]}/paid", "paid"),
        (f"{ids[1]}/reject", "rejected"),
    ):
        answer = await stage.administer("POST", f"{base}/{path}")
        assert answer.json["withdrawal"]["status"] == status
    # What has ended stays ended.
    for path in (f"{ids[0]}/reject", f"{ids[0]}/approve", f"{ids[1]}/paid"):
        assert (await stage.administer("POST", f"{base}/{path}")).status == 409
    found = await mine.get("/api/providers/earnings")
    assert (found["available_halala"], found["pending_halala"], found["withdrawn_sar"]) == (8_000, 1_000, 10)
    answer = await stage.administer("PATCH", f"{base}/{ids[2]}", {"status": "completed"})
    assert answer.json["withdrawal"]["status"] == "paid"
    assert (await stage.administer("PATCH", f"{base}/{ids[2]}", {"status": "lost"})).status == 400
    assert (await stage.administer("POST", f"{base}/999/paid")).status == 404
    listed = (await stage.administer("GET", f"{base}?status=paid,rejected&limit=2")).json
    assert (listed["total"], len(listed["withdrawals"])) == (3, 2)
    await stage.audit()


async def test_decisions_do_not_collide(stage: Stage) -> None:
    mine = await host(stage)
    await earn(stage, mine, 10_000)
    made = await mine.post("/api/providers/me/withdraw", amount_halala=4_000, iban=IBAN)
    target = f"/api/admin/withdrawals/{made.json['withdrawal_id']}"
    words = ("paid", "reject") * 4
    answers = await asyncio.gather(*(stage.administer("POST", f"{target}/{word}") for word in words))
    assert {answer.status for answer in answers} == {200, 409}
    found = await mine.get("/api/providers/earnings")
    assert found["claimable_earnings_halala"] in (6_000, 10_000)
    assert found["pending_halala"] == 0
    await stage.audit()


async def test_where_money_goes_is_sealed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.open()
    try:
        mine = await host(stage)
        await earn(stage, mine, 5_000)
        await mine.post("/api/providers/me/withdraw", amount_halala=1_000, iban=IBAN)
    finally:
        await stage.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("island.db*"))
    assert IBAN.encode() not in stored
    assert mine.key.encode() not in stored
