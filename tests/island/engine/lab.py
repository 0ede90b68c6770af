"""An engine for tests: over the double or over this machine's own driver, crashed and opened again at will."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from skerry.ids import new_ulid
from skerry.island.clock import Clock
from skerry.island.engine.engine import Engine
from skerry.island.engine.records import RunRecord
from skerry.island.settings import Settings
from tests.island.engine.double import DoubleDriver, Images, end

PATIENCE = 60.0
PREFIXES = {"arker": "ark_live_", "run402": "run402_"}


class Lab:
    """One data directory and the engine that is open over it.

    Args:
        directory: for everything.
        real: use the driver that this machine would get, instead of the double.
        clock: for the engine.
    """

    def __init__(self, directory: Path, *, real: bool = False, clock: Clock | None = None, **settings: Any) -> None:
        self.data = directory / "data"
        self.real = real
        self.clock = clock
        self.settings = Settings(data_dir=self.data, **{"drain": 0.2, **settings})
        self.on_step: Callable[[str, str, str], Awaitable[None]] | None = None
        self.engine: Engine
        self.keepers: list[Any] = []

    async def open(self) -> Engine:
        """Open the engine; the first time and after each end of it."""
        if self.real:
            self.engine = await Engine.open(self.settings, clock=self.clock)
        else:
            driver = DoubleDriver(self.data, self.on_step)
            driver.keepers = self.keepers
            self.engine = await Engine.open(self.settings, clock=self.clock, driver=driver, images=Images())
        for network, prefix in PREFIXES.items():
            await self.engine.bearer_key(network, prefix)
        return self.engine

    async def crash(self) -> Engine:
        """End it as SIGKILL does and open it again."""
        await self.engine.crash()
        return await self.open()

    async def end(self) -> None:
        """Close the engine and leave nothing behind."""
        await asyncio.wait_for(self.engine.close(), PATIENCE)
        for keeper in self.keepers:
            keeper.kill()
            await asyncio.to_thread(keeper.wait)

    def lose_machine(self) -> None:
        """As when the machine goes down: every keeper of the double is gone, and what it kept."""
        for keeper in self.keepers:
            end(keeper)

    @property
    def account(self) -> str:
        return self.engine.account_id

    async def sandbox(self, id: str = "box", **fields: Any) -> str:
        """A new sandbox on the host image."""
        await self.engine.sandboxes.create(self.account, id=id, network="arker", image="host", **fields)
        return id

    async def submit(self, command: str | Sequence[str], sandbox: str = "box", **fields: Any) -> RunRecord:
        return await self.engine.runs.submit(self.account, sandbox, command=command, **{"id": new_ulid(), **fields})

    async def finish(self, run: RunRecord | str) -> RunRecord:
        """The run's end."""
        id = run if isinstance(run, str) else run.id
        return await asyncio.wait_for(self.engine.runs.wait(id), PATIENCE)

    async def run(
        self, command: str | Sequence[str], sandbox: str = "box", **fields: Any
    ) -> tuple[RunRecord, str, str]:
        """A command, carried out: its record, output and errors."""
        ended = await self.finish(await self.submit(command, sandbox, **fields))
        out, err = await self.engine.runs.output(ended)
        return ended, out.decode(), err.decode()

    async def outrun(
        self, command: str | Sequence[str], sandbox: str = "box", **fields: Any
    ) -> tuple[RunRecord, str, str]:
        """A command, carried out until its time limit, which leaves it the time to say that it has begun.

        A machine that stands still for a moment needs a longer one for that.
        """
        for limit in (0.3, 3.0, PATIENCE):
            ended, out, err = await self.run(command, sandbox, timeout=limit, **fields)
            assert (ended.state, ended.cause, ended.exit_code) == ("failed", "timeout", 124)
            assert f"ended after {limit:g} seconds, its time limit" in out + err
            if "begun" in out:
                break
        return ended, out, err

    async def touch(self, name: str, sandbox: str = "box") -> None:
        """An empty file in a sandbox's home directory, for a command that waits for it."""
        path = f"/home/user/{name}"
        await self.engine.sandboxes.write_file(self.account, sandbox, path, io.BytesIO(), 0, beneath="/home/user")

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something that happens outside."""
        async with asyncio.timeout(PATIENCE):
            while not await condition():
                await asyncio.sleep(0.01)

    async def wrote(self, run: RunRecord, text: str) -> None:
        """Wait until a run has written something."""

        async def there() -> bool:
            out, _ = await self.engine.runs.output(run)
            return text.encode() in out

        await self.until(there)

    async def books(self) -> None:
        """Nothing is held any more, every lease is closed, and the ledger is right to the last unit."""
        assert await self.engine.ledger.audit() == []
        assert (await self.engine.ledger.held(self.account)).amount == 0
        assert await self.engine.leases.current() == []

    async def paid(self) -> int:
        """What the account has spent."""
        balance = await self.engine.ledger.balance(self.account)
        return self.settings.opening_balance.amount - balance.amount

    def change(self, **settings: Any) -> None:
        """Other settings from the next opening on."""
        self.settings = replace(self.settings, **settings)
