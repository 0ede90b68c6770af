"""Requests that the network's real clients were recorded sending, put to the face itself as one conversation.

What was answered there is often made up: an error to be tried again, a list that lists nothing. Here each request is a
good one, and is served, unless it says itself why it cannot be.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from skerry.island.faces.octaspace.sessions.helpers import Helpers
from tests.island.faces.octaspace.shapes import check
from tests.island.faces.octaspace.stage import Answer, Stage
from tests.island.faces.octaspace.test_render import Workers
from tests.island.faces.octaspace.test_vpn import Relays
from tests.vectors.cases import DATA, find
from tests.vectors.octaspace_records import OctaCase, load, requests_of, stubs_of

pytestmark = pytest.mark.anyio

FREE, RESTING, BUSY, NOWHERE = 1, 2, 3, 999
"""Nodes: where things are started and ended, which only the operator touches, where a session lasts; and none."""

CLIENTS_OWN_BASE = "/api/octa"
REFUSED: dict[str, str] = {
    "services.session.stop.score_zero": "scores are from 1 to 5",
    "nodes.get.str": "nodes have numbers",
    "idleJobs.get": "nodes and idle jobs have numbers",
    "path.id_with_space": "nodes have numbers",
}
"""What is not served, by case, with the reason."""

OTHERWISE: dict[str, str] = {
    "apps.list.stringified_ports_passthrough": "ports are lists here",
    "services.session.info.vpn_wg": "amounts are numbers for as long as JavaScript reads them exactly",
    "path.id_traversal": "it asks for an account in the name of a node",
    "services.mr.start.object_response": "recorded to show that its client takes no object there",
    "sessions.list.recent_true": "numbers are numbers here, also of sessions that have ended",
}
"""What is answered in another form, by case, with the reason."""

MISSING: dict[str, str] = {
    r"\[\]\.envs\..*": "an app's variables are its own",
    r"\.marketplace\.gpus\..*": "models that nobody offers have no price",
    r"\.render\.frames_by_week\[\]\..*": "weeks have their own dates",
    r"\.location\.(iso|cont|host|ip|org|prov|prox|risk|type|dev).*": "known where the operator has said it",
    r"\[\]\.extra": "recorded to show that its client takes no notice of it",
    r"\.status": "ended is ended",
    r"\.error": "nothing is wrong with the job",
}
"""Members that an answer may lack, with the reason."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # What other clients ask is recorded for services; what is answered to the first of them may be made up.
    files = [(file, "compat") for file in find("octaspace", metafunc.config.getoption("--vectors"))]
    known = [(DATA / "octaspace.json", "sdk"), *files]
    cases = [case for file, kind in known for case in load(file, kind) if requests_of(case)]
    metafunc.parametrize("case", cases, ids=[case.name for case in cases])


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class World:
    """One island for all cases, and what recorded names stand for on it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.app = ""
        self.machine = ""

    async def prepare(self) -> None:
        """A template, a session and an idle job."""
        app = {"name": "Ubuntu", "category": "os", "image": "ubuntu:22.04"}
        self.app = (await self.stage.operate("POST", "/apps", app, 201))["uuid"]
        self.machine = await self.stage.rent(BUSY, ports=[22], http_ports=[8080])
        await self.stage.ready(self.machine)
        idle = {"node_id": RESTING, "image": "ubuntu:22.04", "start_command": "sleep 60"}
        await self.stage.operate("POST", "/idle_jobs", idle, 201)

    async def ask(self, case: OctaCase) -> Answer:
        """The recorded request in this island's names; what it starts is ended, and what it ends is started before."""
        record, node = requests_of(case)[0], NOWHERE if _names_no_node(case) else FREE
        path = re.sub(r"^/nodes/\d+", f"/nodes/{node if node == NOWHERE else RESTING}", record["path"])
        path = re.sub(r"^/idle_jobs/\d+/\d+", f"/idle_jobs/{RESTING}/1", path.removeprefix(CLIENTS_OWN_BASE))
        ends = re.fullmatch(r"/services/[^/]+/stop", path)
        tunnel = any("config" in (stub.get("body_json") or ()) for stub in stubs_of(case))
        uuid = await self.stage.rent(FREE) if ends else await self._relay() if tunnel else self.machine
        path = re.sub(r"^/services/[^/]+/(?=info|logs|stop)", f"/services/{uuid}/", path)
        query = "&".join(f"{name}={value}" for name, value in (record.get("query") or {}).items())
        key = "x" * 64 if _names_no_key(case) else self.stage.key
        headers = {name: key if name == "authorization" else value for name, value in record["headers"].items()}
        headers.pop("content-length", None)
        body = self._here(record.get("body"), node)
        content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        answer = await self.stage.send(record["method"], f"{path}?{query}" if query else path, headers, content)
        for started in re.findall(rb'"uuid": ?"([^"]+)"', answer.body) if record["method"] == "POST" else ():
            await self.stage.ok("POST", f"/services/{started.decode()}/stop")
        if tunnel or (ends and answer.status != 200):
            await self.stage.ok("POST", f"/services/{uuid}/stop")
        return answer

    async def _relay(self) -> str:
        uuid: str = (await self.stage.ok("POST", "/services/vpn", {"node_id": FREE}, 201))["uuid"]
        await self.stage.ready(uuid)
        return uuid

    def _here(self, body: Any, node: int) -> Any:
        if isinstance(body, list):
            return [self._here(item, node) for item in body]
        names = {"node_id": node, "app": self.app, "disk_size": 1}
        if isinstance(body, dict):
            return {name: names.get(name, value) if value else value for name, value in body.items()}
        return body


def _names_no_node(case: OctaCase) -> bool:
    named = requests_of(case)[0]["path"].startswith(("/nodes/", "/services/"))
    return named and any("Node not found" in json.dumps(stub.get("body_json")) for stub in stubs_of(case))


def _names_no_key(case: OctaCase) -> bool:
    return case.content["kind"] == "compat" and stubs_of(case)[-1].get("status") == 401


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    workers = Workers()

    async def opened() -> Any:
        return workers

    kinds = dict.fromkeys(("wg", "openvpn", "ss", "v2ray"))
    helpers = Helpers(unready=lambda: None, open_workers=opened, relays=Relays(), subkinds=lambda: kinds)
    stage = Stage(tmp_path_factory.mktemp("vectors"), helpers=helpers)
    await stage.open()
    world = World(stage)
    await world.prepare()
    yield world
    await stage.close()


async def test_recorded_requests_are_served(world: World, case: OctaCase) -> None:
    record, stub = requests_of(case)[0], stubs_of(case)[-1]
    answer = await world.ask(case)
    if _names_no_key(case):
        assert answer.status == 401
    elif case.name in REFUSED or (_names_no_node(case) and not isinstance(record.get("body"), list)):
        assert answer.status in (400, 404, 422), answer.body
        assert set(answer.json) == {"message", "code"}
    elif re.fullmatch(r"/nodes/\d+/(ident|logs)", record["path"]):
        assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
        assert answer.body
    else:
        assert answer.headers["content-type"] == "application/json"
        wanted = stub["status"] if case.content["kind"] == "compat" and stub.get("status", 500) < 300 else None
        if wanted is not None and "error" in case.content:
            # Recorded to show which status the client does not take.
            wanted = 201
        assert answer.status in ((200, 201) if wanted is None else (wanted,)), answer.body
        check(record["method"], record["path"].removeprefix(CLIENTS_OWN_BASE), answer.json)
        if stub.get("status", 500) < 300 and "body_json" in stub and case.name not in OTHERWISE:
            _same_kind(answer.json, stub["body_json"], "")


def _same_kind(value: Any, expected: Any, name: str) -> None:
    """An acceptable answer: what the recorded one has, of the same kinds."""
    number = isinstance(expected, int | float) and not isinstance(expected, bool)
    assert isinstance(value, int | float) if number else type(value) is type(expected), (name, value, expected)
    if isinstance(expected, dict):
        for member, item in expected.items():
            where = f"{name}.{member}"
            if member in value:
                _same_kind(value[member], item, where)
            else:
                assert any(re.fullmatch(pattern, where) for pattern in MISSING), f"{where} is missing"
    elif isinstance(expected, list):
        for got, item in zip(value, expected, strict=False):
            _same_kind(got, item, f"{name}[]")
