"""The client: settings, endpoints, options, raw answers, hooks, closing."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from skerry import AsyncArker
from skerry._kernel.hooks import Hooks
from skerry._kernel.options import Deadline, RequestOptions
from skerry._kernel.request import TransportFailure
from skerry.errors import (
    ConfigurationError,
    ConnectionFailedError,
    DeadlineExceededError,
    InvalidRequestError,
    NotFoundError,
    SkerryError,
)
from skerry.networks.arker import ArkerError, RetryOptions
from tests.io.script import AsyncScripted, Notes, Step, answer

pytestmark = pytest.mark.anyio

BASE = "https://api.test/api"
VM = {"vm_id": "vmh-1", "owner_id": "o", "created_at": "t", "state": "idle", "sessions": []}


def _client(*steps: Step, **options: Any) -> tuple[AsyncArker, AsyncScripted, Notes]:
    transport, notes = AsyncScripted(*(steps or (answer(200, VM),))), Notes()
    settings = {"api_key": "ark_live_0123456789abcdef", "base_url": BASE, "environ": {}, **options}
    client = AsyncArker(transport=transport, effects=notes.effects, sleeper=notes.async_sleep, **settings)
    return client, transport, notes


async def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ARKER_API_KEY", "AUTH_KEY", "ARKER_BASE_URL", "ARKER_BURST_BASE_URL", "ARKER_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="api_key is required; pass api_key or set ARKER_API_KEY"):
        AsyncArker(base_url=BASE)
    with pytest.raises(ValueError, match="region or base_url is required"):
        AsyncArker("key")
    monkeypatch.setenv("AUTH_KEY", " second ")
    monkeypatch.setenv("ARKER_REGION", "AWS-eu-west-1")
    client = AsyncArker()
    assert client.region == "aws-eu-west-1"
    assert client.base_url == "https://aws-eu-west-1.arker.ai"
    assert client.burst_base_url == "https://aws-burst-eu-west-1.arker.ai/api"
    monkeypatch.setenv("ARKER_BASE_URL", "http://127.0.0.1:4242/arker/")
    assert AsyncArker().base_url == "http://127.0.0.1:4242/arker"
    assert AsyncArker().region is None


async def test_keys_stay_hidden() -> None:
    client, _, _ = _client()
    assert "0123456789abcdef" not in repr(client)
    assert "0123456789abcdef" not in repr(client._config)
    with pytest.raises(ConfigurationError, match="printable ASCII"):
        _client(api_key="k\r\nx-evil: 1")


async def test_lists_are_lists() -> None:
    client, transport, _ = _client(answer(200, {"vms": [VM, {**VM, "vm_id": "vmh-2", "new": 1}], "total": 9}))
    vms = await client.list(limit=2, q="a b", sort="-created_at")
    assert transport.sent[0].url == f"{BASE}/v1/vms?limit=2&q=a%20b&sort=-created_at"
    assert [vm.vm_id for vm in vms] == ["vmh-1", "vmh-2"]
    assert (len(vms), vms.total, vms.items[0].state) == (2, 9, "idle")
    client, _, _ = _client(answer(200, {"goldens": [{"vm_id": "g", "name": "ubuntu", "source_golden": "ubuntu"}]}))
    goldens = await client.goldens()
    assert [golden.name for golden in goldens] == ["ubuntu"]
    assert len(goldens) == 1


async def test_strange_answers_are_passed_on() -> None:
    client, _, _ = _client(answer(200, {"anything": [1]}))
    assert len(await client.list()) == 0
    info = await client.get("vmh-1")
    assert info.raw == {"anything": [1]}
    assert info.vm_id is None


async def test_health_needs_no_key() -> None:
    client, transport, _ = _client(answer(200, {"status": "ok", "timestamp": "t"}))
    assert (await client.health()).status == "ok"
    assert transport.sent[0].header("authorization") is None


async def test_the_key_always_wins() -> None:
    client, transport, _ = _client()
    await client.get("x", options=RequestOptions(headers={"Authorization": "Bearer other", "x-a": "1"}))
    assert [value for name, value in transport.sent[0].headers if name == "authorization"] == [
        "Bearer ark_live_0123456789abcdef"
    ]
    assert transport.sent[0].header("x-a") == "1"


async def test_with_options_is_a_copy_over_the_same_transport() -> None:
    client, transport, _ = _client(answer(503))
    copy = client.with_options(timeout=5, headers={"x-a": "1"}, retry=False)
    with pytest.raises(ArkerError):
        await copy.get("x")
    assert len(transport.sent) == 1
    assert (transport.sent[0].timeout, transport.sent[0].header("x-a")) == (5, "1")
    again = copy.with_options(headers={"x-b": "2"}, timeout=None)
    with pytest.raises(ArkerError):
        await again.get("x")
    assert (transport.sent[1].timeout, transport.sent[1].header("x-a"), transport.sent[1].header("x-b")) == (
        None,
        "1",
        "2",
    )
    assert client.retry == RetryOptions()
    assert copy.retry.attempts == 1
    await copy.aclose()
    await client.aclose()
    assert transport.closed == 0


async def test_default_time_limit() -> None:
    client, transport, _ = _client()
    await client.get("x")
    other, sent, _ = _client(timeout=7)
    await other.get("x")
    await other.get("x", options=RequestOptions(timeout=9))
    assert [request.timeout for request in (*transport.sent, *sent.sent)] == [120.0, 7, 9]


async def test_errors_are_in_both_trees() -> None:
    client, _, _ = _client(answer(404, {"code": "not_found", "message": "VM not found"}, x_request_id="r7"))
    with pytest.raises(NotFoundError) as caught:
        await client.get("x")
    error = caught.value
    assert isinstance(error, ArkerError)
    assert (str(error), error.code, error.detail, error.status) == (
        "not_found: VM not found",
        "not_found",
        "VM not found",
        404,
    )
    assert (error.request_id, error.operation, error.network, error.outcome) == ("r7", "vms.get", "arker", "rejected")
    assert b"VM not found" in (error.body or b"")
    assert error.to_dict()["error"] == "ArkerNotFoundError"


async def test_transport_trouble_is_a_network_error() -> None:
    client, transport, notes = _client(TransportFailure("fetch failed"), retry={"attempts": 2})
    with pytest.raises(ConnectionFailedError) as caught:
        await client.get("x")
    assert isinstance(caught.value, ArkerError)
    assert (caught.value.code, caught.value.status, str(caught.value)) == (
        "network_error",
        0,
        "network_error: fetch failed",
    )
    assert len(transport.sent) == 2
    assert notes.slept == [0.2]


async def test_raw_answers() -> None:
    client, _, _ = _client(answer(503), answer(200, VM, x_request_id="r1"))
    seen = await client.with_raw_response.get("vmh-1")
    assert (seen.status, seen.attempts, seen.request_id, seen.parsed.vm_id) == (200, 2, "r1", "vmh-1")
    listed = await client.with_raw_response.list()
    assert listed.parsed.raw == VM
    deleted = await client.with_raw_response.vm("vmh-1").delete()
    assert deleted.status == 200


async def test_hooks_are_told() -> None:
    seen: list[Any] = []
    client, _, _ = _client(answer(503), answer(200, VM), hooks=Hooks(on_request=[seen.append], on_retry=[seen.append]))
    await client.get("vmh-1")
    assert [type(value).__name__ for value in seen] == ["RequestSeen", "RetrySeen", "RequestSeen"]
    assert "0123456789abcdef" not in repr(seen)
    client.with_options(hooks=Hooks())
    assert len(seen) == 3


async def test_deadlines_cut_back_offs() -> None:
    client, transport, notes = _client(answer(503))
    with pytest.raises(DeadlineExceededError):
        await client.get("x", options=RequestOptions(deadline=Deadline(0.3, clock=lambda: notes.now)))
    assert len(transport.sent) == 2


async def test_keys_go_with_runs_only() -> None:
    client, _, _ = _client()
    with pytest.raises(InvalidRequestError):
        await client.get("x", options=RequestOptions(idempotency_key="k"))


async def test_context_manager_and_injected_client() -> None:
    def handle(request: httpx2.Request) -> httpx2.Response:
        assert request.url.raw_path == b"/api/v1/vms/a%2Fb"
        assert set(request.headers) == {"host", "authorization", "user-agent", "accept"}
        return httpx2.Response(200, json=VM)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(handle)) as inner:
        async with AsyncArker("k", base_url=BASE, transport=inner, environ={}) as client:
            assert (await client.get("a/b")).vm_id == "vmh-1"
        assert not inner.is_closed


async def test_the_default_transport_is_closed_with_the_client() -> None:
    async with AsyncArker("k", base_url=BASE, environ={}) as client:
        pass
    with pytest.raises(SkerryError, match="closed"):
        await client.get("x")


@pytest.mark.parametrize("bad", [{"tries": 3}, 3, "no", True])
async def test_retry_that_is_none(bad: Any) -> None:
    with pytest.raises(ConfigurationError):
        _client(retry=bad)
