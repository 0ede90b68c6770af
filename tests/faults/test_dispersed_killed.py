"""kill -9 of the server under Dispersed jobs: each runs once, ends as it truly ended, and is billed once."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import Any

import pytest

from skerry import SkerryError
from skerry.networks.dispersed import Dispersed
from skerry.networks.dispersed.models import TERMINAL, Job, JobRun
from tests.faults.conftest import DEADLINE, ServerProcess, eventually
from tests.held import Held


def body(command: str, **fields: Any) -> Any:
    container = {"image": "host", "ports": [], "env": {"SKERRY_COMMAND": command}}
    return {
        "task": "BATCH",
        "title": "faults",
        "max_timeout_run_ms": 600_000,
        "parameters": {"type": "docker", "parameters": container},
        **fields,
    }


def runs(client: Dispersed, job: Job) -> list[JobRun]:
    found = client.job_runs.list({"filter[job_uuid]": str(job.uuid), "sort": "created_at"})
    return [client.job_runs.get(str(run.uuid)) for run in found.data]


def ended(client: Dispersed, job: Job) -> Job:
    def over() -> Job | None:
        now = client.jobs.get(str(job.uuid))
        return now if now.status in TERMINAL else None

    found = eventually(over, "the end of a job")
    assert isinstance(found, Job)
    return found


def begins(client: Dispersed, job: Job) -> None:
    eventually(lambda: [run for run in runs(client, job) if run.logs == "on\n"], "the first line")


def everything_is_settled(server: ServerProcess) -> None:
    """No hold, no part of the machine, no sandbox is left, and every run was captured at most once."""
    eventually(
        lambda: not server.query("SELECT id FROM sandboxes WHERE network = 'dispersed' AND deleted_at IS NULL"),
        "the end of the last sandbox",
    )
    eventually(lambda: not server.query("SELECT id FROM allocations"), "the end of the last allocation")
    assert server.query("SELECT uuid FROM dispersed_authorizations WHERE status = 'OPEN'") == []
    assert server.query("SELECT currency, SUM(amount) FROM postings GROUP BY currency HAVING SUM(amount) <> 0") == []
    assert server.query("SELECT SUM(amount) FROM postings WHERE account LIKE '%:held'") in ([(0,)], [(None,)])
    captured = "SELECT authorization_uuid FROM dispersed_transactions GROUP BY authorization_uuid HAVING COUNT(*) > 1"
    assert server.query(captured) == []


@pytest.mark.parametrize("task", ["BATCH", "PERSISTENT"])
def test_a_job_goes_on_and_ends_while_the_server_is_dead(server: ServerProcess, task: str) -> None:
    limit = {} if task == "BATCH" else {"max_timeout_run_ms": None}
    with server.dispersed() as client:
        program = Held("echo on", "echo off; exit 3")
        job = client.jobs.create(body(program.shell, task=task, **limit))
        begins(client, job)
    server.kill9()
    assert server.agents(), "the sandbox must outlive its server"
    program.release()
    record = eventually(
        lambda: [path for path in server.data_dir.glob("sandboxes/*/runs/*.json") if path.stat().st_size],
        "the exit record",
    )
    assert record
    server.start()
    with server.dispersed() as client:
        done = ended(client, job)
        (run,) = runs(client, job)
    assert (done.status, run.exit_code, run.logs) == ("FAILED", 3, "on\noff\n")
    assert run.duration is not None
    everything_is_settled(server)


def test_a_job_whose_machine_is_lost_is_tried_again(server: ServerProcess) -> None:
    with server.dispersed() as client:
        job = client.jobs.create(body("echo on; sleep 600", max_retry_count=1))
        begins(client, job)
    server.kill9()
    server.kill_sandboxes()
    server.start()
    with server.dispersed() as client:
        eventually(lambda: len(runs(client, job)) == 2 and runs(client, job)[1].logs == "on\n", "the second try")
        assert (runs(client, job)[0].status, runs(client, job)[0].status_reason) == ("FAILED", "node lost")
        client.jobs.cancel(str(job.uuid))
        server.kill9()
        server.start()
    with server.dispersed() as client:
        assert ended(client, job).status == "CANCELLED"
    everything_is_settled(server)


def test_a_job_whose_island_is_stopped_says_so(server: ServerProcess) -> None:
    with server.dispersed() as client:
        job = client.jobs.create(body("echo on; sleep 600"))
        begins(client, job)
    server.stop()
    server.start()
    with server.dispersed() as client:
        done = ended(client, job)
    assert (done.status, done.status_reason) == ("FAILED", "the island was stopped")
    everything_is_settled(server)


def test_a_job_that_waits_is_not_forgotten(server: ServerProcess) -> None:
    with server.dispersed() as client:
        job = client.jobs.create(body("true", gpu_count=1, gpu_name="NVIDIA RTX 4090"), idempotency_key="k")
        eventually(lambda: client.jobs.get(str(job.uuid)).status_reason, "a reason")
    server.kill9()
    server.start()
    with server.dispersed() as client:
        waiting = client.jobs.get(str(job.uuid))
        assert (waiting.status, waiting.status_reason) == ("PENDING", "No node has 1 GPU NVIDIA RTX 4090")
        again = client.jobs.create(body("true", gpu_count=1, gpu_name="NVIDIA RTX 4090"), idempotency_key="k")
        assert again.uuid == job.uuid
        client.jobs.cancel(str(job.uuid))
    everything_is_settled(server)


def test_killed_at_random_moments_every_job_runs_once(server: ServerProcess) -> None:
    """Whatever phase each job is in, it has one run, which ran once, and the right bill."""
    chance = random.Random(1)
    keys = [f"job-{number}" for number in range(8)]
    wanted = {key: body(f"echo {key}; sleep 0.1") for key in keys}
    for round_keys in (keys[:3], keys[3:6], keys[6:]):
        with server.dispersed(retry=0) as client:

            def submit(client=client, round_keys=round_keys) -> None:  # type: ignore[no-untyped-def]
                for key in round_keys:
                    # The server dies somewhere in here; whether the job was accepted is exactly the question.
                    with contextlib.suppress(SkerryError):
                        client.jobs.create(wanted[key], idempotency_key=key)

            thread = threading.Thread(target=submit)
            thread.start()
            thread.join(chance.random() * 0.4)
            server.kill9()
            thread.join(DEADLINE)
        server.start()
    with server.dispersed() as client:
        jobs = [client.jobs.create(wanted[key], idempotency_key=key) for key in keys]
        for key, job in zip(keys, jobs, strict=True):
            assert ended(client, job).status == "COMPLETED"
            (run,) = runs(client, job)
            assert run.logs == f"{key}\n"
            cost = client.job_runs.get_cost_summary(str(run.uuid))
            assert cost.is_final
        assert client.jobs.list().total == len(keys)
    everything_is_settled(server)
