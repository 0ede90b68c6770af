"""The client: signing, headers, options, retries, hooks, raw answers, closing."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx2
import pytest

from skerry._io.waiting import async_sleep
from skerry._kernel.effects import Effects
from skerry._kernel.hooks import Hooks
from skerry._kernel.options import Deadline, RequestOptions
from skerry._kernel.request import Request, Response, TransportFailure
from skerry.errors import ConfigurationError, ConnectionFailedError, InvalidRequestError, NotFoundError, SkerryError
from skerry.networks.dispersed import (
    VERSION,
    ApiError,
    AsyncDispersed,
    DispersedCancelledError,
    DispersedConnectionError,
    DispersedDecodeError,
    DispersedError,
    DispersedTimeoutError,
    RequestInfo,
    ResponseInfo,
)
from tests.io.script import AsyncScripted, Notes, Step, answer

pytestmark = pytest.mark.anyio

BASE = "https://api.test/v"
JOB = {"object": "job", "uuid": "j", "status": "PENDING", "title": "x"}
AUTH = ("x-api-key", "x-time", "x-nonce", "x-signature")


def _client(*steps: Step, **options: Any) -> tuple[AsyncDispersed, AsyncScripted, Notes]:
    transport, notes = AsyncScripted(*(steps or (answer(200, JOB),))), Notes()
    times, nonces = itertools.count(1_706_918_400_000, 1000), itertools.count()
    effects = Effects(
        monotonic=notes.effects.monotonic,
        unix_ms=lambda: next(times),
        random=lambda: 0.5,
        entropy=lambda count: next(nonces).to_bytes(count, "big"),
    )
    settings = {"public_key": "pk_1", "secret_key": "sk_secret", "base_url": BASE, "environ": {}, **options}
    client = AsyncDispersed(transport=transport, effects=effects, sleeper=notes.async_sleep, **settings)
    return client, transport, notes


async def test_each_try_has_its_own_time_nonce_and_signature() -> None:
    client, transport, notes = _client(answer(503), answer(429), answer(200, JOB))
    job = await client.jobs.create({"title": "x"}, headers={"x-request-id": "r1"})
    assert job.uuid == "j"
    assert [request.header("x-time") for request in transport.sent] == [
        "1706918400000",
        "1706918401000",
        "1706918402000",
    ]
    assert [request.header("x-nonce") for request in transport.sent] == [f"{number:032x}" for number in range(3)]
    assert len({request.header("x-signature") for request in transport.sent}) == 3
    assert {(request.body, request.header("x-request-id")) for request in transport.sent} == {(b'{"title":"x"}', "r1")}
    assert notes.slept == [0.525, 1.05]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599])
async def test_transient_answers_are_repeated_for_every_method(status: int) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        client, transport, _ = _client(answer(status))
        with pytest.raises(ApiError) as caught:
            await client.request(method, "/v1/x")
        assert len(transport.sent) == 3
        assert caught.value.is_retryable


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 402, 403, 404, 408, 409, 425, 451])
async def test_other_answers_are_final(status: int) -> None:
    client, transport, _ = _client(answer(status, None, location="/elsewhere"))
    with pytest.raises(ApiError) as caught:
        await client.jobs.get("j")
    assert len(transport.sent) == 1
    assert (caught.value.status, caught.value.operation) == (status, "jobs.get")


@pytest.mark.parametrize("kind", ["never_sent", "broken", "timeout"])
async def test_failures_of_the_transport_are_final_unless_asked_otherwise(kind: Any) -> None:
    client, transport, _ = _client(TransportFailure("cut", kind))
    with pytest.raises(DispersedConnectionError, match="cut") as caught:
        await client.jobs.get("j")
    assert len(transport.sent) == 1
    assert isinstance(caught.value, DispersedTimeoutError) == (kind == "timeout")
    assert isinstance(caught.value, ConnectionFailedError)
    steps = (TransportFailure("cut", kind), answer(200, JOB))
    for make, repeated in (
        (lambda it: it.jobs.get("j"), True),
        (lambda it: it.jobs.create({"title": "x"}), kind == "never_sent"),
        (lambda it: it.jobs.create({"title": "x"}, idempotency_key="k"), True),
    ):
        client, transport, _ = _client(*steps, retry_network_errors=True)
        if repeated:
            assert (await make(client)).uuid == "j"
        else:
            with pytest.raises(DispersedConnectionError):
                await make(client)
        assert len(transport.sent) == 1 + repeated


async def test_retries_are_the_callers_to_choose() -> None:
    for options, tries in (({"retry": 0}, 1), ({"retry": 1}, 2), ({"retry": 4}, 5), ({}, 3)):
        client, transport, _ = _client(answer(500))
        with pytest.raises(ApiError):
            await client.jobs.get("j", **options)
        assert len(transport.sent) == tries
        client, transport, _ = _client(answer(500), **options)
        with pytest.raises(ApiError):
            await client.jobs.get("j")
        assert len(transport.sent) == tries
    client, transport, _ = _client(answer(500))
    with pytest.raises(ApiError):
        await client.jobs.get("j", options=RequestOptions(retries=3))
    assert len(transport.sent) == 4


async def test_the_service_says_how_long_to_wait() -> None:
    client, _, notes = _client(answer(429, retry_after="7"), answer(503, retry_after="300"), answer(200, JOB))
    await client.jobs.get("j")
    assert notes.slept == [7.0, 30.0]


async def test_auth_headers_cannot_be_displaced() -> None:
    forged = {"X-API-KEY": "a", "x-Time": "b", "X-Nonce": "c", "x-signature": "d"}
    client, transport, _ = _client(before=[lambda request: request.headers.update(forged)])
    await client.with_options(headers=forged).jobs.get("j", headers={name.lower(): "e" for name in forged})
    names = [name for name, _ in transport.sent[0].headers]
    assert len(names) == len(set(names))
    plain, reference, _ = _client()
    await plain.jobs.get("j")
    for name in AUTH:
        assert transport.sent[0].header(name) == reference.sent[0].header(name)


async def test_which_headers_the_caller_may_set() -> None:
    client, transport, _ = _client()
    await client.jobs.create(
        {"title": "x"},
        headers={
            "Accept": "text/x",
            "User-Agent": "mine",
            "X-Dispersed-Client": "mine/1",
            "Content-Type": "text/plain",
            "Content-Length": "5",
            "Transfer-Encoding": "chunked",
        },
    )
    sent = dict(transport.sent[0].headers)
    assert (sent["accept"], sent["user-agent"], sent["x-dispersed-client"]) == ("text/x", "mine", "mine/1")
    assert sent["content-type"] == "application/json"
    assert not {"content-length", "transfer-encoding"} & set(sent)
    await client.jobs.get("j", headers={"content-type": "text/plain"})
    sent = dict(transport.sent[1].headers)
    assert "content-type" not in sent
    assert (sent["accept"], sent["x-dispersed-client"]) == ("application/json", f"@dispersed/sdk/{VERSION}")
    with pytest.raises(InvalidRequestError, match="printable ASCII"):
        await client.jobs.get("j", headers={"x-a": "b\r\nx-evil: 1"})


async def test_idempotency_keys() -> None:
    client, transport, _ = _client()
    await client.jobs.create({"title": "x"}, idempotency_key="k-1")
    await client.job_recipes.fork("r", options=RequestOptions(idempotency_key="k-2"))
    await client.jobs.create({"title": "x"}, headers={"X-Idempotency-Key": "k-3"})
    assert [request.header("x-idempotency-key") for request in transport.sent] == ["k-1", "k-2", "k-3"]
    with pytest.raises(InvalidRequestError, match="takes no idempotency key"):
        await client.jobs.get("j", options=RequestOptions(idempotency_key="k"))
    with pytest.raises(InvalidRequestError, match="visible ASCII"):
        await client.jobs.create({"title": "x"}, idempotency_key="a b")


async def test_time_limits() -> None:
    client, transport, _ = _client()
    await client.jobs.get("j")
    await client.jobs.get("j", timeout=60)
    await client.jobs.get("j", timeout=None, cancel=Deadline())
    await client.with_options(timeout=5).jobs.get("j", cancel=Deadline(3600))
    assert [request.timeout for request in transport.sent] == [30.0, 60, None, 5]
    assert client.timeout == 30.0
    for wrong in (0, -1):
        with pytest.raises(ConfigurationError, match="positive"):
            _client(timeout=wrong)
        with pytest.raises(InvalidRequestError, match="positive"):
            await client.jobs.get("j", timeout=wrong)


async def test_cancelling() -> None:
    cancel = Deadline()

    def later(request: Request) -> Response:
        cancel.cancel()
        return answer(503)

    transport = AsyncScripted(later)
    client = AsyncDispersed("pk_1", "sk_1", BASE, transport=transport, sleeper=async_sleep, environ={})
    # The back-off of half a second is not waited for, since the call was cancelled before it.
    with pytest.raises(DispersedCancelledError, match="cancelled by the caller") as caught:
        await client.jobs.get("j", cancel=cancel)
    assert caught.value.status == 503
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(DispersedCancelledError) as early:
        await client.jobs.get("j", cancel=cancel)
    assert early.value.outcome == "not_sent"
    assert len(transport.sent) == 1


async def test_hooks_see_no_signature_and_may_add_headers() -> None:
    seen: list[Any] = []

    def first(request: RequestInfo) -> None:
        seen.append((request.method, request.url.pathname, request.url.search, request.operation, request.attempt))
        assert not {"x-signature", "x-nonce", "x-time", "x-api-key"} & {name.lower() for name in request.headers}
        request.headers["X-Request-Id"] = f"r{request.attempt}"
        request.headers["ACCEPT"] = "text/x"

    def second(request: RequestInfo) -> None:
        assert request.headers["x-request-id"] == f"r{request.attempt}"
        del request.headers["X-Dispersed-Client"]

    def told(response: ResponseInfo, request: RequestInfo) -> None:
        seen.append((response.status, response.json(), response.text, request.headers["X-REQUEST-ID"]))
        response.headers["content-type"] = "spoiled"

    client, transport, _ = _client(
        answer(503, {"detail": "later"}), answer(200, JOB), before=[first, second], after=[told]
    )
    assert (await client.jobs.get("j")).title == "x"
    assert seen == [
        ("GET", "/v/v1/jobs/j", "", "jobs.get", 1),
        (503, {"detail": "later"}, '{"detail": "later"}', "r1"),
        ("GET", "/v/v1/jobs/j", "", "jobs.get", 2),
        (200, JOB, json.dumps(JOB), "r2"),
    ]
    assert [request.header("x-request-id") for request in transport.sent] == ["r1", "r2"]
    assert transport.sent[0].header("accept") == "text/x"
    assert transport.sent[0].header("x-dispersed-client") is None
    plain, reference, _ = _client()
    await plain.jobs.get("j")
    assert transport.sent[0].header("x-signature") == reference.sent[0].header("x-signature")


async def test_after_hooks_need_an_answer() -> None:
    seen: list[int] = []
    client, _, _ = _client(TransportFailure("cut"), after=[lambda response, request: seen.append(response.status)])
    with pytest.raises(DispersedConnectionError):
        await client.jobs.get("j")
    assert seen == []
    client, _, _ = _client(answer(404), after=[lambda response, request: seen.append(response.status)])
    with pytest.raises(NotFoundError):
        await client.jobs.get("j")
    assert seen == [404]


async def test_a_hook_that_raises_stops_the_call() -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("mine")

    client, transport, _ = _client(answer(503), before=[broken])
    with pytest.raises(RuntimeError, match="mine"):
        await client.jobs.get("j")
    assert transport.sent == []
    client, transport, _ = _client(answer(503), after=[broken])
    with pytest.raises(RuntimeError, match="mine"):
        await client.jobs.get("j")
    assert len(transport.sent) == 1


async def test_onlookers_see_masked_values() -> None:
    seen: list[Any] = []
    client, _, _ = _client(hooks=Hooks(on_request=[seen.append], on_response=[seen.append]))
    await client.jobs.get("j")
    headers = dict(seen[0].headers)
    assert headers["x-signature"] == headers["x-api-key"] == "***"
    assert seen[0].network == "dispersed"
    assert "sk_secret" not in repr(seen) + repr(client) + repr(client._config) + repr(vars(client))


async def test_a_wrong_clock_may_be_set_right_once() -> None:
    wrong = answer(401, {"code": "TIMESTAMP_OUT_OF_RANGE", "detail": "x"}, date="Sat, 03 Feb 2024 01:00:00 GMT")
    client, transport, _ = _client(wrong, answer(200, JOB), sync_clock=True)
    await client.jobs.get("j")
    skew = int(transport.sent[1].header("x-time") or 0) - int(transport.sent[0].header("x-time") or 0)
    assert 3_590_000 < skew < 3_610_000
    client, transport, _ = _client(wrong, sync_clock=True)
    with pytest.raises(ApiError):
        await client.jobs.get("j")
    assert len(transport.sent) < 4
    undated = answer(401, {"code": "TIMESTAMP_OUT_OF_RANGE"}, date="then")
    absurd = answer(401, {"code": "TIMESTAMP_OUT_OF_RANGE"}, date=f"Sat, 03 Feb 2024 01:00:00 -{'9' * 30}")
    for steps, options in (((wrong,), {}), ((undated,), {"sync_clock": True}), ((absurd,), {"sync_clock": True})):
        client, transport, _ = _client(*steps, **options)
        with pytest.raises(ApiError):
            await client.jobs.get("j")
        assert len(transport.sent) == 1


async def test_bodies_are_three_different_things() -> None:
    client, transport, _ = _client(answer(200, JOB), answer(204))
    await client.jobs.cancel("j")
    assert await client.jobs.cancel("j", {}) is None
    await client.jobs.cancel("j", {"reason": "r"})
    await client.ssh_public_keys.update("k", {"name": None})
    assert [request.body for request in transport.sent] == [None, b"{}", b'{"reason":"r"}', b'{"name":null}']


async def test_any_request() -> None:
    client, transport, _ = _client(answer(200, [1]), answer(204), Response(200, (), b"<html>"))
    assert await client.request("post", "/v1/x", {"a": [1, 2]}, body=None, retry=0) == [1]
    assert (transport.sent[0].method, transport.sent[0].url, transport.sent[0].body) == (
        "POST",
        f"{BASE}/v1/x?a=1%2C2",
        b"null",
    )
    assert await client.request("GET", "/v1/x") is None
    with pytest.raises(DispersedDecodeError, match="not JSON") as caught:
        await client.request("GET", "/v1/x")
    assert isinstance(caught.value, DispersedError)
    with pytest.raises(TypeError, match="unknown option 'retries'"):
        await client.request("GET", "/v1/x", retries=1)  # type: ignore[call-arg]


async def test_nothing_is_sent_for_an_empty_id() -> None:
    client, transport, _ = _client()
    with pytest.raises(ValueError, match="uuid must not be empty"):
        await client.jobs.get("")
    assert transport.sent == []


async def test_raw_answers() -> None:
    client, _, _ = _client(answer(503), answer(200, JOB, x_request_id="r1"))
    seen = await client.with_raw_response.jobs.get("j")
    assert (seen.status, seen.attempts, seen.request_id, seen.parsed.uuid) == (200, 2, "r1", "j")
    assert json.loads((await client.with_raw_response.request("GET", "/v1/x")).body) == JOB
    assert set(vars(client.with_raw_response)) - {"request"} == {
        name for name in vars(client) if not name.startswith("_") and name != "with_raw_response"
    }


async def test_copies_share_connections() -> None:
    client, transport, _ = _client(answer(500))
    copy = client.with_options(retry=0, headers={"x-a": "1"}, before=[], after=[])
    with pytest.raises(ApiError):
        await copy.with_options(headers={"x-b": "2"}).jobs.get("j")
    assert len(transport.sent) == 1
    assert (transport.sent[0].header("x-a"), transport.sent[0].header("x-b")) == ("1", "2")
    assert (client.retry, copy.retry, copy.public_key, copy.base_url) == (2, 0, "pk_1", BASE)
    await copy.aclose()
    async with client:
        pass
    assert transport.closed == 0
    async with AsyncDispersed("p", "s", environ={}) as own:
        assert own.base_url == "https://api.dispersed.com"


async def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PUBLIC_KEY", "SECRET_KEY", "API_BASE_URL"):
        monkeypatch.delenv(f"DISPERSED_{name}", raising=False)
        monkeypatch.delenv(f"ZER_{name}", raising=False)
    with pytest.raises(ValueError, match="public_key is required"):
        AsyncDispersed()
    monkeypatch.setenv("DISPERSED_PUBLIC_KEY", "pk_2")
    monkeypatch.setenv("ZER_SECRET_KEY", "sk_2")
    monkeypatch.setenv("DISPERSED_API_BASE_URL", "http://127.0.0.1:4242/dispersed/")
    client = AsyncDispersed()
    assert (client.public_key, client.base_url) == ("pk_2", "http://127.0.0.1:4242/dispersed")
    with pytest.raises(ConfigurationError, match="printable ASCII"):
        AsyncDispersed("pk\n", "s")


async def test_injected_clients_are_used_and_left_open() -> None:
    def handle(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={**JOB, "title": request.headers["x-api-key"]})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(handle)) as inner:
        async with AsyncDispersed("pk_1", "sk_1", BASE, transport=inner, environ={}) as client:
            assert (await client.jobs.get("j")).title == "pk_1"
        assert not inner.is_closed


async def test_every_error_of_a_call_is_one_of_ours() -> None:
    for step in (answer(404), TransportFailure("cut"), answer(200, [])):
        client, _, _ = _client(step)
        with pytest.raises(DispersedError) as caught:
            await client.jobs.get("j")
        assert isinstance(caught.value, SkerryError)
        assert (caught.value.network, caught.value.operation) == ("dispersed", "jobs.get")
