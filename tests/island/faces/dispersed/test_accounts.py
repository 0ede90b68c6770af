"""What an account learns about itself: who it is, what it has, spent and used."""

from __future__ import annotations

from typing import Any

import pytest

from skerry.island.faces.dispersed import tables
from skerry.island.faces.dispersed.wire import new_uuid
from skerry.money import Money
from tests.island.faces.dispersed.stage import Stage

pytestmark = pytest.mark.anyio

HOUR = 3_600_000_000
DAY = 24 * HOUR


async def test_who_it_is(stage: Stage) -> None:
    me = await stage.ok("GET", "/v1/accounts/me")
    assert me == {
        "object": "account",
        "uuid": me["uuid"],
        "name": "local",
        "email": None,
        "render_user_id": me["render_user_id"],
        "consumer_profile_uuid": me["consumer_profile_uuid"],
        "roles": ["CONSUMER"],
        "created_at": "2026-04-21T10:00:00.000Z",
        "updated_at": "2026-04-21T10:00:00.000Z",
    }
    assert await stage.ok("GET", "/v1/me") == me
    await stage.again()
    assert await stage.ok("GET", "/v1/me") == me


async def test_every_spelling_and_whose_it_may_be(stage: Stage) -> None:
    me = (await stage.ok("GET", "/v1/me"))["uuid"]
    other = await stage.stranger()
    theirs = (await stage.ok("GET", "/v1/me", pair=other))["uuid"]
    for spellings in (
        ("balance", "balances"),
        ("spend-summary", "spend_summary", "spend/summary"),
        ("consumer-summary", "consumer_summary", "consumer/summary"),
    ):
        answers = [await stage.ok("GET", f"/v1/accounts/{me}/{spelling}") for spelling in spellings]
        assert all(answer == answers[0] for answer in answers)
        assert answers[0]["account_uuid"] == me
        for foreign in (theirs, "019582a6-27fc-731d-af0a-594f04d6d0d5"):
            await stage.fails(403, "FORBIDDEN", "GET", f"/v1/accounts/{foreign}/{spellings[0]}")
        await stage.fails(404, "NOT_FOUND", "GET", f"/v1/accounts/missing-uuid/{spellings[0]}")


async def test_the_balance_is_the_ledgers(stage: Stage) -> None:
    pair = await stage.stranger(balance=10_000_001)
    me = await stage.ok("GET", "/v1/me", pair=pair)
    engine = stage.lab.engine
    (account,) = [account.id for account in await engine.accounts.list() if account.name == "stranger"]

    async def balance() -> tuple[Any, Any, Any]:
        answer = await stage.ask("GET", f"/v1/accounts/{me['uuid']}/balance", pair=pair)
        assert answer.json["currency"] == "USD"
        return tuple(answer.json[f"{name}_usd"] for name in ("balance", "authorized", "available"))  # type: ignore[return-value]

    assert await balance() == (10.000001, 0, 10.000001)
    await engine.ledger.hold(account, "one", Money(4_000_000, "USD"))
    assert await balance() == (10.000001, 4, 6.000001)
    await engine.ledger.capture(account, "one", Money(11_000_000, "USD"), "local")
    # What was used beyond the hold is owed.
    assert await balance() == (-0.999999, 0, -0.999999)


async def _move(stage: Stage, kind: str, amount: int, ago: int) -> None:
    moment = stage.now - ago
    await stage.insert(
        tables.transactions,
        uuid=new_uuid(moment),
        account_id=stage.lab.account,
        type=kind,
        amount=amount,
        created_at=moment,
        updated_at=moment,
    )


async def test_what_was_spent(stage: Stage) -> None:
    me = (await stage.ok("GET", "/v1/me"))["uuid"]
    for kind, amount, ago in (
        ("CAPTURE", 1, 0),
        ("CAPTURE", 10, HOUR),
        ("REFUND", 4, 2 * HOUR),
        ("CREDIT", 1_000_000, 0),
        ("ADJUSTMENT", 5_000, 0),
        ("CAPTURE", 100, 2 * DAY),
        ("CAPTURE", 1_000, 10 * DAY),
        ("CAPTURE", 10_000, 40 * DAY),
    ):
        await _move(stage, kind, amount, ago)
    other = await stage.stranger()
    theirs = (await stage.ok("GET", "/v1/me", pair=other))["uuid"]
    summary = await stage.ok("GET", f"/v1/accounts/{me}/spend-summary")
    assert summary == {
        "object": "account_spend_summary",
        "account_uuid": me,
        "currency": "USD",
        "total_usd": 0.011107,
        "last_24h_usd": 0.000007,
        "last_7d_usd": 0.000107,
        "last_30d_usd": 0.001107,
        "current_hourly_rate_usd": 0,
        "daily": [
            {"date": "2026-04-11", "amount_usd": 0.001},
            {"date": "2026-04-19", "amount_usd": 0.0001},
            {"date": "2026-04-21", "amount_usd": 0.000007},
        ],
    }
    empty = await stage.ok("GET", f"/v1/accounts/{theirs}/spend-summary", pair=other)
    assert (empty["total_usd"], empty["daily"]) == (0, [])


async def _job(stage: Stage, status: str) -> str:
    uuid = new_uuid(stage.now)
    numbers = ("cpu_count", "gpu_count", "min_ram_gb", "min_vram_gb", "min_storage_gb", "max_retry_count")
    await stage.insert(
        tables.jobs,
        uuid=uuid,
        account_id=stage.lab.account,
        status=status,
        task="BATCH",
        title="t",
        parameters="{}",
        secrets=b"",
        region_codes="[]",
        max_timeout_assign_ms=300_000,
        max_timeout_start_ms=300_000,
        max_node_count=1,
        created_at=stage.now,
        updated_at=stage.now,
        **dict.fromkeys(numbers, 0),
    )
    return uuid


async def _run(stage: Stage, job: str, status: str, **fields: Any) -> None:
    values: dict[str, Any] = {
        "uuid": new_uuid(stage.now),
        "job_uuid": job,
        "account_id": stage.lab.account,
        "node_uuid": "n",
        "slot": 0,
        "attempt": 0,
        "status": status,
        "snapshot": "{}",
        "node_urls": "[]",
        "hourly_rate": 350_000,
        "gpu_count": 2,
        "start_by": 0,
        "created_at": stage.now,
        "updated_at": stage.now,
    }
    await stage.insert(tables.job_runs, **{**values, **fields})


async def test_what_was_used(stage: Stage) -> None:
    me = (await stage.ok("GET", "/v1/me"))["uuid"]
    done = await _job(stage, "COMPLETED")
    await _job(stage, "FAILED")
    now = stage.now
    await _run(stage, done, "COMPLETED", started_at=now - 3 * HOUR, completed_at=now - 2 * HOUR)
    await _run(stage, done, "FAILED", started_at=now - HOUR // 3, completed_at=now, gpu_count=1)
    await _run(stage, done, "FAILED")
    await stage.ok("POST", "/v1/job-recipes", {"name": "r", "payload": {}}, status=201)
    summary = await stage.ok("GET", f"/v1/accounts/{me}/consumer-summary")
    assert summary == {
        "object": "account_consumer_summary",
        "account_uuid": me,
        "jobs": {
            "total": 2,
            "by_status": {
                "PENDING": 0,
                "ASSIGNED": 0,
                "RUNNING": 0,
                "COMPLETED": 1,
                "FAILED": 1,
                "CANCELLED": 0,
                "CANCELLING": 0,
            },
        },
        "job_runs": {"total": 3, "running": 0},
        "gpu_hours_total": 2.333333,
        "recipes_total": 1,
        "ssh_public_keys_total": 0,
        "last_job_at": "2026-04-21T10:00:00.000Z",
    }
