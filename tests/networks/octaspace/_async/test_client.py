"""The client: key, headers, options, retries, hooks, deadlines, raw answers, closing."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from skerry._io.waiting import async_sleep
from skerry._kernel.hooks import Hooks
from skerry._kernel.options import Deadline, RequestOptions
from skerry._kernel.request import Request, Response, TransportFailure
from skerry.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    DeadlineExceededError,
    InvalidRequestError,
    ServerError,
    SkerryError,
)
from skerry.networks.octaspace import (
    AsyncOctaSpace,
    OctaAbortedError,
    OctaApiError,
    OctaAuthenticationError,
    OctaDecodeError,
    OctaNetworkError,
    OctaNotFoundError,
    OctaRateLimitError,
    OctaServerError,
    OctaTimeoutError,
    RequestContext,
    ResponseContext,
)
from tests.io.script import AsyncScripted, Notes, Step, answer

pytestmark = pytest.mark.anyio

KEY = "k_test_0123456789abcdef0123456789abcdef0123456789abcdef01234567"
BASE = "https://api.test/v"


def _client(*steps: Step, **options: Any) -> tuple[AsyncOctaSpace, AsyncScripted, Notes]:
    transport, notes = AsyncScripted(*(steps or (answer(200, {"balance": 1}),))), Notes()
    settings = {"api_key": KEY, "base_url": BASE, "effects": notes.effects, "sleeper": notes.async_sleep, **options}
    return AsyncOctaSpace(transport=transport, **settings), transport, notes


async def test_the_key_goes_as_it_is_and_only_where_it_is_needed() -> None:
    client, transport, _ = _client()
    await client.accounts.balance(headers={"Authorization": "Bearer other"})
    await client.network.get()
    await client.request("GET", "/services/r")
    assert [request.header("authorization") for request in transport.sent] == [KEY, None, KEY]
    assert KEY not in repr(client)


@pytest.mark.parametrize("key", [None, "", "  "])
async def test_without_a_key_nothing_is_sent(key: str | None) -> None:
    seen: list[Any] = []
    client, transport, _ = _client(api_key=key, on_request=seen.append, hooks=Hooks(on_request=[seen.append]))
    for call in (client.accounts.get, client.nodes.list, client.accounts.generate_wallet, client.apps.list):
        with pytest.raises(OctaAuthenticationError) as caught:
            await call()
        assert (caught.value.status, caught.value.outcome) == (401, "not_sent")
        assert isinstance(caught.value, AuthenticationError)
        assert "OCTA_API_KEY" in caught.value.__notes__[0]
    with pytest.raises(OctaAuthenticationError):
        await client.services.session("u").stop()
    assert (transport.sent, seen) == ([], [])
    await client.network.get()
    proxied, transport, _ = _client(api_key=key, require_api_key=False)
    await proxied.accounts.get()
    assert transport.sent[0].header("authorization") is None


async def test_settings_from_the_environment_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTA_API_KEY", KEY)
    monkeypatch.setenv("OCTA_BASE_URL", "https://env.test/x//")
    plain, transport, _ = _client(api_key=None, base_url=None)
    assert plain.base_url == "https://api.octa.computer"
    with pytest.raises(OctaAuthenticationError):
        await plain.accounts.get()
    transport = AsyncScripted(answer(500))
    client = AsyncOctaSpace.from_env(transport=transport)
    assert (client.base_url, client.retries) == ("https://env.test/x/", 2)
    more = {"OCTA_API_KEY": f" {KEY} ", "OCTA_MAX_RETRIES": "0", "OCTA_USER_AGENT": "mine/1", "OCTA_BASE_URL": " "}
    client = AsyncOctaSpace.from_env(more, transport=transport, timeout=5)
    with pytest.raises(OctaServerError):
        await client.accounts.get()
    sent = transport.sent[0]
    assert (sent.url, sent.timeout) == ("https://api.octa.computer/accounts", 5)
    assert (sent.header("authorization"), sent.header("user-agent")) == (KEY, "mine/1")
    assert len(transport.sent) == 1
    given = AsyncOctaSpace("", "https://given.test", retries=1, environ=more, transport=transport)
    assert (given.base_url, given.retries) == ("https://given.test", 1)
    with pytest.raises(OctaAuthenticationError):
        await given.accounts.get()
    for wrong in ("x", "-1", "1.5", "²"):
        with pytest.raises(ConfigurationError, match="OCTA_MAX_RETRIES"):
            AsyncOctaSpace.from_env({"OCTA_MAX_RETRIES": wrong})


async def test_settings_that_make_no_sense() -> None:
    for settings in (
        {"retries": -1},
        {"retries": True},
        {"timeout": 0},
        {"timeout_ms": -1},
        {"api_key": "a\r\nx-evil: 1"},
        {"user_agent": "a\nb"},
        {"base_url": "/api/octa"},
        {"transport": object()},
    ):
        with pytest.raises(ConfigurationError):
            AsyncOctaSpace(**{"api_key": KEY, **settings})


async def test_headers() -> None:
    client, transport, _ = _client()
    await client.accounts.balance(headers={"Content-Type": "text/plain", "Content-Length": "5", "X-A": "1"})
    await client.with_options(headers={"x-b": "2"}, user_agent="mine/2").services.session("u").stop(3)
    first, second = (dict(request.headers) for request in transport.sent)
    assert first == {
        "authorization": KEY,
        "accept": "application/json",
        "user-agent": "skerry/0.1.0 (python)",
        "x-a": "1",
    }
    assert second == {
        "authorization": KEY,
        "accept": "application/json",
        "user-agent": "mine/2",
        "x-b": "2",
        "content-type": "application/json",
    }
    with pytest.raises(InvalidRequestError, match="printable ASCII"):
        await client.accounts.get(headers={"x-a": "b\r\nx-evil: 1"})


@pytest.mark.parametrize("status", [429, 500, 501, 502, 503, 504, 599])
async def test_only_get_is_tried_again(status: int) -> None:
    client, transport, _ = _client(answer(status))
    for method, tries in (("GET", 3), ("POST", 1), ("PATCH", 1), ("PUT", 1), ("DELETE", 1)):
        before = len(transport.sent)
        with pytest.raises(OctaApiError) as caught:
            await client.request(method, "/x")
        assert len(transport.sent) - before == tries
        assert caught.value.retryable
    for name, arguments, tries in (("reboot", (1,), 3), ("download_ident", (1,), 3), ("list", (), 3)):
        before = len(transport.sent)
        with pytest.raises(OctaApiError):
            await getattr(client.nodes, name)(*arguments)
        assert len(transport.sent) - before == tries


@pytest.mark.parametrize("kind", ["never_sent", "broken", "timeout"])
async def test_failures_of_the_transport(kind: Any) -> None:
    client, transport, _ = _client(TransportFailure("cut", kind), answer(200, {"balance": 5}))
    assert (await client.accounts.balance()).balance == 5
    client, transport, _ = _client(TransportFailure("cut", kind))
    with pytest.raises(OctaNetworkError) as caught:
        await client.accounts.generate_wallet()
    assert len(transport.sent) == 1
    assert caught.value.outcome == ("not_sent" if kind == "never_sent" else "unknown")
    assert isinstance(caught.value, ConnectionFailedError)
    assert isinstance(caught.value, OctaTimeoutError) == (kind == "timeout")
    assert str(caught.value) == ("Request timed out after 30000ms" if kind == "timeout" else "cut")
    with pytest.raises(OctaNetworkError) as late:
        await client.accounts.get(timeout=0.0015)
    assert str(late.value) == ("Request timed out after 1.5ms" if kind == "timeout" else "cut")
    assert len(transport.sent) == 4


async def test_retries_are_the_callers_to_choose() -> None:
    for options, tries in (({"retries": 0}, 1), ({"retries": 1}, 2), ({"retries": 4}, 5), ({}, 3)):
        for made, called in ((options, {}), ({}, options)):
            client, transport, _ = _client(answer(500), **made)
            with pytest.raises(OctaServerError):
                await client.accounts.get(**called)
            assert len(transport.sent) == tries
    client, transport, _ = _client(answer(500))
    with pytest.raises(OctaServerError):
        await client.with_options(retries=1).accounts.get(options=RequestOptions(retries=3))
    assert len(transport.sent) == 4
    for wrong in ({"retries": -1}, {"timeout": 0}):
        with pytest.raises(InvalidRequestError):
            await client.accounts.get(**wrong)
    with pytest.raises(TypeError, match="unknown option 'retry'"):
        await client.accounts.get(retry=1)  # type: ignore[call-arg]
    assert len(transport.sent) == 4


async def test_how_long_to_wait() -> None:
    client, _, notes = _client(
        answer(429, retry_after="7"),
        answer(429, retry_after="0.25"),
        answer(429, retry_after="0"),
        answer(503, retry_after="300"),
        answer(429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"),
        answer(429, retry_after_ms="900"),
        answer(429, retry_after="86400"),
        answer(429, retry_after="9" * 400),
        answer(200, {"balance": 1}),
        retries=8,
    )
    await client.accounts.balance()
    # Chance is nought here, so that every wait without a word of the service is nothing.
    assert notes.slept == [7.0, 0.25, 0.0, 0.0, 0.0, 0.0, 86400.0, 0.0]
    client, _, _ = _client(answer(429, {}, retry_after="30"), retries=0)
    with pytest.raises(OctaRateLimitError) as caught:
        await client.accounts.get()
    assert caught.value.retry_after == 30
    client, _, _ = _client(answer(503, {}, retry_after="30"), retries=0)
    with pytest.raises(OctaServerError) as other:
        await client.accounts.get()
    assert other.value.retry_after is None


async def test_time_limits() -> None:
    client, transport, _ = _client()
    await client.accounts.get()
    await client.accounts.get(timeout=60)
    await client.accounts.get(timeout=None, cancel=Deadline())
    await client.with_options(timeout=5).accounts.get(cancel=Deadline(3600))
    assert [request.timeout for request in transport.sent] == [30.0, 60, None, 5]
    assert _client(timeout_ms=1500)[0].timeout == 1.5
    assert _client(timeout=None)[0].timeout is None


async def test_cancelling() -> None:
    cancel = Deadline()

    def later(request: Request) -> Response:
        cancel.cancel()
        return answer(503)

    transport = AsyncScripted(later)
    client = AsyncOctaSpace(KEY, BASE, transport=transport, sleeper=async_sleep)
    # The back-off is not waited for, since the call was cancelled before it.
    with pytest.raises(OctaAbortedError, match=r"^Request was aborted$") as caught:
        await client.accounts.get(cancel=cancel)
    assert caught.value.status == 503
    assert isinstance(caught.value, OctaNetworkError)
    assert isinstance(caught.value, DeadlineExceededError)
    assert not caught.value.retryable
    with pytest.raises(OctaAbortedError) as early:
        await client.accounts.get(cancel=cancel)
    assert early.value.outcome == "not_sent"
    assert len(transport.sent) == 1
    with pytest.raises(OctaAbortedError, match="deadline has passed"):
        await client.accounts.get(cancel=Deadline(0))


async def test_hooks_are_told_every_try_and_may_add_headers() -> None:
    seen: list[Any] = []

    def told(context: ResponseContext) -> None:
        seen.append((context.status, context.duration_ms, context.request, context.headers["X-Request-Id"]))
        context.headers["x-request-id"] = "spoiled"

    def before(context: RequestContext) -> None:
        seen.append((context.method, context.url, context.attempt, context.body, context))
        assert KEY not in repr(dict(context.headers)) + repr(context)
        assert context.headers["Authorization"] == "***"
        context.headers["X-Trace"] = f"t{context.attempt}"
        context.headers["Authorization"] = "forged"

    client, transport, _ = _client(
        answer(503, {}, x_request_id="r1"), answer(200, [{"uuid": "u"}], x_request_id="r2"), on_request=before
    )
    client = client.with_options(on_response=told)
    raw = await client.sessions.with_raw_response.list(recent=True)
    assert (raw.attempts, raw.request_id) == (2, "r2")
    contexts = [entry[-1] for entry in seen if len(entry) == 5]
    assert [entry[:4] for entry in seen if len(entry) == 5] == [
        ("GET", f"{BASE}/sessions?recent=true", 0, None),
        ("GET", f"{BASE}/sessions?recent=true", 1, None),
    ]
    assert [entry for entry in seen if len(entry) == 4] == [(503, 0, contexts[0], "r1"), (200, 0, contexts[1], "r2")]
    assert [request.header("x-trace") for request in transport.sent] == ["t0", "t1"]
    assert {request.header("authorization") for request in transport.sent} == {KEY}
    assert "RequestContext" in repr(contexts[0])
    await client.with_options(on_request=None, on_response=None).network.get()
    assert len(seen) == 4


async def test_the_body_that_hooks_see_is_data() -> None:
    seen: list[RequestContext] = []
    client, _, _ = _client(answer(200, {}), on_request=seen.append)
    await client.services.session("u").stop(4)
    await client.network.get()
    assert seen[0].body == {"score": 4}
    assert "authorization" not in seen[1].headers


async def test_a_hook_that_raises_ends_the_call() -> None:
    def bad(context: object) -> None:
        raise RuntimeError("hook trouble")

    client, transport, _ = _client(on_request=bad)
    with pytest.raises(RuntimeError, match="hook trouble"):
        await client.accounts.get()
    assert transport.sent == []
    client, transport, _ = _client(answer(500), on_response=bad)
    with pytest.raises(RuntimeError, match="hook trouble"):
        await client.accounts.get()
    assert len(transport.sent) == 1


async def test_errors_carry_what_was_said() -> None:
    client, _, _ = _client(answer(404, {"message": "Node not found", "code": "NOT_FOUND"}, x_request_id="r-1"))
    with pytest.raises(OctaNotFoundError, match=r"^Node not found$") as caught:
        await client.nodes.get("unknown_node")
    error = caught.value
    assert (error.network, error.operation, error.status, error.code) == ("octaspace", "nodes.get", 404, "NOT_FOUND")
    assert (error.request_id, error.details) == ("r-1", {"message": "Node not found", "code": "NOT_FOUND"})
    assert error.to_dict()["code"] == "NOT_FOUND"


async def test_a_server_that_repeats_the_key_is_not_repeated() -> None:
    client, _, _ = _client(answer(401, {"message": f"key {KEY} is unknown", "key": KEY}))
    with pytest.raises(OctaAuthenticationError) as caught:
        await client.accounts.get()
    for shown in (str(caught.value), repr(caught.value), str(caught.value.to_dict())):
        assert KEY not in shown
    assert "***" in str(caught.value)


async def test_answers_that_are_not_json_are_not_tried_again() -> None:
    for call in ("get", "balance", "generate_wallet"):
        client, transport, _ = _client(Response(200, (), b"{oops"))
        with pytest.raises(OctaDecodeError, match="not JSON") as caught:
            await getattr(client.accounts, call)()
        assert caught.value.operation == f"accounts.{call}"
        assert caught.value.body == b"{oops"
        assert len(transport.sent) == 1
    client, _, _ = _client(Response(200, (), b"ok"))
    for name, arguments in (("reboot", {}), ("update_prices", {"base": 1})):
        with pytest.raises(OctaDecodeError):
            await getattr(client.nodes, name)(1, **arguments)
    client, _, _ = _client(answer(200, {"not": "a list"}))
    with pytest.raises(OctaDecodeError, match="not a list"):
        await client.nodes.list()


async def test_raw_answers() -> None:
    client, _, _ = _client(answer(500), answer(200, {"balance": 12, "new": 1}, x_request_id="r"))
    raw = await client.with_raw_response.accounts.balance()
    assert (raw.status, raw.attempts, raw.request_id) == (200, 2, "r")
    assert raw.parsed.extra == {"new": 1}
    started = await client.with_raw_response.services.vpn.start(1)
    assert started.body == b'{"balance": 12, "new": 1}'
    info = await client.with_raw_response.services.session("u").info(retries=0)
    assert info.parsed.extra == {"balance": 12, "new": 1}
    with pytest.raises(SkerryError):
        await _client(answer(500))[0].with_raw_response.request("GET", "/x", retries=0)


async def test_other_calls() -> None:
    client, transport, _ = _client(answer(200, {"a": [1]}), answer(204))
    assert await client.request("get", "/services/r", {"a b": True, "c": None, "d": [1.5, "e"]}) == {"a": [1]}
    assert await client.request("POST", "/x", body=None) is None
    assert [(request.method, request.url, request.body) for request in transport.sent] == [
        ("GET", f"{BASE}/services/r?a%20b=true&d=1.5&d=e", None),
        ("POST", f"{BASE}/x", b"null"),
    ]
    for path in ("x", "/x?a=1", "/a/../b", "/a b", "/é"):
        with pytest.raises(InvalidRequestError):
            await client.request("GET", path)


async def test_closing() -> None:
    client, transport, _ = _client()
    async with client:
        await client.with_options(timeout=1).aclose()
    assert transport.closed == 0
    own = AsyncOctaSpace(KEY)
    await own.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await own.accounts.get()


async def test_an_injected_httpx2_client() -> None:
    def handle(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"balance": 1000}, headers={"x-request-id": request.headers["authorization"]})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(handle)) as inner:
        client = AsyncOctaSpace("test", transport=inner)
        raw = await client.accounts.with_raw_response.balance()
        assert (raw.parsed.balance, raw.request_id) == (1000, "test")
        await client.aclose()
        assert (await AsyncOctaSpace("again", transport=inner).accounts.balance()).balance == 1000


async def test_server_errors_are_in_the_common_tree() -> None:
    client, _, _ = _client(answer(500, {"error": "boom"}), retries=0)
    with pytest.raises(ServerError, match="boom"):
        await client.accounts.get()
