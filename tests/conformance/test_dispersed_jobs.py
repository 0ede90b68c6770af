"""Jobs over real sockets, in real sandboxes, by the network's own client."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tarfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import pytest

from skerry.island.admin.models import ProgramChoice
from skerry.island.clock import VirtualClock
from skerry.island.island import Island
from skerry.money import Money
from skerry.networks.dispersed import ApiError, Dispersed
from skerry.networks.dispersed.models import TERMINAL, Job, JobRun
from tests.conformance.dispersed import Signed, client, signed

T = TypeVar("T")
PATIENCE = 60


class Shop:
    """A client, and what jobs are made of."""

    def __init__(self, island: Island) -> None:
        self.island = island
        self.client: Dispersed = client(island)

    def create(self, command: str, docker: dict[str, Any] | None = None, **fields: Any) -> Job:
        """A job on the host image that runs a shell command."""
        container = {"image": "host", "ports": [], "env": {"SKERRY_COMMAND": command}, **(docker or {})}
        body = {
            "task": "BATCH",
            "title": "conformance",
            "max_timeout_run_ms": None if fields.get("task") == "PERSISTENT" else 60_000,
            "parameters": {"type": "docker", "parameters": container},
            **fields,
        }
        return self.client.jobs.create(body)  # type: ignore[arg-type]

    def runs(self, job: Job) -> list[JobRun]:
        """Its runs, oldest first, with logs."""
        found = self.client.job_runs.list({"filter[job_uuid]": str(job.uuid), "sort": "created_at"})
        return [self.client.job_runs.get(str(run.uuid)) for run in found.data]

    def reaches(self, job: Job, *statuses: str) -> Job:
        """The job once it is in one of some states."""

        def there() -> Job | None:
            now = self.client.jobs.get(str(job.uuid))
            assert now.status in statuses or now.status not in TERMINAL, now
            return now if now.status in statuses else None

        return until(there, f"{statuses} of a job")

    def ends(self, job: Job) -> Job:
        """The job once it has ended."""
        return self.reaches(job, *TERMINAL)

    def run_reaches(self, job: Job, status: str) -> JobRun:
        """The job's latest run once it is in a state."""
        return until(lambda: next((run for run in self.runs(job)[-1:] if run.status == status), None), status)

    def money(self) -> tuple[int, int]:
        """Micros to spend, and micros held."""
        balance = self.client.accounts.get_balance(str(self.client.accounts.get_me().uuid))
        assert balance.available is not None
        assert balance.authorized is not None
        return balance.available.amount, balance.authorized.amount

    def advance(self, clock: VirtualClock, seconds: float) -> None:
        """Let time pass between two steps of the island, not in the midst of one that looks at the clock twice."""

        async def work() -> None:
            clock.advance(seconds)

        self.island.call(work())

    def empty(self) -> None:
        """Nothing is left: no money held, no sandbox, no part of the machine, and books that are right."""

        async def left() -> tuple[Any, ...]:
            engine = self.island.engine
            sandboxes, _ = await engine.sandboxes.list(engine.account_id, network="dispersed")
            held = await engine.store.read(engine.capacity.held)
            return await engine.ledger.audit(), sandboxes, held, await engine.driver.ids()

        until(lambda: self.island.call(left()) == ([], [], [], []), "the end of everything")
        assert self.money()[1] == 0


def until(condition: Callable[[], T | None], what: str) -> T:
    """The first true value of a condition."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"{what}: not within {PATIENCE} s"
        time.sleep(0.01)
    return value


@pytest.fixture(scope="module")
def island() -> Iterator[Island]:
    with Island(requests_per_minute=None) as island:
        yield island


@pytest.fixture
def shop(island: Island) -> Iterator[Shop]:
    shop = Shop(island)
    yield shop
    for job in shop.client.jobs.list({"filter[status]": "PENDING,ASSIGNED,RUNNING"}).data:
        shop.client.jobs.cancel(str(job.uuid))
    shop.empty()
    shop.client.close()


@pytest.fixture
def clock() -> VirtualClock:
    """Time that stands still at the present moment, so that signatures of this machine's clock are in time."""
    return VirtualClock(datetime.now(UTC))


@pytest.fixture
def timeless(clock: VirtualClock) -> Iterator[Shop]:
    with Island(clock=clock, requests_per_minute=None) as island:
        shop = Shop(island)
        yield shop
        shop.empty()
        shop.client.close()


def test_a_batch_job_to_its_end(shop: Shop) -> None:
    before, _ = shop.money()
    job = shop.create(
        "echo hello $WHO; echo warning >&2; sleep 0.2",
        {"env": {"SKERRY_COMMAND": "echo hello $WHO; echo warning >&2; sleep 0.2", "WHO": "world"}},
        description="d",
        min_ram_gb=1,
        min_storage_gb=1,
        cpu_count=1,
    )
    assert (job.object, job.status, job.title, job.description, job.min_ram_gb) == (
        *("job", "PENDING", "conformance", "d", 1),
    )
    ended = shop.ends(job)
    (run,) = shop.runs(job)
    assert (ended.status, ended.status_reason) == ("COMPLETED", None)
    assert ended.image_size_bytes is not None
    assert (run.status, run.exit_code, run.logs) == ("COMPLETED", 0, "hello world\nwarning\n")
    assert run.job_snapshot is not None
    assert run.job_snapshot.uuid == job.uuid
    assert run.access_token == job.access_token
    assert run.duration is not None
    assert run.duration >= 0.2
    assert run.hourly_rate == Money(20_000, "USD")
    cost = shop.client.job_runs.get_cost_summary(str(run.uuid))
    spent = before - shop.money()[0]
    assert cost.is_final
    assert cost.total_cost == cost.captured == Money(spent, "USD")
    assert cost.duration_ms == run.duration_ms
    assert spent == (2 * 20_000 * int(run.duration_ms or 0) + 3_600_000) // 7_200_000
    authorizations = shop.client.compute.ledger_authorizations().data
    assert [one.status for one in authorizations if one.job_run_uuid == run.uuid] == ["CLOSED"]


def test_a_failing_job_and_its_retries(shop: Shop) -> None:
    job = shop.create("echo no; exit 9", max_retry_count=1)
    ended = shop.ends(job)
    assert (ended.status, ended.status_reason) == ("FAILED", "Exit code 9")
    assert [(run.status, run.exit_code, run.attempt, run.logs) for run in shop.runs(job)] == [
        ("FAILED", 9, 0, "no\n"),
        ("FAILED", 9, 1, "no\n"),
    ]


def test_a_program_that_is_not_there_says_so_and_costs_nothing(shop: Shop) -> None:
    with shop.island.admin() as admin:
        list(admin.define("amiss", "host", ProgramChoice(entrypoint=["/no/such/program"]), []))
    job = shop.create("", {"image": "amiss"})
    ended = shop.ends(job)
    (run,) = shop.runs(job)
    assert (ended.status, ended.status_reason) == (
        "FAILED",
        "could not be started: /no/such/program: command not found",
    )
    cost = shop.client.job_runs.get_cost_summary(str(run.uuid))
    assert (cost.is_final, cost.total_cost, run.duration_ms) == (True, Money(0, "USD"), None)


def test_an_image_without_a_program_says_so(shop: Shop) -> None:
    job = shop.create("", {"env": {}})
    ended = shop.ends(job)
    (run,) = shop.runs(job)
    assert ended.status == "FAILED"
    assert "set it" in (run.logs or "")


def test_a_volume_is_mounted_read_only(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "weights").write_text("heavy")
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        archive.add(tmp_path / "root", ".")
    engine = shop.island.engine
    shop.island.call(engine.images.import_tar(tmp_path / "data.tar", "me/data:v1"))
    volumes = [{"mount": "/models", "image": "me/data", "tag": "v1"}]
    job = shop.create("cat /models/weights; ! touch /models/more", {"volumes": volumes})
    assert shop.ends(job).status == "COMPLETED"
    assert (shop.runs(job)[0].logs or "").startswith("heavy")


def test_cancelled_while_it_waits(shop: Shop) -> None:
    job = shop.create("true", gpu_count=1, gpu_name="NVIDIA RTX 4090")
    until(lambda: shop.client.jobs.get(str(job.uuid)).status_reason, "a reason")
    assert shop.client.jobs.get(str(job.uuid)).status_reason == "No node has 1 GPU NVIDIA RTX 4090"
    cancelled = shop.client.jobs.cancel(str(job.uuid), {"reason": "Cancelled by user"})
    assert (cancelled.status, cancelled.status_reason) == ("CANCELLED", "Cancelled by user")
    assert shop.client.jobs.cancel(str(job.uuid)).status == "CANCELLED"


def test_cancelled_while_it_runs_and_after(shop: Shop) -> None:
    job = shop.create("echo on; exec sleep 60", max_retry_count=3)
    shop.run_reaches(job, "RUNNING")
    assert shop.client.jobs.cancel(str(job.uuid), {"reason": "r"}).status == "CANCELLING"
    ended = shop.ends(job)
    (run,) = shop.runs(job)
    assert (ended.status, ended.status_reason, run.status) == ("CANCELLED", "r", "CANCELLED")
    done = shop.create("true")
    shop.ends(done)
    with pytest.raises(ApiError) as caught:
        shop.client.jobs.cancel(str(done.uuid))
    assert (caught.value.status, caught.value.code) == (409, "JOB_NOT_CANCELLABLE")


def test_a_run_is_cancelled_and_with_it_its_job(shop: Shop) -> None:
    job = shop.create("exec sleep 60", max_retry_count=3)
    run = shop.run_reaches(job, "RUNNING")
    shop.client.job_runs.cancel(str(run.uuid), {"reason": "r"})
    assert shop.ends(job).status == "CANCELLED"


def test_jobs_beyond_the_machine_run_one_after_the_other(shop: Shop) -> None:
    cores = shop.island.engine.nodes.local.cpu_millis // 1_000
    first = shop.create("echo first; sleep 0.3", cpu_count=cores)
    second = shop.create("echo second", cpu_count=cores)
    assert (shop.ends(first).status, shop.ends(second).status) == ("COMPLETED", "COMPLETED")
    (one,), (two,) = shop.runs(first), shop.runs(second)
    assert one.completed_at_ms is not None
    assert two.started_at_ms is not None
    assert one.completed_at_ms <= two.started_at_ms


@pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("ssh", "ssh-keygen")),
    reason="OpenSSH's client is not installed; on Debian: apt-get install openssh-client",
)
def test_a_service_that_is_reached_through_its_ports(shop: Shop, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    job = shop.create(
        'echo "$CONTAINER_ACCESS_TOKEN" > token; exec python3 -m http.server 8000',
        {"sshkey": key.with_suffix(".pub").read_text(), "ports": [22, 8000]},
        task="PERSISTENT",
    )
    run = shop.run_reaches(job, "RUNNING")
    assert [place.description for place in run.node_urls or []] == ["ssh", "8000"]
    web, login = run.endpoint(8000), run.endpoint(22)
    assert web is not None
    assert login is not None
    assert web.url.startswith("http://127.0.0.1:")

    def answer() -> bytes | None:
        try:
            # A proxy that the environment names is not for this machine.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"{web.url}/token", timeout=PATIENCE) as response:
                body: bytes = response.read()
                return body
        except OSError:
            return None

    assert until(answer, "an answer").decode().strip() == job.access_token
    settings = ("StrictHostKeyChecking=no", f"UserKnownHostsFile={tmp_path}/known", "LogLevel=ERROR")
    options = [word for setting in (*settings, "IdentitiesOnly=yes") for word in ("-o", setting)]
    asked = "cat /home/user/token; echo $CONTAINER_ACCESS_TOKEN; echo $SSH_PUBKEY"
    said = subprocess.run(
        ["ssh", "-F", "none", *options, "-i", str(key), "-p", str(login.port), f"duser@{login.hostname}", asked],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
    assert said.stdout.splitlines()[:2] == [job.access_token] * 2, said
    assert said.stdout.splitlines()[2].startswith("ssh-ed25519 ")
    until(lambda: "GET /token" in (shop.client.job_runs.get(str(run.uuid)).logs or ""), "a line in the log")
    shop.client.jobs.cancel(str(job.uuid))
    assert shop.ends(job).status == "CANCELLED"
    until(lambda: answer() is None, "the end of its port")


def test_a_run_that_takes_too_long(timeless: Shop, clock: VirtualClock) -> None:
    job = timeless.create("exec sleep 600", max_timeout_run_ms=60_000)
    timeless.run_reaches(job, "RUNNING")
    timeless.advance(clock, 61)
    ended = timeless.ends(job)
    assert (ended.status, ended.status_reason) == ("FAILED", "Ran longer than 60000 ms")
    (run,) = timeless.runs(job)
    cost = timeless.client.job_runs.get_cost_summary(str(run.uuid))
    assert (cost.total_cost_usd, cost.is_final) == (Decimal("0.000339"), True)


def test_a_job_that_no_machine_can_take_fails_in_time(timeless: Shop, clock: VirtualClock) -> None:
    job = timeless.create("true", gpu_count=1, gpu_name="NVIDIA RTX 4090")
    until(lambda: timeless.client.jobs.get(str(job.uuid)).status_reason, "a reason")
    assert timeless.client.jobs.get(str(job.uuid)).status == "PENDING"
    timeless.advance(clock, 300)
    ended = timeless.ends(job)
    assert ended.status == "FAILED"
    assert "No node has 1 GPU NVIDIA RTX 4090" in (ended.status_reason or "")
    assert timeless.runs(job) == []


def test_out_of_credit() -> None:
    with Island(opening_balance=Money(500, "USD"), requests_per_minute=None) as island:
        shop = Shop(island)
        job = shop.create("true", max_timeout_run_ms=600_000)
        ended = shop.ends(job)
        (run,) = shop.runs(job)
        assert (ended.status, run.status, run.status_reason) == ("FAILED", "FAILED", "INSUFFICIENT_BALANCE")
        assert shop.ends(shop.create("true", max_timeout_run_ms=60_000)).status == "COMPLETED"

        async def spend() -> None:
            engine = island.engine
            await engine.ledger.hold(engine.account_id, "rest", await engine.ledger.balance(engine.account_id))

        island.call(spend())
        with pytest.raises(ApiError) as caught:
            shop.create("true")
        assert (caught.value.status, caught.value.code) == (402, "INSUFFICIENT_BALANCE")
        shop.client.close()


class NodeProgram(threading.Thread):
    """The least that a machine of an operator does: registers, beats, runs what it is told as plain processes."""

    def __init__(self, hand: Signed, url: str) -> None:
        super().__init__(name="node program", daemon=True)
        machine = {
            "name": "rig",
            "cpus": [{"name": "c", "num_cores": 8}],
            "gpus": [{"name": "NVIDIA GeForce RTX 5090", "vram_gb_max": 32}],
            "rams": [{"memory_gb_max": 64}],
            "hard_drives": [{"name": "d", "max_capacity_gb": 500}],
        }
        made = hand.ask("POST", "/v1/nodes", machine).json
        self.uuid = made["uuid"]
        self._hand = Signed(url, made["credentials"]["public_key"], made["credentials"]["secret_key"])
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ending = threading.Event()
        self.failed: list[BaseException] = []

    def run(self) -> None:
        try:
            while self._processes or not self._ending.is_set():
                self._turn()
        except BaseException as error:
            self.failed.append(error)

    def end(self) -> None:
        self._ending.set()
        self.join(PATIENCE)
        assert not self.failed, self.failed

    def _turn(self) -> None:
        assert self._hand.ask("PUT", f"/v1/nodes/{self.uuid}/heartbeat", {"metadata": {}}).status == 200
        if not self._processes:
            self._look()
        for uuid, process in list(self._processes.items()):
            self._look()
            if uuid in self._processes and process.poll() is not None:
                del self._processes[uuid]
                self._over(uuid, process, "COMPLETED" if process.returncode == 0 else "FAILED")
        time.sleep(0.01)

    def _look(self) -> None:
        for uuid in self._processes:
            # While it works nothing but a stop can come, and the poll would wait for that.
            if self._hand.ask("PUT", f"/v1/job-runs/{uuid}/status", {"status": "RUNNING"}).status == 200:
                return
        told = self._hand.ask("GET", f"/v1/nodes/{self.uuid}/assignment?wait_ms=1000").json
        for order in told["start"]:
            self._begin(order)
        for stop in told["stop"]:
            process = self._processes.pop(stop["job_run_uuid"])
            process.kill()
            process.wait()
            self._over(stop["job_run_uuid"], process, "CANCELLED" if stop["status"] == "CANCELLING" else "FAILED")

    def _begin(self, order: dict[str, Any]) -> None:
        uuid = order["job_run_uuid"]
        self._report(uuid, status="PREPARING", image_size_bytes=7)
        env = order["parameters"]["parameters"]["env"]
        self._processes[uuid] = subprocess.Popen(
            ["/bin/sh", "-c", env["SKERRY_COMMAND"]],
            env={"PATH": "/usr/bin:/bin", **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._report(uuid, status="RUNNING", node_urls=[{"description": "80", "hostname": "rig.test", "port": 4000}])

    def _over(self, uuid: str, process: subprocess.Popen[bytes], status: str) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            text = output.read().decode()
        assert self._hand.ask("POST", f"/v1/job-runs/{uuid}/logs", {"offset": 0, "text": text}).status == 200
        self._report(uuid, status=status, exit_code=process.returncode)

    def _report(self, uuid: str, **body: Any) -> None:
        answer = self._hand.ask("PUT", f"/v1/job-runs/{uuid}/status", body)
        assert answer.status == 200, answer.body


def test_a_machine_of_an_operator_carries_jobs(shop: Shop) -> None:
    program = NodeProgram(signed(shop.island), shop.island.url)
    program.start()
    try:
        job = shop.create("echo from afar; exit 0", gpu_count=1, gpu_name="RTX 5090", max_timeout_run_ms=600_000)
        assert shop.ends(job).status == "COMPLETED"
        (run,) = shop.runs(job)
        assert (run.node_uuid, run.logs, run.gpu_name) == (program.uuid, "from afar\n", "NVIDIA GeForce RTX 5090")
        assert run.hourly_rate == Money(690_000, "USD")
        failing = shop.create("exit 5", gpu_count=1)
        assert shop.ends(failing).status_reason == "Exit code 5"
        long = shop.create("exec sleep 60", gpu_count=1)
        running = shop.run_reaches(long, "RUNNING")
        assert running.endpoint(80) is not None
        shop.client.jobs.cancel(str(long.uuid))
        assert shop.ends(long).status == "CANCELLED"
        assert {node["name"] for node in json.loads(signed(shop.island).ask("GET", "/v1/nodes").body)["data"]} >= {
            "rig"
        }
    finally:
        program.end()


def test_the_asynchronous_client_waits_for_a_job(island: Island) -> None:
    async def work() -> str | None:
        from skerry.networks.dispersed import AsyncDispersed

        pair = island.key("dispersed"), island.key("dispersed_secret")
        async with AsyncDispersed(*pair, island.base_url("dispersed"), environ={}) as dispersed:
            container = {"image": "host", "env": {"SKERRY_COMMAND": "true"}}
            job = await dispersed.jobs.create(
                {
                    "task": "BATCH",
                    "title": "t",
                    "max_timeout_run_ms": 60_000,
                    "parameters": {"type": "docker", "parameters": container},  # type: ignore[typeddict-item]
                }
            )
            return (await dispersed.jobs.wait(str(job.uuid))).status

    assert asyncio.run(work()) == "COMPLETED"
