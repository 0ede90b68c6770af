"""Keys of providers."""

from __future__ import annotations

import pytest

from tests.island.faces.dc1.hosts import Host, host
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio


async def test_rotation(stage: Stage) -> None:
    mine = await host(stage)
    answer = await mine.post("/api/providers/rotate-key")
    fresh = Host(stage, mine.id, answer.json["new_key"])
    assert answer.json["api_key"] == fresh.key != mine.key
    assert fresh.key.startswith("dc1-provider-")
    assert (await mine.post("/api/providers/heartbeat")).status == 401
    await fresh.beat()


async def test_three_rotations_in_a_day(stage: Stage) -> None:
    mine = await host(stage)
    for number in range(3):
        answer = await mine.post("/api/providers/me/rotate-key" if number % 2 else "/api/providers/rotate-key")
        mine = Host(stage, mine.id, answer.json["new_key"])
        stage.clock.advance(60)
    answer = await mine.post("/api/providers/rotate-key")
    assert answer.status == 429
    assert answer.json["error"] == "Rate limit exceeded"
    assert int(answer.headers["retry-after"]) == answer.json["retryAfterSeconds"] == 86_400 - 180
    # A restart forgets nothing; the operator may all the same.
    await stage.again()
    assert (await mine.post("/api/providers/rotate-key")).status == 429
    answer = await stage.administer("POST", f"/api/admin/providers/{mine.id}/rotate-key")
    mine = Host(stage, mine.id, answer.json["new_key"])
    stage.clock.advance(86_400)
    assert (await mine.post("/api/providers/rotate-key")).status == 200


async def test_keys_beside_the_account(stage: Stage) -> None:
    mine, other = await host(stage), await host(stage, "other")
    target = f"/api/providers/{mine.id}/keys"
    answer = await mine.post(target, label="node-1")
    assert answer.status == 201
    key = answer.json["key"]
    assert answer.json["prefix"] == key[:17]
    assert answer.json["message"] == "Save this key — it will not be shown again."
    listed = await mine.get(target)
    assert [(entry["label"], entry["key_prefix"]) for entry in listed["keys"]] == [("node-1", key[:17])]
    assert key not in str(listed)
    bearer = {"authorization": f"Bearer {key}"}
    answer = await stage.ask("GET", target, headers=bearer)
    assert answer.json["keys"][0]["last_used_at"] is not None
    # It neither makes keys nor ends them, nor does it any work.
    assert (await stage.ask("POST", target, {}, headers=bearer)).status == 403
    for method, path in (
        ("POST", "rotate-key"),
        ("POST", "heartbeat"),
        ("POST", "job-result"),
        ("POST", "pause"),
        ("GET", "jobs/next"),
        ("GET", f"{key}/jobs"),
        ("GET", "installer"),
    ):
        assert (await stage.ask(method, f"/api/providers/{path}", {}, headers=bearer)).status == 401, path
    assert (await stage.ask("POST", "/api/jobs/1/fail", {}, headers=bearer)).status == 403
    assert (await stage.ask("GET", "/api/providers/earnings", headers=bearer)).status == 200
    assert (await stage.ask("DELETE", f"{target}/{listed['keys'][0]['id']}", headers=bearer)).status == 403
    assert (await stage.host_as(other.key, "DELETE", f"{target}/{listed['keys'][0]['id']}")).status == 403
    theirs = f"/api/providers/{other.id}/keys/{listed['keys'][0]['id']}"
    assert (await stage.host_as(other.key, "DELETE", theirs)).status == 404
    answer = await stage.host_as(mine.key, "DELETE", f"{target}/{listed['keys'][0]['id']}")
    assert answer.json["success"] is True
    assert (await stage.ask("GET", target, headers=bearer)).status == 401
    assert (await stage.host_as(mine.key, "DELETE", f"{target}/{listed['keys'][0]['id']}")).status == 404


async def test_there_are_not_too_many(stage: Stage) -> None:
    mine = await host(stage)
    target = f"/api/providers/{mine.id}/keys"
    for _ in range(20):
        assert (await mine.post(target)).status == 201
    assert (await mine.post(target)).status == 400
    for label in (5, "x" * 81, "a\x00"):
        assert (await mine.post(target, label=label)).status == 400
