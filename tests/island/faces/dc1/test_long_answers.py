"""Results of megabytes: sent in pieces, the same to the byte, few at a time, and read by nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from skerry.island.asgi import Receive, Scope, Send
from skerry.island.faces.dc1 import face, wire
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.jobs import long_answers
from skerry.island.faces.dc1.jobs.long_answers import AT_ONCE, LongAnswers, Pieces
from tests.island.engine.lab import PATIENCE
from tests.island.faces.dc1.hosts import host, submit
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio
LONG = 'سؤال "quoted"\\\n\x01' * 30_000


async def read(stage: Stage, job: str, **headers: str) -> Any:
    return await stage.send("GET", f"/api/jobs/{job}/output", {"x-renter-key": stage.key, **headers})


@pytest.mark.parametrize(
    "value",
    [
        {"result": LONG, "billing": {"sar": None, "halala": 7}, "list": [1.5, LONG, [], {}, True], LONG[:9]: "x"},
        {"many": [{"name": str(number), "number": number} for number in range(20_000)]},
    ],
)
async def test_pieces_make_the_whole(value: Any) -> None:
    left: list[bool] = []
    pieces = [piece async for piece in Pieces(value, lambda: left.append(True))]
    assert b"".join(pieces) == wire.encode(value)
    # Texts of several bytes a character.
    assert len(pieces) > 1
    assert max(map(len, pieces)) < 1 << 20
    assert left


async def test_a_long_result(stage: Stage) -> None:
    mine = await host(stage)
    job = str((await submit(stage, mine, "custom_container", params={"script": "print(1)"}))["job_id"])
    await mine.claim()
    stdout = f"{LONG}\nDC1_RESULT_JSON:{json.dumps({'device': 'cpu', 'blob': LONG})}\n"
    await mine.finish(job, result=stdout)
    answer = await read(stage, job)
    assert (answer.status, answer.json["result"], answer.json["result_json"]["blob"]) == (200, stdout, LONG)
    assert "content-length" not in answer.headers
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    # It is not for everybody, and a client that asks for the head, or leaves, takes nobody's room.
    assert (await read(stage, job, **{"x-renter-key": "dc1-renter-" + "0" * 32})).status == 403
    for _ in range(AT_ONCE + 1):
        head = await stage.send("HEAD", f"/api/jobs/{job}/output", {"x-renter-key": stage.key})
        assert (head.status, head.body) == (200, b"")
    assert (await read(stage, job)).body == answer.body
    assert (await read(stage, "job-0-nobody")).status == 404


async def test_a_list_in_a_result_that_nobody_could_send(stage: Stage) -> None:
    """So many values would hold up everybody; the text that has them is there all the same."""
    mine = await host(stage)
    job = str((await submit(stage, mine, "custom_container", params={"script": "print(1)"}))["job_id"])
    await mine.claim()
    stdout = 'DC1_RESULT_JSON:{"list":[' + "1," * wire.MOST_VALUES + " " * (1 << 20) + "1]}\n"
    await mine.finish(job, result=stdout)
    answer = await read(stage, job)
    assert (answer.json["result"], "result_json" in answer.json) == (stdout, False)


async def test_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = LongAnswers()
    leaving = [await answers.enter() for _ in range(AT_ONCE)]
    waiting = asyncio.ensure_future(answers.enter())
    await asyncio.sleep(0)
    assert not waiting.done()
    # Leaving twice makes no room for two.
    leaving[0]()
    leaving[0]()
    another = await asyncio.wait_for(waiting, PATIENCE)
    monkeypatch.setattr(long_answers, "PATIENCE_SECONDS", 0.01)
    with pytest.raises(Fault) as refused:
        await answers.enter()
    assert (refused.value.status, refused.value.headers) == (503, ((b"retry-after", b"5"),))
    for leave in (*leaving, another):
        leave()
    assert [await answers.enter() for _ in range(AT_ONCE)]


async def test_a_reader_that_stops_reading_gives_up_its_place(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = await host(stage)
    job = str((await submit(stage, mine, "custom_container", params={"script": "print(1)"}))["job_id"])
    await mine.claim()
    await mine.finish(job, result=LONG)
    whole, app = (await read(stage, job)).body, stage.app

    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        async def take_one(message: MutableMapping[str, Any]) -> None:
            await send(message)
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        await app(scope, receive, take_one)

    monkeypatch.setattr(face, "STALLED_SECONDS", 0.01)
    monkeypatch.setattr(stage, "app", stuck)
    for answer in await asyncio.wait_for(asyncio.gather(*(read(stage, job) for _ in range(AT_ONCE))), 30):
        assert 0 < len(answer.body) < len(whole)
    monkeypatch.setattr(stage, "app", app)
    assert (await asyncio.wait_for(read(stage, job), 15)).body == whole
