"""Machines of operators: who may register one, what it is told and may report, what follows when it falls silent."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.island.admin.auth import owner_key
from skerry.island.faces.dispersed import tables
from skerry.island.faces.dispersed.account.key_pairs import KeyPair
from skerry.island.faces.dispersed.jobs.job_views import MOST_LOGS
from skerry.island.faces.dispersed.jobs.lifecycle import RUN_STATUSES, TERMINAL, run_may
from skerry.island.faces.dispersed.nodes import node_protocol
from skerry.island.faces.dispersed.nodes.node_reports import REPORTED
from tests.island.engine.lab import PATIENCE
from tests.island.faces.dispersed.stage import Stage

pytestmark = pytest.mark.anyio

MACHINE = {
    "name": "rig",
    "cpus": [{"name": "Ryzen", "num_cores": 16}],
    "gpus": [{"name": "NVIDIA RTX 4090", "vram_gb_max": 24}, {"name": "NVIDIA RTX 4090", "vram_gb_max": 24}],
    "rams": [{"memory_gb_max": 64}],
    "hard_drives": [{"name": "nvme", "max_capacity_gb": 1000}],
}
JOB = {
    "task": "BATCH",
    "title": "t",
    "gpu_count": 1,
    "max_timeout_run_ms": 3_600_000,
    "parameters": {
        "type": "docker",
        "parameters": {"image": "me/x", "user": "u", "secret": "hush", "sshkey": "", "env": {"A": "1"}, "ports": [80]},
    },
}


class Rig:
    """A registered node, played by hand."""

    def __init__(self, stage: Stage, uuid: str, pair: KeyPair) -> None:
        self.stage = stage
        self.uuid = uuid
        self.pair = pair

    async def beat(self, event: Any = ...) -> Any:
        return await self.stage.ok("PUT", f"/v1/nodes/{self.uuid}/heartbeat", event, pair=self.pair)

    async def work(self) -> Any:
        """What it is told, once there is something."""
        polled = self.stage.ok("GET", f"/v1/nodes/{self.uuid}/assignment", pair=self.pair)
        return await asyncio.wait_for(polled, PATIENCE)

    async def report(self, run: str, status: str, expected: int = 200, **fields: Any) -> Any:
        answer = await self.stage.ask("PUT", f"/v1/job-runs/{run}/status", {"status": status, **fields}, pair=self.pair)
        assert answer.status == expected, answer.body
        return answer.json

    async def say(self, run: str, offset: int, text: str, expected: int = 200) -> Any:
        body = {"offset": offset, "text": text}
        answer = await self.stage.ask("POST", f"/v1/job-runs/{run}/logs", body, pair=self.pair)
        assert answer.status == expected, answer.body
        return answer.json

    async def take(self) -> str:
        """The UUID of the run it shall start."""
        return str((await self.work())["start"][0]["job_run_uuid"])


async def register(stage: Stage, **fields: Any) -> Rig:
    made = await stage.ok("POST", "/v1/nodes", {**MACHINE, **fields}, status=201)
    return Rig(stage, made["uuid"], KeyPair(**made["credentials"]))


@pytest.fixture
async def stage(tmp_path: Path, template: Path) -> AsyncIterator[Stage]:
    """The face, asked as often as one likes: time stands still, and with it the limit."""
    shutil.copytree(template, tmp_path / "data")
    it = Stage(tmp_path, requests_per_minute=None)
    await it.open()
    yield it
    await it.close()


@pytest.fixture
async def rig(stage: Stage) -> Rig:
    return await register(stage)


async def create(stage: Stage, **fields: Any) -> str:
    return str((await stage.ok("POST", "/v1/jobs", {**JOB, **fields}, status=201))["uuid"])


async def job(stage: Stage, uuid: str) -> Any:
    return await stage.ok("GET", f"/v1/jobs/{uuid}")


async def run(stage: Stage, uuid: str) -> Any:
    return await stage.ok("GET", f"/v1/job-runs/{uuid}")


async def test_registration(stage: Stage) -> None:
    made = await stage.ok("POST", "/v1/nodes", {**MACHINE, "region_code": "eu-west-1"}, status=201)
    assert (made["object"], made["name"], made["region_code"], made["reputation"]) == ("node", "rig", "eu-west-1", 50)
    assert made["ramTotal"] == 64
    keys = (await stage.ok("GET", "/v1/api-keys?filter%5Bpreset%5D=COMPUTE_NODE"))["data"]
    assert [(key["public_key"], key["node_uuid"]) for key in keys] == [
        (made["credentials"]["public_key"], made["uuid"])
    ]
    listed = (await stage.ok("GET", "/v1/nodes"))["data"]
    assert made["uuid"] in [node["uuid"] for node in listed]
    assert "credentials" not in json.dumps(listed)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": ""}, "name"),
        ({"cpus": []}, "cpus"),
        ({"cpus": [{"num_cores": -1}]}, "cpus.0.num_cores"),
        ({"gpus": [{"name": "x", "vram_gb_max": 2**60}]}, "gpus.0.vram_gb_max"),
        ({"gpus": [{}] * 65}, "gpus"),
        ({"region_code": "moon-1"}, "region_code"),
    ],
)
async def test_what_cannot_be_registered(stage: Stage, fields: dict[str, Any], path: str) -> None:
    fault = await stage.fails(400, "VALIDATION_ERROR", "POST", "/v1/nodes", {**MACHINE, **fields})
    assert path in [".".join(map(str, issue["path"])) for issue in fault["details"]]


async def test_only_the_owner_registers_nodes(stage: Stage, rig: Rig) -> None:
    """A node sees the secrets of everybody's jobs."""
    stranger = await stage.stranger()
    await stage.fails(403, "FORBIDDEN", "POST", "/v1/nodes", MACHINE, pair=stranger)
    await stage.fails(403, "INSUFFICIENT_PERMISSIONS", "POST", "/v1/nodes", MACHINE, pair=rig.pair)
    headers = {"authorization": f"Bearer {owner_key(stage.lab.data)}"}
    await stage.ok("POST", "/v1/nodes", MACHINE, status=201, pair=stranger, headers=headers)


async def test_a_job_from_assignment_to_completion(stage: Stage, rig: Rig) -> None:
    waiting = asyncio.ensure_future(rig.work())
    await asyncio.sleep(0)
    uuid = await create(stage)
    told = await waiting
    (order,) = told["start"]
    token = (await job(stage, uuid))["container_access_tokens"][0]["token"]
    docker = order["parameters"]["parameters"]
    assert (docker["image"], docker["user"], docker["secret"], docker["ports"]) == ("me/x", "u", "hush", [80])
    assert docker["env"] == {"A": "1", "CONTAINER_ACCESS_TOKEN": token}
    assert (order["job_uuid"], order["gpu_name"], order["gpu_count"]) == (uuid, "NVIDIA RTX 4090", 1)
    assert (await job(stage, uuid))["status"] == "ASSIGNED"
    one = order["job_run_uuid"]
    # It is told again until the node has said that it began.
    assert (await rig.work())["start"][0]["job_run_uuid"] == one
    await rig.report(one, "PREPARING", image_size_bytes=1_000)
    urls = [{"description": "80", "hostname": "rig.test", "port": 40_000, "protocol": "tcp", "tls": False}]
    await rig.report(one, "RUNNING", node_urls=urls)
    await rig.report(one, "RUNNING", node_urls=urls)
    view = await run(stage, one)
    assert (view["status"], view["node_urls"], view["hourly_rate_usd"]) == ("RUNNING", urls, 0.35)
    assert view["node_uuid"] == rig.uuid
    stage.clock.advance(36)
    await rig.beat()
    await rig.say(one, 0, "héllo\n")
    assert (await run(stage, one))["logs"] == "héllo\n"
    await rig.report(one, "COMPLETED", exit_code=0)
    view = await run(stage, one)
    assert (view["status"], view["exit_code"], view["duration_ms"]) == ("COMPLETED", 0, 36_000)
    shown = await job(stage, uuid)
    assert (shown["status"], shown["image_size_bytes"]) == ("COMPLETED", 1_000)
    cost = await stage.ok("GET", f"/v1/job-runs/{one}/cost-summary")
    assert (cost["total_cost_usd"], cost["is_final"]) == (0.0035, True)
    reward = (await stage.ok("GET", f"/v1/compute/rewards?filter%5Bnode_uuid%5D={rig.uuid}"))["data"][0]
    assert (reward["hours_worked"], reward["multiplier"]) == (0.01, 2)
    assert (await stage.lab.engine.ledger.audit()) == []


@pytest.mark.parametrize("before", ["ASSIGNED", "PREPARING", "RUNNING", "CANCELLING", "COMPLETED", "FAILED"])
async def test_only_legal_reports_are_taken(stage: Stage, rig: Rig, before: str) -> None:
    for status in REPORTED:
        uuid = await create(stage)
        one = await rig.take()
        for step in {
            "ASSIGNED": (),
            "PREPARING": ("PREPARING",),
            "RUNNING": ("PREPARING", "RUNNING"),
            "CANCELLING": ("PREPARING", "RUNNING"),
            "COMPLETED": ("PREPARING", "RUNNING", "COMPLETED"),
            "FAILED": ("PREPARING", "FAILED"),
        }[before]:
            await rig.report(one, step)
        if before == "CANCELLING":
            await stage.ok("PUT", f"/v1/jobs/{uuid}/cancel", {"reason": "r"})
            assert (await rig.work())["stop"][0]["job_run_uuid"] == one
        legal = status == before or run_may(before, status)
        answer = await rig.report(one, status, 200 if legal else 409)
        assert legal or answer["code"] == "CONFLICT"
        assert (await run(stage, one))["status"] == (status if legal else before)
        if before != "CANCELLING" or not legal:
            await stage.ask("PUT", f"/v1/jobs/{uuid}/cancel")
        if (await run(stage, one))["status"] == "CANCELLING":
            await rig.report(one, "CANCELLED")
        assert (await job(stage, uuid))["status"] in TERMINAL


async def test_a_node_speaks_for_itself_alone(stage: Stage, rig: Rig) -> None:
    other = await register(stage, name="other", gpus=[])
    await create(stage)
    one = await rig.take()
    await other.report(one, "PREPARING", 404)
    await other.say(one, 0, "x", 404)
    stranger = await stage.grant(preset="COMPUTE_NODE")
    for pair in (other.pair, stranger):
        await stage.fails(404, "NOT_FOUND", "PUT", f"/v1/nodes/{rig.uuid}/heartbeat", pair=pair)
        await stage.fails(404, "NOT_FOUND", "GET", f"/v1/nodes/{rig.uuid}/assignment", pair=pair)
    for method, path, body in (
        ("PUT", f"/v1/job-runs/{one}/status", {"status": "FAILED"}),
        ("POST", f"/v1/job-runs/{one}/logs", {"offset": 0, "text": ""}),
        ("PUT", f"/v1/nodes/{rig.uuid}/heartbeat", {}),
        ("GET", f"/v1/nodes/{rig.uuid}/assignment", ...),
    ):
        await stage.fails(403, "INSUFFICIENT_PERMISSIONS", method, path, body)
    # And a node is no consumer.
    await stage.fails(403, "INSUFFICIENT_PERMISSIONS", "GET", "/v1/jobs", pair=rig.pair)


async def test_a_run_that_failed_is_tried_again_elsewhere(stage: Stage, rig: Rig) -> None:
    uuid = await create(stage, max_retry_count=1)
    one = await rig.take()
    await rig.report(one, "FAILED", status_reason="no such image")
    again = await rig.take()
    assert again != one
    assert (await run(stage, one))["status_reason"] == "no such image"
    await rig.report(again, "PREPARING")
    await rig.report(again, "RUNNING")
    await rig.report(again, "FAILED", exit_code=7)
    shown = await job(stage, uuid)
    assert (shown["status"], shown["status_reason"]) == ("FAILED", "Exit code 7")


async def test_a_silent_node_loses_its_runs(stage: Stage, rig: Rig) -> None:
    uuid = await create(stage, max_retry_count=1)
    one = await rig.take()
    await rig.report(one, "PREPARING")
    await rig.report(one, "RUNNING")
    stage.clock.advance(20)
    await rig.beat()
    stage.clock.advance(60)
    await _until(stage, lambda: _is(stage, one, "FAILED"))
    view = await run(stage, one)
    assert (view["status_reason"], view["duration_ms"]) == ("node lost", 20_000)
    shown = await job(stage, uuid)
    assert shown["status"] == "PENDING"
    await rig.report(one, "COMPLETED", 409)
    # Once it is back it is given the next try.
    await rig.beat()
    again = await rig.take()
    assert again != one
    await rig.report(again, "PREPARING")
    await rig.report(again, "RUNNING")
    await rig.report(again, "COMPLETED", exit_code=0)
    assert (await job(stage, uuid))["status"] == "COMPLETED"
    assert (await stage.lab.engine.ledger.audit()) == []
    assert (await stage.lab.engine.ledger.held(stage.lab.account)).amount == 0


async def test_a_node_that_never_confirms_an_end_does_not_hold_it_up(stage: Stage, rig: Rig) -> None:
    uuid = await create(stage)
    one = await rig.take()
    await stage.ok("PUT", f"/v1/jobs/{uuid}/cancel")
    for _ in range(4):
        stage.clock.advance(15)
        await rig.beat()
    await _until(stage, lambda: _is(stage, one, "CANCELLED"))
    assert (await job(stage, uuid))["status"] == "CANCELLED"


async def test_the_start_and_the_run_have_their_time(stage: Stage, rig: Rig) -> None:
    for steps, limit in ((("PREPARING",), 300), (("PREPARING", "RUNNING"), 3_600)):
        uuid = await create(stage)
        one = await rig.take()
        for step in steps:
            await rig.report(one, step)
        for _ in range(limit // 30):
            stage.clock.advance(30)
            await rig.beat()
        await _until(stage, lambda one=one: _is(stage, one, "FAILING"))  # type: ignore[misc]
        assert [stop["job_run_uuid"] for stop in (await rig.work())["stop"]] == [one]
        await rig.report(one, "FAILED", exit_code=137)
        assert "longer than" in (await job(stage, uuid))["status_reason"]


async def test_a_poll_without_work_comes_back_empty(stage: Stage, rig: Rig) -> None:
    waiting = asyncio.ensure_future(rig.work())

    async def asleep() -> bool:
        return any(
            not sleeper[3].done() and sleeper[0] == node_protocol.POLL_SECONDS for sleeper in stage.clock._sleepers
        )

    await _until(stage, asleep)
    stage.clock.advance(node_protocol.POLL_SECONDS)
    told = await waiting
    assert (told["start"], told["stop"]) == ([], [])


async def test_a_node_says_how_long_it_waits(stage: Stage, rig: Rig) -> None:
    path = f"/v1/nodes/{rig.uuid}/assignment?wait_ms="
    assert (await stage.ok("GET", f"{path}0", pair=rig.pair))["start"] == []
    for bad in ("-1", "soon", "9999999"):
        await stage.fails(400, "VALIDATION_ERROR", "GET", f"{path}{bad}", pair=rig.pair)


async def test_logs_are_appended_once(stage: Stage, rig: Rig) -> None:
    await create(stage)
    one = await rig.take()
    await rig.report(one, "PREPARING")
    assert (await rig.say(one, 0, "añ"))["next_offset"] == 3
    assert (await rig.say(one, 0, "añ"))["next_offset"] == 3
    assert (await rig.say(one, 1, "ñb"))["next_offset"] == 4
    assert "offset 4" in (await rig.say(one, 9, "gap", 409))["detail"]
    assert (await run(stage, one))["logs"] == "añb"
    big = "x" * (MOST_LOGS // 2)
    offset = 4
    for _ in range(3):
        offset = (await rig.say(one, offset, big))["next_offset"]
    logs = (await run(stage, one))["logs"]
    assert (len(logs), set(logs)) == (MOST_LOGS, {"x"})


async def test_a_heartbeat_may_tell_how_the_machine_does(stage: Stage, rig: Rig) -> None:
    event = {"timestamp_ms": 1, "metadata": {"cpu": {"average": 3.5, "cores": []}}}
    shown = (await rig.beat(event))["latest_hardware_event"]
    assert (shown["object"], shown["metadata"], shown["node"]) == ("node_hardware_event", event["metadata"], rig.uuid)
    await stage.fails(400, "VALIDATION_ERROR", "PUT", f"/v1/nodes/{rig.uuid}/heartbeat", [], pair=rig.pair)
    huge = {"metadata": "x" * 70_000}
    await stage.fails(413, "PAYLOAD_TOO_LARGE", "PUT", f"/v1/nodes/{rig.uuid}/heartbeat", huge, pair=rig.pair)


async def test_gpus_of_a_node_are_given_out_once(stage: Stage, rig: Rig) -> None:
    uuids = [await create(stage) for _ in range(3)]
    await _until(stage, lambda: _count(stage, "ASSIGNED", 2))
    await _until(stage, lambda: _waits(stage, uuids[2], "Every node that could take it is busy"))
    assert await stage.count(tables.job_runs) == 2
    one = await rig.take()
    await rig.report(one, "FAILED")
    await _until(stage, lambda: _assigned(stage, uuids[2]))


async def test_everything_is_found_again_after_a_crash(stage: Stage, rig: Rig) -> None:
    uuid = await create(stage)
    one = await rig.take()
    await rig.report(one, "PREPARING")
    await rig.report(one, "RUNNING")
    await stage.again()
    stage.clock.advance(10)
    await rig.beat()
    await rig.report(one, "COMPLETED", exit_code=0)
    assert (await job(stage, uuid))["status"] == "COMPLETED"


async def _is(stage: Stage, uuid: str, status: str) -> bool:
    return bool((await run(stage, uuid))["status"] == status)


async def _assigned(stage: Stage, uuid: str) -> bool:
    return bool((await job(stage, uuid))["status"] == "ASSIGNED")


async def _waits(stage: Stage, uuid: str, reason: str) -> bool:
    shown = await job(stage, uuid)
    assert shown["status"] == "PENDING"
    return bool(shown["status_reason"] == reason)


async def _count(stage: Stage, status: str, count: int) -> bool:
    found = await stage.ok("GET", f"/v1/jobs?filter%5Bstatus%5D={status}")
    return bool(found["total"] == count)


async def _until(stage: Stage, condition: Any) -> None:
    await stage.lab.until(condition)


REPORTS = st.lists(st.sampled_from((*REPORTED, "cancel", "beat", "silence")), max_size=8)


@given(REPORTS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_reports_leave_the_books_right(
    tmp_path_factory: pytest.TempPathFactory, template: Path, reports: list[str]
) -> None:
    directory: Path = tmp_path_factory.mktemp("nodes")
    shutil.copytree(template, directory / "data")
    stage = Stage(directory, requests_per_minute=None)
    await stage.open()
    try:
        rig = await register(stage)
        uuid = await create(stage)
        one = await rig.take()
        for word in reports:
            before = (await run(stage, one))["status"]
            if word == "cancel":
                await stage.ask("PUT", f"/v1/job-runs/{one}/cancel")
            elif word == "beat":
                stage.clock.advance(15)
                await rig.beat()
            elif word == "silence":
                stage.clock.advance(61)
            else:
                answer = await stage.ask("PUT", f"/v1/job-runs/{one}/status", {"status": word}, pair=rig.pair)
                assert answer.status in (200, 409)
                if answer.status == 200:
                    assert before == word or run_may(before, word) or before in RUN_STATUSES
            assert await stage.lab.engine.ledger.audit() == []
        stage.clock.advance(61)
        await _until(stage, lambda: _over(stage, uuid))
        assert (await stage.lab.engine.ledger.held(stage.lab.account)).amount == 0
    finally:
        await stage.close()


async def _over(stage: Stage, uuid: str) -> bool:
    return (await job(stage, uuid))["status"] in TERMINAL
