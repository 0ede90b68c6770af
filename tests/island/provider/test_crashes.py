"""A provider that is killed at each of its steps: every job is done, once, and nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from skerry.island.provider.records import LogLine, Outcome, ProviderJob
from tests.island.provider.memory_platform import MemoryPlatform
from tests.island.provider.provider_lab import PATIENCE, ProviderLab

pytestmark = pytest.mark.anyio


class Tripwire(MemoryPlatform):
    """Stands still at one step, before it has done anything or after it has done everything."""

    def __init__(self, step: str, *, after: bool) -> None:
        super().__init__()
        self._step = step
        self._after = after
        self.tripped = asyncio.Event()

    async def _trip(self, step: str) -> None:
        if step == self._step and not self.tripped.is_set():
            self.tripped.set()
            await asyncio.Event().wait()

    async def claim(self) -> ProviderJob | None:
        if not any(row.status == "queued" for row in self.rows.values()):
            return None
        if not self._after:
            await self._trip("claim")
        found = await super().claim()
        await self._trip("claim")
        return found

    async def progress(self, job: ProviderJob, phase: str) -> None:
        if not self._after:
            await self._trip("progress")
        await super().progress(job, phase)
        await self._trip("progress")

    async def log(self, job: ProviderJob, lines: Sequence[LogLine]) -> None:
        if not self._after:
            await self._trip("log")
        await super().log(job, lines)
        await self._trip("log")

    async def finish(self, job: ProviderJob, outcome: Outcome) -> None:
        if not self._after:
            await self._trip("finish")
        await super().finish(job, outcome)
        await self._trip("finish")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["claim", "progress", "log", "finish"])
async def test_killed_at_any_step_a_job_is_done_once(tmp_path: Path, step: str, after: bool) -> None:
    lab = ProviderLab(tmp_path)
    lab.platform = platform = Tripwire(step, after=after)
    await lab.open()
    try:
        text = "import uuid\nprint('on', uuid.uuid4(), flush=True)\nopen('ran', 'a').write('x')\n"
        text += "print(open('ran').read())"
        row = platform.submit("custom_container", {"script": text})
        await asyncio.wait_for(platform.tripped.wait(), PATIENCE)
        await lab.crash()
        await lab.done(row)
        assert row.status == "completed", row.outcome
        assert row.outcome is not None
        first, ran = row.outcome.result.splitlines()
        assert ran == "x"
        # Lines that were on their way may be told twice; they are those of the one run.
        assert {line.message for line in row.lines} == {first, ran}
        assert row.job.attempt == 1
        await lab.clean()
    finally:
        await lab.end()


@pytest.mark.parametrize("point", ["create", "write_file", "submit", "delete"])
async def test_killed_between_the_engines_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    lab = await ProviderLab(tmp_path).open()
    try:
        tripped = asyncio.Event()
        where = lab.engine.runs if point == "submit" else lab.engine.sandboxes
        real = getattr(where, point)

        async def standing_still(*args: object, **kwargs: object) -> object:
            found = await real(*args, **kwargs)
            tripped.set()
            await asyncio.Event().wait()
            return found

        monkeypatch.setattr(where, point, standing_still)
        row = lab.platform.submit("custom_container", {"script": "print('done')"})
        await asyncio.wait_for(tripped.wait(), PATIENCE)
        await lab.crash()
        await lab.done(row)
        assert row.outcome is not None
        assert row.outcome.result == "done\n"
        assert row.reports == 1
        await lab.until(lambda: not lab.loop.jobs)
        await lab.clean()
    finally:
        await lab.end()
