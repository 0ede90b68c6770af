"""The client: roles and keys, headers, options, retries, hooks, raw answers, closing."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import httpx2
import pytest

from skerry._kernel.hooks import Hooks
from skerry._kernel.request import TransportFailure
from skerry.errors import ConfigurationError, InvalidRequestError, SkerryError
from skerry.money import Money
from skerry.networks.dc1 import (
    APIError,
    AsyncDC1,
    AuthError,
    DC1CancelledError,
    DC1ConnectionError,
    DC1DecodeError,
    DC1Error,
    DC1RateLimitedError,
    Deadline,
    RequestOptions,
)
from tests.io.script import AsyncScripted, Notes, Step, answer

pytestmark = pytest.mark.anyio

BASE = "https://api.test/p"
RENTER, PROVIDER, ADMIN = "dc1-renter-0a1b2c3d4e5f", "dc1-provider-0a1b2c3d4e5f", "admin-0123456789"
KEYS = {"api_key": RENTER, "provider_key": PROVIDER, "admin_token": ADMIN}


def _client(*steps: Step, **options: Any) -> tuple[AsyncDC1, AsyncScripted, Notes]:
    transport, notes = AsyncScripted(*(steps or (answer(200, {}),))), Notes()
    settings = {"base_url": BASE, "environ": {}, **KEYS, **options}
    client = AsyncDC1(transport=transport, effects=notes.effects, sleeper=notes.async_sleep, **settings)
    return client, transport, notes


async def test_each_role_sends_its_own_key_and_no_other() -> None:
    client, transport, _ = _client()
    await client.get_balance()
    await client.provider.status()
    await client.admin.dashboard()
    await client.provider.register("G", "g@x.test", "RTX", os="linux")
    await client.request("GET", "/api/x", role=None)
    names = ("x-renter-key", "x-provider-key", "x-admin-token")
    assert [[request.header(name) for name in names] for request in transport.sent] == [
        [RENTER, None, None],
        [None, PROVIDER, None],
        [None, None, ADMIN],
        [None, None, None],
        [None, None, None],
    ]
    assert [request.header("user-agent") for request in transport.sent[:2]] == [
        "dc1-python/0.1.0",
        "dc1-provider-python/0.1.0",
    ]


async def test_what_callers_cannot_set() -> None:
    client, transport, _ = _client()
    given = {"X-Renter-Key": "other", "content-length": "5", "user-agent": "mine", "x-a": "1"}
    await client.get_balance(options=RequestOptions(headers=given))
    headers = dict(transport.sent[0].headers)
    assert headers == {"content-type": "application/json", "user-agent": "mine", "x-a": "1", "x-renter-key": RENTER}


async def test_looking_around_needs_no_key() -> None:
    client, transport, _ = _client(answer(200, {"providers": []}), api_key=None, provider_key=None)
    assert await client.list_providers() == []
    assert transport.sent[0].header("x-renter-key") is None
    assert transport.sent[0].url == f"{BASE}/api/renters/available-providers"
    for call, words in (
        (client.get_balance, "pass api_key, or set DCP_RENTER_KEY"),
        (client.me, "pass api_key"),
        (client.provider.claim, "pass provider_key, or set SKERRY_DC1_PROVIDER_KEY"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            await call()
    assert len(transport.sent) == 1


async def test_keys_that_cannot_be_sent() -> None:
    for name in KEYS:
        with pytest.raises(ConfigurationError, match="printable ASCII"):
            AsyncDC1(**{name: "a\nb"}, environ={})


async def test_nothing_is_repeated_unless_asked_for() -> None:
    client, transport, _ = _client(answer(503))
    with pytest.raises(APIError):
        await client.get_balance()
    assert len(transport.sent) == 1
    client, transport, notes = _client(answer(429, {"retryAfterSeconds": 7}), answer(503), answer(200, {}), retries=2)
    await client.get_balance()
    assert (len(transport.sent), notes.slept[0]) == (3, 7.0)


async def test_submissions_are_repeated_with_a_key_only() -> None:
    client, transport, _ = _client(answer(503), retries=3)
    with pytest.raises(APIError):
        await client.jobs.create(job_type="training")
    assert len(transport.sent) == 1
    client, transport, _ = _client(answer(503), answer(201, {"job": {"job_id": "j"}}), retries=3)
    made = await client.jobs.create(job_type="training", options=RequestOptions(idempotency_key="k1"))
    assert made.job.id == "j"
    assert [request.header("x-idempotency-key") for request in transport.sent] == ["k1", "k1"]
    for key in ("", "k" * 129):
        with pytest.raises(InvalidRequestError, match="1 to 128"):
            await client.jobs.dispatch(options=RequestOptions(idempotency_key=key))
    with pytest.raises(InvalidRequestError, match="takes no idempotency key"):
        await client.get_balance(options=RequestOptions(idempotency_key="k"))


async def test_a_used_up_quota_is_final() -> None:
    client, transport, _ = _client(
        answer(429, {"error": "q", "daily_jobs_limit": 100, "submitted_today": 100}), retries=5
    )
    with pytest.raises(DC1RateLimitedError):
        await client.jobs.dispatch(options=RequestOptions(idempotency_key="k"))
    assert len(transport.sent) == 1


async def test_time_limits() -> None:
    client, transport, _ = _client(timeout=9.0)
    await client.get_balance()
    await client.get_balance(options=RequestOptions(timeout=2.0))
    await client.v1.chat("m", [])
    await client.with_options(timeout=None).get_balance()
    assert [request.timeout for request in transport.sent] == [9.0, 2.0, 330.0, None]
    with pytest.raises(ConfigurationError, match="positive"):
        AsyncDC1("k", timeout=0, environ={})
    deadline = Deadline(None)
    deadline.cancel()
    with pytest.raises(DC1CancelledError) as caught:
        await client.get_balance(options=RequestOptions(deadline=deadline))
    assert (caught.value.outcome, caught.value.network) == ("not_sent", "dc1")


async def test_hooks_see_no_keys() -> None:
    seen: list[Any] = []
    hooks = Hooks(on_request=[seen.append], on_response=[seen.append], on_error=[seen.append])
    client, _, _ = _client(answer(401, {"error": f"{PROVIDER} is unknown"}), hooks=hooks)
    with pytest.raises(AuthError):
        await client.provider.get_jobs("queued")
    with pytest.raises(AuthError):
        await client.me()
    assert [type(one).__name__ for one in seen] == ["RequestSeen", "ResponseSeen", "ErrorSeen"] * 2
    text = repr(seen) + repr(client)
    assert not any(key in text for key in KEYS.values())
    assert "/api/providers/***/jobs" in text


async def test_raw_answers() -> None:
    client, _, _ = _client(answer(200, {"balance_halala": 7}, x_request_id="r1"))
    seen = await client.with_raw_response.get_balance()
    assert (seen.status, seen.request_id, seen.parsed.balance) == (200, "r1", Money(7, "SAR"))
    assert json.loads((await client.with_raw_response.provider.status()).body) == {"balance_halala": 7}
    raw = client.with_raw_response
    resources = {name for name in vars(client) if not name.startswith("_") and name != "with_raw_response"}
    assert resources <= set(vars(raw))
    for name in resources:
        resource = getattr(client, name)
        methods = {
            word for word in dir(resource) if not word.startswith("_") and callable(getattr(type(resource), word, None))
        }
        missing = methods - set(vars(getattr(raw, name)))
        assert all(word.startswith("stream") for word in missing), (name, missing)


async def test_copies_share_connections() -> None:
    client, transport, _ = _client(answer(503))
    copy = client.with_options(retries=1, headers={"x-a": "1"})
    with pytest.raises(APIError):
        await copy.with_options(headers={"x-b": "2"}).get_balance()
    assert len(transport.sent) == 2
    assert (transport.sent[0].header("x-a"), transport.sent[0].header("x-b")) == ("1", "2")
    assert (client.retries, copy.retries, copy.base_url, copy.timeout) == (0, 1, BASE, 30.0)
    await copy.aclose()
    async with client:
        pass
    assert transport.closed == 0
    async with AsyncDC1(environ={}) as own:
        assert own.base_url == "https://api.dcp.sa"


async def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCP_RENTER_KEY", RENTER)
    monkeypatch.setenv("API_BASE", "http://127.0.0.1:4242/dc1/")
    transport = AsyncScripted(answer(200, {}))
    async with AsyncDC1(transport=transport) as client:
        await client.get_balance()
    assert transport.sent[0].url == "http://127.0.0.1:4242/dc1/api/renters/balance"
    assert transport.sent[0].header("x-renter-key") == RENTER


async def test_injected_clients_are_used_and_left_open() -> None:
    def handle(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"name": request.headers["x-renter-key"], "path": str(request.url)})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(handle)) as inner:
        async with AsyncDC1("a key+1", BASE, transport=inner, environ={}) as client:
            found = await client.me()
            assert (found.name, found.extra["path"]) == ("a key+1", f"{BASE}/api/renters/me?key=a%20key%2B1")
        assert not inner.is_closed


async def test_every_error_of_a_call_is_one_of_ours() -> None:
    for step, kind in (
        (answer(404, {"error": "Job not found"}), APIError),
        (TransportFailure("cut"), DC1ConnectionError),
        (answer(200, []), DC1DecodeError),
    ):
        client, _, _ = _client(step)
        with pytest.raises(kind) as caught:
            await client.get_job("j")
        assert isinstance(caught.value, DC1Error)
        assert isinstance(caught.value, SkerryError)
        assert (caught.value.network, caught.value.operation) == ("dc1", "jobs.get")


async def test_money_is_sent_in_whole_halala() -> None:
    client, transport, _ = _client()
    await client.wallet.top_up(Money.of("50.25", "SAR"))
    await client.provider.withdraw(Money(1000, "SAR"), iban="SA0380000000608010167519")
    await client.admin.adjust_balance(1, -Money(5, "SAR"))
    assert [json.loads(request.body) for request in transport.sent] == [  # type: ignore[arg-type]
        {"amount_halala": 5025},
        {"amount_halala": 1000, "iban": "SA0380000000608010167519"},
        {"amount_halala": -5},
    ]
    for call in (
        client.wallet.top_up,
        partial(client.provider.withdraw, iban="x"),
        partial(client.admin.credit_renter, 1, reason="x"),
    ):
        with pytest.raises(InvalidRequestError, match="SAR"):
            await call(Money(1, "USD"))


async def test_the_general_request() -> None:
    client, transport, _ = _client(answer(200, {"a": 1}))
    got = await client.request("post", "/api/x%20y", query={"a": "1 2", "b": None}, body={"c": None})
    assert got == {"a": 1}
    request = transport.sent[0]
    assert (request.method, request.url, request.body) == ("POST", f"{BASE}/api/x%20y?a=1%202", b'{"c":null}')
    await client.request("PUT", "/api/x", body=b"as it is", role="admin")
    assert (transport.sent[1].body, transport.sent[1].header("x-admin-token")) == (b"as it is", ADMIN)
