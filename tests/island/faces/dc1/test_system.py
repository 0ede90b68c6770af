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
    asked = {"origin": "https://example.test", "access-control-request-method": "POST"}
    assert (await stage.send("OPTIONS", "/api/jobs/submit", asked)).status == 204


async def test_json_that_curl_calls_a_form(stage: Stage) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b' {"name": "Ann", "email": "ann@example.org"}', b"name=Bob&email=bob%40example.org"):
        answer = await stage.send("POST", "/api/renters/register", form, body)
        assert answer.status == 201, answer.json
    assert (await stage.send("POST", "/api/renters/register", form, b"{a=1")).json == {"error": "Invalid JSON"}


async def test_a_trailing_slash_of_the_base_url(stage: Stage) -> None:
    assert (await stage.send("GET", "//api/health")).status == 200


async def test_opening_balance(stage: Stage) -> None:
    assert str(await stage.balance()) == "1000.00 SAR"
    await stage.again()
    assert str(await stage.balance()) == "1000.00 SAR"
    await stage.audit()


async def test_a_body_of_many_values_is_refused_before_it_is_read(stage: Stage) -> None:
    """Reading twelve million lists would stop everything for seconds, whoever sent them."""
    refused = {"error": "A body has at most 400,000 values"}
    for body in (
        b"[" + b"[]," * (12 << 20) + b"[]]",
        b'{"a":[' + b"1," * (16 << 20) + b"1]}",
        b"[" + b'"",' * (8 << 20) + b'""]',
        b'{"a":' * (1 << 20),
    ):
        answer = await stage.send("POST", "/api/renters/register", {"content-type": "application/json"}, body)
        assert (answer.status, answer.json) == (413, refused)
    # What is large in a text is one value, whatever is in the text.
    for text in (r"\"[,{" * (1 << 20), "[," * (2 << 20), "\\\\" * (1 << 20)):
        body = b'{"name":"' + text.encode() + b'"}'
        answer = await stage.send("POST", "/api/renters/register", {"content-type": "application/json"}, body)
        assert (answer.status, answer.json["error"]) == (400, "Validation failed")
