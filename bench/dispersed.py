"""Dispersed on the island: signatures, lists, the start of a job, and a thousand jobs beside a job queue."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from typing import Any

import httpx2
import uvloop

from bench.bare import bare_server
from bench.harness import Row, Series, in_turn
from bench.peers import COMMAND, bubblewrap, works
from bench.queue_peer import jobs_per_second
from bench.served import Served
from skerry import AsyncDispersed
from skerry.networks.dispersed.canonical import canonical_json
from skerry.networks.dispersed.models import Job
from skerry.networks.dispersed.signing import auth_headers
from skerry.networks.dispersed.verification import Credentials, read_credentials, signature_matches

_PATIENCE = 300.0
_SUBMITTERS = 16


def _job(title: str) -> dict[str, Any]:
    return {
        "title": title,
        "task": "BATCH",
        "max_timeout_run_ms": 60_000,
        "parameters": {
            "type": "docker",
            "parameters": {"image": "host", "tag": "latest", "env": {"SKERRY_COMMAND": COMMAND}},
        },
    }


def signatures(rounds: int) -> list[Row]:
    """Sign a job's creation and verify it as the face does, beside one bare HMAC over one bare SHA-256."""
    body = canonical_json(_job("signed"))
    url = "https://api.test/v1/jobs"

    def sign_and_verify() -> None:
        for count in range(100):
            headers = auth_headers(
                "pk_bench", "sk_bench", method="POST", url=url, body=body, time_ms=1_000_000, nonce=f"{count:032x}"
            )
            found = read_credentials(headers, 1_000_000)
            if not isinstance(found, Credentials) or not signature_matches(
                found, "sk_bench", method="POST", target="/v1/jobs", body=body
            ):
                raise RuntimeError("a signature was refused")

    def bare() -> None:
        for _ in range(200):
            hmac.new(b"sk_bench", hashlib.sha256(body).hexdigest().encode(), hashlib.sha256).hexdigest()

    ours, peer = in_turn({"skerry": sign_and_verify, "two bare HMACs": bare}, rounds)
    rates = [_rate(series, 100) for series in (ours, peer)]
    return [Row("Dispersed: sign + verify", rates[0], rates[1:])]


def _rate(series: Series, each: int) -> Series:
    return Series(series.name, [each / sample * 1000 for sample in series.samples], unit="/s")


def list_of_jobs(island: Served, rounds: int) -> list[Row]:
    """A page of 50 jobs with the public client, beside a bare server's shortest answer."""
    with island.dispersed() as client, bare_server() as base, httpx2.Client(timeout=30) as bare:
        for number in range(50):
            client.jobs.create({**_job(f"listed {number}"), "gpu_count": 1})
        ours, peer = in_turn(
            {
                "skerry": lambda: client.jobs.list(limit=50),
                "bare Starlette": lambda: bare.get(f"{base}/ping").raise_for_status(),
            },
            rounds,
        )
        if len(client.jobs.list(limit=50).data) != 50:
            raise RuntimeError("the page is not full")
        for job in client.jobs.iter_all(status="PENDING"):
            client.jobs.cancel(str(job.uuid))
    return [Row("Dispersed: list of 50 jobs", ours, [peer])]


def create_to_running(island: Served, rounds: int) -> list[Row]:
    """From the creation of a job to its run being told as RUNNING or over, asked without pause."""
    with island.dispersed() as client:

        def one() -> None:
            job = client.jobs.create(_job("begun"))
            deadline = time.monotonic() + _PATIENCE
            while time.monotonic() < deadline:
                found = client.job_runs.list(job_uuid=str(job.uuid)).data
                if found and found[0].status in ("RUNNING", "COMPLETED"):
                    return
                if found and found[0].status in ("FAILED", "CANCELLED"):
                    raise RuntimeError(f"a job failed: {found[0].status_reason}")
            raise RuntimeError("a job did not begin")

        (ours,) = in_turn({"skerry": one}, rounds, warmup=1)
    return [Row("Dispersed: create to RUNNING", ours)]


async def _all_jobs(island: Served, count: int) -> float:
    numbers = iter(range(count))

    async def submit(client: AsyncDispersed) -> list[Job]:
        return [await client.jobs.create(_job(f"burst {number}")) for number in numbers]

    async with island.async_dispersed() as client:
        start = time.perf_counter()
        made = [job for part in await asyncio.gather(*(submit(client) for _ in range(_SUBMITTERS))) for job in part]
        first = min(str(job.uuid) for job in made)
        since = next(job.created_at for job in made if str(job.uuid) == first)
        while True:
            done = await client.jobs.list(status="COMPLETED", limit=1, created_at=[since, None])
            if (done.total or 0) >= count:
                return count / (time.perf_counter() - start)
            if time.perf_counter() - start > _PATIENCE:
                raise RuntimeError(f"only {done.total} of {count} jobs were done")
            await asyncio.sleep(0.05)


def many_jobs(island: Served, count: int) -> list[Row]:
    """Jobs submitted over HTTP, each run in a sandbox of its own, metered and paid; beside a queue of processes."""
    ours = Series("skerry", [uvloop.run(_all_jobs(island, count))], unit="/s")
    peers = [Series("huey + subprocess", [jobs_per_second(["sh", "-c", COMMAND], count)], unit="/s")]
    wrapped = bubblewrap()
    if wrapped and works([*wrapped, "sh", "-c", COMMAND]):
        peers.insert(
            0, Series("huey + bubblewrap", [jobs_per_second([*wrapped, "sh", "-c", COMMAND], count)], unit="/s")
        )
    return [Row(f"Dispersed: {count} batch jobs", ours, peers)]
