"""This machine at work for its own island: jobs through restarts, kills and cancellations, on real sandboxes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from skerry import DC1
from skerry.island.engine.engine import Engine
from skerry.island.island import Island
from skerry.island.settings import DC1 as Choices
from skerry.island.workers.llm import ModelStore
from tests.held import PATIENCE, Held
from tests.island.llm.llm_lab import LONG, add_long

MODEL = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"


class Lab:
    """An island and its first account."""

    def __init__(self, directory: Path) -> None:
        self.island = Island(directory / "island", dc1=Choices(rate_limits=False))
        self.island.start()

    @property
    def renter(self) -> DC1:
        return DC1(self.island.key("dc1"), self.island.base_url("dc1"), environ={})

    def submit(self, job_type: str, params: dict[str, Any], minutes: float = 5) -> str:
        with self.renter as renter:
            return str(renter.jobs.submit(job_type, params, provider_id=None, duration_minutes=minutes).id)

    def script(self, text: str) -> str:
        return self.submit("custom_container", {"script": text})

    def status(self, job_id: str) -> str:
        with self.renter as renter:
            return renter.jobs.describe(job_id).status

    def text(self, job_id: str) -> str:
        with self.renter as renter:
            return renter.jobs.output(job_id).text

    def logs(self, job_id: str) -> list[str]:
        with self.renter as renter:
            return [str(line.text) for line in renter.jobs.get_logs(job_id)]

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "it did not come about in time"
            time.sleep(0.02)

    def done(self, job_id: str) -> str:
        self.until(lambda: self.status(job_id) in ("completed", "failed", "cancelled"))
        return self.status(job_id)

    def rooms(self) -> int:
        """Sandboxes that there are."""

        async def count(engine: Engine) -> int:
            found, _ = await engine.sandboxes.list(engine.account_id, network="dc1")
            return len(found)

        return int(self.island.call(count(self.island.engine)))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    it = Lab(tmp_path)
    yield it
    it.island.stop()


def test_this_machine_is_listed_and_does_a_job(lab: Lab) -> None:
    with lab.renter as renter:
        found = renter.providers.list()
        assert len(found) == 1
        assert found[0].is_live
        assert found[0].vram_gb > 0
        before = renter.renters.balance().balance_halala
        job_id = lab.script("print('DC1_RESULT_JSON:{\"n\": 1}')")
        assert lab.done(job_id) == "completed"
        output = renter.jobs.output(job_id)
        assert output.result is not None
        assert output.result.data == {"n": 1}
        row = renter.jobs.describe(job_id)
        assert renter.renters.balance().balance_halala == before - (row.actual_cost_halala or 0)
    lab.until(lambda: lab.rooms() == 0)


def test_a_job_goes_on_while_the_island_is_killed(lab: Lab) -> None:
    program = Held("for n in range(2): print('step', n, flush=True)", "for n in range(2, 10): print('step', n)")
    job_id = lab.script(program.python)
    lab.until(lambda: "step 1" in lab.logs(job_id))
    lab.island.kill()
    lab.island.start()
    program.release()
    assert lab.done(job_id) == "completed"
    assert lab.text(job_id) == "".join(f"step {n}\n" for n in range(10))
    assert list(dict.fromkeys(lab.logs(job_id))) == [f"step {n}" for n in range(10)]
    with lab.renter as renter:
        assert len(renter.jobs.executions(job_id).executions) == 1
    lab.until(lambda: lab.rooms() == 0)


def test_a_job_begins_again_when_the_island_was_stopped(lab: Lab) -> None:
    program = Held("print('on', flush=True)", "print('off')")
    job_id = lab.script(program.python)
    lab.until(lambda: "on" in lab.logs(job_id))
    lab.island.stop()
    lab.island.start()
    program.release()
    assert lab.done(job_id) == "completed"
    assert lab.text(job_id) == "on\noff\n"
    with lab.renter as renter:
        assert renter.jobs.describe(job_id).raw["restart_count"] == 1


def test_what_is_cancelled_ends_at_once(lab: Lab) -> None:
    stubborn = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('on', flush=True)\ntime.sleep(600)"
    job_id = lab.script(stubborn)
    lab.until(lambda: "on" in lab.logs(job_id))
    with lab.renter as renter:
        renter.jobs.cancel(job_id)
        lab.until(lambda: lab.rooms() == 0)
        assert renter.renters.balance().held_halala == 0
    assert lab.status(job_id) == "cancelled"


def test_a_model_is_served_through_the_island(lab: Lab) -> None:
    ModelStore.of(lab.island.data_dir).add_demo(MODEL)
    job_id = lab.submit("vllm_serve", {"max_model_len": 512})
    with lab.renter as renter:
        url = renter.jobs.wait_for_endpoint(job_id, poll_interval=0.1).url
        assert url == f"{lab.island.base_url('dc1')}/serve/{job_id}/v1"
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
        with httpx2.Client(trust_env=False, timeout=PATIENCE) as http:
            # A number is soon guessed, so the name alone opens it.
            for number in range(1, 5):
                guessed = http.post(f"{lab.island.base_url('dc1')}/serve/{number}/v1/chat/completions", json=body)
                assert (guessed.status_code, guessed.json()) == (404, {"error": "No such serving job is running"})
            # The island is killed; the job is found running, and its model served anew at the same address.
            assert http.post(f"{url}/chat/completions", json=body).json()["usage"]["completion_tokens"] == 4
            address = lab.island.url
            lab.island.kill()
            lab.island.start()
            again = url.replace(address, lab.island.url)
            lab.until(lambda: http.post(f"{again}/chat/completions", json=body).status_code == 200)
            renter_again = lab.renter
            renter_again.jobs.cancel(job_id)
            assert http.post(f"{again}/chat/completions", json=body).status_code == 404
            renter_again.close()


def test_many_jobs_at_once_are_each_done_once(lab: Lab) -> None:
    names = [lab.script(f"print({n})") for n in range(20)]
    for n, job_id in enumerate(names):
        assert lab.done(job_id) == "completed"
        assert lab.text(job_id) == f"{n}\n"
    lab.until(lambda: lab.rooms() == 0)
    with lab.renter as renter:
        assert renter.renters.balance().held_halala == 0


def test_a_stream_that_breaks_off_says_so(lab: Lab) -> None:
    add_long(ModelStore.of(lab.island.data_dir), MODEL)
    job_id = lab.submit("vllm_serve", {"max_model_len": LONG})
    with lab.renter as renter:
        url = renter.jobs.wait_for_endpoint(job_id, poll_interval=0.1).url
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": LONG,
            "stream": True,
            # Demo models end their answers at random; this one shall go on.
            "logit_bias": [["</s>", False]],
        }
        with (
            httpx2.Client(trust_env=False, timeout=PATIENCE) as http,
            http.stream("POST", f"{url}/chat/completions", json=body) as answer,
        ):
            said = ""
            for piece in answer.iter_text():
                if not said:
                    renter.jobs.cancel(job_id)
                said += piece
    events = [event for event in said.split("\n\n") if event]
    assert "data: [DONE]" not in events
    assert all(event.startswith("data: {") for event in events)
    assert "the model's process ended while it was answering" in events[-1]
