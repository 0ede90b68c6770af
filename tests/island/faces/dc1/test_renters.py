"""Renters: letting them in, their accounts, their wallets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from skerry.island.faces.dc1 import tables
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.store.tables import accounts, keys
from skerry.money import Money
from tests.island.faces.dc1.stage import Stage
from tests.island.faces.dc1.work import register

pytestmark = pytest.mark.anyio

NEW: dict[str, Any] = {
    "name": "Renter One",
    "email": "Renter1@Example.sa",
    "organization": "Riyadh AI Lab",
    "use_case": "llm_inference",
    "phone": "+966500000000",
}


async def test_register(stage: Stage) -> None:
    answer = await stage.ask("POST", "/api/renters/register", NEW)
    key = answer.json["api_key"]
    assert answer.status == 201
    assert answer.json == {
        "success": True,
        "renter_id": answer.json["renter_id"],
        "api_key": key,
        "message": "Welcome Renter One! Save your API key — it won't be shown again.",
    }
    assert key.startswith("dc1-renter-")
    assert len(key) == len("dc1-renter-") + 32
    me = await stage.rent("GET", "/api/renters/me", key=key)
    assert me.status == 200
    assert me.json == {
        "renter": {
            "id": answer.json["renter_id"],
            "name": "Renter One",
            "email": "renter1@example.sa",
            "organization": "Riyadh AI Lab",
            "use_case": "llm_inference",
            "phone": "+966500000000",
            "webhook_url": None,
            "balance_halala": 1000,
            "total_spent_halala": 0,
            "total_jobs": 0,
            "created_at": "2026-03-22T19:30:00.000Z",
        },
        "recent_jobs": [],
    }
    await stage.audit()


async def test_an_address_has_one_account(stage: Stage) -> None:
    await register(stage)
    before = await stage.count(accounts), await stage.count(keys)
    answer = await stage.ask("POST", "/api/renters/register", {"name": "Other", "email": "RENTER1@example.SA"})
    assert (answer.status, answer.json) == (409, {"error": "A renter with this email already exists"})
    # Nothing of the second one was kept.
    assert (await stage.count(accounts), await stage.count(keys)) == before


async def test_many_ask_for_the_same_address_at_once(stage: Stage) -> None:
    body = {"name": "Renter", "email": "one@example.sa"}
    answers = await asyncio.gather(*(stage.ask("POST", "/api/renters/register", body) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [201, *[409] * 7]
    assert await stage.count(tables.renters) == 2
    await stage.audit()


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"name": "X Y"}, {"email": "Invalid input: expected string, received undefined"}),
        (
            {},
            {
                "name": "Invalid input: expected string, received undefined",
                "email": "Invalid input: expected string, received undefined",
            },
        ),
        ({"name": "x", "email": "a@b.sa"}, {"name": "Too small: expected string to have >=2 characters"}),
        ({"name": "x" * 121, "email": "a@b.sa"}, {"name": "Too big: expected string to have <=120 characters"}),
        ({"name": "xy", "email": "nobody"}, {"email": "Invalid email address"}),
        ({"name": "xy", "email": "a@b.sa", "foo": 1}, {"(root)": 'Unrecognized key: "foo"'}),
        ({"name": "xy", "email": "a@b.sa", "phone": None}, {"phone": "Invalid input: expected string, received null"}),
        ([], {"(root)": "Invalid input: expected object, received array"}),
    ],
)
async def test_bodies_that_are_refused(stage: Stage, body: Any, fields: dict[str, str]) -> None:
    answer = await stage.ask("POST", "/api/renters/register", body)
    assert answer.status == 400
    assert answer.json["error"] == "Validation failed"
    found = {issue["field"]: issue["message"] for issue in answer.json["fields"]}
    assert fields.items() <= found.items()
    assert await stage.count(tables.renters) == 1


async def test_a_crash_between_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails half-way leaves the address free."""

    def broken(*args: Any, **kwargs: Any) -> None:
        raise OSError("the power is gone")

    before = await stage.count(accounts), await stage.count(keys), await stage.count(tables.renters)
    with monkeypatch.context() as patch:
        patch.setattr("skerry.island.faces.dc1.money.wallet.add", broken)
        assert (await stage.ask("POST", "/api/renters/register", NEW)).status == 500
    await stage.again()
    assert (await stage.count(accounts), await stage.count(keys), await stage.count(tables.renters)) == before
    assert (await stage.ask("POST", "/api/renters/register", NEW)).status == 201


async def test_the_key_is_sealed(stage: Stage) -> None:
    renter_id, key = await register(stage)

    def sealed(connection: Connection) -> bytes:
        row = renter_rows.find(connection, renter_id)
        assert row is not None
        return bytes(row.sealed_key)

    found = await stage.lab.engine.store.read(sealed)
    assert key.encode() not in found
    assert stage.lab.engine.vault.open(found, renter_rows.key_context(renter_id)) == key.encode()
    await stage.again()
    assert (await stage.rent("GET", "/api/renters/balance", key=key)).json["balance_halala"] == 1000


async def test_keys_are_looked_for(stage: Stage) -> None:
    _, key = await register(stage)
    assert (await stage.ask("GET", f"/api/renters/me?key={key}")).status == 200
    # The parameter is read first here.
    assert (await stage.rent("GET", "/api/renters/me?key=bogus", key=key)).status == 404
    for path in ("/api/renters/me", "/api/renters/balance"):
        answer = await stage.ask("GET", path)
        assert (answer.status, answer.json) == (400, {"error": "API key required"})
        answer = await stage.rent("GET", path, key="dc1-renter-bogus")
        assert (answer.status, answer.json) == (404, {"error": "Renter not found"})
    answer = await stage.ask("POST", "/api/renters/topup", {"amount_sar": 1})
    assert (answer.status, answer.json) == (400, {"error": "API key required (x-renter-key header or key query)"})
    answer = await stage.rent("POST", "/api/renters/topup", {"amount_sar": 1}, key="bad")
    assert (answer.status, answer.json) == (404, {"error": "Renter not found"})


async def test_balance(stage: Stage) -> None:
    _, key = await register(stage)
    assert (await stage.rent("GET", "/api/renters/balance", key=key)).json == {
        "balance_halala": 1000,
        "balance_sar": 10,
        "held_halala": 0,
        "held_sar": 0,
        "available_halala": 1000,
        "total_spent_halala": 0,
        "total_spent_sar": 0,
        "total_jobs": 0,
    }


async def test_topup(stage: Stage) -> None:
    _, key = await register(stage)
    answer = await stage.rent("POST", "/api/renters/topup", {"amount_halala": 5000}, key=key)
    assert answer.json == {
        "success": True,
        "topped_up_halala": 5000,
        "topped_up_sar": 50,
        "new_balance_halala": 6000,
        "new_balance_sar": 60,
    }
    answer = await stage.rent("POST", "/api/renters/topup", {"amount_sar": 12.345}, key=key)
    assert answer.json == {
        "success": True,
        "topped_up_halala": 1235,
        "topped_up_sar": 12.35,
        "new_balance_halala": 7235,
        "new_balance_sar": 72.35,
    }
    # Halala win.
    answer = await stage.rent("POST", "/api/renters/topup", {"amount_sar": 5, "amount_halala": 1}, key=key)
    assert answer.json["new_balance_halala"] == 7236
    await stage.audit()


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "(root)", "Provide amount_halala (int) or amount_sar (float)"),
        ({"amount_halala": 0}, "amount_halala", "Too small: expected number to be >=1"),
        ({"amount_halala": 100_001}, "amount_halala", "Too big: expected number to be <=100000"),
        ({"amount_halala": 1.5}, "amount_halala", "Invalid input: expected int, received number"),
        ({"amount_halala": "5"}, "amount_halala", "Invalid input: expected number, received string"),
        ({"amount_halala": True}, "amount_halala", "Invalid input: expected number, received boolean"),
        ({"amount_sar": 0.001}, "amount_sar", "Too small: expected number to be >=0.01"),
        ({"amount_sar": 1000.01}, "amount_sar", "Too big: expected number to be <=1000"),
        ({"amount_sar": None}, "amount_sar", "Invalid input: expected number, received null"),
    ],
)
async def test_amounts_that_are_refused(stage: Stage, body: Any, field: str, message: str) -> None:
    answer = await stage.rent("POST", "/api/renters/topup", body)
    assert answer.status == 400
    assert answer.json == {"error": "Validation failed", "fields": [{"field": field, "message": message}]}
    assert str(await stage.balance()) == "1000.00 SAR"


async def test_top_ups_at_once(stage: Stage) -> None:
    _, key = await register(stage)
    answers = await asyncio.gather(
        *(stage.rent("POST", "/api/renters/topup", {"amount_halala": 7}, key=key) for _ in range(20))
    )
    assert sorted(answer.json["new_balance_halala"] for answer in answers) == [1000 + 7 * n for n in range(1, 21)]
    await stage.audit()


async def test_a_number_beyond_every_float(stage: Stage) -> None:
    body = b'{"amount_halala": 1e999}'
    answer = await stage.send("POST", "/api/renters/topup", {"x-renter-key": stage.key}, body)
    assert (answer.status, answer.json) == (400, {"error": "Invalid JSON"})


async def test_another_opening_balance_at_another_start(stage: Stage, tmp_path: Path) -> None:
    await stage.close()
    richer = Stage(tmp_path, dc1={"opening_balance": Money.of("5000", "SAR")})
    await richer.open()
    try:
        assert str(await richer.balance()) == "1000.00 SAR"
        await richer.audit()
    finally:
        await richer.close()
    # The fixture ends what is open.
    await stage.open()
