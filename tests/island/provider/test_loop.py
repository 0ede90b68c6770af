"""The loop: what it takes, what it tells, what it keeps through outages, restarts and other providers' doings."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skerry.island.provider.executor import ExecutorOptions
from skerry.island.provider.guards import FREE_MIB, no_room
from skerry.island.provider.loop import HANDED_BACK
from skerry.island.provider.platform import PlatformUnavailable
from skerry.island.provider.records import Card, HostStatus, Outcome, ProviderJob
from skerry.units import GIB
from tests.held import Held
from tests.island.provider.memory_platform import MemoryPlatform, Row
from tests.island.provider.provider_lab import CONTAINERS, ProviderLab

pytestmark = pytest.mark.anyio

SLOW = "import time\nprint('on', flush=True)\ntime.sleep(600)"


def script(lab: ProviderLab, text: str, **fields: Any) -> Row:
    return lab.platform.submit("custom_container", {"script": text}, **fields)


async def test_heartbeats_tell_what_was_measured(lab: ProviderLab) -> None:
    row = script(lab, SLOW)
    await lab.said(row, "on")
    await lab.until(lambda: any(beat.active for beat in lab.platform.heartbeats))
    beat = lab.platform.heartbeats[-1]
    assert beat.name
    assert 0 < beat.free_mib <= beat.memory_mib == beat.all_memory_mib
    assert beat.free_disk_bytes > 0
    assert (beat.slots, beat.active, beat.draining) == (1, 1, False)
    lab.platform.cancel(row)
    await lab.done(row)


async def test_only_so_many_jobs_at_once(tmp_path: Path) -> None:
    lab = ProviderLab(tmp_path)
    lab.options = replace(lab.options, slots=2)
    await lab.open()
    try:
        rows = [script(lab, SLOW) for _ in range(3)]
        await lab.said(rows[0], "on")
        await lab.said(rows[1], "on")
        assert [row.status for row in rows] == ["running", "running", "queued"]
        lab.platform.cancel(rows[0])
        await lab.said(rows[2], "on")
        for row in rows[1:]:
            lab.platform.cancel(row)
            await lab.done(row)
        await lab.clean()
    finally:
        await lab.end()


async def test_an_outage_delays_the_report_and_no_more(lab: ProviderLab) -> None:
    program = Held("print('on', flush=True)", "print('off')")
    row = script(lab, program.python)
    await lab.said(row, "on")
    lab.platform.down = True
    await asyncio.to_thread(program.release)
    (run,) = await lab.engine.runs.list(lab.engine.account_id)
    await lab.engine.runs.wait(run.id)
    assert row.status == "running"
    lab.platform.down = False
    await lab.done(row)
    assert row.status == "completed"
    assert row.outcome is not None
    assert row.outcome.result == "on\noff\n"
    assert [line.message for line in row.lines] == ["on", "off"]
    await lab.clean()


async def test_a_report_whose_answer_was_lost_is_repeated_unchanged(tmp_path: Path) -> None:
    class Deaf(MemoryPlatform):
        told: list[Outcome] = []

        async def finish(self, job: ProviderJob, outcome: Outcome) -> None:
            self.told.append(outcome)
            await super().finish(job, outcome)
            if len(self.told) == 1:
                raise PlatformUnavailable("the answer was lost")

    lab = ProviderLab(tmp_path)
    lab.platform = platform = Deaf()
    await lab.open()
    try:
        row = await lab.done(script(lab, "print(1)"))
        assert len(platform.told) == 2
        assert platform.told[0] == platform.told[1]
        assert row.status == "completed"
    finally:
        await lab.end()


async def test_a_job_that_was_given_to_somebody_else_is_dropped(lab: ProviderLab) -> None:
    row = script(lab, SLOW)
    await lab.said(row, "on")
    lab.platform.vanish(row)
    # Nobody else is there, so that it is claimed here again, as the next attempt; the first has no say any more.
    await lab.until(lambda: row.job.attempt == 2 and row.status == "running")
    await lab.until(lambda: [job.attempt for job in lab.loop.jobs] == [2])
    assert row.reports == 0
    lab.platform.cancel(row)
    await lab.done(row)
    await lab.clean()


async def test_draining_lets_jobs_end_and_takes_no_more(lab: ProviderLab) -> None:
    program = Held("print('on', flush=True)", "print('off')")
    row = script(lab, program.python)
    await lab.said(row, "on")
    draining = asyncio.ensure_future(lab.loop.drain(60.0))
    await lab.until(lambda: lab.platform.heartbeats[-1].draining)
    later = script(lab, "print(1)")
    await asyncio.to_thread(program.release)
    assert await draining
    assert row.status == "completed"
    assert later.status == "queued"


async def test_draining_hands_back_what_does_not_end(lab: ProviderLab) -> None:
    row = script(lab, SLOW)
    await lab.said(row, "on")
    assert await lab.loop.drain(0.1)
    assert row.status == "queued"
    assert row.outcome is not None
    assert row.outcome.error == HANDED_BACK
    assert row.outcome.transient
    await lab.clean()
    await lab.loop.close()
    await lab.begin()
    await lab.until(lambda: row.job.attempt == 2 and row.status == "running")
    lab.platform.cancel(row)
    await lab.done(row)


async def test_a_machine_without_room_says_so(tmp_path: Path) -> None:
    lab = ProviderLab(tmp_path)
    lab.limits = ExecutorOptions(containers=CONTAINERS, free_mib={"custom_container": 1 << 30}, free_disk=0)
    await lab.open()
    try:
        row = await lab.done(script(lab, "print(1)"))
        assert row.status == "failed"
        assert row.outcome is not None
        assert "too little memory for a custom_container job" in (row.outcome.error or "")
        assert row.outcome.gpu_seconds == 0
    finally:
        await lab.end()


async def test_jobs_without_their_workers_say_what_is_missing(lab: ProviderLab) -> None:
    for job_type, words in (
        ("llm_inference", "no language models"),
        ("vllm_serve", "no language models"),
        ("image_generation", "draws no pictures"),
    ):
        row = await lab.done(lab.platform.submit(job_type, {"prompt": "x"}))
        assert row.status == "failed"
        assert row.outcome is not None
        assert words in (row.outcome.error or "")
        assert "install" in (row.outcome.error or "")


async def test_killed_again_and_again_a_job_is_done_once(lab: ProviderLab) -> None:
    text = "import time\nfor n in range(12):\n print('step', n, flush=True)\n time.sleep(0.1)\nprint('end')"
    row = script(lab, text)
    for step in (0, 3, 6):
        await lab.said(row, f"step {step}")
        await lab.crash()
    await lab.done(row)
    assert row.status == "completed"
    assert row.reports == 1
    assert row.outcome is not None
    assert row.outcome.result == "".join(f"step {n}\n" for n in range(12)) + "end\n"
    assert [line.message for line in row.lines] == [*(f"step {n}" for n in range(12)), "end"]
    await lab.clean()


def test_room_is_looked_for_where_the_job_will_be() -> None:
    machine = HostStatus(name="CPU", memory_mib=24_000, free_mib=6_000, all_memory_mib=24_000, free_disk_bytes=10 * GIB)
    assert no_room("llm_inference", machine) is None
    assert no_room("vllm_serve", machine) is None
    assert "too little memory for a training job" in (no_room("training", replace(machine, free_mib=5_999)) or "")
    assert "disk is too full" in (no_room("benchmark", replace(machine, free_disk_bytes=GIB)) or "")
    cards = (
        Card(index=0, name="RTX", memory_mib=24_564, free_mib=900),
        Card(index=1, name="RTX", memory_mib=24_564, free_mib=24_000),
    )
    assert no_room("vllm_serve", replace(machine, cards=cards)) is None
    assert "GPU memory" in (no_room("training", replace(machine, cards=cards[:1])) or "")
    assert FREE_MIB["vllm_serve"] == 14_336
