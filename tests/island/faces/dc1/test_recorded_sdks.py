"""What the official SDKs were recorded to send, sent to the face: it accepts all of it, and answers in the shapes that
they were recorded to be answered with."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.island.faces.dc1.hosts import Host, host, submit
from tests.island.faces.dc1.stage import Answer, Stage
from tests.vectors.cases import DATA

pytestmark = pytest.mark.anyio

_PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 16).decode()
_TIMES = '"gen_time_s":0.4,"total_time_s":1.2,"device":"cuda"'
_TEXT = (
    f'{{"type":"text","prompt":"p","response":"r","model":"m","tokens_generated":5,"tokens_per_second":12.5,{_TIMES}}}'
)
_IMAGE = (
    f'{{"type":"image","format":"png","encoding":"base64","width":256,"height":256,"steps":30,"seed":42,"prompt":"p",'
    f'"model":"m",{_TIMES},"data":"{_PNG}"}}'
)
_WELL = (
    ("text", "llm_inference", f"DC1_RESULT_JSON:{_TEXT}"),
    ("image", "image_generation", f"DC1_RESULT_JSON:{_IMAGE}"),
    ("container", "custom_container", 'GPU: x\nDC1_RESULT_JSON:{"device":"cuda:0","matmul_shape":[1000,1000]}'),
)
"""Jobs that end well: a name, the type, and what is reported of them."""

_JOB = re.compile(r"^/api/jobs/(job-[^/]+)(/|$)")
_ENVELOPED = "in an envelope, which the SDK opens as well"
DIFFERENT = {
    "node.me.flat_and_missing": _ENVELOPED,
    "py.providers.list.array": _ENVELOPED,
    "prov.get_jobs.status": _ENVELOPED,
    "prov.get_jobs": "what is to be done comes as an object, which the SDK takes as well as its text",
}
"""What the face answers otherwise than was made up for the SDK, by case, with the reason (sections 3.4.3 and 4)."""


def _served(case: dict[str, Any]) -> bool:
    """Whether it is an SDK's request that was answered."""
    stubs = _listed(case["response_stub"]) if "sdk" in case and not case["case"].startswith("seed.") else []
    fine = all(200 <= stub["status"] < 300 or stub["status"] == 410 for stub in stubs)
    return bool(stubs) and fine and case["request"] is not None and "error" not in case


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


class _Sdk:
    """Whoever sends what was recorded: a renter and a provider of the face's, and jobs in every state."""

    def __init__(self, stage: Stage, provider: Host) -> None:
        self.stage, self.provider = stage, provider
        self.jobs: dict[str, str] = {}
        self._addresses = 0

    async def prepare(self) -> None:
        """Jobs that ended well, with a log, one that failed, one that serves, and one that waits."""
        for name, kind, output in (*_WELL, ("failed", "llm_inference", None), ("running", "vllm_serve", None)):
            self.jobs[name] = (await submit(self.stage, self.provider, kind))["job_id"]
            await self.provider.claim()
            self.stage.clock.advance(42.5)
            await self.provider.beat()
            if output is not None:
                line = {"level": "warn", "message": "w"}
                await self.provider.post(f"/api/jobs/{self.jobs[name]}/logs", lines=[line])
                await self.provider.finish(self.jobs[name], result=output)
            elif name == "failed":
                await self.provider.finish(self.jobs[name], success=False, error="CUDA out of memory")
            else:
                where = {"port": 8100, "provider_ip": "10.1.2.3"}
                await self.provider.post(f"/api/jobs/{self.jobs[name]}/endpoint-ready", **where)
        self.jobs["pending"] = (await submit(self.stage, self.provider))["job_id"]

    async def send(self, request: dict[str, Any], stub: dict[str, Any], made: str | None) -> Answer:
        """A recorded request, with what is there in place of what was recorded."""
        body = None if request["body"] is None else dict(request["body"])
        if body is not None and "provider_id" in body:
            body["provider_id"] = self.provider.id
        if body is not None and "email" in body:
            self._addresses += 1
            body["email"] = f"{self._addresses}@example.sa"
        path = request.get("raw_target", request["path"]).replace(f"dc1-provider-{'0' * 32}", self.provider.key)
        found = _JOB.match(path)
        if found is not None:
            path = path.replace(found[1], made or await self._job(path, stub))
        query = "&".join(f"{name}={self._own(value)}" for name, value in (request["query"] or {}).items())
        headers = {name: self._own(value) for name, value in (request["headers"] or {}).items()}
        raw = b"" if body is None else json.dumps(body).encode()
        return await self.stage.send(request["method"], f"{path}?{query}" if query else path, headers, raw)

    def _own(self, text: str) -> str:
        if text.startswith("dc1-renter-"):
            return self.stage.key
        return self.provider.key if text.startswith("dc1-provider-") else text

    async def _job(self, path: str, stub: dict[str, Any]) -> str:
        if path.endswith("/cancel"):
            return str((await submit(self.stage, self.provider))["job_id"])
        if stub["status"] != 200:
            return self.jobs[{202: "pending", 410: "failed"}[stub["status"]]]
        told = stub.get("body") or {}
        if told.get("result_type") == "image":
            return self.jobs["image"]
        if isinstance(told.get("result"), str):
            return self.jobs["container"]
        return self.jobs["running" if told.get("result_type") == "endpoint" else "text"]


def _faults(path: str, wanted: Any, got: Any) -> list[str]:
    """Members that were there and are not here, or are of another kind."""
    if wanted is None or got is None:
        return []
    numbers = isinstance(wanted, int | float) and isinstance(got, int | float)
    if type(wanted) is not type(got) and not numbers:
        return [f"{path} is {got!r}, and was {wanted!r}"]
    if isinstance(wanted, dict):
        found = [f"{path}.{name} is missing" for name in wanted if name not in got]
        for name in wanted.keys() & got.keys():
            found += _faults(f"{path}.{name}", wanted[name], got[name])
        return found
    if isinstance(wanted, list) and wanted and got:
        return _faults(f"{path}[]", wanted[0], got[0])
    return []


async def test_everything_is_accepted_and_answered_in_shape(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.open()
    played: dict[str, list[str]] = {}
    try:
        sdk = _Sdk(stage, await host(stage))
        await sdk.prepare()
        for case in filter(_served, json.loads((DATA / "dc1.json").read_text(encoding="utf-8"))):
            requests, stubs, made = case.get("requests") or [case["request"]], _listed(case["response_stub"]), None
            for index, request in enumerate(requests):
                stub = stubs[min(index, len(stubs) - 1)]
                answer = await sdk.send({**case["request"], **request}, stub, made)
                if request["path"] == "/api/jobs/submit":
                    made = answer.json["job"]["job_id"]
                found = _faults("", stub.get("body"), answer.json)
                if answer.status != stub["status"]:
                    found = [f"{answer.status}, not {stub['status']}: {answer.body[:200]!r}"]
                played.setdefault(case["case"], []).extend(found)
    finally:
        await stage.close()
    assert {name for name, faults in played.items() if faults} == DIFFERENT.keys(), played
