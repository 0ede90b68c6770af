"""Who is let in: the checks of section 2.5 in their order, and that a refused request leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from skerry.island.faces.dispersed import tables
from skerry.island.faces.dispersed.account.key_pairs import KeyPair
from skerry.island.faces.dispersed.admission import NONCE_MICROS
from skerry.island.faces.dispersed.face import COLLECT_SECONDS
from tests.island.faces.dispersed.stage import Stage, sign

pytestmark = pytest.mark.anyio

NAMES = ("X-API-Key", "X-Time", "X-Nonce", "X-Signature")


async def test_all_four_headers_are_needed(stage: Stage) -> None:
    for missing in NAMES:
        headers = sign(stage.pair, "GET", "/dispersed/v1/me", b"", stage.now_ms)
        empty = await stage.send("GET", "/v1/me", {**headers, missing: ""})
        del headers[missing]
        absent = await stage.send("GET", "/v1/me", headers)
        for answer in (empty, absent):
            assert (answer.status, answer.code) == (401, "MISSING_AUTH_HEADERS")


async def test_a_header_given_twice_is_refused_whatever_it_says(stage: Stage) -> None:
    headers = list(sign(stage.pair, "GET", "/dispersed/v1/me", b"", stage.now_ms).items())
    for twice in NAMES:
        for more in ([*headers, (twice.lower(), dict(headers)[twice])], [(twice.upper(), "other"), *headers]):
            answer = await stage.send("GET", "/v1/me", more)
            assert (answer.status, answer.code) == (401, "MISSING_AUTH_HEADERS")
    assert await stage.count(tables.nonces) == 0


async def test_a_time_that_is_none(stage: Stage) -> None:
    for text in ("soon", "-1", "1e12", "17069184000000000", " 1706918400000", "١٢٣"):
        headers = sign(stage.pair, "GET", "/dispersed/v1/me", b"", stage.now_ms)
        answer = await stage.send("GET", "/v1/me", {**headers, "X-Time": text.encode().decode("latin-1")})
        assert (answer.status, answer.code) == (401, "INVALID_TIMESTAMP")


async def test_five_minutes_either_way(stage: Stage) -> None:
    for off, status in ((300_000, 200), (-300_000, 200), (300_001, 401), (-300_001, 401)):
        answer = await stage.ask("GET", "/v1/me", off_ms=off)
        assert answer.status == status
        assert answer.headers["date"] == "Tue, 21 Apr 2026 10:00:00 GMT"
        if status == 401:
            assert answer.code == "TIMESTAMP_OUT_OF_RANGE"


async def test_a_nonce_of_another_form(stage: Stage) -> None:
    for nonce in ("short", "x" * 129, "with space in it!", "a" * 15, "ä" * 16):
        await stage.fails(401, "INVALID_NONCE", "GET", "/v1/me", nonce=nonce)


async def test_unknown_keys_and_wrong_signatures(stage: Stage) -> None:
    await stage.fails(401, "INVALID_API_KEY", "GET", "/v1/me", pair=KeyPair("pk_nobody", stage.pair.secret_key))
    await stage.fails(401, "INVALID_API_KEY", "GET", "/v1/me", pair=KeyPair("pk_" + "x" * 500, "sk"))
    await stage.fails(401, "INVALID_API_KEY", "GET", "/v1/me", pair=KeyPair("pk_'; drop table", "sk"))
    await stage.fails(401, "INVALID_SIGNATURE", "GET", "/v1/me", pair=KeyPair(stage.pair.public_key, "sk_wrong"))
    for mark in ("", "0" * 64, "Z" * 64, "0" * 63, "ß" * 64):
        headers = sign(stage.pair, "GET", "/dispersed/v1/me", b"", stage.now_ms)
        answer = await stage.send("GET", "/v1/me", {**headers, "X-Signature": mark or "0"})
        assert (answer.status, answer.code) == (401, "INVALID_SIGNATURE")
        upper = {**headers, "X-Signature": headers["X-Signature"].upper()}
        assert (await stage.send("GET", "/v1/me", upper)).code == "INVALID_SIGNATURE"
    assert await stage.count(tables.nonces) == 0


async def test_a_changed_request_is_another_request(stage: Stage) -> None:
    path = "/v1/ssh-public-keys"
    body = b'{"public_key":"x"}'
    before = await stage.counts()
    for method, target, content in (
        ("POST", path, b'{"public_key":"y"}'),
        ("POST", path, b""),
        ("POST", path + "?a=1", body),
        ("POST", path + "/", body),
        ("POST", "/v1/api-keys", body),
        ("PUT", path, body),
    ):
        headers = sign(stage.pair, "POST", "/dispersed" + path, body, stage.now_ms)
        answer = await stage.send(method, target, headers, content)
        assert (answer.status, answer.code) == (401, "INVALID_SIGNATURE"), (method, target)
    assert await stage.counts() == before
    assert await stage.count(tables.nonces) == 0


async def test_the_path_counts_as_it_was_sent(stage: Stage) -> None:
    for sent, signed, code in (
        ("/v1/jobs/a%2Fb", "/dispersed/v1/jobs/a%2Fb", "NOT_FOUND"),
        ("/v1/jobs/a%2Fb", "/dispersed/v1/jobs/a/b", "INVALID_SIGNATURE"),
        ("/v1/jobs/a%2fb", "/dispersed/v1/jobs/a%2Fb", "INVALID_SIGNATURE"),
        ("/v1/job-recipes/%C3%A4", "/dispersed/v1/job-recipes/ä", "INVALID_SIGNATURE"),
    ):
        answer = await stage.send("GET", sent, sign(stage.pair, "GET", signed, b"", stage.now_ms))
        assert answer.code == code


async def test_the_mount_may_be_signed_or_not(stage: Stage) -> None:
    for signed in ("/dispersed/v1/me", "/v1/me"):
        headers = sign(stage.pair, "GET", signed, b"", stage.now_ms)
        assert (await stage.send("GET", "/v1/me", headers)).status == 200
    stage.mount, stage.host = "", "dispersed.localhost:4242"
    headers = sign(stage.pair, "GET", "/v1/me", b"", stage.now_ms)
    assert (await stage.send("GET", "/v1/me", headers)).status == 200
    headers = sign(stage.pair, "GET", "/dispersed/v1/me", b"", stage.now_ms)
    assert (await stage.send("GET", "/v1/me", headers)).code == "INVALID_SIGNATURE"


async def test_a_nonce_is_good_once_in_a_day(stage: Stage) -> None:
    nonce = "n" * 32
    await stage.ok("GET", "/v1/me", nonce=nonce)
    await stage.fails(401, "NONCE_REUSED", "GET", "/v1/me", nonce=nonce)
    await stage.fails(401, "NONCE_REUSED", "GET", "/v1/api-keys", nonce=nonce)
    await stage.again()
    await stage.fails(401, "NONCE_REUSED", "GET", "/v1/me", nonce=nonce)
    other = await stage.grant()
    await stage.ok("GET", "/v1/me", nonce=nonce, pair=other)
    stage.clock.jump(NONCE_MICROS / 1e6 - 1)
    await stage.fails(401, "NONCE_REUSED", "GET", "/v1/me", nonce=nonce)
    stage.clock.jump(1)
    await stage.ok("GET", "/v1/me", nonce=nonce)
    await stage.fails(401, "NONCE_REUSED", "GET", "/v1/me", nonce=nonce)


async def test_a_nonce_is_spent_by_its_owner_alone(stage: Stage) -> None:
    nonce = "m" * 32
    await stage.fails(
        401, "INVALID_SIGNATURE", "GET", "/v1/me", nonce=nonce, pair=KeyPair(stage.pair.public_key, "sk_wrong")
    )
    await stage.ok("GET", "/v1/me", nonce=nonce)


async def test_of_equal_nonces_at_once_one_wins(stage: Stage) -> None:
    answers = await asyncio.gather(*(stage.ask("GET", "/v1/me", nonce="o" * 32) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [200] + [401] * 19
    assert {answer.code for answer in answers if answer.status == 401} == {"NONCE_REUSED"}


async def test_old_nonces_and_answers_are_collected(stage: Stage) -> None:
    await stage.ok("POST", "/v1/api-keys", {"name": "a"}, status=201, headers={"x-idempotency-key": "k"})
    assert (await stage.count(tables.nonces), await stage.count(tables.replays)) == (1, 1)
    stage.clock.jump(86_400)

    async def gone() -> bool:
        # Whenever the pause between two rounds began.
        stage.clock.advance(COLLECT_SECONDS)
        return await stage.count(tables.nonces) == 0 and await stage.count(tables.replays) == 0

    await stage.lab.until(gone)


async def test_revoked_and_expired_keys(stage: Stage) -> None:
    pair = await stage.grant(name="to be revoked")
    listed = await stage.ok("GET", "/v1/api-keys")
    (uuid,) = [key["uuid"] for key in listed["data"] if key["public_key"] == pair.public_key]
    await stage.ok("GET", "/v1/me", pair=pair)
    await stage.ok("PUT", f"/v1/api-keys/{uuid}/revoke")
    await stage.fails(401, "API_KEY_REVOKED", "GET", "/v1/me", pair=pair)
    await stage.fails(401, "INVALID_SIGNATURE", "GET", "/v1/me", pair=KeyPair(pair.public_key, "sk_of_somebody_else"))
    short = await stage.grant(expires_at=stage.now + 1_000_000)
    await stage.ok("GET", "/v1/me", pair=short)
    stage.clock.jump(1)
    await stage.fails(401, "API_KEY_EXPIRED", "GET", "/v1/me", pair=short)


async def test_allowed_addresses(stage: Stage) -> None:
    for number, (allowed, address, good) in enumerate(
        (
            (("203.0.113.7/32",), "203.0.113.7", True),
            (("203.0.113.0/24", "10.0.0.0/8"), "10.255.0.1", True),
            (("203.0.113.7/32",), "203.0.113.8", False),
            (("203.0.113.7/32",), "::ffff:203.0.113.7", True),
            (("203.0.113.7/32",), "::ffff:203.0.113.8", False),
            (("2001:db8::/32",), "2001:db8::1", True),
            (("0.0.0.0/0",), "2001:db8::1", False),
            (("::/0",), "127.0.0.1", False),
            (("127.0.0.1/32",), "", False),
            ((), "", True),
            ((), "198.51.100.1", True),
        )
    ):
        pair = await stage.grant(allowed_ips=allowed)
        stage.address = address
        spent = await stage.count(tables.nonces)
        answer = await stage.ask("GET", "/v1/me", pair=pair, nonce=f"{number:032d}")
        assert answer.status == (200 if good else 403), (allowed, address)
        assert await stage.count(tables.nonces) == spent + int(good)
        assert good or answer.code == "IP_NOT_ALLOWED"


async def test_presets(stage: Stage) -> None:
    node = await stage.grant(preset="COMPUTE_NODE")
    for method, path in (("GET", "/v1/api-keys"), ("POST", "/v1/api-keys"), ("GET", "/v1/job-recipes")):
        await stage.fails(403, "INSUFFICIENT_PERMISSIONS", method, path, pair=node)
    me = await stage.ok("GET", "/v1/me", pair=node)
    assert me["roles"] == ["COMPUTE_NODE"]
    await stage.ok("GET", "/v1/compute/rewards", pair=node)
    before = await stage.counts()
    await stage.fails(403, "INSUFFICIENT_PERMISSIONS", "POST", "/v1/api-keys", {"name": "a"}, pair=node)
    assert await stage.counts() == before


async def test_a_key_revoked_in_flight_creates_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the moment a request was let in and its transaction the key is revoked."""
    pair = await stage.grant()
    admit = stage.face._authentication.admit

    async def slow(*arguments: Any) -> Any:
        admitted = await admit(*arguments)

        def revoke(connection: Connection) -> None:
            change = tables.api_keys.update().where(tables.api_keys.c.public_key == pair.public_key)
            connection.execute(change.values(revoked_at=stage.now))

        await stage.lab.engine.store.run(revoke)
        return admitted

    monkeypatch.setattr(stage.face._authentication, "admit", slow)
    before = await stage.counts()
    keyed = {"x-idempotency-key": "k"}
    await stage.fails(401, "API_KEY_REVOKED", "POST", "/v1/api-keys", {"name": "a"}, pair=pair, headers=keyed)
    assert await stage.counts() == before


async def test_the_last_use_is_kept_to_the_minute(stage: Stage) -> None:
    async def last_used() -> str | None:
        (key,) = (await stage.ok("GET", "/v1/api-keys"))["data"]
        text: str | None = key["last_used_at"]
        return text

    assert await last_used() == "2026-04-21T10:00:00.000Z"
    stage.clock.jump(59)
    assert await last_used() == "2026-04-21T10:00:00.000Z"
    stage.clock.jump(1)
    assert await last_used() == "2026-04-21T10:01:00.000Z"


async def test_too_many_requests(tmp_path: Path) -> None:
    stage = Stage(tmp_path, requests_per_minute=3)
    await stage.open()
    other = await stage.grant()
    for _ in range(3):
        await stage.ok("GET", "/v1/me")
    spent = await stage.count(tables.nonces)
    answer = await stage.ask("GET", "/v1/me")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (429, "RATE_LIMITED", "60")
    assert await stage.count(tables.nonces) == spent
    await stage.fails(401, "INVALID_SIGNATURE", "GET", "/v1/me", pair=KeyPair(stage.pair.public_key, "sk_wrong"))
    for _ in range(2):
        await stage.ok("GET", "/v1/me", pair=other)
    for _ in range(5):
        # Captured requests that are sent again use nothing up.
        await stage.fails(401, "NONCE_REUSED", "GET", "/v1/me", pair=other, nonce=await _used(stage, other))
    await stage.ok("GET", "/v1/me", pair=other)
    stage.clock.advance(30.5)
    assert (await stage.ask("GET", "/v1/me")).headers["retry-after"] == "30"
    stage.clock.advance(29.5)
    await stage.ok("GET", "/v1/me")
    await stage.close()


async def _used(stage: Stage, pair: KeyPair) -> str:
    def any_of(connection: Connection) -> str:
        query = tables.nonces.select().where(tables.nonces.c.public_key == pair.public_key)
        nonce: str = connection.execute(query).first().nonce  # type: ignore[union-attr]
        return nonce

    return await stage.lab.engine.store.read(any_of)


async def test_bodies_may_be_spelled_otherwise_than_signed(stage: Stage) -> None:
    value = {"name": "Größe 東京 😀", "preset": "CONSUMER", "10": 1.0, "9": [1e16, 1e-7, -0.0]}
    signed = '{"9":[10000000000000000,1e-7,0],"10":1,"name":"Größe 東京 😀","preset":"CONSUMER"}'.encode()
    for sent in (json.dumps(value), json.dumps(value, indent=2, ensure_ascii=False), " " * 20_000 + json.dumps(value)):
        headers = sign(stage.pair, "POST", "/dispersed/v1/api-keys", signed, stage.now_ms)
        answer = await stage.send("POST", "/v1/api-keys", headers, sent.encode(), chunks=3)
        assert answer.status == 201, answer.body
        assert answer.json["name"] == value["name"]


async def test_queries_may_be_spelled_otherwise_than_signed(stage: Stage) -> None:
    signed = "filter%5Bname%5D=a%20b~&limit=5"
    for sent in (
        signed,
        "limit=5&filter%5Bname%5D=a%20b~",
        "limit=5&filter[name]=a+b~",
        "filter%5bname%5d=a%20b%7e&limit=5",
    ):
        headers = sign(stage.pair, "GET", f"/dispersed/v1/job-recipes?{signed}", b"", stage.now_ms)
        assert (await stage.send("GET", f"/v1/job-recipes?{sent}", headers)).status == 200, sent
    headers = sign(stage.pair, "GET", f"/dispersed/v1/job-recipes?{signed}", b"", stage.now_ms)
    assert (await stage.send("GET", "/v1/job-recipes?filter%5Bname%5D=a+b", headers)).code == "INVALID_SIGNATURE"


async def test_health_needs_no_key(stage: Stage) -> None:
    answer = await stage.send("GET", "/health", {})
    assert answer.json == {"status": "ok", "timestamp": "2026-04-21T10:00:00.000Z"}
    assert (await stage.send("HEAD", "/health", {})).body == b""
    refused = await stage.send("POST", "/health", {})
    assert (refused.status, refused.code, refused.headers["allow"]) == (405, "METHOD_NOT_ALLOWED", "GET, HEAD")
