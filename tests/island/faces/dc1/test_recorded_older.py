"""What was recorded at the service's older version and against its limits, played against the face.

`test_vectors` plays the long conversation with the version that the protocol follows; these two are short ones of
their own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.island.faces.dc1.replay import Replay
from tests.island.faces.dc1.stage import Stage
from tests.vectors.cases import DATA

pytestmark = pytest.mark.anyio

_NEAREST = {"header ratelimit-": "what is told is left of the route's own limit, which is the one that is met first"}
_DOCUMENTED = "five in ten minutes, as documented; the deployed service has an hour"
DIFFERENT: dict[str, dict[str, str]] = {
    "observed.old.result.failed": {
        ".job.updated_at": "the older version wrote down one more try of a job that had failed for good",
        ".job.last_error": "why a job failed is not forgotten",
    },
    "observed.rl.register.1": _NEAREST,
    "observed.rl.register.6": {
        "header ratelimit-": _DOCUMENTED,
        "header retry-after": _DOCUMENTED,
        ".retryAfter": _DOCUMENTED,
    },
    "observed.rl.submit.1": _NEAREST,
}
"""What the face does otherwise, by case and member, with the reason."""

Step = Callable[[Replay], Awaitable[Any]]


@asynccontextmanager
async def _conversation(directory: Path, **choices: Any) -> AsyncIterator[Replay]:
    stage = Stage(directory, dc1=choices)
    await stage.open()
    try:
        yield Replay(stage)
    finally:
        await stage.close()


async def _play(replay: Replay, prefix: str, before: dict[str, Step]) -> list[str]:
    cases = json.loads((DATA / "dc1.json").read_text(encoding="utf-8"))
    for case in cases:
        if case["case"].startswith(prefix):
            if case["case"] in before:
                await before[case["case"]](replay)
            await replay.play(case)
    assert before.keys() <= replay.faults.keys()
    return [
        f"{name}: {fault}"
        for name, faults in replay.faults.items()
        for fault in faults
        if not any(fault.startswith(member) for member in DIFFERENT.get(name, {}))
    ]


async def _newcomer(replay: Replay) -> None:
    answer = await replay.stage.ask("POST", "/api/renters/register", {"name": "Renter", "email": "r@example.sa"})
    replay.names["renter_key"] = answer.json["api_key"]


def _submit(name: str, **changes: Any) -> Step:
    async def step(replay: Replay) -> None:
        job = {"provider_id": 1, "job_type": "llm_inference", "duration_minutes": 5, "params": {"prompt": "x"}}
        answer = await replay.stage.rent("POST", "/api/jobs/submit", {**job, **changes}, key=replay.names["renter_key"])
        replay.names[name] = answer.json["job"]["job_id"]

    return step


async def _worked_a_minute(replay: Replay) -> None:
    replay.stage.clock.advance(61)


async def _claimed(replay: Replay) -> None:
    answer = await replay.stage.send("GET", f"/api/providers/{replay.names['provider_key']}/jobs")
    assert answer.json["job"]["job_id"] == replay.names["job_b"]
    replay.stage.clock.advance(5)


async def test_the_older_version(tmp_path: Path) -> None:
    """Prices by the minute, whatever is written for a system's name, and numbers for priorities."""
    before = {
        "observed.old.topup": _newcomer,
        "observed.old.poll": _submit("job_b"),
        "observed.old.result.ok": _worked_a_minute,
        "observed.old.result.failed": _claimed,
        "observed.old.rate.rendering": _submit("job_training", job_type="training"),
        "observed.old.rate.custom_container": _submit("job_benchmark", job_type="benchmark"),
    }
    async with _conversation(tmp_path) as replay:
        faults = await _play(replay, "observed.old.", before)
    assert not faults, "\n".join(faults)


def _asked(times: int, method: str, target: str, *bodies: dict[str, Any], key: str = "") -> Step:
    async def step(replay: Replay) -> None:
        for index in range(times):
            body = bodies[index] if len(bodies) > 1 else bodies[0] if bodies else None
            headers = {"x-renter-key": replay.names[key]} if key else {}
            answer = await replay.stage.ask(method, target, body, headers=headers)
            assert answer.status != 429, answer.body

    return step


async def test_limits(tmp_path: Path) -> None:
    """The same request once more than the limit has it."""
    more = [{"name": f"Renter {number}", "email": f"r{number}@example.sa"} for number in range(1, 5)]
    submitted = {"job_type": "llm_inference", "duration_minutes": 1, "params": {"prompt": "x"}}
    before = {
        "observed.rl.register.6": _asked(4, "POST", "/api/renters/register", *more),
        "observed.rl.submit.31": _asked(29, "POST", "/api/jobs/submit", submitted, key="renter_key"),
        "observed.rl.retry.4": _asked(3, "POST", "/api/jobs/1/retry", key="renter_key"),
        "observed.rl.heartbeat.11": _asked(10, "POST", "/api/providers/heartbeat", {"api_key": "nope"}),
    }
    async with _conversation(tmp_path, rate_limits=True, pricing="gpu") as replay:
        faults = await _play(replay, "observed.rl.", before)
    assert not faults, "\n".join(faults)
