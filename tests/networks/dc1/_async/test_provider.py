"""A provider's day: heartbeats that are signed, work that is taken and reported."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skerry._kernel.request import Request, TransportFailure
from skerry.errors import ConflictError
from skerry.money import Money
from skerry.networks.dc1 import AsyncDC1, sign_heartbeat, sign_provider_event, sign_task_spec, verify_task_spec
from tests.io.script import AsyncScripted, Notes, Step, answer

pytestmark = pytest.mark.anyio

KEY, SECRET = f"dc1-provider-{'0' * 32}", "hmac-secret-for-tests"


def _client(*steps: Step, **options: Any) -> tuple[AsyncDC1, AsyncScripted]:
    transport, notes = AsyncScripted(*(steps or (answer(200, {}),))), Notes()
    client = AsyncDC1(
        base_url="https://api.test",
        provider_key=KEY,
        transport=transport,
        effects=notes.effects,
        sleeper=notes.async_sleep,
        environ={},
        **options,
    )
    return client, transport


def _body(request: Request) -> Any:
    return json.loads(request.body or b"null")


async def test_heartbeats_are_signed_where_there_is_a_secret() -> None:
    client, transport = _client(hmac_secret=SECRET)
    await client.provider.daemon_heartbeat(gpu_status={"gpu_name": "RTX 4090", "gpu_vram_mib": 24564})
    await client.provider.heartbeat({"temp_c": 40})
    await client.provider.announce({"gpu_model": "RTX 4090"})
    # The known answer of section 2.4.
    assert transport.sent[0].header("x-dc1-signature") == (
        "sha256=1c32afc52c17b6b980840c21e25b3840f3d50ac2acd506768ee70829efffac61"
    )
    for request in transport.sent:
        assert request.header("x-dc1-signature") == sign_heartbeat(SECRET, request.body or b"")
        assert request.header("x-provider-key") == KEY
    assert [_body(request) for request in transport.sent] == [
        {"api_key": KEY, "gpu_status": {"gpu_name": "RTX 4090", "gpu_vram_mib": 24564}},
        {"daemon_version": "sdk/0.1.0", "gpu_spec": {"temp_c": 40}},
        {"daemon_version": "sdk/0.1.0", "resource_spec": {"gpu_model": "RTX 4090"}},
    ]
    bare, transport = _client()
    await bare.provider.heartbeat()
    assert transport.sent[0].header("x-dc1-signature") is None
    assert _body(transport.sent[0]) == {"daemon_version": "sdk/0.1.0"}


async def test_a_job_from_claim_to_result() -> None:
    spec = '{"image_override":"dc1/general-worker:latest","script":"print(1)\\n"}'
    claim = {"job_id": "j", "task_spec": json.loads(spec), "task_spec_hmac": sign_task_spec(SECRET, spec)}
    client, transport = _client(
        answer(200, {"job": claim}),
        answer(200, {"success": True, "phase": "generating", "cold_start_ms": 14}),
        answer(200, {"success": True, "lines_written": 1, "attempt_number": 1}),
        answer(200, {"success": True, "status": "completed", "cost_halala": 11, "provider_earned_halala": 8}),
        answer(200, {"success": True, "message": "Job already settled (completed)"}),
    )
    taken = await client.provider.claim()
    assert taken is not None
    assert taken.signed_text == spec
    assert verify_task_spec(SECRET, taken.signed_text, taken.task_spec_hmac or "")
    assert (await client.provider.progress("j", "generating")).cold_start_ms == 14
    await client.provider.write_logs("j", [{"level": "info", "message": "<hi>"}])
    done = await client.provider.job_result("j", success=True, result="DC1_RESULT_JSON:{}\n", gpu_seconds_used=42.5)
    assert (done.status, done.earned) == ("completed", Money(8, "SAR"))
    again = await client.provider.job_result("j", success=True)
    assert (again.message, again.earned) == ("Job already settled (completed)", None)
    assert [(request.method, request.url.removeprefix("https://api.test")) for request in transport.sent] == [
        ("GET", "/api/providers/jobs/next"),
        ("POST", "/api/jobs/j/progress"),
        ("PATCH", "/api/providers/jobs/j/logs"),
        ("POST", "/api/providers/job-result"),
        ("POST", "/api/providers/job-result"),
    ]
    assert transport.sent[2].body == b'{"api_key":"%s","lines":[{"level":"info","message":"<hi>"}]}' % KEY.encode()
    assert _body(transport.sent[3]) == {
        "api_key": KEY,
        "job_id": "j",
        "success": True,
        "result": "DC1_RESULT_JSON:{}\n",
        "gpu_seconds_used": 42.5,
    }


async def test_taking_work_is_not_repeated_and_reporting_it_is() -> None:
    client, transport = _client(TransportFailure("cut"), retries=2)
    for call, tries in ((client.provider.claim, 1), (client.provider.assigned, 1), (client.provider.get_jobs, 1)):
        transport.sent.clear()
        with pytest.raises(ConnectionError):
            await call()
        assert len(transport.sent) == tries
    transport.sent.clear()
    with pytest.raises(ConnectionError):
        await client.provider.job_result("j", success=False, error="x")
    assert len(transport.sent) == 3


async def test_there_may_be_no_work() -> None:
    client, _ = _client(answer(200, {"job": None}))
    assert await client.provider.claim() is None
    assert await client.provider.claim_by_path() is None
    assert await client.provider.assigned() is None
    assert await client.provider.queue() is None


async def test_the_rest_of_the_daemons_words() -> None:
    client, transport = _client()
    await client.provider.endpoint_ready("j", port=8100)
    await client.provider.fail("j", "Image pull failed")
    await client.provider.result("j", error="boom", duration_seconds=5, transient=True)
    await client.provider.write_log("j", "line", level="warn")
    await client.provider.readiness({"cuda": True}, daemon_version="3.4.0")
    await client.provider.daemon_event(event_type="daemon_start", severity="info")
    await client.provider.dispatch_complete("j")
    await client.provider.dispatch_fail("j", reason="r")
    assert [_body(request) for request in transport.sent] == [
        {"api_key": KEY, **rest}
        for rest in (
            {"port": 8100},
            {"error": "Image pull failed"},
            {"error": "boom", "duration_seconds": 5, "transient": True},
            {"line": "line", "level": "warn"},
            {"checks": {"cuda": True}, "daemon_version": "3.4.0"},
            {"event_type": "daemon_start", "severity": "info"},
            {},
            {"reason": "r"},
        )
    ]


async def test_what_is_empty_is_not_said() -> None:
    client, transport = _client()
    empty: dict[str, Any] = {"phone": "", "location": None, "resource_spec": {}}
    await client.provider.register("Farm", "f@example.sa", "RTX 4090", os="Linux", **empty)
    await client.provider.heartbeat({})
    await client.provider.get_jobs("")
    registration, beat, listed = transport.sent
    assert _body(registration) == {"name": "Farm", "email": "f@example.sa", "gpu_model": "RTX 4090", "os": "Linux"}
    assert _body(beat) == {"daemon_version": "sdk/0.1.0"}
    assert listed.url.endswith(f"/jobs?key={KEY}")


async def test_events_are_signed_and_dated() -> None:
    client, transport = _client(answer(200, {"received": True, "new_status": "running"}))
    assert (await client.provider.event("job_started", "job-1742671800000-ab12cd")).new_status == "running"
    request = transport.sent[0]
    assert request.body == b'{"event":"job_started","job_id":"job-1742671800000-ab12cd"}'
    assert request.header("x-dcp-signature") == sign_provider_event(KEY, request.body)
    assert request.header("x-dcp-signature") == (
        "sha256=a6f3b04f9c1ae7b1c7c496ed151ae172283f5f1f6292e1fa9f168153a115194c"
    )
    assert request.header("x-dcp-timestamp") == "0"


async def test_a_settled_job_is_a_conflict_to_the_older_report() -> None:
    client, _ = _client(answer(409, {"error": "Job already settled", "current_status": "failed"}))
    with pytest.raises(ConflictError):
        await client.provider.result("j", result="x")
    with pytest.raises(ConflictError):
        await client.provider.fail("j", "x", duration_seconds=1.5)


async def test_earnings_are_money() -> None:
    client, transport = _client(
        answer(200, {"available_halala": 0, "total_earned_halala": 16, "escrow": {"held_halala": 9, "new": 1}})
    )
    found = await client.provider.get_earnings()
    assert (found.available, found.total_earned, found.pending) == tuple(Money(n, "SAR") for n in (0, 16, 0))
    assert found.escrow is not None
    assert (found.escrow.held_halala, found.escrow.extra) == (9, {"new": 1})
    assert transport.sent[0].url == f"https://api.test/api/providers/earnings?key={KEY}"
