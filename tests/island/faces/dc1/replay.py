"""Plays what was recorded at the real service, request by request, against the face.

The recording is one long conversation, so it is played once, in its order; between the recorded requests others are
made that the recording left out. Numbers that follow from money or from how much went on before are compared by their
kind only: the real service charges beyond what it held and counts some things twice, and the face does not.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.answers import Answer
from tests.island.faces.dc1.stage import ADMIN, Stage

_CUT = 3
_PLACEHOLDER = re.compile(r"\{\{([^{}]*(?:\([^()]*\))?)\}\}")
# The recording leaves the middle of a picture out: a signature, and then every byte sixteen times in turn.
_PICTURE = re.compile(r"iVBORw0KGgo[A-Za-z0-9+/=]*\.\.\.<cut \d+ chars>\.\.\.[A-Za-z0-9+/=]*")
_PATTERNS = {
    "iso": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "sqlite_ts": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{3})?",
    "date": r"\d{4}-\d\d-\d\d",
    "month": r"\d{4}-\d\d",
    "uuid": r"[0-9a-f-]{36}",
    "generated_python_script": r"[\s\S]*print[\s\S]*",
    "log_root": r"[^\"]*",
    "dcp_root": r"[^\"]*",
    "ms": r"\d{13}",
    "unix": r"\d{10}",
    "last4": r"[0-9a-zA-Z]{4}",
}
_LOOSE = re.compile(
    r"(^id$|_halala$|_sar$|^cost_usd$|^estimated_cost_usd$|balance|^total|_total|count$|_jobs$|^total|^today_|"
    r"^success_rate$|_ms$|_sec$|^elapsed|^duration_seconds$|^actual_duration_minutes$|^avg_|revenue|^pages$|rate_limit|"
    r"^retried_from_job_id$|^escrow$|heartbeat_age|uptime|^jobs$|^completed$|^failed$|^active$|^created$|^queue_position$)"
)


@dataclass
class Replay:
    """What became of the recording.

    Attributes:
        names: what placeholders stand for.
        faults: what was not as recorded, by case.
        mended: the statuses of answers that are not to be as recorded, by case.
    """

    stage: Stage
    names: dict[str, str] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    mended: dict[str, int] = field(default_factory=dict)
    strict: bool = True

    async def play(self, case: dict[str, Any]) -> None:
        """One recorded request."""
        request = case["request"]
        headers = {name: self._fill(value) for name, value in (request["headers"] or {}).items()}
        body = request["body"]
        if isinstance(body, str):
            raw = self._fill(body).encode()
        else:
            raw = b"" if body is None else _PICTURE.sub(_picture, self._fill(json.dumps(body))).encode()
        for name, value in headers.items():
            if value.endswith("{{hmac_sha256(provider_key, raw_body)}}"):
                mark = hmac.new(self.names["provider_key"].encode(), raw, hashlib.sha256).hexdigest()
                headers[name] = f"sha256={mark}"
        query = "&".join(f"{name}={self._fill(str(value))}" for name, value in (request["query"] or {}).items())
        path = self._path(self._fill(request["path"]))
        answer = await self.stage.send(request["method"], f"{path}?{query}" if query else path, headers, raw)
        if case["emulate"] is False:
            self.mended[case["case"]] = answer.status
            return
        self.faults[case["case"]] = self._compare(case, answer)

    def _path(self, path: str) -> str:
        """The first account is renter 1 here, and those of the recording come after it."""
        return re.sub(r"^(/api(?:/admin)?/renters)/(\d+)(/|$)", lambda m: f"{m[1]}/{int(m[2]) + 1}{m[3]}", path)

    def _fill(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name == "iso":
                return "2026-03-22T19:30:00.000Z"
            if name == "unix_seconds":
                return str(self.stage.now // 1_000_000)
            return self.names.get(name, match[0])

        return _PLACEHOLDER.sub(value, text)

    def _compare(self, case: dict[str, Any], answer: Answer) -> list[str]:
        expected = case["response"]
        if answer.status != expected["status"]:
            return [f"status {answer.status}, not {expected['status']}: {answer.body[:300]!r}"]
        found: list[str] = []
        for name, value in expected["headers"].items():
            if answer.headers.get(name) != value and not name.startswith("content-type"):
                found.append(f"header {name}: {answer.headers.get(name)!r}, not {value!r}")
        kind = expected["headers"].get("content-type", "")
        if kind.partition(";")[0] != answer.headers.get("content-type", "").partition(";")[0]:
            found.append(f"content-type {answer.headers.get('content-type')!r}, not {kind!r}")
            return found
        if "json" in kind:
            self._same("", expected["body"], answer.json, found)
        elif isinstance(expected["body"], str) and "event-stream" in kind:
            self._same("", expected["body"], answer.body.decode(), found)
        return found

    def _same(self, path: str, expected: Any, got: Any, found: list[str]) -> None:
        name = re.sub(r"\[\d+\]$", "", path).rpartition(".")[2]
        if isinstance(expected, dict) and isinstance(got, dict):
            for member, value in expected.items():
                if member not in got:
                    found.append(f"{path}.{member} is missing")
                else:
                    self._same(f"{path}.{member}", value, got[member], found)
        elif isinstance(expected, list) and isinstance(got, list):
            # Long lists were cut when they were written down.
            if len(expected) != len(got) and not (len(expected) == _CUT < len(got)):
                found.append(f"{path} has {len(got)} items, not {len(expected)}: {json.dumps(got)[:300]}")
            for index, (one, other) in enumerate(zip(expected, got, strict=False)):
                self._same(f"{path}[{index}]", one, other, found)
        elif isinstance(expected, str) and _PICTURE.fullmatch(expected):
            if got != _picture():
                found.append(f"{path} is {str(got)[:80]!r}, not the picture")
        elif isinstance(expected, str) and "{{" in expected:
            self._match(path, expected, got, found)
        elif _LOOSE.search(name):
            numbers = (int, float)
            if type(expected) is not type(got) and not (isinstance(expected, numbers) and isinstance(got, numbers)):
                found.append(f"{path} is {got!r}, and was {expected!r}")
        elif name in ("renter_id",) and isinstance(expected, int):
            if got != expected + 1:
                found.append(f"{path} is {got!r}, not {expected + 1}")
        elif expected != got or isinstance(expected, bool) is not isinstance(got, bool):
            found.append(f"{path} is {got!r}, not {expected!r}"[:400])

    def _match(self, path: str, expected: str, got: Any, found: list[str]) -> None:
        if expected in ("{{ms}}", "{{unix}}"):
            if not isinstance(got, int):
                found.append(f"{path} is {got!r}, not a number")
            return
        if not isinstance(got, str):
            found.append(f"{path} is {got!r}, not {expected!r}"[:400])
            return
        pattern, position, groups = "", 0, {}
        for match in _PLACEHOLDER.finditer(expected):
            pattern += re.escape(expected[position : match.start()])
            position = match.end()
            known = match[1]
            if known in _PATTERNS:
                pattern += f"(?:{_PATTERNS[known]})"
            elif known in self.names and known != "task_spec_hmac":
                pattern += re.escape(self.names[known])
            elif known in groups:
                pattern += f"(?P={groups[known]})"
            else:
                groups[known] = f"g{len(groups)}"
                pattern += f'(?P<{groups[known]}>[^"]+)'
        pattern += re.escape(expected[position:])
        seen = re.fullmatch(pattern, got)
        if seen is None:
            found.append(f"{path} is {got!r}, not {expected!r}"[:600])
            return
        for known, group in groups.items():
            if known not in ("task_spec_hmac",) or known not in self.names:
                self.names[known] = seen[group]


def _picture(match: re.Match[str] | None = None) -> str:
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 16).decode()


Step = Callable[[Replay], Awaitable[None]]

_LLM = {
    "provider_id": 1,
    "job_type": "llm_inference",
    "duration_minutes": 5,
    "params": {
        "model": "mistralai/Mistral-7B-Instruct-v0.2",
        "prompt": "Write a haiku about desert computing",
        "max_tokens": 64,
        "temperature": 0.8,
    },
}


async def _submit(replay: Replay, name: str, **changes: Any) -> None:
    answer = await replay.stage.rent(
        "POST", "/api/jobs/submit", {**_LLM, **changes}, key=replay.names.get("renter_key")
    )
    assert answer.status == 201, answer.body
    replay.names[name] = answer.json["job"]["job_id"]


async def _poll(replay: Replay) -> None:
    answer = await replay.stage.send("GET", f"/api/providers/{replay.names['provider_key']}/jobs")
    assert answer.status == 200, answer.body
    assert answer.json["job"] is not None


def _after(seconds: float, *steps: Step) -> Step:
    """Let the time pass in which a job was carried out: nobody is paid for more than there was."""

    async def step(replay: Replay) -> None:
        for earlier in steps:
            await earlier(replay)
        replay.stage.clock.advance(seconds)

    return step


async def _other_renter(replay: Replay) -> None:
    answer = await replay.stage.ask("POST", "/api/renters/register", {"name": "Poor", "email": "poor@example.sa"})
    assert answer.status == 201, answer.body
    replay.names["other_renter_key"] = answer.json["api_key"]
    number = answer.json["renter_id"]
    taken = {"amount_halala": -1_000, "reason": "none is left"}
    answer = await replay.stage.administer("POST", f"/api/admin/renters/{number}/balance", taken)
    assert answer.status == 200, answer.body


async def _more_credit(replay: Replay) -> None:
    for _ in range(1):
        answer = await replay.stage.rent(
            "POST", "/api/renters/topup", {"amount_halala": 100_000}, key=replay.names["renter_key"]
        )
        assert answer.status == 200, answer.body


async def _boom(replay: Replay) -> None:
    line = {"level": "error", "message": "boom", "logged_at": "2025-03-22T19:30:00.000Z"}
    body = {"api_key": replay.names["provider_key"], "lines": [line]}
    answer = await replay.stage.ask("POST", f"/api/jobs/{replay.names['job_llm']}/logs", body)
    assert answer.status == 200, answer.body


async def _two_waiting(replay: Replay) -> None:
    await _submit(replay, "job_blocking", pricing_class="priority", priority="1")
    await _submit(
        replay,
        "job_queued",
        duration_minutes=3,
        pricing_class="economy",
        priority="3",
        max_duration_seconds=120,
    )


async def _failing(replay: Replay) -> None:
    await _submit(replay, "job_failed")
    await _poll(replay)


async def _failing_too(replay: Replay) -> None:
    await _submit(replay, "job_failed2")
    await _poll(replay)


async def _finish_test(replay: Replay) -> None:
    body = {"api_key": replay.names["provider_key"], "job_id": replay.names["job_other_1"], "success": True}
    answer = await replay.stage.ask("POST", "/api/providers/job-result", {**body, "result": "ok"})
    assert answer.status == 200, answer.body


async def _nowhere_to_run(replay: Replay) -> None:
    await _submit(replay, "job_nowhere", provider_id=None, gpu_requirements={"min_vram_gb": 600})


async def _dispatch_failed(replay: Replay) -> None:
    body = {"job_type": "llm_inference", "duration_minutes": 2}
    answer = await replay.stage.rent("POST", "/api/jobs", body, key=replay.names["renter_key"])
    assert answer.status == 201, answer.body
    replay.names["job_dispatch2"] = answer.json["job"]["job_id"]
    body = {"api_key": replay.names["provider_key"], "reason": "x"}
    answer = await replay.stage.ask("PATCH", f"/api/jobs/{replay.names['job_dispatch2']}/fail", body)
    assert answer.status == 200, answer.body


BEFORE: dict[str, Step] = {
    "observed.jobs.submit.zero_balance": _other_renter,
    "observed.jobs.submit.llm.ok": _more_credit,
    "observed.jobs.logs.all": _boom,
    "observed.jobs.get.queued": _two_waiting,
    "observed.daemon.result.llm": _after(42.5),
    "observed.daemon.result.image": _after(9.9, _poll),
    "observed.daemon.result.custom": _after(3.3),
    "observed.daemon.result.failed": _after(2.0, _failing),
    "observed.daemon.fail_endpoint": _failing_too,
    "observed.jobs.submit.autoroute": _finish_test,
    "observed.jobs.result.legacy": _after(30.0, _poll),
    "observed.jobs.history": _nowhere_to_run,
    "observed.provider.job_history": _dispatch_failed,
}
"""What the recording left out, by the case that needs it."""

__all__ = ["ADMIN", "BEFORE", "Replay"]
