"""Requests that the network's other clients were recorded sending, put to the face itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.island.faces.octaspace.stage import Stage
from tests.vectors.cases import find

pytestmark = pytest.mark.anyio

RECORDED_APP = "app-uuid"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        files = find("octaspace", metafunc.config.getoption("--vectors"))
        cases = [case for file in files for case in json.loads(file.read_text()) if case["kind"] == "compat"]
        metafunc.parametrize("case", cases, ids=[case["case"] for case in cases])


async def send(stage: Stage, case: dict[str, Any], key: str, changes: dict[str, Any]) -> Any:
    """The recorded request, with a key and with the names that this island gives to nodes and apps."""
    request = case["request"]
    headers = {
        name: key if value == "<API_KEY>" else value
        for name, value in request["headers"].items()
        if name != "content-length"
    }
    body = request["body"]
    if isinstance(body, dict):
        body = {name: changes.get(name, value) for name, value in body.items()}
    elif isinstance(body, list):
        body = [{name: changes.get(name, value) for name, value in item.items()} for item in body]
    path = request["path"]
    for old, new in changes.get("paths", {}).items():
        path = path.replace(old, new)
    content = b"" if body is None else json.dumps(body).encode()
    return await stage.send(request["method"], path, headers, content)


async def test_recorded_requests_are_served(stage: Stage, case: dict[str, Any]) -> None:
    if case["request"] is None:
        # The client refuses keys of another length by itself: ours must have the length that it takes.
        assert len(stage.key) == 64
        return
    name = case["case"]
    node, other, _ = await stage.nodes()
    changes: dict[str, Any] = {"node_id": node, "app": ""}
    session = None
    if case["request"]["path"].startswith("/services/") and case["request"]["path"].rpartition("/")[2] in (
        "stop",
        "info",
    ):
        session = await stage.rent(node)
        await stage.ready(session)
        parts = case["request"]["path"].split("/")
        changes["paths"] = {parts[2]: session}
    expected = case["response_stub"]
    status = expected["status"]
    if name.endswith(("object_400_message", "item_rejected")):
        changes["node_id"] = 999
    if name.endswith("balance_401"):
        answer = await send(stage, case, "x" * 64, changes)
        assert answer.status == 401
        return
    if "needs_201" in name:
        # Recorded to show that the client takes no other status.
        status = 201
    if ".vpn" in name and case["request"]["method"] == "POST":
        answer = await send(stage, case, stage.key, changes)
        # No relay runs in this test; what matters here is that the request is understood.
        assert answer.status == 503
        assert "wg" in answer.json["message"]
        return
    if name.startswith("compat.py_official.logs"):
        answer = await send(stage, case, stage.key, changes)
        assert answer.status == 404
        assert set(answer.json) == {"message", "code"}
        return
    if name == "compat.py_official.prices":
        changes["paths"] = {"/nodes/5/": f"/nodes/{node}/"}
    answer = await send(stage, case, stage.key, changes)
    assert answer.headers["content-type"] == "application/json"
    assert answer.status == status, answer.body
    _same_kind(answer.json, expected["body_json"], name)
    if session is not None and name.endswith("stop"):
        assert await stage.ok("GET", "/sessions") == []
    assert other


def _same_kind(value: Any, expected: Any, name: str) -> None:
    """An acceptable answer: what the recorded one has, of the same kinds."""
    assert type(value) is type(expected), name
    if isinstance(expected, dict):
        for member, item in expected.items():
            if member == "config":
                continue
            assert member in value, (name, member)
            _same_kind(value[member], item, f"{name}.{member}")
    elif isinstance(expected, list):
        for got, item in zip(value, expected, strict=False):
            _same_kind(got, item, name)
