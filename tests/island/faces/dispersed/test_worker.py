"""Runs on this machine, from their assignment to their end, over real processes; the server dies at every step."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from skerry.island.engine.errors import (
    EngineError,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    Unauthorized,
    Unavailable,
)
from skerry.island.faces.dispersed.errors import Fault
from skerry.island.faces.dispersed.jobs import preparing, worker
from skerry.island.faces.dispersed.jobs.billing import charge
from skerry.island.faces.dispersed.jobs.job_rows import latest_runs
from skerry.island.faces.dispersed.jobs.job_views import MOST_LOGS, logs_text
from skerry.island.faces.dispersed.jobs.progress import Progress
from skerry.island.faces.dispersed.jobs.worker import Worker
from skerry.island.faces.dispersed.tables import ssh_public_keys
from skerry.island.ground.runs import goes_on
from skerry.island.sandbox.driver import SandboxError
from tests.island.engine.double import read_record
from tests.island.engine.lab import PATIENCE
from tests.island.faces.dispersed.network import Network
from tests.island.faces.dispersed.test_job_spec import KEY

pytestmark = pytest.mark.anyio


async def test_a_batch_job_completes(network: Network) -> None:
    before = await network.balance()
    uuid = await network.create("echo out; echo err >&2; echo $CONTAINER_ACCESS_TOKEN")
    job = await network.ended(uuid)
    run = await network.run_of(uuid)
    token = job["container_access_tokens"][0]["token"]
    assert (job["status"], job["status_reason"], job["image_size_bytes"]) == ("COMPLETED", None, 12_345)
    assert job["started_at"]
    assert job["completed_at"]
    assert (run["status"], run["exit_code"], run["attempt"]) == ("COMPLETED", 0, 0)
    assert run["logs"] == f"out\nerr\n{token}\n"
    assert run["job_snapshot"]["uuid"] == uuid
    assert run["job_snapshot"]["status"] == "ASSIGNED"
    assert run["container_access_tokens"] == job["container_access_tokens"]
    await network.empty()
    assert await network.balance() == before


async def test_a_failing_job_is_tried_as_often_as_it_may(network: Network) -> None:
    uuid = await network.create("echo $$; exit 3", max_retry_count=2)
    await network.has_failed(uuid, 2)
    await network.pass_time(1)
    job = await network.ended(uuid)
    runs = await network.runs_of(uuid)
    assert (job["status"], job["status_reason"]) == ("FAILED", "Exit code 3")
    assert [(run.status, run.exit_code, run.attempt, run.slot) for run in runs] == [
        ("FAILED", 3, attempt, 0) for attempt in range(3)
    ]
    await network.empty()


async def test_a_slot_rests_before_it_is_tried_again_also_over_a_crash(network: Network) -> None:
    uuid = await network.create("exit 1", max_retry_count=10**12)
    for seconds, runs in ((0, 2), (1, 3), (2, 4)):
        await network.pass_time(seconds)
        await network.has_failed(uuid, runs)
    assert (await network.job(uuid))["status_reason"] == "Trying again after: Exit code 1"
    (last,) = await network.engine.store.read(latest_runs, uuid)
    assert (last.attempt, last.runs) == (3, 4)
    await network.crash()
    await network.pass_time(3.9)
    job = await network.job(uuid)
    assert (job["status"], job["status_reason"], len(await network.runs_of(uuid))) == (
        *("PENDING", "Trying again after: Exit code 1"),
        4,
    )
    # Its assign time begins when it may be assigned again.
    assert job["timeout_assign_at_ms"] >= network.now // 1_000 + job["max_timeout_assign_ms"]
    await network.pass_time(0.1)
    await network.has_failed(uuid, 5)
    await network.cancel(uuid)
    assert (await network.ended(uuid))["status"] == "CANCELLED"
    await network.empty()


async def test_an_image_that_cannot_be_had_fails_the_run(network: Network) -> None:
    uuid = await network.create(docker={"image": "nowhere", "user": "me", "secret": "hush"})
    job = await network.ended(uuid)
    assert (job["status"], job["status_reason"]) == ("FAILED", "there is no image nowhere")
    assert network.images.asked == [("nowhere", ("me", "hush"))]
    await network.empty()


async def test_registry_names_and_secrets(network: Network) -> None:
    uuid = await network.create(docker={"host": "registry.test", "tag": "v1", "user": "", "secret": ""})
    assert (await network.ended(uuid))["status"] == "COMPLETED"
    assert network.images.asked == [("registry.test/host:v1", None)]


async def test_an_archive_takes_the_place_of_the_image(network: Network) -> None:
    uuid = await network.create(docker={"image": "", "imagesrc": "https://files.test/x.tar"})
    job = await network.ended(uuid)
    assert (job["status"], job["image_size_bytes"]) == ("COMPLETED", 54_321)
    assert network.images.asked == [("https://files.test/x.tar", None)]


async def test_volumes_are_fetched_with_their_own_secrets(network: Network) -> None:
    volumes = [
        {"mount": "/data", "image": "host", "tag": "v1", "registry": "registry.test", "user": "me", "secret": "hush"},
        {"mount": "/more", "image": "nowhere", "tag": "v2"},
    ]
    uuid = await network.create(docker={"volumes": volumes})
    job = await network.ended(uuid)
    assert job["status_reason"] == "there is no image nowhere:v2"
    assert network.images.asked[1:] == [("registry.test/host:v1", ("me", "hush")), ("nowhere:v2", None)]
    assert "hush" not in str(job)


async def test_the_environment(network: Network) -> None:
    """Platform values win over the caller's (section 5.2)."""
    own = {"SKERRY_COMMAND": "env", "CONTAINER_ACCESS_TOKEN": "mine", "SSH_PUBKEY": "mine", "OWN": "1"}
    uuid = await network.create(docker={"env": own, "sshkey": KEY})
    job = await network.ended(uuid)
    lines = (await network.run_of(uuid))["logs"].splitlines()
    assert f"CONTAINER_ACCESS_TOKEN={job['container_access_tokens'][0]['token']}" in lines
    assert f"SSH_PUBKEY={KEY}" in lines
    assert "OWN=1" in lines


@pytest.mark.parametrize(("sshkey", "shown"), [(None, f"{KEY}\n"), ("", "none\n")])
async def test_the_default_key_is_used_when_none_is_given(network: Network, sshkey: str | None, shown: str) -> None:
    await network.engine.store.run(
        lambda connection: connection.execute(
            ssh_public_keys.insert().values(
                uuid="k",
                account_id=network.account,
                public_key=KEY,
                fingerprint="f",
                is_default=1,
                created_at=1,
                updated_at=1,
            )
        )
    )
    docker: dict[str, Any] = {} if sshkey is None else {"sshkey": sshkey}
    uuid = await network.create("echo ${SSH_PUBKEY:-none}", docker)
    await network.ended(uuid)
    assert (await network.run_of(uuid))["logs"] == shown
    used = await network.engine.store.read(
        lambda connection: connection.execute(select(ssh_public_keys.c.last_used_at)).scalar()
    )
    assert (used is not None) == (sshkey is None)


async def test_logs_are_live(network: Network, tmp_path: Path) -> None:
    uuid = await network.create(f"echo first; until [ -e {tmp_path}/go ]; do sleep 0.01; done; echo last")

    async def said() -> bool:
        return bool(await network.runs_of(uuid)) and (await network.run_of(uuid))["logs"] == "first\n"

    await network.until(said)
    (tmp_path / "go").touch()
    await network.ended(uuid)
    assert (await network.run_of(uuid))["logs"] == "first\nlast\n"
    listed = await network.runs.list(network.call())
    assert "logs" not in listed["data"][0]


async def test_only_the_end_of_long_logs_is_kept(network: Network) -> None:
    uuid = await network.create(f"head -c {MOST_LOGS + 10} /dev/zero | tr '\\0' x; echo end")
    await network.ended(uuid)
    logs = (await network.run_of(uuid))["logs"]
    assert len(logs) == MOST_LOGS
    assert logs.endswith("xend\n")


def test_logs_begin_at_a_whole_character() -> None:
    text = "é" * (MOST_LOGS // 2) + "x"
    assert logs_text(text.encode()) == text[1:]
    assert logs_text(text.encode()[-MOST_LOGS:]) == text[1:]
    assert logs_text(b"\xff\n") == "\ufffd\n"


async def test_cancelled_while_waiting(network: Network) -> None:
    uuid = await network.create(gpu_count=1)
    await network.reaches(uuid, "PENDING")
    cancelled = await network.cancel(uuid, "no longer needed")
    assert (cancelled["status"], cancelled["status_reason"]) == ("CANCELLED", "no longer needed")
    assert (await network.cancel(uuid))["status_reason"] == "no longer needed"
    assert await network.runs_of(uuid) == []


async def test_cancelled_while_preparing(network: Network) -> None:
    network.images.held = asyncio.Event()
    uuid = await network.create()
    await network.run_reaches(uuid, "PREPARING")
    assert (await network.cancel(uuid, "stop"))["status"] == "CANCELLING"
    job = await network.ended(uuid)
    run = await network.run_of(uuid)
    assert (job["status"], job["status_reason"], run["status"]) == ("CANCELLED", "stop", "CANCELLED")
    assert run["duration_ms"] is None
    await network.empty()


async def test_cancelled_while_running(network: Network) -> None:
    uuid = await network.create("echo on; exec sleep 600", max_retry_count=5)
    await network.reaches(uuid, "RUNNING")
    network.virtual.advance(10)
    assert (await network.cancel(uuid, "enough"))["status"] == "CANCELLING"
    job = await network.ended(uuid)
    run = await network.run_of(uuid)
    assert (job["status"], job["status_reason"]) == ("CANCELLED", "enough")
    assert (run["status"], run["status_reason"], len(await network.runs_of(uuid))) == ("CANCELLED", "enough", 1)
    assert run["duration_ms"] >= 10_000
    await network.empty()


async def test_cancelling_the_only_run_cancels_the_job(network: Network) -> None:
    uuid = await network.create("exec sleep 600", max_retry_count=5)
    run = await network.run_reaches(uuid, "RUNNING")
    answer = await network.write(network.runs.cancel, run.uuid, body={"reason": "r"})
    assert answer["status"] == "CANCELLING"
    job = await network.ended(uuid)
    assert (job["status"], job["status_reason"], len(await network.runs_of(uuid))) == ("CANCELLED", "r", 1)


@pytest.mark.parametrize("command", ["true", "false"])
async def test_what_has_ended_cannot_be_cancelled(network: Network, command: str) -> None:
    uuid = await network.create(command)
    await network.ended(uuid)
    run = (await network.runs_of(uuid))[0]
    for handler, one in ((network.jobs.cancel, uuid), (network.runs.cancel, run.uuid)):
        with pytest.raises(Fault) as caught:
            await network.write(handler, one)
        assert (caught.value.status, caught.value.code) == (409, "JOB_NOT_CANCELLABLE")


async def test_a_run_that_takes_too_long_fails(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "GRACE", PATIENCE)
    uuid = await network.create("exec sleep 600", max_timeout_run_ms=300_000)
    await network.reaches(uuid, "RUNNING")
    await network.pass_time(300)
    job = await network.ended(uuid)
    run = await network.run_of(uuid)
    assert (job["status"], job["status_reason"]) == ("FAILED", "Ran longer than 300000 ms")
    assert (run["status"], run["exit_code"]) == ("FAILED", 143)
    await network.empty()


async def test_a_start_that_takes_too_long_fails(network: Network) -> None:
    network.images.held = asyncio.Event()
    uuid = await network.create(max_timeout_start_ms=120_000, max_retry_count=1)
    await network.run_reaches(uuid, "PREPARING")
    await network.pass_time(120)

    async def second() -> bool:
        return [run.status for run in await network.runs_of(uuid)] == ["FAILED", "PREPARING"]

    await network.until(second)
    assert (await network.runs_of(uuid))[0].status_reason == "The start took longer than 120000 ms"
    network.images.held.set()
    assert (await network.ended(uuid))["status"] == "COMPLETED"
    await network.empty()


@pytest.mark.parametrize("trouble", [Unavailable("the registry does not answer"), RateLimited("too many requests")])
async def test_a_registry_that_is_down_is_asked_again_for_a_minute(
    network: Network, monkeypatch: pytest.MonkeyPatch, trouble: EngineError
) -> None:
    network.images.trouble = trouble
    pausing = False
    pause = Worker._pause

    async def known(*arguments: Any) -> None:
        nonlocal pausing
        pausing = True
        await pause(*arguments)
        pausing = False

    def later() -> None:
        # While it is busy, however long that takes it here, no time passes.
        if pausing:
            network.virtual.advance(1)

    monkeypatch.setattr(Worker, "_pause", known)
    uuid = await network.create(max_retry_count=1)

    async def told() -> bool:
        runs = await network.runs_of(uuid)
        job = await network.job(uuid)
        return bool(runs) and (
            *(runs[-1].status, runs[-1].status_reason),
            *(job["status"], job["status_reason"]),
        ) == ("PREPARING", trouble.message, "ASSIGNED", trouble.message)

    await network.until(told)

    async def second() -> bool:
        later()
        return len(await network.runs_of(uuid)) == 2

    await network.until(second)
    first = (await network.runs_of(uuid))[0]
    assert (first.status, first.status_reason) == ("FAILED", trouble.message)
    # Long before its start would have been too late.
    assert 60_000_000 <= first.completed_at - first.created_at < 90_000_000
    assert 6 <= len(network.images.asked) < 20
    await network.until(told)
    network.images.trouble = None

    async def asked() -> bool:
        later()
        return (await network.job(uuid))["status"] == "COMPLETED"

    await network.until(asked)
    assert (await network.run_of(uuid))["status_reason"] is None
    assert (await network.job(uuid))["status_reason"] is None
    await network.empty()


@pytest.mark.parametrize("refusal", [Unauthorized("no"), Forbidden("no"), NotFound("no"), Invalid("no")])
async def test_a_registry_that_refuses_is_asked_once(network: Network, refusal: EngineError) -> None:
    network.images.trouble = refusal
    uuid = await network.create()
    job = await network.ended(uuid)
    assert (job["status"], job["status_reason"], len(network.images.asked)) == ("FAILED", "no", 1)
    await network.empty()


async def test_a_lost_key_of_the_vault_hides_no_job(network: Network) -> None:
    network.images.held = asyncio.Event()
    uuid = await network.create(docker={"secret": "hush"})
    await network.run_reaches(uuid, "PREPARING")
    await network.scheduler.stop()
    await network.engine.crash()
    (network.data / "vault.key").unlink()
    await network.open()
    job = await network.ended(uuid)
    assert (job["status"], job["container_access_tokens"]) == ("FAILED", [])
    assert "lost the key" in job["status_reason"]
    assert (await network.run_of(uuid))["container_access_tokens"] == []
    await network.empty()


async def test_what_outlives_a_crash_is_followed(network: Network, tmp_path: Path) -> None:
    uuid = await network.create(f"echo a >> {tmp_path}/ran; until [ -e {tmp_path}/go ]; do sleep 0.01; done; exit 4")
    started = (await network.reaches(uuid, "RUNNING"))["started_at"]
    await network.crash()
    assert (await network.job(uuid))["status"] == "RUNNING"
    (tmp_path / "go").touch()
    job = await network.ended(uuid)
    assert (job["status"], job["started_at"]) == ("FAILED", started)
    assert (await network.run_of(uuid))["exit_code"] == 4
    assert (tmp_path / "ran").read_text() == "a\n"
    await network.empty()


async def test_what_ends_while_the_server_is_dead_ends_then(network: Network, tmp_path: Path) -> None:
    """Hours later it is charged for the moments that it ran."""
    os.mkfifo(tmp_path / "pipe")
    began = time.monotonic()
    uuid = await network.create(f"touch {tmp_path}/on; exec cat {tmp_path}/pipe", task="PERSISTENT")
    await network.reaches(uuid, "RUNNING")

    async def on() -> bool:
        return (tmp_path / "on").exists()

    await network.until(on)
    await network.scheduler.stop()
    await network.engine.crash()
    with (tmp_path / "pipe").open("w") as pipe:
        pipe.write("bye\n")
    # An empty one is there from the first.
    (record,) = (network.data / "sandboxes").glob("*/runs/*.json")

    async def recorded() -> bool:
        return read_record(record) is not None

    await network.until(recorded)
    ran = time.monotonic() - began
    network.virtual.advance(3 * 3_600)
    await network.open()
    # Before anything else can have happened, and without anybody having waited for it.
    job = await network.job(uuid)
    run = await network.run_of(uuid)
    assert (job["status"], run["logs"]) == ("COMPLETED", "bye\n")
    assert run["duration_ms"] <= ran * 1_000
    _, transactions = await network.money()
    rate = network.settings.dispersed.cpu_hour.amount
    assert sum(row.amount for row in transactions) == charge(rate, run["duration_ms"])
    await network.empty()


async def test_what_a_crash_of_the_machine_takes_is_lost_and_tried_again(network: Network, tmp_path: Path) -> None:
    command = f"echo a >> {tmp_path}/ran; [ $(wc -l < {tmp_path}/ran) = 2 ] || exec sleep 600"
    uuid = await network.create(command, max_retry_count=1)
    await network.reaches(uuid, "RUNNING")

    async def ran() -> bool:
        return (tmp_path / "ran").exists() and (tmp_path / "ran").read_text() == "a\n"

    await network.until(ran)
    network.virtual.advance(7)
    await network.scheduler.tick()
    await network.scheduler.stop()
    await network.engine.crash()
    for sandbox in (network.data / "sandboxes").iterdir():
        await network.engine.driver.kill(sandbox.name)  # type: ignore[attr-defined]
    network.virtual.advance(5 * 3_600)
    await network.open()
    job = await network.ended(uuid)
    first, second = await network.runs_of(uuid)
    assert (job["status"], first.status, first.status_reason) == ("COMPLETED", "FAILED", "node lost")
    assert second.status == "COMPLETED"
    # It is known to have run until the server's last heartbeat, not for the hours that nobody watched.
    assert first.completed_at - first.started_at <= 7_000_000
    await network.empty()


async def test_a_program_that_had_not_begun_when_the_server_died_holds_no_start_up(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is known as running from when it was handed over, and begins only after the next start has looked at it."""
    looked = asyncio.Event()

    async def look(*where: Any) -> bool:
        found = await goes_on(*where)
        looked.set()
        return found

    async def begin_late(step: str, *_: str) -> None:
        if step == "exec":
            await looked.wait()

    monkeypatch.setattr(worker, "goes_on", look)
    network.on_step = begin_late
    await network.crash()
    uuid = await network.create("exec sleep 600")
    await network.reaches(uuid, "RUNNING")
    await asyncio.wait_for(network.crash(), PATIENCE)
    assert (await network.job(uuid))["status"] == "RUNNING"
    await network.cancel(uuid)
    assert (await network.ended(uuid))["status"] == "CANCELLED"
    await network.empty()


async def test_a_program_for_which_the_disk_has_no_room_holds_no_start_up(network: Network) -> None:
    full = True

    async def begin(step: str, *_: str) -> None:
        if step == "exec" and full:
            raise SandboxError("disk_full", "no space left")

    network.on_step = begin
    await network.crash()
    uuid = await network.create("exec sleep 600")
    await network.reaches(uuid, "RUNNING")
    await asyncio.wait_for(network.crash(), PATIENCE)
    full = False
    await network.pass_time(1)
    await network.cancel(uuid)
    assert (await network.ended(uuid))["status"] == "CANCELLED"
    await network.empty()


async def test_a_graceful_stop_of_the_island_is_told_as_one(network: Network) -> None:
    uuid = await network.create("exec sleep 600")
    await network.reaches(uuid, "RUNNING")
    await network.scheduler.stop()
    await network.engine.close()
    await network.open()
    job = await network.ended(uuid)
    assert (job["status"], job["status_reason"]) == ("FAILED", "the island was stopped")
    await network.empty()


@pytest.mark.parametrize("task", ["BATCH", "PERSISTENT"])
async def test_a_program_that_cannot_be_started_says_why_and_is_not_billed(network: Network, task: str) -> None:
    network.images.argv = ("/no/such/program",)
    before = await network.balance()
    uuid = await network.create(task=task)
    job = await network.ended(uuid)
    run = await network.run_of(uuid)
    assert (job["status"], run["status_reason"]) == ("FAILED", job["status_reason"])
    assert job["status_reason"].startswith("could not be started: ")
    assert (run["started_at_ms"], run["duration_ms"]) == (None, None)
    _, transactions = await network.money()
    assert (transactions, await network.balance()) == ([], before)
    await network.empty()


class _Killed(BaseException):
    """The server dies here."""


POINTS = [
    (Progress, "assign"),
    (preparing, "load"),
    (preparing, "fetch"),
    (preparing, "set_up"),
    (preparing, "start"),
    (preparing, "node_urls"),
    (Progress, "run"),
    (Worker, "_follow"),
    (Progress, "end"),
    (Worker, "_remove_sandbox"),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("owner", "name"), POINTS, ids=[name for _, name in POINTS])
async def test_killed_at_every_step_it_runs_once_and_is_billed_once(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: bool
) -> None:
    """Before and after each step the world stops; the next server brings the run to its one end."""
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()
    real = getattr(owner, name)

    def sync(*arguments: Any, **named: Any) -> Any:
        if after:
            # What a transaction did is kept only when it is committed, so it dies after that, not here.
            value = real(*arguments, **named)
            loop.call_soon_threadsafe(reached.set)
            return value
        loop.call_soon_threadsafe(reached.set)
        raise _Killed

    async def asynchronous(*arguments: Any, **named: Any) -> Any:
        if after:
            await real(*arguments, **named)
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(owner, name, asynchronous if asyncio.iscoroutinefunction(real) else sync)
    before = await network.balance()
    uuid = await network.create(f"echo ran >> {tmp_path}/ran")
    await asyncio.wait_for(reached.wait(), PATIENCE)
    monkeypatch.undo()
    await network.crash()
    job = await network.ended(uuid)
    assert (job["status"], len(await network.runs_of(uuid))) == ("COMPLETED", 1)
    assert (tmp_path / "ran").read_text() == "ran\n"
    await network.empty()
    assert await network.balance() == before
