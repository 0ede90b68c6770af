"""What a request may look like: paths, methods, bodies, envelopes, idempotency, defects."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.island.faces.dispersed import tables, wire
from skerry.island.faces.dispersed.account.key_pairs import KeyPair
from skerry.networks.dispersed.canonical import canonical_query
from tests.island.faces.dispersed.stage import Stage, sign

pytestmark = pytest.mark.anyio

KEYS = "/v1/api-keys"


async def test_unknown_paths_and_methods(stage: Stage) -> None:
    for path in ("/", "/v1", "/v1/nothing", "/v2/me", "/v1/accounts", "/v1/me/more"):
        await stage.fails(404, "NOT_FOUND", "GET", path)
    for method, path, allow in (
        ("DELETE", "/v1/me", "GET, HEAD"),
        ("OPTIONS", KEYS, "GET, HEAD, POST"),
        ("PATCH", "/v1/job-recipes/x/fork", "POST, PUT"),
        ("BREW", "/v1/ssh-public-keys/x", "DELETE, GET, HEAD, PATCH, PUT"),
    ):
        answer = await stage.ask(method, path)
        assert (answer.status, answer.code, answer.headers["allow"]) == (405, "METHOD_NOT_ALLOWED", allow)
    # Nobody learns without a key which paths there are.
    for path in ("/v1/nothing", "/v1/me"):
        assert (await stage.send("GET", path, {})).code == "MISSING_AUTH_HEADERS"


async def test_a_signed_request_finds_the_network_without_its_prefix(stage: Stage) -> None:
    """`new URL("/v1/me", base)` leaves nothing of a path that the base URL has."""
    expected = await stage.ok("GET", "/v1/me")
    stage.mount = ""
    assert await stage.ok("GET", "/v1/me") == expected
    await stage.fails(404, "NOT_FOUND", "GET", "/v1/nothing")


@pytest.mark.parametrize("mount", ["/dispersed", ""])
async def test_browsers_may_ask_from_anywhere(stage: Stage, mount: str) -> None:
    stage.mount = mount
    asked = {
        "origin": "https://example.test",
        "access-control-request-method": "PUT",
        "access-control-request-headers": "content-type,x-api-key,x-nonce,x-request-id,x-signature,x-time",
    }
    answer = await stage.send("OPTIONS", "/v1/jobs/x/cancel", asked)
    assert (answer.status, answer.body) == (204, b"")
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert "*" in answer.headers["access-control-allow-headers"].split(", ")
    refused = await stage.ask("GET", "/v1/nothing", headers={"origin": "https://example.test"})
    for told in (answer, refused):
        assert told.headers["access-control-allow-origin"] == "*"
        assert told.headers["access-control-expose-headers"] == "*"


async def test_head_is_get_without_its_body(stage: Stage) -> None:
    answer = await stage.ask("HEAD", KEYS)
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) == len((await stage.ask("GET", KEYS)).body)
    missing = await stage.ask("HEAD", "/v1/nothing")
    assert (missing.status, missing.body) == (404, b"")


async def test_paths_and_queries_that_are_no_text(stage: Stage) -> None:
    for target in (
        "/v1/job-recipes/%zz",
        "/v1/job-recipes/%",
        "/v1/job-recipes/%FF",
        "/v1/job-recipes/%00",
        "/v1/job-recipes?a=%FF",
        "/v1/job-recipes?limit=%zz",
    ):
        answer = await stage.ask("GET", target)
        assert (answer.status, answer.code) == (400, "BAD_REQUEST"), target
    await stage.fails(400, "BAD_REQUEST", "GET", "/v1/me?" + "a" * 20_000)


NO_JSON = (
    b"{",
    b'{"name":"a"',
    b"\xff\xfe",
    b'{"name":NaN}',
    b'{"name":Infinity}',
    b'{"name":-Infinity}',
    b'{"name":1e999}',
    b'{"name":"a","name":"b"}',
    b'{"name":"\\u0000"}',
    b'{"name":"\\ud800"}',
    b'{"\\udfff":1}',
    b'\xef\xbb\xbf{"name":"a"}',
    '{"name":"a"}'.encode("utf-16"),
    b"[" * 500_000,
    b"[" * 65 + b"]" * 65,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b'{"name":' + b"9" * 100_000 + b"}",
    b"'name'",
)


async def test_bodies_that_are_no_json(stage: Stage) -> None:
    before = await stage.counts()
    for raw in NO_JSON:
        await stage.fails(400, "BAD_REQUEST", "POST", KEYS, raw=raw)
    assert await stage.counts() == before


async def test_bodies_that_are_no_object(stage: Stage) -> None:
    for raw in (b"[]", b"null", b'"text"', b"1", b"true", b"[" * 64 + b"]" * 64):
        envelope = await stage.fails(400, "VALIDATION_ERROR", "POST", KEYS, raw=raw)
        assert envelope["details"][0]["code"] == "invalid_type"
        assert envelope["details"][0]["path"] == []


async def test_a_body_that_must_be_there(stage: Stage) -> None:
    await stage.fails(400, "BAD_REQUEST", "POST", KEYS)
    envelope = await stage.fails(400, "VALIDATION_ERROR", "POST", KEYS, {"preset": "KING", "allowed_ips": "x"})
    assert [(issue["code"], issue["path"]) for issue in envelope["details"]] == [
        ("invalid_type", ["name"]),
        ("invalid_value", ["preset"]),
        ("invalid_type", ["allowed_ips"]),
    ]


async def test_bodies_of_more_than_a_mebibyte(stage: Stage) -> None:
    most = wire.MOST_BODY_BYTES
    for size, status in ((most, 400), (most + 1, 413)):
        raw = b'{"name":"' + b"x" * (size - 11) + b'"}'
        answer = await stage.ask("POST", KEYS, raw=raw)
        assert answer.status == status
    headers = sign(stage.pair, "POST", "/dispersed" + KEYS, b"", stage.now_ms)
    announced = await stage.send("POST", KEYS, {**headers, "content-length": str(1 << 62)}, b"")
    assert (announced.status, announced.code) == (413, "PAYLOAD_TOO_LARGE")
    streamed = await stage.send("POST", KEYS, headers, b"x" * (3 << 20), chunks=48)
    assert streamed.code == "PAYLOAD_TOO_LARGE"
    # Whoever has no key is not even listened to.
    unknown = sign(KeyPair("pk_x", "sk_x"), "POST", "/dispersed" + KEYS, b"", stage.now_ms)
    assert (await stage.send("POST", KEYS, unknown, b"x" * (3 << 20))).code == "INVALID_API_KEY"


async def test_media_types(stage: Stage) -> None:
    for media in ("application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'):
        await stage.ok("POST", KEYS, {"name": "a"}, status=201, headers={"content-type": media})
    for media in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", ""):
        await stage.fails(415, "UNSUPPORTED_MEDIA_TYPE", "POST", KEYS, {"name": "a"}, headers={"content-type": media})
    headers = sign(stage.pair, "POST", "/dispersed" + KEYS, b'{"name":"a"}', stage.now_ms)
    assert (await stage.send("POST", KEYS, headers, b'{"name":"a"}')).status == 201


async def test_every_answer_has_an_id_and_a_date(stage: Stage) -> None:
    ids = set()
    for path in ("/v1/me", "/v1/nothing"):
        answer = await stage.ask("GET", path)
        assert answer.headers["date"] == "Tue, 21 Apr 2026 10:00:00 GMT"
        assert answer.headers["content-type"] == "application/json"
        ids.add(answer.headers["x-request-id"])
    assert len(ids) == 2
    assert (await stage.ask("GET", "/v1/nothing")).json["timestamp"] == "2026-04-21T10:00:00.000Z"


async def test_a_defect_tells_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> Any:
        raise RuntimeError("sk_secret of somebody")

    monkeypatch.setattr(stage.face._authentication, "admit", broken)
    with caplog.at_level(logging.ERROR):
        answer = await stage.ask("GET", "/v1/me")
    assert (answer.status, answer.code) == (500, "INTERNAL_ERROR")
    assert b"secret" not in answer.body
    assert answer.json["detail"].rpartition(" ")[2] in caplog.text


async def test_the_same_request_again(stage: Stage) -> None:
    keyed = {"X-Idempotency-Key": "once"}
    first = await stage.ask("POST", KEYS, {"name": "a", "allowed_ips": []}, headers=keyed)
    assert first.status == 201
    assert "x-idempotent-replayed" not in first.headers
    keys = await stage.count(tables.api_keys)
    again = await stage.ask("POST", KEYS, raw=b'{"allowed_ips": [],\n "name":"a"}', headers=keyed)
    assert (again.status, again.body) == (201, first.body)
    assert again.headers["x-idempotent-replayed"] == "true"
    await stage.fails(409, "IDEMPOTENCY_KEY_REUSED", "POST", KEYS, {"name": "b"}, headers=keyed)
    await stage.again()
    kept = await stage.ask("POST", KEYS, {"name": "a", "allowed_ips": []}, headers=keyed)
    assert (kept.body, kept.headers["x-idempotent-replayed"]) == (first.body, "true")
    assert await stage.count(tables.api_keys) == keys
    # The secret that the answer tells is not in the database.
    database = (stage.lab.data / "island.db").read_bytes() + (stage.lab.data / "island.db-wal").read_bytes()
    assert first.json["secret_key"].encode() not in database
    assert first.json["public_key"].encode() in database
    stage.clock.jump(86_400)
    anew = await stage.ask("POST", KEYS, {"name": "b"}, headers=keyed)
    assert (anew.status, anew.headers.get("x-idempotent-replayed")) == (201, None)


async def test_a_key_is_bound_to_who_asks_for_what(stage: Stage) -> None:
    keyed = {"x-idempotency-key": "k"}
    made = await stage.ok("POST", KEYS, {"name": "a"}, status=201, headers=keyed)
    other = await stage.stranger()
    theirs = await stage.ok("POST", KEYS, {"name": "a"}, status=201, headers=keyed, pair=other)
    assert theirs["uuid"] != made["uuid"]
    for method in ("PUT", "POST"):
        answer = await stage.ask(method, f"{KEYS}/{made['uuid']}/revoke", headers=keyed)
        assert (answer.status, answer.headers.get("x-idempotent-replayed")) == (200, None)
    stage.mount, stage.host = "", "dispersed.localhost:4242"
    assert (await stage.ask("POST", KEYS, {"name": "a"}, headers=keyed)).json["uuid"] == made["uuid"]
    stage.mount = "/dispersed"
    # Reading has no use for such a key.
    assert "x-idempotent-replayed" not in (await stage.ask("GET", KEYS, headers=keyed)).headers


async def test_what_is_kept_of_refusals(stage: Stage) -> None:
    keyed = {"x-idempotency-key": "k"}
    before = await stage.counts()
    for _ in range(2):
        await stage.fails(400, "VALIDATION_ERROR", "POST", KEYS, {}, headers=keyed)
        await stage.fails(404, "NOT_FOUND", "PUT", f"{KEYS}/x/revoke", headers=keyed)
    after = await stage.counts()
    assert after.pop("dispersed_replays") == 2
    before.pop("dispersed_replays")
    assert after == before
    again = await stage.ask("POST", KEYS, {}, headers=keyed)
    assert (again.status, again.headers["x-idempotent-replayed"]) == (400, "true")
    # What was forbidden may be allowed the next time.
    recipe = {"name": "r", "payload": {}, "is_official": True}
    await stage.fails(403, "FORBIDDEN", "POST", "/v1/job-recipes", recipe, headers=keyed)
    assert await stage.count(tables.replays) == 2


async def test_keys_of_another_form(stage: Stage) -> None:
    before = await stage.counts()
    for key in ("", "with space", "x" * 256, "tab\there", "ümlaut"):
        await stage.fails(400, "BAD_REQUEST", "POST", KEYS, {"name": "a"}, headers={"x-idempotency-key": key})
    assert await stage.counts() == before


async def test_equal_requests_at_once_are_done_once(stage: Stage) -> None:
    before = await stage.count(tables.api_keys)
    answers = await asyncio.gather(
        *(stage.ask("POST", KEYS, {"name": "a"}, headers={"x-idempotency-key": "k"}) for _ in range(10))
    )
    assert {(answer.status, answer.body) for answer in answers} == {(201, answers[0].body)}
    assert sum("x-idempotent-replayed" in answer.headers for answer in answers) == 9
    assert await stage.count(tables.api_keys) == before + 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
WRITES = (
    ("POST", KEYS, ("name", "preset", "allowed_ips", "expires_at")),
    ("POST", "/v1/ssh-public-keys", ("public_key", "name", "is_default")),
    ("POST", "/v1/job-recipes", ("name", "payload", "visibility", "input_schema", "thumbnail_url", "quickstart_md")),
    ("POST", "/v1/job-recipes/from-job", ("job_uuid",)),
)


REQUESTS = st.sampled_from(WRITES).flatmap(
    lambda write: st.tuples(st.just(write[:2]), st.dictionaries(st.sampled_from(write[2]), JSON, max_size=5) | JSON)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=REQUESTS)
async def test_no_body_is_a_defect(stage: Stage, request: tuple[tuple[str, str], Any]) -> None:
    (method, path), body = request
    before = await stage.counts()
    answer = await stage.ask(method, path, body)
    assert answer.status in (201, 400, 404), (body, answer.body)
    if answer.status != 201:
        assert answer.code in ("VALIDATION_ERROR", "BAD_REQUEST", "NOT_FOUND")
        assert await stage.counts() == before


LISTS = (
    KEYS,
    "/v1/ssh-public-keys",
    "/v1/job-recipes",
    "/v1/gpu-registry",
    "/v1/nodes",
    "/v1/compute/rewards",
    "/v1/compute/ledger/authorizations",
    "/v1/compute/ledger/transactions",
    "/v1/compute/ledger/credit-purchases",
)
FILTERS = (
    *("created_at", "uuid", "status", "type", "visibility", "is_official", "name", "only_available", "min_vram_gb"),
    *("node_uuid", "epoch_status", "consumer_account_uuid", "is_default", "nothing", ""),
)
NAMES = st.sampled_from(["limit", "page", "sort", "other", *(f"filter[{name}]" for name in FILTERS)])
TEXTS = (
    *("true", "false", "1", "0", "-1", "50", "51", "1,2", ",", "1,", "2026-04-21,", ",2026-04-21T10:00:00Z", "nan"),
    *("9007199254740991", "99999999999999999999", "PUBLIC,PRIVATE", "OPEN", "0001-01-01,9999-12-31T23:59:59-14:00"),
)
VALUES = st.text(max_size=20) | st.sampled_from(TEXTS) | st.floats().map(str)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(LISTS), pairs=st.lists(st.tuples(NAMES, VALUES), max_size=4))
async def test_no_query_is_a_defect(stage: Stage, path: str, pairs: list[tuple[str, str]]) -> None:
    if any("\ud800" <= character <= "\udfff" for _, value in pairs for character in value):
        return
    answer = await stage.ask("GET", f"{path}?{canonical_query(pairs)}".rstrip("?"))
    assert answer.status in (200, 400), (pairs, answer.body)
    if answer.status == 400:
        assert answer.code == "VALIDATION_ERROR"
        assert answer.json["details"]
    else:
        assert set(answer.json) == {"data", "page", "limit", "total"}
        assert len(answer.json["data"]) <= answer.json["limit"]
