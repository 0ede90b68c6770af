"""DC1's other side by hand: a host takes jobs and reports them with this library's clients, and renters see it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skerry.errors import NoCapacityError, PermissionDeniedError
from skerry.island.island import Island
from skerry.island.settings import DC1
from skerry.money import Money
from skerry.networks.dc1 import build_resource_spec
from tests.conformance.blocking import KINDS
from tests.conformance.dc1 import Skipping, audited, ended, renting

STATUS = {"gpu_name": "NVIDIA GeForce RTX 4090", "gpu_vram_mib": 24564, "free_vram_mib": 24000, "temp_c": 40}
TEXT = {"type": "text", "prompt": "x", "response": "نعم", "model": "m", "tokens_generated": 3, "tokens_per_second": 9.5}


@pytest.fixture(scope="module")
def clock() -> Skipping:
    return Skipping()


@pytest.fixture(scope="module")
def island(clock: Skipping) -> Iterator[Island]:
    with Island(clock=clock, dc1=DC1(rate_limits=False, local_provider=False)) as island:
        yield island
        audited(island)


@pytest.fixture(params=KINDS)
def host(island: Island, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A host that is online, by either client; its number is `provider_id`."""
    with renting(island, request.param) as anybody:
        made = anybody.provider.register("Rig", f"rig-{time.time_ns()}@example.sa", "RTX 4090", location="Riyadh")
    with renting(island, request.param, provider_key=made.api_key) as client:
        told = client.provider.daemon_heartbeat(gpu_status=STATUS, provider_ip="192.0.2.7")
        assert told.approved
        ready = client.provider.readiness({"cuda": True, "pytorch": True, "vram_gb": 24}, daemon_version="3.4.0")
        assert ready.readiness_status == "ready"
        assert client.provider.me().id == made.provider_id
        yield client
        client.provider.go_offline(made.provider_id)


@pytest.fixture
def renter(island: Island) -> Iterator[Any]:
    with renting(island, "sync") as client:
        yield client


def submitted(renter: Any, provider_id: int, **more: Any) -> str:
    body = {"job_type": "llm_inference", "duration_minutes": 5, "params": {"prompt": "أهلا"}, **more}
    return str(renter.jobs.create(provider_id=provider_id, **body).job.id)


def test_a_job_from_claim_to_earnings(clock: Skipping, host: Any, renter: Any) -> None:
    provider_id = host.provider.me().id
    (seen,) = [each for each in renter.list_providers(gpu_model="4090") if each.id == provider_id]
    assert (seen.is_live, seen.vram_gb, seen.location) == (True, 24.0, "Riyadh")
    before = renter.get_balance().balance_halala
    job_id = submitted(renter, provider_id)
    assert renter.get_balance().balance_halala == before - 75
    assert renter.jobs.output(job_id).status == "pending"
    # Looking is not taking.
    (waiting,) = host.provider.get_jobs()
    assert (waiting.id, waiting.status) == (job_id, "pending")
    job = host.provider.claim()
    assert (job.job_id, job.attempt_number, job.params["prompt"]) == (job_id, 1, "أهلا")
    assert host.provider.verify_hmac(job_id, job.task_spec_hmac).valid
    assert host.provider.verify_hmac_local(job.task_spec_hmac).valid
    assert not host.provider.verify_hmac(job_id, "0" * 64).valid
    assert host.provider.claim() is None
    host.provider.progress(job_id, "downloading_model")
    assert renter.jobs.output(job_id).message == "Downloading model weights..."
    host.provider.progress(job_id, "generating")
    lines = [{"level": "info", "message": "a < b"}, {"level": "WARN", "message": "hot"}]
    assert host.provider.write_logs(job_id, lines).lines_written == 2
    assert [(line.level, line.message) for line in renter.get_job_logs(job_id)] == [("info", "a < b"), ("warn", "hot")]
    report: Any = {
        "success": True,
        "result": "loading\nDC1_RESULT_JSON:" + json.dumps(TEXT, ensure_ascii=False),
        "gpu_seconds_used": 42.5,
        "exit_code": 0,
    }
    # Nobody is paid for more time than went by.
    clock.ahead += 45
    told = host.provider.job_result(job_id, **report)
    assert (told.cost_halala, told.provider_earned_halala) == (11, 8)
    assert host.provider.job_result(job_id, **report).message.startswith("Job already settled")
    output = ended(renter, job_id)
    assert (output.text, output.cost, output.result.tokens_generated) == ("نعم", Money(11, "SAR"), 3)
    assert renter.get_balance().balance_halala == before - 11
    earned = host.provider.get_earnings()
    assert (earned.available, earned.total_jobs) == (Money(8, "SAR"), 1)
    (kept,) = host.provider.job_history().jobs
    assert kept["job_id"] == job_id


def test_a_job_that_fails_is_refunded(host: Any, renter: Any) -> None:
    provider_id = host.provider.me().id
    before = renter.get_balance().balance_halala
    job_id = submitted(renter, provider_id)
    assert host.provider.claim().job_id == job_id
    again = host.provider.result(job_id, error="out of memory", transient=True)
    assert again.retry
    assert host.provider.claim().attempt_number == 2
    host.provider.job_result(job_id, success=False, error="CUDA is gone", gpu_seconds_used=3)
    output = ended(renter, job_id)
    assert (output.status, output.cost) == ("failed", Money(0, "SAR"))
    assert "CUDA is gone" in str(output.error)
    assert renter.get_balance().balance_halala == before
    assert host.provider.get_earnings().available == Money(0, "SAR")


def test_a_served_model_says_where_it_is(host: Any, renter: Any) -> None:
    provider_id = host.provider.me().id
    job_id = submitted(renter, provider_id, job_type="vllm_serve", duration_minutes=60, params={"model": "m"})
    assert host.provider.claim().job_id == job_id
    assert renter.jobs.output(job_id).endpoint_url is None
    told = host.provider.endpoint_ready(job_id, port=8100, provider_ip="192.0.2.7")
    endpoint = renter.jobs.wait_for_endpoint(job_id)
    assert (endpoint.url, told.endpoint_url) == ("http://192.0.2.7:8100/v1",) * 2
    assert renter.jobs.complete(job_id).job.status == "completed"
    # The host learns that it may stop.
    assert host.provider.job(job_id).status == "completed"


def test_a_host_that_rests_gets_no_jobs(host: Any, renter: Any) -> None:
    provider_id = host.provider.me().id
    host.provider.pause()
    with pytest.raises(NoCapacityError):
        submitted(renter, provider_id)
    host.provider.resume()
    host.provider.announce(build_resource_spec())
    job_id = submitted(renter, provider_id)
    cancelled = renter.cancel_job(job_id)
    assert cancelled.status == "cancelled"
    assert host.provider.claim() is None


def test_nobody_sees_or_reports_the_jobs_of_others(island: Island, host: Any, renter: Any) -> None:
    job_id = submitted(renter, host.provider.me().id)
    assert host.provider.claim().job_id == job_id
    made = renter.provider.register("Thief", f"thief-{time.time_ns()}@example.sa", "GT 710")
    stranger = renter.register("Stranger", f"stranger-{time.time_ns()}@example.sa")
    with renting(island, "sync", api_key=stranger.api_key, provider_key=made.api_key) as other:
        with pytest.raises(PermissionDeniedError):
            other.jobs.output(job_id)
        for attempt in (
            lambda: other.provider.job_result(job_id, success=True, result="mine", gpu_seconds_used=9),
            lambda: other.provider.progress(job_id, "generating"),
            lambda: other.provider.write_log(job_id, "hello"),
        ):
            with pytest.raises(Exception, match=r"(?i)forbidden|not found|not assigned"):
                attempt()
    assert renter.jobs.describe(job_id).status == "running"
    host.provider.fail(job_id, "enough")


def test_an_operator_who_approves(tmp_path: Path) -> None:
    choices = DC1(auto_approve=False, local_provider=False)
    with Island(data_dir=tmp_path / "data", dc1=choices) as island, renting(island, "sync") as client:
        made = client.provider.register("Rig", "rig@example.sa", "RTX 4090", os="Linux")
        with renting(island, "sync", provider_key=made.api_key) as host:
            with pytest.raises(PermissionDeniedError, match="not approved"):
                host.provider.heartbeat({"gpu_model": "RTX 4090", "vram_mib": 24564})
            client.admin.approve_provider(made.provider_id)
            assert host.provider.heartbeat({"gpu_model": "RTX 4090", "vram_mib": 24564}).approved
            assert [each.id for each in client.list_providers()] == [made.provider_id]
