"""A provider for tests: an engine with real sandboxes, a platform in memory, a loop that can be killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skerry.island.clock import Clock, SystemClock
from skerry.island.engine.engine import Engine
from skerry.island.provider.container_job import ContainerOptions
from skerry.island.provider.executor import Executor, ExecutorOptions
from skerry.island.provider.loop import LoopOptions, ProviderLoop
from skerry.island.provider.machine import measure
from skerry.island.provider.records import HostStatus
from skerry.island.settings import Settings
from skerry.units import MIB
from tests.island.provider.memory_platform import SECRET, MemoryPlatform, Row

PATIENCE = 60.0
LOOP = LoopOptions(heartbeat=0.5, poll=0.2, look=0.1, pauses=(0.05, 0.1), patience=0.1, told=PATIENCE)
CONTAINERS = ContainerOptions(memory_bytes=512 * MIB, disk_bytes=512 * MIB, pids=64, pauses=(0.05, 0.05, 0.05))


class ProviderLab:
    """One machine that works for one platform.

    Args:
        directory: for everything.
        clock: of the engine and the platform; the loop's own is the machine's.
        executor: what its executor can use.
    """

    def __init__(self, directory: Path, *, clock: Clock | None = None, **executor: Any) -> None:
        self.data = directory / "data"
        self.clock = clock or SystemClock()
        self.platform = MemoryPlatform(self.clock.now)
        self.options = LOOP
        self.limits = ExecutorOptions(containers=CONTAINERS, free_mib={}, free_disk=0)
        self.executor = executor
        self.secret: str | None = SECRET
        self.engine: Engine
        self.loop: ProviderLoop

    async def open(self) -> ProviderLab:
        self.engine = await Engine.open(Settings(data_dir=self.data, drain=0.2), clock=self.clock)
        await self.begin()
        return self

    async def begin(self) -> None:
        executor = Executor(self.engine, self.measure, options=self.limits, **self.executor)
        self.loop = ProviderLoop(self.platform, executor, self.measure, secret=self.secret, options=self.options)
        await self.loop.start()

    async def measure(self) -> HostStatus:
        return await measure(self.data)

    async def crash(self) -> None:
        """End everything as SIGKILL would, and start again."""
        await self.loop.close()
        await self.engine.crash()
        await self.open()

    async def end(self) -> None:
        await self.loop.close()
        await asyncio.wait_for(self.engine.close(), PATIENCE)

    async def done(self, row: Row) -> Row:
        """A job once it is over, and this machine is rid of it."""
        await asyncio.wait_for(row.done.wait(), PATIENCE)
        await self.until(lambda: all(job.job_id != row.job.job_id for job in self.loop.jobs))
        return row

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that happens outside."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.01)

    async def said(self, row: Row, text: str) -> None:
        """Wait until a job's log has a text."""
        await self.until(lambda: any(text in line.message for line in row.lines))

    async def clean(self) -> None:
        """Nothing is left of any job."""
        sandboxes, _ = await self.engine.sandboxes.list(self.engine.account_id)
        assert sandboxes == []
        held = await self.engine.store.read(self.engine.capacity.held)
        assert held == []
        assert list((self.data / "dc1-jobs").glob("*")) == []
