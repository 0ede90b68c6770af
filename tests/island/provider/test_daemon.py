"""Outside providers against a real island, over real sockets and nothing but the public provider API."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from skerry import DC1, AsyncDC1
from skerry.island.clock import SystemClock, VirtualClock
from skerry.island.island import Island
from skerry.island.provider import account
from skerry.island.provider.container_job import ContainerOptions
from skerry.island.provider.daemon import Daemon, DaemonOptions
from skerry.island.provider.executor import ExecutorOptions
from skerry.island.provider.journal import Journal
from skerry.island.provider.loop import LoopOptions
from skerry.island.provider.platform import PlatformRefused, PlatformUnavailable
from skerry.island.provider.records import Outcome
from skerry.island.provider.remote import RemotePlatform
from skerry.island.settings import DC1 as Choices
from skerry.island.workers.llm import ModelStore
from skerry.networks.dc1.errors import APIError, DC1ConflictError
from skerry.units import MIB
from tests.held import Held

pytestmark = pytest.mark.anyio

PATIENCE = 60.0
SECRET = "a-secret-of-the-platform"
LOOP = LoopOptions(heartbeat=0.5, poll=0.1, look=0.2, pauses=(0.1, 0.2), patience=0.5, told=PATIENCE)
EXECUTOR = ExecutorOptions(
    containers=ContainerOptions(memory_bytes=512 * MIB, disk_bytes=512 * MIB, pids=64), free_mib={}, free_disk=0
)
SLOW = "import time\nprint('on', flush=True)\ntime.sleep(600)"
UNTIL_LET = "import os, time\nprint('on', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.02)\nprint('off')"


class Net:
    """An island whose own machine carries out nothing, and a renter of it."""

    def __init__(self, island: Island, directory: Path, clock: VirtualClock | None) -> None:
        self.island = island
        self.directory = directory
        self.clock = clock
        self.base_url = island.base_url("dc1")
        self.renter = DC1(island.key("dc1"), self.base_url, environ={})
        self._made = 0

    def options(self, name: str, **fields: Any) -> DaemonOptions:
        """A registered provider."""
        self._made += 1
        with DC1(base_url=self.base_url, environ={}) as client:
            made = client.provider.register(name, f"{name}{self._made}@example.org", "RTX 4090")
        kept = account.Account(base_url=self.base_url, provider_id=made.provider_id, api_key=made.api_key, name=name)
        return DaemonOptions(
            **{
                "data_dir": self.directory / f"{name}{self._made}",
                "account": kept,
                "hmac_secret": SECRET,
                "loop": LOOP,
                "executor": EXECUTOR,
                "drain": 0.2,
                **fields,
            }
        )

    def submit(self, script: str, *, provider_id: int | None = None) -> str:
        params = {"script": script}
        submission = self.renter.jobs.submit("custom_container", params, provider_id=provider_id, duration_minutes=5)
        return str(submission.id)

    def status(self, job_id: str) -> str:
        return self.renter.jobs.describe(job_id).status

    def logs(self, job_id: str) -> list[str]:
        return [str(line.text) for line in self.renter.jobs.get_logs(job_id)]

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.02)

    async def done(self, job_id: str) -> str:
        """The state that a job has ended in."""
        await self.until(lambda: self.status(job_id) in ("completed", "failed", "cancelled"))
        return await asyncio.to_thread(self.status, job_id)

    async def said(self, job_id: str, text: str) -> None:
        await self.until(lambda: text in self.logs(job_id))

    def key(self, options: DaemonOptions) -> DC1:
        return DC1(base_url=self.base_url, provider_key=options.account.api_key, hmac_secret=SECRET, environ={})


def island(directory: Path, clock: VirtualClock | None = None, **choices: Any) -> Island:
    chosen = Choices(**{"local_provider": False, "rate_limits": False, "hmac_secret": SECRET, **choices})
    return Island(directory / "island", clock=clock, dc1=chosen)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with island(tmp_path, require_heartbeat_hmac=True) as it:
        found = Net(it, tmp_path, None)
        yield found
        found.renter.close()


@asynccontextmanager
async def opened(options: DaemonOptions) -> AsyncIterator[Daemon]:
    daemon = await Daemon.open(options)
    try:
        yield daemon
    finally:
        await daemon.close()


async def let(daemon: Daemon) -> None:
    """Let the program of the daemon's only job go on to its end."""
    engine = daemon.engine
    async with asyncio.timeout(PATIENCE):
        while not (found := (await engine.sandboxes.list(engine.account_id))[0]):
            await asyncio.sleep(0.02)
    await engine.sandboxes.write_file(
        engine.account_id, found[0].id, "/home/user/go", io.BytesIO(b""), 0, beneath="/home/user"
    )


async def test_a_job_is_done_and_paid(net: Net) -> None:
    options = net.options("rig")
    async with opened(options):
        with net.key(options) as host:
            await net.until(lambda: host.provider.me().status == "online")
            found = (await asyncio.to_thread(net.renter.providers.list))[0]
            assert found.is_live
            assert found.vram_mib > 0
            text = "print('[dcp-phase] generating')\nprint('DC1_RESULT_JSON:{\"n\": 7}')"
            job_id = net.submit(text, provider_id=options.account.provider_id)
            assert await net.done(job_id) == "completed"
            output = net.renter.jobs.output(job_id)
            assert output.result is not None
            assert output.result.data == {"n": 7}
            assert host.provider.get_earnings().total_jobs == 1


async def test_a_daemon_that_was_killed_does_a_job_once(net: Net) -> None:
    options = net.options("rig")
    daemon = await Daemon.open(options)
    told, untold = ("for n in range({}, {}): print('step', n, flush=True)".format(*steps) for steps in ((0, 3), (3, 8)))
    program = Held(told, untold)
    job_id = net.submit(program.python)

    def known() -> bool:
        # Lines that are on their way when it is killed would be told twice.
        marks = list((options.data_dir / "provider" / "dc1-jobs").glob("*.json"))
        return [json.loads(mark.read_text())["lines"] for mark in marks] == [3]

    await net.until(known)
    await daemon.crash()
    await asyncio.to_thread(program.release)
    async with opened(options):
        assert await net.done(job_id) == "completed"
        assert net.logs(job_id) == [f"step {n}" for n in range(8)]
        executions = net.renter.jobs.executions(job_id)
        assert len(executions.executions) == 1


async def test_cancelling_ends_the_program_within_seconds(net: Net) -> None:
    options = net.options("rig")
    async with opened(options) as daemon:
        job_id = net.submit("import signal, time\nsignal.signal(15, signal.SIG_IGN)\n" + SLOW)
        await net.said(job_id, "on")
        net.renter.jobs.cancel(job_id)
        await net.until(lambda: not daemon.loop.jobs)
        sandboxes, _ = await daemon.engine.sandboxes.list(daemon.engine.account_id)
        assert sandboxes == []
        assert list((options.data_dir / "provider" / "jobs").iterdir()) == []


async def test_the_job_of_one_that_vanished_goes_to_another(tmp_path: Path) -> None:
    clock = VirtualClock(datetime.now(UTC))
    with island(tmp_path, clock) as it:
        net = Net(it, tmp_path, clock)
        first, second = net.options("first"), net.options("second")
        one = await Daemon.open(first)
        job_id = net.submit(UNTIL_LET)
        await net.said(job_id, "on")
        async with opened(second) as other:
            # The first one is gone without a word; the other one is heard of all the while.
            await one.crash()
            with net.key(second) as host:

                def lost() -> bool:
                    beat = host.provider.me().last_heartbeat
                    clock.advance(30)
                    deadline = SystemClock().monotonic() + PATIENCE
                    while host.provider.me().last_heartbeat == beat and SystemClock().monotonic() < deadline:
                        time.sleep(0.01)
                    row = net.renter.jobs.describe(job_id)
                    return row.provider_id == second.account.provider_id or row.status in ("failed", "completed")

                await net.until(lost)
            await let(other)
            assert await net.done(job_id) == "completed"
            row = net.renter.jobs.describe(job_id)
            assert row.provider_id == second.account.provider_id
            # Back again, the first one finds that nobody wants its work; the end stays as it is.
            async with opened(first) as back:
                await net.until(lambda: not back.loop.jobs)
                assert net.renter.jobs.describe(job_id).actual_cost_halala == row.actual_cost_halala
                sandboxes, _ = await back.engine.sandboxes.list(back.engine.account_id)
                assert sandboxes == []
        net.renter.close()


async def test_draining_hands_back_and_another_does_it(net: Net) -> None:
    first, second = net.options("first"), net.options("second")
    daemon = await Daemon.open(first)
    job_id = net.submit(UNTIL_LET)
    await net.said(job_id, "on")
    assert await daemon.drain()
    await daemon.close()
    assert net.status(job_id) == "queued"
    async with opened(second) as other:
        await let(other)
        assert await net.done(job_id) == "completed"
        assert net.renter.jobs.describe(job_id).retry_count == 1


async def test_lies_replays_and_strangers_change_nothing(net: Net) -> None:
    mine, other = net.options("mine"), net.options("other")
    with net.key(mine) as host, net.key(other) as stranger:
        status = {"gpu_status": {"gpu_name": "RTX 4090", "gpu_vram_mib": 24564}}
        host.provider.daemon_heartbeat(**status)
        stranger.provider.daemon_heartbeat(**status)
        job_id = net.submit("print(1)", provider_id=mine.account.provider_id)
        claim = host.provider.claim()
        assert claim is not None
        assert claim.job_id == job_id
        for lie in (
            lambda: stranger.provider.job_result(job_id, success=True, result="mine now", gpu_seconds_used=1),
            lambda: stranger.provider.result(job_id, error="no", transient=True),
            lambda: stranger.provider.progress(job_id, "generating"),
            lambda: stranger.provider.write_log(job_id, "hello"),
            lambda: stranger.provider.job(job_id),
            lambda: host.provider.job_result(job_id, success=True, result="x", attempt_number=7),
        ):
            with pytest.raises(APIError):
                lie()
        held = net.renter.jobs.describe(job_id).cost_halala or 0
        told = host.provider.job_result(job_id, success=True, result="first", gpu_seconds_used=10**7)
        assert told.status == "completed"
        row = net.renter.jobs.describe(job_id)
        assert 0 <= (row.actual_cost_halala or 0) <= held
        again = host.provider.job_result(job_id, success=False, result="second", error="no", gpu_seconds_used=1)
        assert "already settled" in (again.message or "")
        with pytest.raises(DC1ConflictError):
            host.provider.result(job_id, error="no")
        assert net.renter.jobs.output(job_id).text.strip() == "first"
        assert net.renter.jobs.describe(job_id).actual_cost_halala == row.actual_cost_halala


async def test_without_the_secret_nobody_is_heard(net: Net) -> None:
    options = replace(net.options("rig"), hmac_secret="another")
    async with opened(options):
        job_id = net.submit("print(1)")
        await asyncio.sleep(1.0)
        assert net.status(job_id) == "queued"


async def test_a_key_that_is_not_known_ends_the_daemon_at_once(net: Net) -> None:
    options = net.options("rig")
    wrong = account.Account(base_url=net.base_url, provider_id=1, api_key="dc1-provider-" + "0" * 32, name="rig")
    with pytest.raises(PlatformRefused):
        await Daemon.open(replace(options, account=wrong))


async def test_a_claim_whose_answer_was_lost_is_carried_out(net: Net, tmp_path: Path) -> None:
    options = net.options("rig")

    class Lossy(httpx2.AsyncHTTPTransport):
        lost = 0

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            answer = await super().handle_async_request(request)
            if request.url.path.endswith("/jobs/next") and not self.lost and b'"job":null' not in await answer.aread():
                self.lost += 1
                raise httpx2.ReadError("the line broke", request=request)
            return answer

    transport = Lossy()
    async with httpx2.AsyncClient(transport=transport, timeout=PATIENCE, trust_env=False) as http:
        client = AsyncDC1(
            base_url=net.base_url,
            provider_key=options.account.api_key,
            hmac_secret=SECRET,
            transport=http,
            environ={},
        )
        platform = RemotePlatform(client, Journal(tmp_path / "journal"), SystemClock())
        await client.provider.daemon_heartbeat(gpu_status={"gpu_name": "RTX 4090", "gpu_vram_mib": 24564})
        job_id = net.submit("print(1)", provider_id=options.account.provider_id)
        with pytest.raises(PlatformUnavailable):
            await platform.claim()
        job = await platform.claim()
        assert job is not None
        assert job.job_id == job_id
        assert '"script":"print(1)"' in job.task_spec_raw
        assert await platform.wanted(job)
        assert await platform.claim() is None
        # What is reported once is what is reported ever after, whatever is found out later, also after a restart.
        first, second = Outcome(success=True, result="one\n"), Outcome(success=False, error="two")
        await platform.finish(job, first)
        await platform.finish(job, second)
        again = RemotePlatform(client, Journal(tmp_path / "journal"), SystemClock())
        assert again.reported(job) == first
        assert await again.going() == []
        assert not await platform.wanted(job)
        assert net.renter.jobs.output(job_id).text == "one\n"
        with pytest.raises(PlatformRefused):
            await platform.wanted(replace(job, job_id="job-1-nobody"))


@pytest.mark.parametrize("address", ["127.0.0.1", None])
async def test_a_model_is_served_where_renters_reach_it(net: Net, address: str | None) -> None:
    # Of this process's own, and below those that the kernel gives to whoever connects.
    first = 10_000 + os.getpid() % 400 * 50
    # The platform is on this machine, so renters are where nobody says otherwise.
    options = net.options("rig", provider_ip=address, ports=range(first, first + 50))
    ModelStore.of(options.data_dir).add_demo("TinyLlama/TinyLlama-1.1B-Chat-v1.0")
    async with opened(options) as daemon:
        submission = net.renter.jobs.submit("vllm_serve", {"max_model_len": 512}, provider_id=None, duration_minutes=5)
        found = await asyncio.to_thread(net.renter.jobs.wait_for_endpoint, submission.id, poll_interval=0.1)
        port = urlsplit(found.url).port
        assert port in options.ports
        assert found.url == f"http://127.0.0.1:{port}/v1"
        body = {"model": found.model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
            answer = await http.post(f"{found.url}/chat/completions", json=body)
            assert answer.status_code == 200
            assert answer.json()["usage"]["completion_tokens"] == 4
            net.renter.jobs.cancel(submission.id)
            await net.until(lambda: not daemon.loop.jobs)
            with pytest.raises(httpx2.TransportError):
                await http.post(f"{found.url}/chat/completions", json=body)
        answered = net.renter.jobs.submit(
            "llm_inference", {"prompt": "Hi", "max_tokens": 32}, provider_id=None, duration_minutes=1
        )
        assert await net.done(str(answered.id)) == "completed"
        result = net.renter.jobs.output(answered.id).result
        assert result is not None
        assert result.tokens_generated == 32


async def test_the_command_finishes_at_sigterm_and_survives_sigkill(net: Net, tmp_path: Path) -> None:
    data = tmp_path / "host"
    environment = {**os.environ, "DC1_HMAC_SECRET": SECRET}

    begun: list[subprocess.Popen[str]] = []

    def skerry(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "skerry", "provider", *words, "--data-dir", str(data)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        begun.append(subprocess.Popen(command, env=environment, text=True, **pipes))
        return begun[-1]

    try:
        await _through_signals(net, data, skerry)
    finally:
        for process in begun:
            if process.poll() is None:
                process.kill()
                process.communicate()


async def _through_signals(net: Net, data: Path, skerry: Callable[..., subprocess.Popen[str]]) -> None:
    made = skerry("register", "--base-url", net.base_url, "--name", "host", "--email", "host@example.org")
    said, _ = await asyncio.to_thread(made.communicate)
    assert made.returncode == 0, said
    kept = data / "provider" / "account.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert account.load(data).api_key not in said
    again = skerry("register", "--base-url", net.base_url, "--name", "host", "--email", "host@example.org")
    assert "--replace" in (await asyncio.to_thread(again.communicate))[0]
    running = skerry("run", "--poll", "0.1", "--drain", "120")
    program = Held("import uuid; print('on', uuid.uuid4(), flush=True)", "print('off')")
    job_id = net.submit(program.python)
    await net.until(lambda: net.logs(job_id))
    running.kill()
    await asyncio.to_thread(running.communicate)
    running = skerry("run", "--poll", "0.1", "--drain", "120")
    await asyncio.to_thread(program.release)
    assert await net.done(job_id) == "completed"
    # The line that was on its way when it was killed may be told again; the program was not begun again.
    assert net.renter.jobs.output(job_id).text.splitlines() == [net.logs(job_id)[0], "off"]
    assert sorted(set(net.logs(job_id))) == ["off", net.logs(job_id)[0]]
    program = Held("print('on', flush=True)", "print('off')")
    second = net.submit(program.python)
    await net.until(lambda: net.logs(second))
    running.send_signal(signal.SIGTERM)
    assert running.stdout is not None
    said = ""
    while "Taking no more jobs" not in said:
        line = await asyncio.to_thread(running.stdout.readline)
        assert line, said
        said += line
    await asyncio.to_thread(program.release)
    said += (await asyncio.to_thread(running.communicate, timeout=2 * PATIENCE))[0]
    assert running.returncode == 0, said
    assert net.status(second) == "completed"
    assert SECRET not in said
    assert account.load(data).api_key not in said
    shown = skerry("earnings", "-o", "json")
    assert '"jobs": 2' in (await asyncio.to_thread(shown.communicate))[0]
