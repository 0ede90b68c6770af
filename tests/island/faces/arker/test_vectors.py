"""Requests that the network's real clients were recorded sending, put to the face itself as one conversation.

What was answered there is often made up: an error to be tried again, an answer that makes no sense. Here each request
is a good one, and is served, unless it says itself why it cannot be.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from skerry.island.app import App
from skerry.island.faces.arker.face import ArkerFace
from skerry.networks.arker import models
from skerry.units import MIB
from tests.island.engine.lab import Lab
from tests.vectors.cases import DATA, Case, load

pytestmark = pytest.mark.anyio

ASKING = [case for case in load(DATA / "arker.json") if case.requests and case.tag not in ("config", "newer")]
CASES = list({json.dumps(case.requests): case for case in reversed(ASKING)}.values())[::-1]
"""One case of those that were answered in different ways and asked the same."""

REFUSED = {
    "get: path segment is percent-encoded": (404, "not_found", "nothing is called so"),
    "fork: source name with a slash is encoded": (404, "not_found", "nothing is called so"),
    "fork: undefined dropped, null and false kept, nested too": (422, "unsupported_operation", "every VM has a disk"),
    "run: every documented option is passed in snake_case": (422, "unsupported_operation", "there is nothing to mount"),
    "run: different request under the same key": (409, "conflict", "the key was used"),
    "readFile: missing file": (404, "not_found", "it is missing"),
    "legacy error envelope": (404, "not_found", "it is missing"),
    "legacy fork: other names go to the global host with from": (422, "unsupported_operation", "VMs are private"),
}
"""What is not served, by case, with status, code and reason; nor is what names `vm_x`, which is no VM."""

MODELS: list[tuple[str, str, Any]] = [
    ("GET", r"/v1/goldens", models.ListGoldensResponse),
    ("GET", r"/v1/vms", models.ListVmsResponse),
    ("GET", r"/v1/vms/[^/]+", models.VmInfo),
    ("DELETE", r"/v1/vms/[^/]+", models.DeleteVmResponse),
    ("POST", r"/v1/vms/[^/]+/fork", models.ForkVmResponse),
    ("GET", r"/v1/vms/[^/]+/runs/[^/]+", models.RunStatusResponse),
    ("DELETE", r"/v1/vms/[^/]+/runs/[^/]+", models.CancelRunResponse),
]
LEGACY = {
    "list": {"items", "total", "ok"},
    "run": {"stdout", "stdout_encoding", "stderr", "stderr_encoding", "exit_code", "duration_ms", "session_id", "cwd"},
}


class World:
    """One island for all cases; each has a VM of its own, which recorded ids stand for."""

    def __init__(self, app: App, key: str) -> None:
        self.app = app
        self.key = key
        self.names: dict[str, str] = {}

    async def send(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
        """One exchange below the mount, exactly as given."""
        path, _, query = target.partition("?")
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "server": ("127.0.0.1", 4242),
            "raw_path": path.encode(),
            "path": path,
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in ({"host": "127.0.0.1"} | headers).items()],
            "client": ("127.0.0.1", 50000),
        }
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, keep)
        return sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:])

    async def ok(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The parsed answer, which must be a success."""
        fields = {"authorization": f"Bearer {self.key}", **headers}
        status, answer = await self.send(
            method, f"/arker{path}", fields, b"" if body is None else json.dumps(body).encode()
        )
        assert status == 200, answer
        return json.loads(answer)

    async def prepare(self, case: Case) -> None:
        """What the recorded requests take for granted: a VM, a run in it, its files."""
        old = case.tag == "legacy"
        vm = (await self.ok("POST", "/api/v1/vms/ubuntu/fork", {"is_public": False} if old else {}))["vm_id"]
        self.names = {"vm": vm, "run_1": "", "upload_1": ""}
        said = json.dumps([request["path"] for request in case.requests])
        if "run_1" in said:
            body = {"command": "sleep 600", "background": True}
            self.names["run_1"] = (await self.ok("POST", f"/v1/vms/{vm}/run", body))["run_id"]
        if case.name in REFUSED and REFUSED[case.name][0] == 409:
            await self.ok("POST", f"/v1/vms/{vm}/run", {"command": "true"}, **{"idempotency-key": "key-abc"})
        for name, size in (("x", 1), ("big", 9 * MIB)):
            if f'"/home/user/{name}"' in json.dumps(case.requests[0]["body"]) and '"read"' in json.dumps(case.requests):
                command = f"head -c {size} /dev/zero > /home/user/{name}"
                await self.ok("POST", f"/v1/vms/{vm}/run", {"command": command})

    async def ask(self, record: dict[str, Any]) -> tuple[int, bytes]:
        """The recorded request, in this island's names."""
        if record["origin"] == "https://store.test":
            url = urlsplit(self.names["store"])
            target = f"{url.path}?{url.query}" if url.query else url.path
            body = bytes([65]) * record["body"]["$bytes"]["length"] if record["body"] else b""
            return await self.send(record["method"], target, record["headers"], body)
        path = re.sub(
            r"/vms/(vm_1|vmh-1|legacy_child[a-z_]*|01K[A-Z0-9]{23}_uswe)(?=/|$)",
            f"/vms/{self.names['vm']}",
            record["path"],
        )
        if path.endswith("/fork"):
            # The public copies of a golden are known by their ids.
            path = record["path"]
        text = json.dumps(record["body"]) if record["body"] is not None else ""
        for name in ("run_1", "upload_1"):
            path, text = (value.replace(name, self.names[name] or name) for value in (path, text))
        query = "&".join(f"{name}={str(value).replace(' ', '%20')}" for name, value in record["query"].items())
        headers = {**record["headers"], "authorization": f"Bearer {self.key}"}
        status, answer = await self.send(
            record["method"], f"/arker{path}{'?' if query else ''}{query}", headers, text.encode()
        )
        for name, pattern in (("store", rb'"presigned_url":"([^"]+)"'), ("upload_1", rb'"upload_id":"([^"]+)"')):
            if found := re.search(pattern, answer):
                self.names[name] = found[1].decode()
        return status, answer


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    lab = Lab(tmp_path_factory.mktemp("vectors"))
    engine = await lab.open()
    app = App(engine, [ArkerFace(engine)])
    await app.start()
    yield World(app, engine.credentials["arker"])
    await app.stop()
    await lab.end()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_recorded_requests_are_served(world: World, case: Case) -> None:
    await world.prepare(case)
    last: dict[str, Any] = {}
    for record in case.requests:
        # What was sent again there was answered here the first time.
        if record != last:
            last = record
            status, answer = await world.ask(record)
            _check(case, record, status, answer)


def _check(case: Case, record: dict[str, Any], status: int, answer: bytes) -> None:
    old = record["path"].startswith("/api/")
    if case.name in REFUSED or record["path"].endswith("vm_x"):
        wanted, code, _ = REFUSED.get(case.name, (404, "not_found", ""))
        said = json.loads(answer)
        assert (status, said["code"]) == (wanted, code)
        # Both generations of clients read the errors of the mount that both use.
        assert said.get("error", said) == {"code": code, "message": said["message"]}
        assert ("ok" in said) is old
        return
    assert status == 200, answer
    path = record["path"].removeprefix("/api")
    if record["origin"] == "https://store.test":
        assert record["method"] == "PUT" or len(answer) == 9 * MIB
    elif case.tag == "legacy":
        assert LEGACY.get(path.rpartition("/")[2], set()) <= set(json.loads(answer)), answer
    else:
        model = next(
            (model for verb, known, model in MODELS if verb == record["method"] and re.fullmatch(known, path)), None
        )
        read = msgspec.json.decode(answer, type=model or _model(record, answer))
        assert set(json.loads(answer)) <= set(read.__struct_fields__)


def _model(record: dict[str, Any], answer: bytes) -> Any:
    if record["path"].endswith("/run"):
        background = record["body"].get("background")
        return models.BackgroundRunResponse if background else models.CompletedRunResponse
    return models.SyncReadResponse if record["body"]["op"] == "read" else models.SyncWriteResponse
