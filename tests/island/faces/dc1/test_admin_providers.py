"""The operator's side of providers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.island.faces.dc1.hosts import host, provider_row
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio


async def test_lists(stage: Stage) -> None:
    names = ["alpha", "beta", "gamma_%"]
    hosts = [await host(stage, name.rstrip("_%"), beats=name != "beta") for name in names]
    answer = await stage.administer("GET", "/api/admin/providers?limit=2")
    assert [entry["id"] for entry in answer.json["providers"]] == [hosts[2].id, hosts[1].id]
    assert (answer.json["total"], answer.json["pages"]) == (3, 2)
    for query, found in (
        ("status=online", 2),
        ("status=registered,online", 3),
        ("status=approved", 3),
        ("search=BET", 1),
        ("search=@example.sa", 3),
        ("search=%25", 0),
        ("search=_", 0),
        ("page=99", 3),
        ("page=x&limit=-5", 3),
    ):
        answer = await stage.administer("GET", f"/api/admin/providers?{query}")
        assert answer.status == 200
        assert answer.json["total"] == found, query
    answer = await stage.administer("GET", f"/api/admin/providers/{hosts[0].id}")
    assert answer.json["provider"]["name"] == "alpha"
    assert (await stage.administer("GET", "/api/admin/providers/999")).status == 404


async def test_decisions(stage: Stage) -> None:
    mine = await host(stage)
    target = f"/api/admin/providers/{mine.id}"
    assert (await stage.administer("PATCH", f"{target}/reject", {})).json == {"error": "reason is required"}
    answer = await stage.administer("PATCH", f"{target}/reject", {"reason": "no such GPU"})
    assert answer.json == {
        "success": True,
        "provider_id": mine.id,
        "approval_status": "rejected",
        "rejected_reason": "no such GPU",
    }
    assert (await mine.post("/api/providers/heartbeat")).status == 403
    assert (await mine.post(f"/api/providers/{mine.id}/online")).status == 403
    assert (await mine.get("/api/providers/me"))["provider"]["rejected_reason"] == "no such GPU"
    answer = await stage.administer("PATCH", f"{target}/approve")
    assert answer.json["approved_at"] == "2026-03-22T19:30:00.000Z"
    await mine.beat()
    for body, status in (({"status": "suspended"}, "suspended"), ({"status": "active"}, "offline")):
        assert (await stage.administer("PATCH", f"{target}/status", body)).status == 200
        assert (await provider_row(stage, mine.id)).status == status
    for wrong in ({}, {"status": "x"}, {"status": []}, []):
        assert (await stage.administer("PATCH", f"{target}/status", wrong)).status == 400
    for wrong in ({}, {"model_name": ""}, {"model_name": "x" * 257}, {"model_name": 5}):
        assert (await stage.administer("PATCH", f"{target}/preload-model", wrong)).status == 400
    for method, path in (
        ("PATCH", "approve"),
        ("POST", "suspend"),
        ("POST", "unsuspend"),
        ("POST", "rotate-key"),
    ):
        assert (await stage.administer(method, f"/api/admin/providers/999/{path}")).status == 404
        assert (await stage.host_as(mine.key, method, f"{target}/{path}")).status == 401


async def test_a_pause_outlives_a_suspension(stage: Stage) -> None:
    mine = await host(stage)
    await mine.post("/api/providers/pause")
    await stage.administer("POST", f"/api/admin/providers/{mine.id}/suspend")
    await stage.administer("POST", f"/api/admin/providers/{mine.id}/unsuspend")
    assert (await provider_row(stage, mine.id)).status == "paused"
    await stage.administer("POST", f"/api/admin/providers/{mine.id}/unsuspend")
    assert (await provider_row(stage, mine.id)).status == "paused"


async def test_bulk(stage: Stage) -> None:
    hosts = [await host(stage, f"farm{number}") for number in range(3)]
    ids: list[Any] = [each.id for each in hosts]
    answer = await stage.administer(
        "POST", "/api/admin/bulk/providers", {"ids": [*ids, 999, "x", True], "action": "suspend"}
    )
    assert answer.json == {"success": True, "action": "suspend", "processed": 3, "failed": 3, "total": 6}
    assert (await stage.ask("GET", "/api/renters/available-providers")).json["total"] == 0
    for wrong in ({}, {"ids": ids}, {"ids": [], "action": "approve"}, {"ids": ids, "action": "delete"}):
        assert (await stage.administer("POST", "/api/admin/bulk/providers", wrong)).status == 400
    for wrong in (
        {"ids": ids, "action": []},
        {"ids": {}, "action": "approve"},
        {"ids": [1] * 501, "action": "approve"},
    ):
        assert (await stage.administer("POST", "/api/admin/bulk/providers", wrong)).status == 400
    many = {"ids": [1] * 501, "action": "approve"}
    assert (await stage.administer("POST", "/api/admin/bulk/providers", many)).status == 400
