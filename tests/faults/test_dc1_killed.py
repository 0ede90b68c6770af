"""kill -9 of the server under DC1 jobs: a program goes on, a model is asked again, and each job is charged once."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import Any

import pytest

from skerry import SkerryError
from skerry._kernel.options import RequestOptions
from skerry.island.workers.llm.models import ModelStore
from skerry.networks.dc1 import DC1
from skerry.networks.dc1.outputs import JobOutput, TextResult
from tests.faults.conftest import DEADLINE, ServerProcess, eventually
from tests.held import Held

TINY = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
OFTEN = 0.15
"""Seconds between two looks; a key may ask 300 times a minute."""


def made(client: DC1, job_type: str = "custom_container", minutes: float = 5, **params: Any) -> str:
    return client.jobs.create(job_type=job_type, duration_minutes=minutes, params=params).job.id


def counts() -> Held:
    """A program that says when it has begun, and what it has computed at its end."""
    return Held('print("begun", flush=True)', 'print("DC1_RESULT_JSON:" + str(6 * 7), flush=True)')


def ended(client: DC1, job_id: str) -> JobOutput:
    return client.jobs.wait(job_id, timeout=DEADLINE, poll_interval=OFTEN)


def computed(client: DC1, job_id: str) -> Any:
    """What a program printed behind the marker; its job must have completed."""
    output = ended(client, job_id)
    assert output.ok, output.error
    assert isinstance(output.result, TextResult)
    return output.result.data


def says(client: DC1, job_id: str, text: str) -> None:
    for line in client.jobs.stream_logs(job_id):
        if line.message == text:
            return
    raise AssertionError(f"{text!r} is not in the log")


def everything_is_settled(server: ServerProcess) -> None:
    """No hold, no part of the machine, no sandbox is left; each job was settled once, and its shares add up."""
    eventually(
        lambda: not server.query("SELECT id FROM sandboxes WHERE network = 'dc1' AND deleted_at IS NULL"),
        "the end of the last sandbox",
    )
    eventually(lambda: not server.query("SELECT id FROM allocations"), "the end of the last allocation")
    over = "('completed', 'failed', 'cancelled')"
    assert server.query(f"SELECT job_id FROM dc1_jobs WHERE status NOT IN {over}") == []
    odd = "SELECT job_id FROM dc1_jobs WHERE charged IS NULL OR charged > quote OR provider_earned + fee <> charged"
    assert server.query(odd) == []
    assert server.query("SELECT SUM(amount) FROM postings WHERE account LIKE '%:held'") in ([(0,)], [(None,)])
    assert server.query("SELECT currency, SUM(amount) FROM postings GROUP BY currency HAVING SUM(amount) <> 0") == []
    ends = "SELECT job FROM dc1_events WHERE event_type IN ('job.completed', 'job.failed', 'job.cancelled') "
    assert server.query(ends + "GROUP BY job HAVING COUNT(*) > 1") == []
    with server.dc1() as client:
        balance = client.renters.balance()
        (spent,) = server.query("SELECT SUM(charged) FROM dc1_jobs")[0]
        assert (balance.balance_halala, balance.held_halala) == (100_000 - int(str(spent or 0)), 0)


def test_a_program_goes_on_and_ends_while_the_server_is_dead(server: ServerProcess) -> None:
    with server.dc1() as client:
        program = counts()
        job_id = made(client, script=program.python)
        says(client, job_id, "begun")
    server.kill9()
    assert server.agents(), "the sandbox must outlive its server"
    program.release()
    eventually(
        lambda: [path for path in server.data_dir.glob("sandboxes/*/runs/*.json") if path.stat().st_size],
        "the exit record",
    )
    server.start()
    with server.dc1() as client:
        assert computed(client, job_id) == 42
        lines = [line.message for line in client.get_job_logs(job_id)]
        assert lines.count("begun") == 1
        (tried,) = client.jobs.executions(job_id).executions
        assert tried.attempt_number == 1
    everything_is_settled(server)


def test_a_program_whose_machine_is_lost_begins_again(server: ServerProcess) -> None:
    with server.dc1() as client:
        program = counts()
        job_id = made(client, script=program.python)
        says(client, job_id, "begun")
    server.kill9()
    server.kill_sandboxes()
    server.start()
    program.release()
    with server.dc1() as client:
        assert computed(client, job_id) == 42
    everything_is_settled(server)


def test_a_text_is_asked_for_again(server: ServerProcess) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp's wheel is not installed")
    ModelStore.of(server.data_dir, {}).add_demo(TINY)
    with server.dc1() as client:
        job_id = made(client, "llm_inference", model=TINY, prompt="again", max_tokens=600)
        eventually(lambda: client.jobs.describe(job_id).progress_phase, "a phase")
    server.kill9()
    server.start()
    with server.dc1() as client:
        output = ended(client, job_id)
    assert output.ok, output.error
    assert 0 < output.data["tokens_generated"] <= 600
    everything_is_settled(server)


def test_a_served_model_is_served_again_at_the_same_place(server: ServerProcess) -> None:
    httpx2 = pytest.importorskip("httpx2")
    pytest.importorskip("xllamacpp", reason="llama.cpp's wheel is not installed")
    ModelStore.of(server.data_dir, {}).add_demo(TINY)
    with server.dc1() as client:
        job_id = made(client, "vllm_serve", minutes=60, model=TINY, max_model_len=512)
        before = client.jobs.wait_for_endpoint(job_id, timeout=DEADLINE, poll_interval=OFTEN)
        held = client.renters.balance().held_halala
    server.kill9()
    server.start()
    with server.dc1() as client:
        path = before.url.partition("/serve/")[2]
        url = f"{server.url}/dc1/serve/{path}"
        body = {"model": TINY, "messages": [{"role": "user", "content": "still there?"}], "max_tokens": 8}

        def answers() -> bool:
            return bool(httpx2.post(f"{url}/chat/completions", json=body, timeout=DEADLINE).status_code == 200)

        eventually(answers, "the served model's answer")
        assert client.jobs.output(job_id).endpoint_url == url
        assert client.renters.balance().held_halala == held
        settled = client.jobs.complete(job_id)
        assert settled.job is not None
        assert settled.job.status == "completed"
    everything_is_settled(server)


def test_killed_at_random_moments_every_job_is_charged_once(server: ServerProcess) -> None:
    """Whatever phase each is in when the server dies, it completes, with the right output and one bill."""
    chance = random.Random(4)
    keys = [f"job-{number}" for number in range(9)]

    def submit(client: DC1, key: str) -> str:
        params = {"script": f"import time\ntime.sleep(0.1)\nprint('DC1_RESULT_JSON:\"{key}\"')\n"}
        options = RequestOptions(idempotency_key=key)
        body: Any = {"job_type": "custom_container", "duration_minutes": 5, "params": params}
        return client.jobs.create(options=options, **body).job.id

    for part in (keys[:3], keys[3:6], keys[6:]):
        with server.dc1() as client:

            def several(client: DC1 = client, part: list[str] = part) -> None:
                for key in part:
                    # The server dies somewhere in here; whether the job was accepted is exactly the question.
                    with contextlib.suppress(SkerryError):
                        submit(client, key)

            thread = threading.Thread(target=several)
            thread.start()
            thread.join(chance.random() * 0.4)
            server.kill9()
            thread.join(DEADLINE)
        server.start()
    with server.dc1() as client:
        for key, job_id in [(key, submit(client, key)) for key in keys]:
            assert computed(client, job_id) == key
        assert client.jobs.page().total == len(keys)
    everything_is_settled(server)
