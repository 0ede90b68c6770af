"""Jobs: submitting, waiting through trouble, streams."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from skerry._kernel.request import Request, Response, TransportFailure
from skerry.errors import NoCapacityError
from skerry.money import Money
from skerry.networks.dc1 import (
    APIError,
    AsyncDC1,
    DC1CancelledError,
    DC1ConnectionError,
    DC1NotFoundError,
    DC1PermissionDeniedError,
    DC1QuotaExceededError,
    Deadline,
    JobFailedError,
    JobOutput,
    JobTimeoutError,
    RequestOptions,
)
from tests.io.pieces import AsyncPieces, Piece
from tests.io.script import AsyncScripted, Notes, Step, answer

pytestmark = pytest.mark.anyio

PENDING, RUNNING = answer(202, {"status": "pending"}), answer(202, {"status": "running", "job_type": "training"})
DONE = answer(200, {"job_id": "j", "status": "completed", "result": "ok", "actual_cost_halala": 11})
LIMITED = answer(429, {"error": "Rate limit exceeded", "retryAfterSeconds": 20})
END = b'data: {"type":"end","status":"completed","ts":1}\n\n'


def _client(*steps: Step) -> tuple[AsyncDC1, AsyncScripted, Notes]:
    transport, notes = AsyncScripted(*steps), Notes()
    client = AsyncDC1(
        "k", "https://api.test", transport=transport, effects=notes.effects, sleeper=notes.async_sleep, environ={}
    )
    return client, transport, notes


def _streaming(*answers: tuple[int, list[Piece]]) -> tuple[AsyncDC1, AsyncPieces, Notes]:
    transport, notes = AsyncPieces(*answers), Notes()
    client = AsyncDC1(
        "k", "https://api.test", transport=transport, effects=notes.effects, sleeper=notes.async_sleep, environ={}
    )
    return client, transport, notes


async def _all(items: AsyncGenerator[Any], got: list[Any]) -> None:
    async for item in items:
        got += [item]


def _log(number: int, text: str) -> bytes:
    line = {"type": "log", "line_no": number, "level": "info", "line": text, "logged_at": "2026-03-22T19:30:00.000Z"}
    return b"data: " + json.dumps(line).encode() + b"\n\n"


async def test_a_submission_is_two_requests() -> None:
    client, transport, _ = _client(answer(201, {"success": True, "job": {"id": 9, "job_id": "j"}}), PENDING)
    params = {"prompt": "a < b", "nested": {"x": [1, None]}}
    job = await client.submit_job(3, "llm_inference", params, 2, model="m")
    assert (job.status, job.is_done) == ("pending", False)
    assert transport.sent[0].body == (
        b'{"provider_id":3,"job_type":"llm_inference","duration_minutes":2,"priority":2,'
        b'"params":{"prompt":"a < b","nested":{"x":[1,null]}},"model":"m"}'
    )
    assert [(request.method, request.url.removeprefix("https://api.test")) for request in transport.sent] == [
        ("POST", "/api/jobs/submit"),
        ("GET", "/api/jobs/j/output"),
    ]


async def test_a_job_that_was_made_is_named_by_the_error_that_follows() -> None:
    made = answer(201, {"success": True, "id": 77})
    client, transport, _ = _client(made, answer(500, {"error": "boom"}))
    with pytest.raises(APIError, match="boom") as caught:
        await client.jobs.submit("benchmark", {}, provider_id=None, duration_minutes=1)
    assert caught.value.job_id == "77"
    assert "77" in caught.value.__notes__[0]
    assert json.loads(transport.sent[0].body or b"")["provider_id"] is None
    client, _, _ = _client(made, TransportFailure("cut"))
    options = RequestOptions(idempotency_key="k")
    with pytest.raises(DC1ConnectionError) as broken:
        await client.submit_job(1, "benchmark", {}, 1, options=options)
    assert broken.value.job_id == "77"


async def test_a_provider_that_went_away_is_no_capacity() -> None:
    client, _, _ = _client(answer(400, {"error": "Provider is not online", "provider_status": "offline"}))
    with pytest.raises(NoCapacityError):
        await client.submit_job(1, "training", {}, 1)


async def test_waiting_goes_through_limits_and_passing_trouble() -> None:
    seen: list[JobOutput] = []
    client, _, notes = _client(PENDING, LIMITED, answer(503), answer(502), TransportFailure("cut"), RUNNING, DONE)
    output = await client.jobs.wait("j", on_progress=seen.append)
    assert (output.status, output.text, output.cost) == ("completed", "ok", Money(11, "SAR"))
    assert [each.status for each in seen] == ["pending", "running", "completed"]
    # Soon at first; after trouble as long as the server asks, else twice the interval of 5 s and so on.
    assert notes.slept == [0.25, 20.0, 20.0, 40.0, 60.0, 0.5]


async def test_looks_become_rare() -> None:
    client, _, notes = _client(*[PENDING] * 7, *[RUNNING] * 2, DONE)
    await client.jobs.wait("j")
    # Short work every 5 s in the end, long work every 15 s.
    assert notes.slept == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 15.0, 15.0]


async def test_waiting_ends_with_the_time() -> None:
    client, transport, notes = _client(PENDING)
    with pytest.raises(JobTimeoutError, match="Job j did not complete within 12s"):
        await client.jobs.wait("j", timeout=12)
    assert (len(transport.sent), notes.slept) == (7, [0.25, 0.5, 1.0, 2.0, 4.0, 4.25])
    client, transport, notes = _client(LIMITED)
    with pytest.raises(JobTimeoutError) as caught:
        await client.jobs.wait("j", timeout=3, poll_interval=1)
    assert isinstance(caught.value.__cause__, APIError)
    assert notes.slept == [3.0]


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (answer(403, {"error": "Forbidden"}), DC1PermissionDeniedError),
        (answer(404, {"error": "Job not found"}), DC1NotFoundError),
        (answer(429, {"error": "q", "daily_jobs_limit": 1}), DC1QuotaExceededError),
    ],
)
async def test_waiting_does_not_cure_everything(step: Step, kind: type[APIError]) -> None:
    client, transport, _ = _client(step)
    with pytest.raises(kind):
        await client.jobs.wait("j")
    assert len(transport.sent) == 1


async def test_a_caller_who_gives_up_ends_the_waiting() -> None:
    deadline = Deadline(None)

    def give_up(request: Request) -> Response:
        deadline.cancel()
        return Response(202, (), b'{"status":"running"}')

    client, transport, _ = _client(give_up)
    for waiting in (client.jobs.wait, client.wait_for_job, client.poll_job):
        with pytest.raises(DC1CancelledError):
            await waiting("j", options=RequestOptions(deadline=deadline))
    assert len(transport.sent) == 1


async def test_failed_jobs_end_the_waiting_as_answers() -> None:
    failed = answer(410, {"status": "failed", "error": "CUDA out of memory", "refunded": True, "job_id": "j"})
    client, _, _ = _client(PENDING, failed)
    output = await client.jobs.wait("j")
    assert (output.ok, output.error, output.job.refunded) == (False, "CUDA out of memory", True)
    client, _, _ = _client(PENDING, failed)
    assert (await client.wait_for_job("j")).error == "CUDA out of memory"


async def test_servers_of_the_flat_shape_end_the_waiting_too() -> None:
    client, _, _ = _client(
        PENDING, answer(200, {"type": "text", "response": "hi", "billing": {"actual_cost_halala": 2}})
    )
    output = await client.jobs.wait("j")
    assert (output.status, output.text, output.cost) == ("completed", "hi", Money(2, "SAR"))


async def test_the_official_wait_sleeps_no_longer_than_there_is_time() -> None:
    client, transport, notes = _client(PENDING)
    with pytest.raises(JobTimeoutError):
        await client.wait_for_job("j", 5, 7)
    assert (len(transport.sent), notes.slept) == (3, [5.0, 2.0])
    client, transport, notes = _client(PENDING)
    with pytest.raises(JobTimeoutError):
        await client.wait_for_job("j", timeout=0)
    assert (len(transport.sent), notes.slept) == (1, [])


async def test_the_guides_poll() -> None:
    limited, gone = answer(429, {"retryAfterSeconds": 60}), answer(404, {"error": "Job not found"})
    row = answer(200, {"job": {"job_id": "j", "status": "completed", "cost_halala": 75}})
    client, transport, notes = _client(
        limited, gone, answer(200, {}), TransportFailure("cut"), answer(200, {"job": {"job_type": "vllm_serve"}}), row
    )
    job = await client.poll_job("j")
    assert (job.status, job.cost) == ("completed", Money(75, "SAR"))
    assert notes.slept == [10.0, 5.0, 5.0, 5.0, 15.0]
    assert {request.url for request in transport.sent} == {"https://api.test/api/jobs/j"}
    client, transport, notes = _client(gone)
    with pytest.raises(JobTimeoutError, match="within 9s"):
        await client.poll_job("j", 9, 4)
    assert notes.slept == [4.0, 4.0, 4.0]


async def test_waiting_for_a_served_model() -> None:
    inner = {"type": "endpoint", "endpoint_url": "http://10.0.0.1:8100/v1", "model": "m"}
    client, _, notes = _client(PENDING, LIMITED, answer(200, {"status": "running", "result": inner}))
    assert (await client.jobs.wait_for_endpoint("j")).url == "http://10.0.0.1:8100/v1"
    assert notes.slept == [0.25, 20.0]
    client, _, _ = _client(answer(410, {"status": "failed", "error": "no GPU"}))
    with pytest.raises(JobFailedError, match="Job j failed: no GPU") as caught:
        await client.jobs.wait_for_endpoint("j")
    assert caught.value.response == {"status": "failed", "error": "no GPU"}
    assert (caught.value.job_id, caught.value.job_status, caught.value.status) == ("j", "failed", 410)
    client, _, _ = _client(PENDING)
    with pytest.raises(JobTimeoutError):
        await client.jobs.wait_for_endpoint("j", timeout=1)


async def test_images_are_bytes() -> None:
    picture = Response(200, (("content-type", "image/png"),), b"\x89PNG")
    client, transport, _ = _client(picture)
    assert await client.jobs.image("j") == b"\x89PNG"
    assert await client.jobs.output_file("j") == b"\x89PNG"
    assert transport.sent[0].header("accept") == "image/*"
    assert transport.sent[1].url == "https://api.test/api/jobs/j/output/png"


async def test_cancelling_names_the_job() -> None:
    client, _, _ = _client(
        answer(200, {"success": True, "job": {"job_id": "j", "status": "cancelled"}, "refunded_halala": 9}),
        answer(200, {"success": True}),
    )
    done = await client.cancel_job(7)
    assert (done.success, done.job_id, done.refund) == (True, "j", Money(9, "SAR"))
    assert done.raw["job"] == {"job_id": "j", "status": "cancelled"}
    assert (await client.cancel_job(7)).job_id == "7"


async def test_lists() -> None:
    items = [
        {"job_id": "a", "actual_cost_halala": 0, "cost_halala": 75},
        {"id": 2, "cost_halala": 5, "cost_sar": "0.05"},
    ]
    client, transport, _ = _client(answer(200, {"balance_halala": 1, "jobs": items}))
    history = await client.get_payment_history(5)
    assert [(item.id, item.charged.amount) for item in history.jobs] == [("a", 0), ("2", 5)]
    assert [item.id for item in await client.jobs.list()] == ["a", "2"]
    assert [item.id for item in await client.jobs.active()] == ["a", "2"]
    assert len((await client.jobs.page(limit=2, offset=4, status="failed")).jobs) == 2
    assert [request.url.partition("?")[2] for request in transport.sent] == [
        "limit=5",
        "limit=20",
        "",
        "limit=2&offset=4&status=failed",
    ]


async def test_log_streams_go_on_after_the_last_line_that_came() -> None:
    first: list[Piece] = [_log(1, "a")[:9], _log(1, "a")[9:] + _log(2, "b"), TransportFailure("cut")]
    client, transport, notes = _streaming(
        (200, first), (200, [TransportFailure("cut")]), (200, [b": wait\n\n", _log(2, "b"), _log(3, "c"), END])
    )
    got: list[Any] = []
    await _all(client.jobs.stream_logs("j", since=0), got)
    assert [(line.line_no, line.message, line.level) for line in got] == [
        (1, "a", "info"),
        (2, "b", "info"),
        (3, "c", "info"),
    ]
    assert [request.url.partition("?")[2] for request in transport.sent] == ["since=0", "since=2", "since=2"]
    assert transport.sent[0].header("accept") == "text/event-stream"
    assert notes.slept == [2.5, 5.0]
    assert transport.open == 0


async def test_a_log_stream_that_cannot_be_opened_again_fails() -> None:
    client, transport, _ = _streaming(*[(200, [TransportFailure("cut")]) for _ in range(6)])
    with pytest.raises(DC1ConnectionError):
        await _all(client.jobs.stream_logs("j"), [])
    assert len(transport.sent) == 6
    client, transport, _ = _streaming(*[(200, [_log(1, "a")]) for _ in range(6)])
    got: list[Any] = []
    with pytest.raises(DC1ConnectionError, match="ended before its job did"):
        await _all(client.jobs.stream_logs("j"), got)
    assert (len(transport.sent), len(got)) == (6, 1)
    client, transport, _ = _streaming((404, [b'{"error":"Job not found"}']))
    with pytest.raises(DC1NotFoundError, match="Job not found"):
        await _all(client.jobs.stream_logs("j"), [])
    assert len(transport.sent) == 1


async def test_event_streams_end_with_their_job() -> None:
    event = b'event: job_running\ndata: {"event":"job_running","status":"running","cost_usd":0.029333}\n\n'
    end = b'event: end\ndata: {"status":"completed","ts":1}\n\n'
    client, transport, _ = _streaming((200, [event, end, event]), (200, [event, END]))
    got: list[Any] = []
    await _all(client.jobs.stream("j"), got)
    await _all(client.jobs.stream_lifecycle("j", since_sequence=4), got)
    assert [(each.name, each.status, str(each.cost_usd)) for each in got] == [
        ("job_running", "running", "0.029333")
    ] * 2
    assert transport.sent[1].url.endswith("/lifecycle/stream?since_sequence=4")


async def test_models_answer_piece_by_piece() -> None:
    pieces = [
        b'data: {"choices":[{"index":0,"delta":{"content":"Si"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"licon"}}]}\n\n',
    ]
    last = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"total_tokens":3},"cost_halala":2}\n\n'
    last += b"data: [DONE]\n\n"
    client, transport, _ = _streaming(
        (200, [*pieces, last]), (200, [pieces[0], b'data: {"error":{"message":"no GPU","code":"no_capacity"}}\n\n'])
    )
    got: list[Any] = []
    await _all(client.v1.stream_chat("m", [{"role": "user", "content": "hi"}], max_tokens=8), got)
    assert ("".join(piece.text for piece in got), got[-1].cost, got[-1].usage.total_tokens) == (
        "Silicon",
        Money(2, "SAR"),
        3,
    )
    assert json.loads(transport.sent[0].body or b"") == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "max_tokens": 8,
    }
    with pytest.raises(NoCapacityError, match="no GPU") as caught:
        await _all(client.v1.stream_complete("m", prompt="hi"), got)
    assert caught.value.operation == "v1.stream_complete"
    assert transport.open == 0


MADE = answer(201, {"success": True, "job": {"id": 9, "job_id": "j"}})


async def test_whole_jobs_in_one_call() -> None:
    text = {"type": "text", "response": "Silicon on sand", "tokens_generated": 5}
    client, transport, _ = _client(MADE, PENDING, answer(200, {"status": "completed", "result": text}))
    found = await client.jobs.generate_text("haiku", max_tokens=64, options=RequestOptions(idempotency_key="k"))
    assert (found.text, found.tokens_generated) == ("Silicon on sand", 5)
    assert transport.sent[0].body == (
        b'{"provider_id":null,"job_type":"llm_inference","duration_minutes":5,'
        b'"params":{"prompt":"haiku","max_tokens":64}}'
    )
    assert [request.header("x-idempotency-key") for request in transport.sent] == ["k", None, None]
    picture = {"type": "image", "format": "png", "image_base64": "iVBORw=="}
    client, transport, _ = _client(MADE, answer(200, picture))
    assert (await client.jobs.generate_image("camel", steps=30, seed=0)).content == b"\x89PNG"
    assert json.loads(transport.sent[0].body or b"")["params"] == {"prompt": "camel", "steps": 30, "seed": 0}
    client, _, _ = _client(MADE, answer(200, {"type": "text", "result": 'hi\nDC1_RESULT_JSON:{"a":1}\n'}))
    assert (await client.jobs.run_container("print('hi')")).data == {"a": 1}
    client, _, _ = _client(MADE, PENDING, answer(200, {"result": {"endpoint_url": "http://h:1/v1"}}))
    endpoint = await client.jobs.serve_vllm("m", provider_id=3)
    assert (endpoint.url, endpoint.job_id) == ("http://h:1/v1", "j")


async def test_whole_jobs_that_came_to_nothing() -> None:
    failed = answer(410, {"status": "failed", "error": "CUDA out of memory"})
    cut = answer(206, {"type": "image", "error": "truncated"})
    for step, run, words in (
        (failed, "generate_text", "Job j failed: CUDA out of memory"),
        (failed, "run_container", "Job j failed: CUDA out of memory"),
        (failed, "serve_vllm", "Job j failed: CUDA out of memory"),
        (answer(200, {"status": "completed", "result": "text"}), "generate_image", "there is no picture"),
        (cut, "generate_image", "Job j completed: truncated"),
    ):
        client, _, _ = _client(MADE, step)
        with pytest.raises(JobFailedError, match=words) as caught:
            await getattr(client.jobs, run)("x")
        assert caught.value.job_id == "j"
    client, _, _ = _client(answer(201, {"success": True}))
    with pytest.raises(APIError, match="no job_id was returned"):
        await client.jobs.generate_text("x")
