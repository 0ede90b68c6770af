"""How often renters may ask (section 2.7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.answers import Answer
from tests.island.faces.dc1.stage import Stage
from tests.island.faces.dc1.work import register

pytestmark = pytest.mark.anyio
USUAL = "Rate limit exceeded"


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[Stage]:
    """A face with its limits."""
    stage = Stage(tmp_path, dc1={"rate_limits": True})
    await stage.open()
    yield stage
    await stage.close()


async def spent(stage: Stage, method: str, path: str, body: Any, count: int) -> Answer:
    """The answer after so many that were not refused for their number."""
    for _ in range(count):
        assert (await stage.rent(method, path, body)).status != 429
    return await stage.rent(method, path, body)


@pytest.mark.parametrize(
    ("method", "path", "body", "count", "seconds", "error"),
    [
        ("POST", "/api/renters/register", {}, 5, 600, USUAL),
        ("POST", "/api/renters/topup", {"amount_halala": 1}, 10, 60, "Too many top-up requests. Slow down."),
        ("POST", "/api/payments/topup", {}, 10, 60, USUAL),
        ("POST", "/api/renters/send-otp", {}, 5, 900, USUAL),
        ("POST", "/api/renters/login-email", {}, 10, 900, USUAL),
        ("POST", "/api/renters/1/webhooks", {}, 10, 3_600, USUAL),
        ("GET", "/api/renters/me/export", None, 1, 86_400, USUAL),
        ("DELETE", "/api/renters/me", {}, 1, 86_400, USUAL),
    ],
)
async def test_limits(strict: Stage, method: str, path: str, body: Any, count: int, seconds: int, error: str) -> None:
    answer = await spent(strict, method, path, body, count)
    assert answer.status == 429
    assert answer.json["error"] == error
    assert answer.headers["ratelimit-policy"] == f"{count};w={seconds}"
    assert answer.headers["ratelimit-remaining"] == "0"
    assert int(answer.headers["retry-after"]) == seconds
    if error == USUAL:
        assert (answer.json["retryAfterSeconds"], answer.json["retryAfterMs"]) == (seconds, seconds * 1_000)
    else:
        assert set(answer.json) == {"error"}
    strict.clock.advance(seconds)
    assert (await strict.rent(method, path, body)).status != 429


async def test_every_answer_tells_of_the_narrowest_limit(strict: Stage) -> None:
    """Whatever becomes of a request: `RateLimit-*` of its own route's limit, else of the one that all share."""

    def told(answer: Answer) -> tuple[str, ...]:
        return tuple(answer.headers[f"ratelimit-{name}"] for name in ("policy", "limit", "remaining", "reset"))

    assert told(await strict.rent("GET", "/api/renters/me")) == ("300;w=60", "300", "299", "60")
    assert told(await strict.rent("GET", "/api/jobs/nothing")) == ("300;w=60", "300", "298", "60")
    assert told(await strict.rent("GET", "/nowhere")) == ("300;w=60", "300", "297", "60")
    refused = await strict.rent("POST", "/api/jobs/submit", {"job_type": "poetry"})
    assert (refused.status, told(refused)) == (400, ("30;w=60", "30", "29", "60"))
    unknown = await strict.rent("GET", "/api/jobs", key="dc1-renter-" + "0" * 32)
    assert (unknown.status, told(unknown)) == (403, ("300;w=60", "300", "299", "60"))


async def test_rotations_are_three_a_day(strict: Stage) -> None:
    _, key = await register(strict)
    for _ in range(3):
        answer = await strict.rent("POST", "/api/renters/me/rotate-key", key=key)
        assert answer.status == 200
        key = answer.json["new_key"]
    answer = await strict.rent("POST", "/api/renters/rotate-key", key=key)
    assert (answer.status, answer.json["error"]) == (429, USUAL)
    assert (await strict.rent("GET", "/api/renters/me", key=key)).status == 200


async def test_the_operator(strict: Stage) -> None:
    for _ in range(30):
        assert (await strict.administer("GET", "/api/admin/overview")).status == 200
    assert (await strict.administer("GET", "/api/admin/overview")).status == 429
