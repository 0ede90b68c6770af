"""Who is let in, what every answer carries, and every row of the network's table of errors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from skerry.island.engine.errors import Unavailable
from skerry.island.faces.octaspace.schemas import SCHEMAS
from skerry.island.ground.answers import Answer
from tests.island.faces.octaspace.stage import OCTA, Stage

pytestmark = pytest.mark.anyio

PROTECTED = [
    ("GET", "/accounts"),
    ("GET", "/accounts/balance"),
    ("POST", "/accounts"),
    ("GET", "/nodes"),
    ("GET", "/nodes/1"),
    ("GET", "/services/mr"),
    ("POST", "/services/mr"),
    ("GET", "/services/render"),
    ("POST", "/services/render"),
    ("GET", "/services/vpn"),
    ("POST", "/services/vpn"),
    ("GET", "/services/5dd2d308-db91-4bda-86ff-e512d711b363/info"),
    ("GET", "/services/5dd2d308-db91-4bda-86ff-e512d711b363/logs"),
    ("POST", "/services/5dd2d308-db91-4bda-86ff-e512d711b363/stop"),
    ("GET", "/services/5dd2d308-db91-4bda-86ff-e512d711b363/stop"),
    ("GET", "/sessions"),
]


async def test_without_a_known_key_nothing_is_told(stage: Stage) -> None:
    before = await stage.counts()
    keys = (None, "x" * 64, "Bearer", "Bearer " + "x" * 64, stage.key[:-1], stage.key + "0", "\xff" * 600)
    for method, path in PROTECTED:
        for key in keys:
            assert await stage.fails(401, "UNAUTHORIZED", method, path, key=key) == "Invalid API key"
    assert await stage.counts() == before


async def test_every_way_to_send_a_key(stage: Stage) -> None:
    assert re.fullmatch("[0-9a-f]{64}", stage.key)
    for headers in (
        {"authorization": stage.key},
        {"AUTHORIZATION": stage.key},
        {"authorization": f"  {stage.key} "},
        {"authorization": f"Bearer {stage.key}"},
        {"authorization": f"bearer {stage.key}"},
    ):
        assert (await stage.send("GET", "/accounts/balance", headers)).status == 200
    assert (await stage.send("GET", f"/accounts/balance?token={stage.key}")).status == 200
    assert (await stage.send("GET", "/accounts/balance?token=wrong")).status == 401
    # The header counts where there are both.
    bad = await stage.send("GET", f"/accounts/balance?token={stage.key}", {"authorization": "wrong"})
    assert bad.status == 401


async def test_public_paths_bear_any_key(stage: Stage) -> None:
    for key in (None, "wrong", stage.key):
        await stage.ok("GET", "/network", key=key)
    await stage.ok("GET", "/apps", key=None)
    await stage.ok("GET", "/apps")
    assert await stage.fails(401, "UNAUTHORIZED", "GET", "/apps", key="wrong")


async def test_a_revoked_key_is_unknown_at_once(stage: Stage) -> None:
    made = await stage.operate("POST", "/accounts/me/keys", status=201)
    assert len(made["key"]) == 64
    await stage.ok("GET", "/accounts", key=made["key"])
    await stage.operate("DELETE", f"/accounts/me/keys/{made['id']}")
    await stage.fails(401, "UNAUTHORIZED", "GET", "/accounts", key=made["key"])


async def test_the_old_prefix_is_another_name(stage: Stage) -> None:
    assert await stage.ok("GET", "/v1/accounts") == await stage.ok("GET", "/accounts")
    await stage.ok("GET", "/v1/network", key=None)
    await stage.fails(404, "NOT_FOUND", "GET", "/v1")
    await stage.fails(404, "NOT_FOUND", "GET", "/v1/v1/accounts")
    await stage.fails(404, "NOT_FOUND", "GET", "/v1accounts")


async def test_the_face_has_a_host_of_its_own(stage: Stage) -> None:
    stage.mount, stage.host = "", "octaspace.localhost:4242"
    await stage.ok("GET", "/accounts")
    document = (await stage.ask("GET", "/api-docs/swagger.json", key=None)).json
    assert document["servers"] == [{"url": "http://octaspace.localhost:4242"}]


async def test_browsers_may_ask_from_anywhere(stage: Stage) -> None:
    for path in ("/accounts", "/services/mr", "/nowhere"):
        answer = await stage.send(
            "OPTIONS",
            path,
            {
                "origin": "https://example.test",
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization,content-type",
            },
        )
        assert answer.status == 204
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert all(name in allowed for name in ("authorization", "content-type", "user-agent", "*"))
        methods = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
        assert set(answer.headers["access-control-allow-methods"].split(", ")) == methods
        assert answer.body == b""


async def test_head_never_changes_anything(stage: Stage) -> None:
    answer = await stage.ask("HEAD", "/accounts")
    assert (answer.status, answer.body) == (200, b"")
    uuid = "5dd2d308-db91-4bda-86ff-e512d711b363"
    assert (await stage.ask("HEAD", f"/services/{uuid}/stop")).status == 405


async def test_400_what_cannot_be_read(stage: Stage) -> None:
    bodies = [
        b"",
        b"  ",
        b"{",
        b"[1,]",
        b"\xff\xfe",
        b'{"node_id": NaN}',
        b'{"node_id": Infinity}',
        b'{"a":1,"a":2}',
        b"[" * 100_000,
        b'{"node_id":' + b"9" * 5000 + b"}",
        b'{"image":"\\ud800"}',
    ]
    for raw in bodies:
        await stage.fails(400, "BAD_REQUEST", "POST", "/services/mr", raw=raw)
    await stage.fails(400, "BAD_REQUEST", "GET", "/accounts?x=%ff")
    await stage.fails(400, "BAD_REQUEST", "GET", "/services/%ff/info")


async def test_422_says_what_is_wrong_with_a_number(stage: Stage) -> None:
    for spelling, kind in (
        ("1.5", "a fraction"),
        ("1e999999999", "one that large"),
        ('"1"', "text"),
        ("true", "a boolean"),
    ):
        raw = f'{{"node_id":{spelling}}}'.encode()
        told = await stage.fails(422, "VALIDATION_ERROR", "POST", "/services/mr", raw=raw)
        assert told == f"node_id must be a whole number, not {kind}"


async def test_422_more_urls_than_a_session_has(stage: Stage) -> None:
    item = {"node_id": 1, "disk_size": 1, "image": "host", "http_ports": list(range(1, 66))}
    told = await stage.fails(422, "VALIDATION_ERROR", "POST", "/services/mr", item)
    assert told == "http_ports must have at most 64 ports"


async def test_402_without_funds(stage: Stage, tmp_path: Path) -> None:
    poor = await stage.stranger(balance=0)
    assert await stage.ok("GET", "/accounts/balance", key=poor) == {"balance": 0}
    node, *_ = await stage.nodes()
    item = {"node_id": node, "disk_size": 1, "image": "ubuntu:22.04"}
    assert await stage.fails(400, "BAD_REQUEST", "POST", "/services/mr", item, key=poor) == "Insufficient balance"
    answer = await stage.ok("POST", "/services/mr", [item], key=poor)
    assert answer == [{"id": 0, "reason": "Insufficient balance", "status": 1}]


async def test_404_and_405(stage: Stage) -> None:
    for path in ("/", "/nothing", "/services", "/services/mr/x", "/nodes/1/x/y", "/accounts/balance/x"):
        await stage.fails(404, "NOT_FOUND", "GET", path)
    for path in ("/services/5dd2d308-db91-4bda-86ff-e512d711b363/info", "/services/a%20b%2Fc/info"):
        assert await stage.fails(404, "NOT_FOUND", "GET", path) == "Service not found"
    for text in ("0", "999", "-1", "1.5", "x", "%31%20", "99999999999999999999"):
        assert await stage.fails(404, "NOT_FOUND", "GET", f"/nodes/{text}") == "Node not found"
    answer = await stage.ask("DELETE", "/accounts")
    assert (answer.status, answer.json["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "GET, POST"
    await stage.fails(405, "METHOD_NOT_ALLOWED", "POST", "/network", {})


async def test_413_too_much(stage: Stage) -> None:
    raw = b'{"image":"' + b"x" * (1 << 20) + b'"}'
    await stage.fails(413, "PAYLOAD_TOO_LARGE", "POST", "/services/mr", raw=raw)


async def test_429_as_the_owner_has_set(tmp_path: Path) -> None:
    stage = Stage(tmp_path, octaspace={"requests_per_minute": 3})
    await stage.open()
    try:
        other = await stage.stranger()
        for _ in range(3):
            await stage.ok("GET", "/accounts")
        answer = await stage.ask("GET", "/accounts")
        assert (answer.status, answer.json["code"]) == (429, "RATE_LIMITED")
        assert answer.headers["retry-after"] == "60"
        await stage.ok("GET", "/accounts", key=other)
        await stage.ok("GET", "/network")
        stage.clock.advance(59.5)
        assert (await stage.ask("GET", "/accounts")).headers["retry-after"] == "1"
        stage.clock.advance(0.5)
        await stage.ok("GET", "/accounts")
    finally:
        await stage.close()


async def test_500_and_503_keep_their_inside(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret of the inside")

    async def full(*_: Any, **__: Any) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(stage.lab.engine.store, "run", broken)
        message = await stage.fails(500, "INTERNAL_ERROR", "POST", "/accounts")
        assert "secret" not in message
    with monkeypatch.context() as patch:
        patch.setattr(stage.lab.engine.store, "run", full)
        assert await stage.fails(503, "NODE_UNAVAILABLE", "POST", "/accounts") == "The disk is full"
    await stage.ok("POST", "/accounts", status=201)


async def test_the_document_is_whole_and_true(stage: Stage) -> None:
    answer = await stage.ask("GET", "/api-docs/swagger.json", key=None)
    document = answer.json
    assert document["openapi"].startswith("3.")
    said = {(method.upper(), path) for path, row in document["paths"].items() for method in row}
    text = json.dumps(document)
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in SCHEMAS
    operations = [row for path in document["paths"].values() for row in path.values()]
    names = [row["operationId"] for row in operations]
    assert len(set(names)) == len(names)
    for method, path in PROTECTED:
        shown = re.sub("/services/[0-9a-f-]{36}", "/services/{uuid}", path).replace("/nodes/1", "/nodes/{node_id}")
        assert (method, shown) in said
        row = document["paths"][shown][method.lower()]
        assert row["security"] == [{"ApiKey": []}]
        assert "401" in row["responses"]
    assert document["paths"]["/network"]["get"]["security"] == [{}]
    page = await stage.ask("GET", "/api-docs", key=None)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"<script" not in page.body
    assert not re.search(rb'(src|href)="https?://(?!127\.0\.0\.1)', page.body)
    for _, path in said:
        assert path.encode() in page.body


async def test_numbers_are_exact_and_always_numbers(stage: Stage) -> None:
    rich = await stage.stranger("rich", balance=31428028938060847852 * OCTA)
    answer = await stage.ask("GET", "/accounts/balance", key=rich)
    assert answer.body == b'{"balance":%d}' % (31428028938060847852 * OCTA)
    assert b'"balance":%d' % (31428028938060847852 * OCTA) in (await stage.ask("GET", "/accounts", key=rich)).body


async def test_a_defect_is_told_as_one_whatever_it_is(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def unspeakable(scope: Any, receive: Any) -> Answer:
        return Answer(float("inf"))

    monkeypatch.setattr(stage.face, "_answer", unspeakable)
    message = await stage.fails(500, "INTERNAL_ERROR", "GET", "/accounts")
    assert message.rpartition(" ")[2] in caplog.text
