"""Terminals: commands on a pseudo-terminal, metered like runs, ended with their sandbox."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from skerry.ids import new_id
from skerry.island.engine.activity import Activity
from skerry.island.engine.core import Core
from skerry.island.engine.errors import EngineError, Invalid
from skerry.island.engine.jobs import check_command
from skerry.island.engine.leases import Leases
from skerry.island.engine.records import SandboxRecord
from skerry.island.engine.refusals import translated
from skerry.island.engine.shell import HOME, ShellState
from skerry.island.engine.states import SessionStates
from skerry.island.sandbox.driver import SandboxError, Terminal
from skerry.island.sandbox.spec import ExecSpec

log = logging.getLogger("skerry.engine")


class Terminals:
    """Every terminal of this island that is open."""

    def __init__(self, core: Core, leases: Leases, states: SessionStates, activity: Activity) -> None:
        self._core = core
        self._leases = leases
        self._states = states
        self._activity = activity
        self._open: dict[str, tuple[str, Terminal, float, asyncio.Task[None]]] = {}

    async def open(
        self,
        sandbox: SandboxRecord,
        state: ShellState,
        command: str | Sequence[str] | None,
        env: dict[str, str],
        columns: int,
        rows: int,
    ) -> Terminal:
        """Start one; it is charged until its command ends.

        Raises:
            PaymentRequired: not enough to begin. Invalid: impossible size or command.
        """
        if not (1 <= columns <= 65535 and 1 <= rows <= 65535):
            raise Invalid("a terminal has 1 to 65535 columns and rows")
        id = new_id("tty")
        spec = self._spec(id, sandbox, state, command, env)
        lease = self._leases.draft(
            sandbox.account_id,
            sandbox.id,
            sandbox.limits,
            id=id,
            purpose="terminal",
            seconds=None,
            gpus=len(sandbox.gpus),
        )
        await self._core.store.run(self._leases.open, lease, self._core.now())
        began = self._core.clock.monotonic()
        self._activity.begin(sandbox.id)
        try:
            with translated():
                live = await self._core.driver.open(sandbox.id)
                terminal = await live.terminal(spec, columns, rows)
        except BaseException:
            self._activity.end(sandbox.id)
            await self._core.store.run(self._leases.close, id, 0, self._core.now())
            raise
        task = asyncio.get_running_loop().create_task(self._meter(id, sandbox.id, terminal, began))
        self._open[id] = (sandbox.id, terminal, began, task)
        return terminal

    async def hang_up(self, sandbox_id: str | None = None) -> None:
        """End the terminals of a sandbox, or all, and wait until they are settled."""
        chosen = [entry for entry in self._open.values() if sandbox_id in (None, entry[0])]
        for _, terminal, _, _ in chosen:
            try:
                await terminal.cancel()
            except SandboxError:
                continue  # it has just ended
        await asyncio.gather(*(task for _, _, _, task in chosen), return_exceptions=True)

    def abandon(self) -> list[asyncio.Task[None]]:
        """Let go of every terminal without settling; returns the tasks that are ending."""
        tasks = [task for _, _, _, task in self._open.values()]
        for task in tasks:
            task.cancel()
        self._open.clear()
        return tasks

    def walls(self) -> dict[str, int]:
        """Nanoseconds for which each open terminal's lease has run."""
        now = self._core.clock.monotonic()
        return {id: round((now - began) * 1e9) for id, (_, _, began, _) in self._open.items()}

    async def cut(self, lease_id: str) -> None:
        """End a terminal that can no longer be paid."""
        entry = self._open.get(lease_id)
        if entry is not None:
            await entry[1].cancel()

    def _spec(
        self,
        id: str,
        sandbox: SandboxRecord,
        state: ShellState,
        command: str | Sequence[str] | None,
        env: dict[str, str],
    ) -> ExecSpec:
        shell = self._states.shell(sandbox.image).path
        if command is None:
            inner: tuple[str, ...] = (shell, "-l")
        elif isinstance(command, str):
            inner = (shell, "-c", command)
        else:
            inner = tuple(command)
        check_command(inner)
        # The directory may be gone since: a shell finds that out where the agent could only refuse.
        enter = 'cd -- "$1" 2>/dev/null || cd 2>/dev/null || cd /; shift; exec "$@"'
        argv = (shell, "-c", enter, "sh", state.cwd, *inner)
        terminal = {"TERM": "xterm-256color"}
        inherited = {name: value for name, value in state.env.items() if name != "TERM"}
        return ExecSpec(id=id, argv=argv, env={"HOME": HOME, **terminal, **inherited, **env}, cwd="/")

    async def _meter(self, id: str, sandbox_id: str, terminal: Terminal, began: float) -> None:
        try:
            await terminal.wait()
        except SandboxError as error:
            log.info("terminal %s was lost: %s", id, error)
        finally:
            self._open.pop(id, None)
            self._activity.end(sandbox_id)
        wall = round((self._core.clock.monotonic() - began) * 1e9)
        try:
            await self._core.store.run(self._leases.close, id, wall, self._core.now())
        except EngineError as error:
            log.error("terminal %s is not settled before the next start: %s", id, error)
