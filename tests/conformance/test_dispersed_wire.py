"""Every row of the error table and every hostile request, over real sockets; a refused call leaves nothing behind."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from skerry._kernel.effects import SYSTEM
from skerry._kernel.request import find_header
from skerry.island.admin.auth import owner_key
from skerry.island.clock import VirtualClock
from skerry.island.island import Island
from skerry.networks.dispersed import ApiError
from tests.conformance.conftest import Raw
from tests.conformance.dispersed import Signed, client, rows, signed

KEYS = "/v1/api-keys"


@pytest.fixture
def by_hand(island: Island) -> Signed:
    return signed(island)


@pytest.fixture(autouse=True)
def _nothing_is_left(island: Island) -> Iterator[None]:
    """Nothing that is refused here may create anything."""
    # What the machine earns begins with its first sign of life, which comes by itself.
    Raw.until(lambda: rows(island)["dispersed_rewards"], "the machine's first sign of life")
    before = rows(island)
    yield
    assert rows(island) == before


def test_who_asks(by_hand: Signed, island: Island) -> None:
    good = by_hand.headers("GET", "/dispersed/v1/me")
    for name in good:
        without = {key: value for key, value in good.items() if key != name}
        assert by_hand.send("GET", "/dispersed/v1/me", without).outcome == (401, "MISSING_AUTH_HEADERS")
        twice = [*good.items(), (name, good[name])]
        assert by_hand.send("GET", "/dispersed/v1/me", twice).outcome == (401, "MISSING_AUTH_HEADERS")
    assert by_hand.send("GET", "/dispersed/v1/me", good).status == 200
    assert by_hand.send("GET", "/dispersed/v1/me", good).outcome == (401, "NONCE_REUSED")
    for change, code in (
        ({"X-Time": "now"}, "INVALID_TIMESTAMP"),
        ({"X-Time": "1706918400000"}, "TIMESTAMP_OUT_OF_RANGE"),
        ({"X-Nonce": "short"}, "INVALID_NONCE"),
        ({"X-API-Key": "pk_nobody"}, "INVALID_API_KEY"),
        ({"X-Signature": "0" * 64}, "INVALID_SIGNATURE"),
    ):
        fresh = by_hand.headers("GET", "/dispersed/v1/me")
        assert by_hand.send("GET", "/dispersed/v1/me", {**fresh, **change}).outcome == (401, code)
    # What is ahead comes nearer on its way.
    for off in (600_000, -301_000):
        assert by_hand.ask("GET", "/v1/me", off_ms=off).outcome == (401, "TIMESTAMP_OUT_OF_RANGE")
    assert by_hand.ask("GET", "/v1/me", off_ms=290_000).status == 200
    bearer = {"authorization": f"Bearer {island.key('dispersed_secret')}"}
    assert by_hand.send("GET", "/dispersed/v1/me", bearer).outcome == (401, "MISSING_AUTH_HEADERS")


def test_what_was_signed(by_hand: Signed) -> None:
    body = b'{"name":"a"}'
    path = f"/dispersed{KEYS}"
    for method, target, content in (
        ("POST", path, b'{"name":"b"}'),
        ("POST", path, b'{"name":"a","preset":"COMPUTE_NODE"}'),
        ("POST", path, b""),
        ("POST", f"{path}?x=1", body),
        ("POST", "/dispersed/v1/ssh-public-keys", body),
        ("PUT", path, body),
        ("POST", "/dispersed/v1/api%2Dkeys", body),
    ):
        answer = by_hand.send(method, target, by_hand.headers("POST", path, body), content)
        assert answer.outcome == (401, "INVALID_SIGNATURE"), (method, target)
    for sent, decoded in (("/v1/jobs/a%2Fb", "/v1/jobs/a/b"), ("/v1/jobs/%61", "/v1/jobs/a")):
        headers = by_hand.headers("GET", f"/dispersed{decoded}")
        assert by_hand.send("GET", f"/dispersed{sent}", headers).outcome == (401, "INVALID_SIGNATURE")
        assert by_hand.ask("GET", sent).outcome == (404, "NOT_FOUND")


def test_the_host_and_the_prefix(by_hand: Signed, island: Island) -> None:
    port = urlsplit(island.url).port
    host = {"host": f"dispersed.localhost:{port}"}
    assert by_hand.send("GET", "/v1/me", {**host, **by_hand.headers("GET", "/v1/me")}).status == 200
    assert by_hand.send("GET", "/health", host).json["status"] == "ok"
    for signed_path in ("/dispersed/v1/me", "/v1/me"):
        assert by_hand.send("GET", "/dispersed/v1/me", by_hand.headers("GET", signed_path)).status == 200
    answer = by_hand.send("GET", "/v1/me", {**host, **by_hand.headers("GET", "/dispersed/v1/me")})
    assert answer.outcome == (401, "INVALID_SIGNATURE")


@pytest.mark.parametrize(
    ("method", "path", "options", "outcome"),
    [
        ("POST", KEYS, {"raw": b"{"}, (400, "BAD_REQUEST")),
        ("POST", KEYS, {"raw": b'{"name":NaN}'}, (400, "BAD_REQUEST")),
        ("POST", KEYS, {"raw": b"[" * 1_000_000}, (400, "BAD_REQUEST")),
        ("POST", KEYS, {"raw": b'{"a":' * 100_000 + b"1" + b"}" * 100_000}, (400, "BAD_REQUEST")),
        ("POST", KEYS, {"raw": b"[" + b"1," * 500_000 + b"1]"}, (400, "VALIDATION_ERROR")),
        ("POST", KEYS, {"raw": b"\xff"}, (400, "BAD_REQUEST")),
        ("POST", KEYS, {}, (400, "BAD_REQUEST")),
        ("POST", KEYS, {"body": {}}, (400, "VALIDATION_ERROR")),
        ("POST", KEYS, {"body": {"name": "a"}, "headers": {"x-idempotency-key": "a b"}}, (400, "BAD_REQUEST")),
        ("GET", f"{KEYS}?limit=51", {}, (400, "VALIDATION_ERROR")),
        ("GET", f"{KEYS}?filter%5Bnothing%5D=1", {}, (400, "VALIDATION_ERROR")),
        ("GET", "/v1/jobs/%FF", {}, (400, "BAD_REQUEST")),
        ("GET", "/v1/jobs/%zz", {}, (400, "BAD_REQUEST")),
        ("GET", "/v1/accounts/019582a6-27fc-731d-af0a-594f04d6d0d5/balance", {}, (403, "FORBIDDEN")),
        ("GET", "/v1/nothing", {}, (404, "NOT_FOUND")),
        ("GET", "/v1/jobs/missing-uuid", {}, (404, "NOT_FOUND")),
        ("GET", "/v1/job-runs/missing-uuid", {}, (404, "NOT_FOUND")),
        ("DELETE", "/v1/jobs", {}, (405, "METHOD_NOT_ALLOWED")),
        ("OPTIONS", "/v1/me", {}, (405, "METHOD_NOT_ALLOWED")),
        ("POST", KEYS, {"raw": b"x" * ((1 << 20) + 1)}, (413, "PAYLOAD_TOO_LARGE")),
        (
            "POST",
            KEYS,
            {"body": {"name": "a"}, "headers": {"content-type": "text/plain"}},
            (415, "UNSUPPORTED_MEDIA_TYPE"),
        ),
    ],
    ids=range(21),
)
def test_the_error_table(
    by_hand: Signed, method: str, path: str, options: dict[str, object], outcome: tuple[int, str]
) -> None:
    answer = by_hand.ask(method, path, **options)  # type: ignore[arg-type]
    assert answer.outcome == outcome, answer.body[:300]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert ("allow" in answer.headers) == (answer.status == 405)


def test_one_connection_goes_on_after_a_refusal(by_hand: Signed) -> None:
    url = urlsplit(by_hand.url)
    assert url.hostname
    with socket.create_connection((url.hostname, url.port or 80), timeout=60) as connection:
        for path, status in (("/dispersed/v1/nothing", b"404"), ("/dispersed/v1/me", b"200")):
            head = "".join(f"{name}: {value}\r\n" for name, value in by_hand.headers("GET", path).items())
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n{head}\r\n".encode())
            received = b""
            while b"}" not in received[-2:]:
                more = connection.recv(65536)
                assert more, received
                received += more
            assert received.startswith(b"HTTP/1.1 " + status)


def test_head_has_no_body(by_hand: Signed) -> None:
    answer = by_hand.ask("HEAD", "/v1/me")
    assert (answer.status, answer.body, int(answer.headers["content-length"]) > 0) == (200, b"", True)


def test_the_operators_part(by_hand: Signed, island: Island) -> None:
    me = by_hand.ask("GET", "/v1/me").json["uuid"]
    path = f"/dispersed/v1/admin/accounts/{me}/credits"
    assert by_hand.send("POST", path, {}, b"{}").outcome == (401, "MISSING_AUTH_HEADERS")
    assert by_hand.send("POST", path, {"authorization": "Bearer x"}, b"{}").outcome == (401, "INVALID_API_KEY")
    key = {"authorization": f"Bearer {owner_key(island.data_dir)}"}
    assert by_hand.send("POST", path, key, b"{}").outcome == (400, "VALIDATION_ERROR")


def test_the_client_reads_refusals(island: Island) -> None:
    with client(island, pair=(island.key("dispersed"), "sk_wrong")) as wrong:
        with pytest.raises(ApiError) as caught:
            wrong.accounts.get_me()
        assert (caught.value.status, caught.value.code, caught.value.is_auth) == (401, "INVALID_SIGNATURE", True)
        assert "sk_wrong" not in str(caught.value)
    with client(island) as first:
        for ask in (first.jobs.get, first.job_runs.get, first.job_recipes.get, first.api_keys.revoke):
            with pytest.raises(ApiError) as caught:
                ask("missing-uuid")
            assert caught.value.is_not_found
        with pytest.raises(ApiError) as caught:
            first.ssh_public_keys.create({"public_key": "ssh-rsa AAAA"})
        assert (caught.value.code, caught.value.details[0]["path"]) == ("VALIDATION_ERROR", ["public_key"])
        assert caught.value.timestamp is not None
        assert caught.value.request_id


def test_too_many_requests() -> None:
    # A minute must not end meanwhile.
    clock = VirtualClock(datetime.now(UTC))
    with Island(requests_per_minute=5, clock=clock) as island, client(island, retry=0) as first:
        for _ in range(5):
            first.accounts.get_me()
        with pytest.raises(ApiError) as caught:
            first.accounts.get_me()
        assert (caught.value.code, caught.value.is_retryable) == ("RATE_LIMITED", True)
        assert 0 < float(find_header(caught.value.headers, "retry-after") or 0) <= 60


def test_a_clock_that_is_wrong_is_set_right(island: Island) -> None:
    effects = replace(SYSTEM, unix_ms=lambda: SYSTEM.unix_ms() - 3_600_000)
    with client(island, effects=effects) as late, pytest.raises(ApiError) as caught:
        late.accounts.get_me()
    assert caught.value.code == "TIMESTAMP_OUT_OF_RANGE"
    with client(island, effects=effects, sync_clock=True) as late:
        assert late.accounts.get_me().name == "local"
