"""Signed events of providers, and what their daemons have to say."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from skerry.island.faces.dc1.providers import provider_events
from skerry.networks.dc1.signing import sign_provider_event
from tests.answers import Answer
from tests.island.faces.dc1.hosts import Host, host, provider_row, row, submit
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio

TARGET = "/api/webhooks/provider/event"


async def tell(stage: Stage, mine: Host, body: Any, **headers: str) -> Answer:
    """A signed event; headers in place of the right ones."""
    raw = json.dumps(body).encode()
    told = {
        "content-type": "application/json",
        "x-provider-key": mine.key,
        "x-dcp-timestamp": str(stage.now // 1_000_000),
        "x-dcp-signature": sign_provider_event(mine.key, raw),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return await stage.send("POST", TARGET, {name: value for name, value in told.items() if value}, raw)


async def test_a_job_from_start_to_end(stage: Stage) -> None:
    mine = await host(stage)
    job = (await submit(stage, mine))["job_id"]
    answer = await tell(stage, mine, {"event": "job_started", "job_id": job})
    assert answer.json == {
        "received": True,
        "provider_id": mine.id,
        "event": "job_started",
        "job_id": job,
        "job_updated": True,
        "new_status": "running",
    }
    assert (await row(stage, job)).attempt == 1
    # Fetching its image is no work, until it is said to run.
    await mine.post(f"/api/jobs/{job}/progress", phase="pulling")
    stage.clock.advance(100)
    await tell(stage, mine, {"event": "job_running", "job_id": job})
    await mine.post(f"/api/jobs/{job}/progress", phase="pulling")
    stage.clock.advance(20)
    answer = await tell(stage, mine, {"event": "job_done", "job_id": job})
    assert answer.json["new_status"] == "completed"
    kept = await row(stage, job)
    assert (kept.charged, kept.gpu_ms, kept.result) == (5, 20_000, None)
    # The output may come after the news of the end; it moves no money.
    assert (await mine.finish(job))["message"] == "Job already settled (completed)"
    kept = await row(stage, job)
    assert kept.result is not None
    assert kept.charged == 5
    await mine.finish(job, result="another")
    assert (await row(stage, job)).result == kept.result
    await stage.audit()


@pytest.mark.parametrize(
    ("event", "more", "status"),
    [
        ("job_completed", {}, "completed"),
        ("container_exit", {"exit_code": 0}, "completed"),
        ("container_exit", {"exit_code": 137}, "failed"),
        ("job_failed", {"error": "boom"}, "failed"),
        ("error_report", {"error": {"a": 1}}, "failed"),
        ("gpu_hot", {}, None),
    ],
)
async def test_events(stage: Stage, event: str, more: dict[str, Any], status: str | None) -> None:
    mine = await host(stage)
    job = (await submit(stage, mine))["job_id"]
    await mine.claim()
    answer = await tell(stage, mine, {"event": event, "job_id": job, **more})
    assert answer.status == 200
    assert (answer.json["job_updated"], answer.json["new_status"]) == (status is not None, status)
    assert (await row(stage, job)).status == (status or "running")
    await stage.audit()


async def test_wrong_signatures(stage: Stage) -> None:
    mine, other = await host(stage), await host(stage, "other")
    job = (await submit(stage, mine))["job_id"]
    body = {"event": "job_started", "job_id": job}
    right = sign_provider_event(mine.key, json.dumps(body))
    now = stage.now // 1_000_000
    side = (await stage.host_as(mine.key, "POST", f"/api/providers/{mine.id}/keys", {})).json["key"]
    for headers in (
        {"x_dcp_signature": ""},
        {"x_dcp_signature": "sha256=" + "0" * 64},
        {"x_dcp_signature": right.removeprefix("sha256=")},
        {"x_dcp_signature": sign_provider_event(other.key, json.dumps(body))},
        {"x_dcp_signature": sign_provider_event(mine.key, json.dumps({"event": "job_started"}))},
        {"x_provider_key": ""},
        {"x_provider_key": "nope"},
        {"x_provider_key": side, "x_dcp_signature": sign_provider_event(side, json.dumps(body))},
        {"x_dcp_timestamp": ""},
        {"x_dcp_timestamp": "soon"},
        {"x_dcp_timestamp": "-1"},
        {"x_dcp_timestamp": "9" * 50},
        {"x_dcp_timestamp": str(now - 301)},
        {"x_dcp_timestamp": str(now + 301)},
    ):
        answer = await tell(stage, mine, body, **headers)
        assert answer.status == 401, headers
        assert answer.json["error"] == "Invalid webhook signature"
        assert answer.json["detail"]
        assert right not in answer.body.decode()
    assert (await row(stage, job)).status == "pending"
    assert (await tell(stage, mine, body, x_dcp_timestamp=str(now - 300))).status == 200


async def test_replays_are_refused(stage: Stage) -> None:
    mine = await host(stage)
    job = (await submit(stage, mine))["job_id"]
    body = {"event": "job_started", "job_id": job}
    found = await asyncio.gather(*(tell(stage, mine, body) for _ in range(4)))
    assert sorted(answer.status for answer in found) == [200, 401, 401, 401]
    # Neither later with a new time, nor after a crash, nor in other letters.
    stage.clock.advance(3600)
    assert (await tell(stage, mine, body)).status == 401
    await stage.again()
    assert (await tell(stage, mine, body)).status == 401
    shouted = "sha256=" + sign_provider_event(mine.key, json.dumps(body)).removeprefix("sha256=").upper()
    assert (await tell(stage, mine, body, x_dcp_signature=shouted)).status == 401
    assert (await tell(stage, mine, {**body, "at": 2})).status == 200


async def test_foreign_jobs_are_left_alone(stage: Stage) -> None:
    mine, other = await host(stage), await host(stage, "other")
    job = (await submit(stage, mine))["job_id"]
    for event in ("job_started", "job_done", "job_failed"):
        answer = await tell(stage, other, {"event": event, "job_id": job})
        assert (answer.status, answer.json["job_updated"]) == (200, False)
    assert (await row(stage, job)).status == "pending"
    for ident in (None, "nope", 10**40, [], True):
        answer = await tell(stage, mine, {"event": "job_started", "job_id": ident})
        assert (answer.status, answer.json["job_updated"]) == (200, False)
    for body in ({}, [], "x", {"event": 5}, {"event": ""}):
        assert (await tell(stage, mine, body)).status == 400


async def test_a_suspended_provider_begins_nothing(stage: Stage) -> None:
    mine = await host(stage)
    job = (await submit(stage, mine))["job_id"]
    await stage.administer("POST", f"/api/admin/providers/{mine.id}/suspend")
    answer = await tell(stage, mine, {"event": "job_started", "job_id": job})
    assert answer.json["job_updated"] is False


async def test_daemon_events(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_events, "MOST_EVENTS", 5)
    mine, other = await host(stage), await host(stage, "other")
    for number in range(8):
        body = {"event_type": f"event_{number}", "severity": "error", "details": {"n": number}, "job_id": "job-1"}
        answer = await mine.post("/api/providers/daemon-event", **body)
        assert answer.json == {"success": True, "event_type": f"event_{number}", "provider_id": mine.id}
    await mine.post("/api/providers/daemon-event", event_type="odd", severity=["x"], details="y" * 9000, job_id=5)
    await other.post("/api/providers/daemon-event", event_type="theirs")
    logs = (await mine.get("/api/providers/daemon-logs"))["logs"]
    assert [entry["event_type"] for entry in logs] == ["odd", "event_7", "event_6", "event_5", "event_4"]
    assert (logs[0]["severity"], len(logs[0]["details"]), logs[0]["job_id"]) == ("info", 4000, None)
    assert logs[1]["details"] == '{"n":7}'
    for wrong in ({}, {"event_type": ""}, {"event_type": "x" * 65}, {"event_type": 5}):
        assert (await mine.post("/api/providers/daemon-event", **wrong)).status == 400
    assert (await provider_row(stage, mine.id)).status == "online"
