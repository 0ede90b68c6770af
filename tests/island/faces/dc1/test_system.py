"""The root, health, and what becomes of requests that lead nowhere."""

from __future__ import annotations

import pytest

from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio


async def test_health(stage: Stage) -> None:
    answer = await stage.send("GET", "/api/health")
    assert answer.status == 200
    assert answer.json["status"] == "ok"
    assert answer.json["jobs"] == {"queued": 0, "running": 0}
    assert answer.json["timestamp"] == "2026-03-22T19:30:00.000Z"


async def test_root(stage: Stage) -> None:
    assert (await stage.send("GET", "/")).json["service"] == "dc1-platform-api"
    assert (await stage.send("GET", "")).json["service"] == "dc1-platform-api"


async def test_unknown_paths_and_bodies(stage: Stage) -> None:
    answer = await stage.send("GET", "/api/nope")
    assert (answer.status, answer.json) == (404, {"error": "Not found"})
    answer = await stage.send("GET", "/api/health", {"Content-Type": "application/json"}, b"{")
    assert (answer.status, answer.json) == (400, {"error": "Invalid JSON"})
    assert (await stage.send("OPTIONS", "/api/jobs/submit")).status == 204


async def test_a_trailing_slash_of_the_base_url(stage: Stage) -> None:
    assert (await stage.send("GET", "//api/health")).status == 200


async def test_opening_balance(stage: Stage) -> None:
    assert str(await stage.balance()) == "1000.00 SAR"
    await stage.again()
    assert str(await stage.balance()) == "1000.00 SAR"
    await stage.audit()
