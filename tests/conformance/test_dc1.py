"""DC1's renters by this library's own clients, against an island over real sockets with real programs and a model."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from skerry.errors import ConflictError, PermissionDeniedError
from skerry.island.island import Island
from skerry.money import Money
from skerry.networks.dc1 import JobFailedError
from tests.conformance.blocking import KINDS
from tests.conformance.dc1 import (
    ASKED,
    OFTEN,
    PATIENCE,
    TINY,
    audited,
    ended,
    eventually,
    models_island,
    renting,
    script,
)
from tests.held import Held

PRINTS = """
import json, os, sys
print("loading", os.environ["DC1_JOB_TYPE"])
print("a warning", file=sys.stderr)
print("DC1_RESULT_JSON:" + json.dumps({"answer": 6 * 7, "text": "مرحبا <b>"}, ensure_ascii=False))
"""
WAITS = "import time\nprint('begun', flush=True)\ntime.sleep(600)\n"


@pytest.fixture(scope="module")
def island(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Island]:
    with models_island(tmp_path_factory.mktemp("dc1") / "data") as island:
        yield island
        audited(island)


@pytest.fixture(params=KINDS)
def client(island: Island, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The first renter, by either client."""
    with renting(island, request.param) as client:
        yield client


@pytest.fixture(params=KINDS)
def hurried(island: Island, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The same, whose waits between two looks are short."""

    def soon(seconds: float, _: Any = None) -> None:
        time.sleep(min(seconds, OFTEN))

    async def later(seconds: float, _: Any = None) -> None:
        await asyncio.sleep(min(seconds, OFTEN))

    sleeper = later if request.param == "async" else soon
    with renting(island, request.param, sleeper=sleeper) as client:
        yield client


def asking(base_url: str, key: str) -> openai.OpenAI:
    """OpenAI's own client; a proxy that the environment names is not for this machine."""
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=base_url, api_key=key, http_client=http)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_renter_and_its_money(island: Island, kind: str) -> None:
    with renting(island, kind) as anybody:
        made = anybody.register("Somebody", f"{kind}@example.sa", "Lab", use_case="tests")
        with pytest.raises(ConflictError):
            anybody.register("Somebody Else", f"{kind}@example.sa")
    with renting(island, kind, api_key=made.api_key) as client:
        assert client.me().email == f"{kind}@example.sa"
        assert client.get_balance().available == Money(1000, "SAR")
        told = client.wallet.top_up(Money(5000, "SAR"))
        assert (told.topped_up_halala, told.new_balance_halala) == (5000, 6000)
        live = [each for each in client.list_providers() if each.is_live]
        assert live[0].name
        assert live[0].vram_gb > 0
        assert client.pricing.estimate(job_type="llm_inference", duration_minutes=1.5).cost_halala == 23
        job = ended(client, script(client, "print(1)", provider_id=live[0].id))
        assert job.ok, job.error
        spent = client.renters.spending().all_time
        assert spent.total_jobs == 1
        balance = client.renters.balance()
        assert (balance.held_halala, balance.total_jobs) == (0, 1)
        assert balance.balance_halala + balance.total_spent_halala == 6000
        assert job.cost == Money(balance.total_spent_halala, "SAR")


def test_a_program_from_submission_to_invoice(client: Any) -> None:
    before = client.get_balance().balance_halala
    job = client.submit_job(None, "custom_container", {"script": PRINTS}, 5)
    assert job.status in ("pending", "running", "completed")
    output = ended(client, job.id)
    assert output.ok, output.error
    assert output.text.startswith("loading custom_container\n")
    assert output.result.data == {"answer": 42, "text": "مرحبا <b>"}
    row = client.jobs.describe(job.id)
    assert (row.status, row.cost_halala, row.job_id) == ("completed", 50, job.id)
    cost = output.cost
    assert Money(0, "SAR") <= cost <= Money(50, "SAR")
    assert client.get_balance().balance_halala == before - cost.amount
    assert client.jobs.describe(row.number).job_id == job.id
    lines = [(line.level, line.message) for line in client.get_job_logs(job.id)]
    assert ("info", "loading custom_container") in lines
    assert ("warn", "a warning") in lines
    events = client.jobs.lifecycle(job.id).events
    assert [event.event_type for event in events if event.event_type in ("job.submitted", "job.completed")] == [
        "job.submitted",
        "job.completed",
    ]
    assert [event.sequence_no for event in events] == list(range(1, len(events) + 1))
    (tried,) = client.jobs.executions(job.id).executions
    assert (tried.attempt_number, tried.exit_code) == (1, 0)
    assert client.jobs.invoice(job.id).gross_halala == cost.amount
    assert client.jobs.invoice_pdf(job.id).startswith(b"%PDF-")
    assert client.jobs.status(job.id).status == "completed"


def test_texts(hurried: Any) -> None:
    text = hurried.jobs.generate_text("Write a haiku about desert computing", model=TINY, max_tokens=32)
    assert text.prompt == "Write a haiku about desert computing"
    assert text.model == TINY
    assert 0 < text.tokens_generated <= 32
    job = hurried.jobs.create(job_type="llm-inference", duration_minutes=1, model=TINY, params={"maxTokens": 40})
    row = hurried.poll_job(job.job.id, timeout=PATIENCE)
    assert (row.status, row.cost_halala) == ("completed", 15)
    found = hurried.wait_for_job(job.job.id)
    assert found.is_done
    assert found.result["tokens_generated"] <= 40


def test_a_served_model(hurried: Any) -> None:
    endpoint = hurried.jobs.serve_vllm(TINY, max_model_len=512, duration_minutes=60, timeout=PATIENCE)
    assert endpoint.openai_base_url.endswith(f"/dc1/serve/{endpoint.job_id}/v1")
    with asking(endpoint.openai_base_url, "not-needed") as asker:
        asked: Any = ASKED
        answer = asker.chat.completions.create(model=TINY, messages=asked, max_tokens=16)
        assert isinstance(answer.choices[0].message.content, str)
        pieces = list(asker.chat.completions.create(model=TINY, messages=asked, max_tokens=16, stream=True))
        assert sum(1 for piece in pieces if piece.choices and piece.choices[0].delta.content) > 1
        assert asker.models.list().data
    assert hurried.jobs.output(endpoint.job_id).endpoint_url == endpoint.url
    settled = hurried.jobs.complete(endpoint.job_id)
    assert settled.job.status == "completed"
    assert 0 <= settled.billing.actual_cost_halala < 1200
    with httpx2.Client(trust_env=False, timeout=PATIENCE) as http:
        assert http.get(f"{endpoint.url}/models").status_code == 404
    with pytest.raises(ConflictError):
        hurried.jobs.complete(endpoint.job_id)


def test_whole_programs_in_one_call(hurried: Any) -> None:
    assert hurried.jobs.run_container("print('DC1_RESULT_JSON:[1, 2]')").data == [1, 2]
    with pytest.raises(JobFailedError, match=r"status 3.*no such thing") as failed:
        hurried.jobs.run_container("import sys\nprint('no such thing', file=sys.stderr)\nsys.exit(3)")
    assert failed.value.job_status == "failed"


def test_other_kinds_of_work(client: Any) -> None:
    def made(job_type: str, **params: Any) -> str:
        return str(client.jobs.create(job_type=job_type, duration_minutes=1, params=params).job.id)

    measured, trained, drawn = (
        made("benchmark", matrix_size=64, iterations=2),
        made("training", script="print('DC1_RESULT_JSON:{\"loss\": 0.5}')", epochs=3),
        made("rendering", scene="a.blend"),
    )
    benchmark = ended(client, measured)
    assert benchmark.ok, benchmark.error
    assert benchmark.result.data["matrix_size"] == 64
    training = ended(client, trained)
    assert training.ok, training.error
    assert training.result.data == {"loss": 0.5}
    rendering = ended(client, drawn)
    assert rendering.status == "failed"
    assert "params.script" in str(rendering.error)
    assert rendering.cost == Money(0, "SAR")


def test_a_picture_or_why_there_is_none(hurried: Any) -> None:
    """A real one where the machine can draw: `SKERRY_DIFFUSION_...` or an environment in the data directory."""
    with pytest.raises(JobFailedError, match="diffusion"):
        hurried.jobs.generate_image("A camel caravan at sunset", steps=5, width=256, height=256)


def test_a_log_that_is_followed_while_its_job_runs_and_is_cancelled(island: Island, client: Any) -> None:
    before = client.get_balance().balance_halala
    job_id = script(client, WAITS, duration_minutes=60)
    seen = []
    for line in client.jobs.stream_logs(job_id):
        seen.append(line.message)
        if line.message == "begun":
            assert client.jobs.describe(job_id).status == "running"
            assert client.get_balance().held_halala == 600
            cancelled = client.cancel_job(job_id)
            assert (cancelled.success, cancelled.job_id, cancelled.refunded_halala) == (True, job_id, 600)
    assert "begun" in seen
    assert seen.count("begun") == 1
    output = client.jobs.output(job_id)
    assert (output.status, output.cost) == ("cancelled", Money(0, "SAR"))
    assert client.get_balance().balance_halala == before
    with pytest.raises(ConflictError):
        client.cancel_job(job_id)
    audited(island)


def test_what_becomes_of_a_job_as_it_happens(client: Any) -> None:
    # States that come and go between two looks are not told: it runs until it was seen running.
    held = Held("", "")
    job_id = script(client, held.python)
    events = []
    for event in client.jobs.stream(job_id):
        events.append(event.event)
        if event.event == "job_running":
            held.release()
    assert events[-1] == "job_completed"
    assert events.index("job_running") < events.index("job_completed")
    kinds = [event.event_type for event in client.jobs.stream_lifecycle(job_id)]
    assert (kinds[0], kinds[-1]) == ("job.submitted", "job.completed")


def test_a_failed_job_is_tried_again_as_a_new_one(client: Any) -> None:
    before = client.get_balance().balance_halala
    first = script(client, "import sys\nsys.exit('out of luck')\n")
    failed = ended(client, first)
    assert (failed.status, failed.http_status, failed.cost) == ("failed", 410, Money(0, "SAR"))
    assert "out of luck" in str(failed.error)
    assert client.get_balance().balance_halala == before
    again = client.jobs.retry(first).job
    assert again.id != first
    assert again.retried_from_job_id == client.jobs.describe(first).number
    assert ended(client, again.id).status == "failed"
    whole = script(client, "print(1)")
    assert ended(client, whole).ok
    with pytest.raises(ConflictError):
        client.jobs.retry(whole)


def test_answers_in_the_manner_of_openai(island: Island, client: Any) -> None:
    key = client.keys.create(label="chat", scopes=["inference"])
    before = client.get_balance().balance_halala
    with renting(island, "sync", api_key=key.key) as scoped:
        assert TINY in [model.id for model in scoped.v1.models().data]
        answer = scoped.v1.chat(TINY, ASKED, max_tokens=16)
        assert 0 < answer.usage.completion_tokens <= 16
        pieces = list(scoped.v1.stream_chat(TINY, ASKED, max_tokens=16))
        assert len([piece for piece in pieces if piece.text]) > 1
        completed = scoped.v1.complete(TINY, prompt="One and one is", max_tokens=8)
        assert isinstance(completed.text, str)
        told = [answer.cost_halala, pieces[-1].cost_halala, completed.cost_halala]
        assert client.get_balance().balance_halala == before - sum(told)
        with pytest.raises(PermissionDeniedError):
            scoped.jobs.create(job_type="custom_container", duration_minutes=1, params={"script": "print(1)"})
    with asking(f"{island.base_url('dc1')}/v1", key.key) as asker:
        asked: Any = ASKED
        found = asker.chat.completions.create(model=TINY, messages=asked, max_tokens=16)
        assert isinstance(found.choices[0].message.content, str)
    client.keys.revoke(key.id)
    with renting(island, "sync", api_key=key.key) as revoked, pytest.raises(PermissionDeniedError):
        revoked.v1.chat(TINY, ASKED)


def test_jobs_by_page(island: Island, client: Any) -> None:
    made = client.register("Pages", f"pages-{time.time_ns()}@example.sa")
    with renting(island, "sync", api_key=made.api_key) as reader:
        names = [script(reader, f"print({number})") for number in range(5)]
        for name in names:
            assert ended(reader, name).ok
        newest = list(reversed(names))
        page = reader.jobs.page(limit=2, offset=1)
        assert (page.total, [job.job_id for job in page.jobs]) == (5, newest[1:3])
        assert [item.job_id for item in reader.jobs.list(limit=3)] == newest[:3]
        second = reader.renters.jobs(page=2, limit=2)
        assert (second.total, [job.job_id for job in second.jobs]) == (5, newest[2:4])
        mine = reader.renters.my_jobs(page=2, limit=2)
        assert [job.job_id for job in mine.jobs] == newest[4:]
        assert reader.renters.export_jobs().count("job-") >= 5
        assert reader.jobs.active() == []
        assert reader.renters.analytics(period="7d").completed_job_count == 5


@pytest.mark.skipif("SKERRY_TEST_DIFFUSION" not in os.environ, reason="SKERRY_TEST_DIFFUSION names no environment")
def test_a_real_picture(tmp_path: Path) -> None:
    """Drawn by the environment that the variable names: a data directory."""
    named = Path(os.environ["SKERRY_TEST_DIFFUSION"])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "diffusion").symlink_to(named / "diffusion")
    with models_island(tmp_path / "data") as island, renting(island, "sync") as client:
        model = next(model.name for model in island.call(_drawable(island)))
        picture = client.jobs.generate_image(
            "A camel caravan at sunset", model=model, steps=5, width=256, height=256, seed=7, timeout=120
        )
        assert picture.content.startswith(b"\x89PNG\r\n")
        assert (picture.width, picture.height, picture.seed) == (256, 256, 7)
        job_id = client.jobs.list(limit=1)[0].job_id
        assert client.jobs.image(job_id) == picture.content
        assert client.jobs.output_file(job_id) == picture.content
        assert eventually(lambda: client.jobs.describe(job_id).status == "completed", "the end")


async def _drawable(island: Island) -> Any:
    from skerry.island.workers.image import DiffusionChoices, DiffusionWorkers

    workers = DiffusionWorkers(island.engine.settings.data_dir, choices=DiffusionChoices.from_env())
    return workers.models()
