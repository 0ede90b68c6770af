"""What `/output` says in every state, to the three kinds of readers that there are."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from skerry.island.faces.dc1.jobs import job_rows, output, results
from skerry.island.faces.dc1.jobs.results import marked
from skerry.networks.dc1.outputs import EndpointResult, ImageResult, TextResult, read_output
from tests.answers import Answer
from tests.island.faces.dc1.hosts import Host, host, submit
from tests.island.faces.dc1.stage import Stage

pytestmark = pytest.mark.anyio

TOLD = {
    "type": "text",
    "prompt": "Write a haiku about desert computing",
    "response": "Silicon on sand",
    "model": "mistralai/Mistral-7B-Instruct-v0.2",
    "tokens_generated": 5,
    "tokens_per_second": 12.5,
    "gen_time_s": 0.4,
    "total_time_s": 1.2,
    "device": "cuda",
}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAAPElEQVR4nGNgYOcTlVHWMrSwd/NlYOYSlJBX0zWxdvIMYGDjFZFW0jQwt3P1CW"
    "bgFBCXU9UxtnL08A8DALkMCBHFwtNPAAAAAElFTkSuQmCC"
)
DRAWN = {
    "type": "image",
    "format": "png",
    "encoding": "base64",
    "width": 4,
    "height": 4,
    "steps": 30,
    "seed": 42,
    "prompt": "A camel caravan",
    "model": "stabilityai/stable-diffusion-xl-base-1.0",
    "gen_time_s": 3.2,
    "total_time_s": 9.9,
    "device": "cuda",
    "data": base64.b64encode(PNG).decode(),
}


def printed(told: Any, before: str = "[dcp] Loading\n", after: str = "\n") -> str:
    return f"{before}DC1_RESULT_JSON:{json.dumps(told)}{after}"


async def read(stage: Stage, job_id: str, accept: str | None = None) -> Answer:
    headers = {"x-renter-key": stage.key, **({"Accept": accept} if accept is not None else {})}
    return await stage.send("GET", f"/api/jobs/{job_id}/output", headers)


async def begun(stage: Stage, mine: Host, job_type: str = "llm_inference", **more: Any) -> str:
    job = await submit(stage, mine, job_type, **more)
    assert (await mine.claim())["job_id"] == job["job_id"]
    return str(job["job_id"])


async def done(stage: Stage, job_type: str, stdout: str, seconds: float = 42.5, **more: Any) -> str:
    mine = await host(stage)
    job = await begun(stage, mine, job_type, **more)
    stage.clock.advance(seconds)
    await mine.finish(job, result=stdout, gpu_seconds_used=seconds)
    return job


async def test_before_it_ends(stage: Stage) -> None:
    mine = await host(stage)
    job = (await submit(stage, mine))["job_id"]
    waiting = await read(stage, job)
    common = {
        "job_id": job,
        "job_type": "llm_inference",
        "provider_id": mine.id,
        "duration_minutes": 5,
        "cost_halala": 75,
        "submitted_at": "2026-03-22T19:30:00.000Z",
        "progress_phase": None,
        "progress_updated_at": None,
    }
    assert (waiting.status, waiting.json) == (
        202,
        {
            **common,
            "status": "pending",
            "message": "Job status: pending",
            "started_at": None,
            "timeout_at": "2026-03-22 20:00:00.000",
        },
    )
    await mine.claim()
    running = await read(stage, job)
    assert running.json == {
        **common,
        "status": "running",
        "message": "Job running...",
        "started_at": "2026-03-22T19:30:00.000Z",
        "timeout_at": "2026-03-22 20:00:00",
    }
    for phase, message in (
        ("downloading_model", "Downloading model weights..."),
        ("installing_deps", "Installing dependencies..."),
        ("loading_model", "Loading model onto GPU..."),
        ("generating", "Generating response..."),
        ("formatting", "Formatting output..."),
    ):
        assert (await mine.post(f"/api/jobs/{job}/progress", phase=phase)).status == 200
        answer = await read(stage, job)
        assert (answer.status, answer.json["message"], answer.json["progress_phase"]) == (202, message, phase)
        assert "result" not in answer.json


async def test_text(stage: Stage) -> None:
    job = await done(stage, "llm_inference", printed(TOLD))
    answer = await read(stage, job)
    flat = {name: value for name, value in TOLD.items() if name != "type"}
    assert (answer.status, answer.json) == (
        200,
        {
            "job_id": job,
            "status": "completed",
            "job_type": "llm_inference",
            "provider_id": 1,
            "provider_name": "farm",
            "duration_minutes": 5,
            "submitted_at": "2026-03-22T19:30:00.000Z",
            "started_at": "2026-03-22T19:30:00.000Z",
            "completed_at": "2026-03-22T19:30:42.500Z",
            "progress_phase": None,
            "cost_halala": 11,
            "actual_cost_halala": 11,
            "quoted_cost_halala": 75,
            "actual_duration_minutes": 1,
            "execution_time_sec": 42.5,
            "billing": {"actual_cost_halala": 11, "actual_cost_sar": "0.11"},
            "result_type": "text",
            "result": {**TOLD, "output": "Silicon on sand"},
            "type": "text",
            **flat,
        },
    )
    found = client_reads(answer)
    assert isinstance(found, TextResult)
    assert (found.text, found.tokens_generated) == ("Silicon on sand", 5)


async def test_text_without_a_marker(stage: Stage) -> None:
    job = await done(stage, "llm-inference", "just words\n")
    body = (await read(stage, job)).json
    assert body["result"] == {"type": "text", "response": "just words\n", "output": "just words\n"}
    assert (body["type"], body["response"]) == ("text", "just words\n")


@pytest.mark.parametrize("job_type", ["llm_inference", "custom_container", "image_generation"])
async def test_nothing(stage: Stage, job_type: str) -> None:
    job = await done(stage, job_type, "", seconds=1)
    answer = await read(stage, job)
    assert answer.status == 200
    assert answer.json["result"] == {"type": "text", "output": ""}
    assert answer.json["billing"]["actual_cost_sar"] is None or answer.json["actual_cost_halala"] > 0


async def test_programs(stage: Stage) -> None:
    told = {"matmul_shape": [1000, 1000], "device": "cuda:0"}
    stdout = printed(told, "CUDA available: True\n")
    job = await done(stage, "custom_container", stdout, 3.3, duration_minutes=10, params={})
    body = (await read(stage, job)).json
    assert (body["result"], body["result_json"], body["type"]) == (stdout, told, "text")
    assert (body["cost_halala"], body["quoted_cost_halala"], body["execution_time_sec"]) == (1, 100, 3.3)
    assert "response" not in body


async def test_pictures(stage: Stage) -> None:
    job = await done(stage, "image_generation", printed(DRAWN), 9.9, duration_minutes=10)
    members = {name: value for name, value in DRAWN.items() if name not in ("data", "encoding")}
    plain = await read(stage, job)
    base64_text = DRAWN["data"]
    assert plain.json["result"] == {**members, "image_base64": base64_text, "image_bytes": len(PNG)}
    assert plain.json["result_type"] == "image"
    assert (plain.json["format"], plain.json["width"], plain.json["cost_halala"]) == ("png", 4, 3)
    assert "image_base64" not in plain.json
    for accept in ("application/json", "image/png, application/json", "Application/JSON"):
        assert (await read(stage, job, accept)).json["image_base64"] == base64_text
    assert "image_base64" not in (await read(stage, job, "*/*")).json
    raw = await read(stage, job, "image/png")
    assert (raw.status, raw.body, raw.headers["content-type"]) == (200, PNG, "image/png")
    assert raw.headers["x-dcp-prompt"] == "A camel caravan"
    assert raw.headers["x-dcp-seed"] == "42"
    assert raw.headers["x-dcp-gentime"] == "3.2"
    assert raw.headers["x-dcp-imagebytes"] == str(len(PNG))
    for format in ("png", "jpeg", "jpg", "webp", "PNG"):
        answer = await stage.rent("GET", f"/api/jobs/{job}/output/{format}")
        assert (answer.status, answer.body) == (200, PNG)
        assert answer.headers["content-disposition"] == f'attachment; filename="dcp-{job}.png"'
    answer = await stage.rent("GET", f"/api/jobs/{job}/output/gif")
    assert (answer.status, answer.json) == (400, {"error": "Invalid format: gif. Supported: png, jpeg, webp"})
    found = client_reads(plain)
    assert isinstance(found, ImageResult)
    assert found.content == PNG


async def test_prompts_of_any_script_fit_into_a_header(stage: Stage) -> None:
    told = {**DRAWN, "prompt": "قافلة\r\nX-Evil: 1" + "ا" * 300, "format": "png\r\nX-Evil: 1"}
    job = await done(stage, "image_generation", printed(told), 9.9)
    raw = await read(stage, job, "image/*")
    assert raw.status == 200
    assert raw.headers["content-type"] == "image/png"
    assert raw.headers["x-dcp-prompt"].isascii()
    assert "x-evil" not in raw.headers
    assert "\n" not in raw.headers["x-dcp-prompt"]


@pytest.mark.parametrize(
    ("changes", "valid", "bytes_"),
    [({"width": 1024, "height": 1024}, True, len(PNG)), ({"data": "@@@"}, False, 0), ({"data": ""}, False, 0)],
)
async def test_pictures_cut_short(stage: Stage, changes: dict[str, Any], valid: bool, bytes_: int) -> None:
    told = {**DRAWN, **changes}
    job = await done(stage, "image_generation", printed(told), 9.9)
    for accept in (None, "application/json", "image/png"):
        answer = await read(stage, job, accept)
        assert answer.status == 206
        body = answer.json
        assert (body["type"], body["status"], body["job_id"]) == ("image", "completed", job)
        assert (body["valid_base64"], body["decoded_bytes"]) == (valid, bytes_)
        assert body["expected_dimensions"] == f"{told['width']}x{told['height']}"
        assert body["base64_length"] == len(str(told["data"]))
        assert body["expected_min_bytes"] == int(told["width"] * told["height"] * 0.05)
        assert {"error", "hint", "billing", "cost_halala"} <= body.keys()


async def test_files_of_other_jobs(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    answer = await stage.rent("GET", f"/api/jobs/{job}/output/png")
    assert (answer.status, answer.json) == (400, {"error": "Job not completed"})
    await mine.finish(job)
    answer = await stage.rent("GET", f"/api/jobs/{job}/output/png")
    assert (answer.status, answer.json) == (400, {"error": "Job is not an image generation job"})


async def test_serving(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine, "vllm_serve", duration_minutes=60, params={"max_model_len": 4096})
    assert (await read(stage, job)).status == 202
    ready = await mine.post(f"/api/jobs/{job}/endpoint-ready", port=8100, provider_ip="10.1.2.3")
    assert ready.status == 200
    served = {
        "type": "endpoint",
        "endpoint_url": "http://10.1.2.3:8100/v1",
        "model": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        "port": 8100,
        "openai_compatible": True,
    }
    answer = await read(stage, job)
    assert (answer.status, answer.json["status"]) == (200, "running")
    assert (answer.json["result"], answer.json["result_type"]) == (served, "endpoint")
    assert (answer.json["endpoint_url"], answer.json["cost_halala"]) == ("http://10.1.2.3:8100/v1", 1200)
    stage.clock.advance(60)
    assert (await stage.rent("POST", f"/api/jobs/{job}/complete")).status == 200
    answer = await read(stage, job)
    assert (answer.status, answer.json["status"], answer.json["cost_halala"]) == (200, "completed", 20)
    assert answer.json["result"] == served
    found = client_reads(answer)
    assert isinstance(found, EndpointResult)


async def test_an_endpoint_of_this_island_is_where_the_island_is(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine, "vllm_serve", duration_minutes=60, params={})

    def serve(connection: Connection) -> None:
        found = job_rows.find(connection, job)
        assert found is not None
        job_rows.change(connection, found.id, stage.now, endpoint_url="serve:", serve_port=8100)

    await stage.lab.engine.store.run(serve)
    for address, root in (("127.0.0.1:4242", "http://127.0.0.1:4242/dc1"), ("box.lan", "http://box.lan/dc1")):
        stage.host = address
        url = f"{root}/serve/{job}/v1"
        assert (await read(stage, job)).json["result"]["endpoint_url"] == url
        assert (await stage.rent("GET", f"/api/jobs/{job}")).json["job"]["endpoint_url"] == url


async def test_failed_and_cancelled(stage: Stage) -> None:
    mine = await host(stage)
    job = await begun(stage, mine)
    stage.clock.advance(10)
    answer = await mine.post("/api/providers/job-result", job_id=job, success=False, error="CUDA out of memory")
    assert answer.status == 200
    answer = await read(stage, job)
    assert (answer.status, answer.json) == (
        410,
        {
            "job_id": job,
            "status": "failed",
            "job_type": "llm_inference",
            "provider_id": mine.id,
            "provider_name": "farm",
            "duration_minutes": 5,
            "submitted_at": "2026-03-22T19:30:00.000Z",
            "started_at": "2026-03-22T19:30:00.000Z",
            "completed_at": "2026-03-22T19:30:10.000Z",
            "progress_phase": None,
            "error": "CUDA out of memory",
            "refunded": True,
            "refunded_halala": 75,
            "cost_halala": 0,
            "actual_cost_halala": 0,
            "quoted_cost_halala": 75,
        },
    )
    job = (await submit(stage, mine))["job_id"]
    await stage.rent("POST", f"/api/jobs/{job}/cancel")
    body = (await read(stage, job)).json
    assert (body["status"], body["error"], body["refunded_halala"]) == ("cancelled", "Job was cancelled", 75)


async def test_who_may_read(stage: Stage) -> None:
    mine, other = await host(stage), await host(stage, "other")
    job = (await submit(stage, mine))["job_id"]
    registered = {"name": "Else", "email": "else@example.sa"}
    stranger = (await stage.ask("POST", "/api/renters/register", registered)).json["api_key"]
    for target in ("", "/output", "/output/png", "/status", "/logs", "/lifecycle", "/executions", "/history"):
        path = f"/api/jobs/{job}{target}"
        for headers in ({}, {"x-renter-key": stranger}, {"x-provider-key": other.key}, {"x-renter-key": "nope"}):
            answer = await stage.send("GET", path, headers)
            assert (answer.status, answer.json) == (403, {"error": "Forbidden"}), (target, headers)
        for query in (f"?key={stage.key}", f"?renter_key={stage.key}", f"?key={mine.key}"):
            assert (await stage.send("GET", path + query)).status != 403
        assert (await stage.host_as(mine.key, "GET", path)).status != 403
        assert (await stage.administer("GET", path)).status != 403
        answer = await stage.send("GET", f"/api/jobs/nope{target}")
        assert (answer.status, answer.json) == (404, {"error": "Job not found"})


def client_reads(answer: Answer) -> Any:
    """What our own client makes of an answer."""
    from skerry._kernel.request import Response

    response = Response(status=answer.status, headers=tuple(answer.headers.items()), body=answer.body)
    return read_output(response).result


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


class Kept:
    """A completed job as the database has it."""

    def __init__(self, job_type: str, result: str | None, status: str = "completed", **values: Any) -> None:
        usual = {
            "id": 1,
            "job_id": "job-1-aaaaaa",
            "provider_id": 3,
            "duration_minutes": "5",
            "quote": 75,
            "charged": 11,
            "gpu_ms": 42_500,
            "gpu_count": 1,
            "error": None,
            "model": None,
            "task_spec": "{}",
            "endpoint_url": None,
            "serve_port": None,
            "progress_phase": None,
            "progress_updated_at": None,
            "timeout_at": None,
            "picked_up_at": None,
            "refunded_at": None,
            "submitted_at": 1_742_671_800_000_000,
            "started_at": 1_742_671_800_000_000,
            "completed_at": 1_742_671_842_500_000,
        }
        self.__dict__.update({**usual, "job_type": job_type, "result": result, "status": status, **values})


TYPES = st.sampled_from(["llm_inference", "llm-inference", "image_generation", "vllm_serve", "custom_container", "x"])
MEMBERS = st.dictionaries(
    st.sampled_from(
        [*results.TEXT_MEMBERS, *results.IMAGE_MEMBERS, "type", "data", "format", "output", "endpoint_url"]
    ),
    JSON | st.sampled_from(["text", "image", "aGVsbG8=", "png"]),
    max_size=8,
)
STDOUT = st.text(max_size=40) | st.builds(printed, MEMBERS | JSON, st.text(max_size=10), st.text(max_size=10))


@settings(max_examples=300, deadline=None)
@given(job_type=TYPES, stdout=STDOUT, accept=st.sampled_from(["", "*/*", "application/json", "image/png"]))
def test_any_result_has_a_shape(job_type: str, stdout: str, accept: str) -> None:
    answer = output.answer(Kept(job_type, stdout), "farm", accept=accept, root="http://x/dc1")  # type: ignore[arg-type]
    assert answer.status in (200, 206)
    if isinstance(answer.value, bytes):
        assert accept == "image/png"
        for name, value in answer.headers:
            assert name.isascii()
            assert b"\n" not in value
            assert b"\r" not in value
        return
    body = answer.value
    for name in ("job_id", "status", "job_type", "duration_minutes", "cost_halala", "submitted_at"):
        assert body[name] is not None
    assert isinstance(body["cost_halala"], int)
    assert body["actual_cost_halala"] == 11
    if answer.status == 200:
        # What official clients read is an object or a text, never a list, never null.
        assert isinstance(body["result"], dict | str)
        assert body["result"] != {}
        assert body["result_type"] in ("text", "image", "endpoint")
    json.dumps(body)


@settings(max_examples=100, deadline=None)
@given(
    job_type=TYPES,
    status=st.sampled_from(["queued", "pending", "assigned", "pulling", "running", "paused", "failed", "cancelled"]),
    phase=st.none() | st.text(max_size=5),
)
def test_any_state_has_a_shape(job_type: str, status: str, phase: str | None) -> None:
    job = Kept(job_type, None, status, progress_phase=phase, charged=None)
    answer = output.answer(job, None, accept="", root="")  # type: ignore[arg-type]
    assert answer.status == (410 if status in ("failed", "cancelled") else 202)
    assert "result" not in answer.value
    assert answer.value["cost_halala"] is not None
    assert answer.value["status"] == status


@given(told=st.dictionaries(st.text(max_size=6), JSON, max_size=4), noise=st.text(max_size=30))
def test_the_last_marker_counts(told: dict[str, Any], noise: str) -> None:
    before = f"DC1_RESULT_JSON:{json.dumps({'first': 1})}\nnot DC1_RESULT_JSON:{{}}\n"
    assert marked(printed(told, before)) == told
    assert marked(printed(told, before, f"\n{noise.replace('DC1_RESULT_JSON', '')}\n")) == told


@given(st.text())
def test_any_text_can_be_read(stdout: str) -> None:
    assert marked("DC1_RESULT_JSON:" + stdout) is None or isinstance(marked("DC1_RESULT_JSON:" + stdout), dict)


def test_results_that_are_too_deep() -> None:
    assert marked("DC1_RESULT_JSON:" + '{"a":' * 500 + "1" + "}" * 500) is None
    assert marked("DC1_RESULT_JSON:" + '{"a":' * 50_000 + "1" + "}" * 50_000) is None
    assert marked('DC1_RESULT_JSON:{"a":"\\ud83d"}') is None
