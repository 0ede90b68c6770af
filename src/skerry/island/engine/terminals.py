"""Commands that somebody holds, on a pseudo-terminal or on pipes: metered like runs, ended with their sandbox."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

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
from skerry.island.sandbox.driver import Piped, Sandbox, SandboxError, Terminal
from skerry.island.sandbox.spec import ExecSpec

log = logging.getLogger("skerry.engine")


Held = TypeVar("Held", bound=Terminal | Piped)


@dataclass(frozen=True, slots=True)
class _Open:
    sandbox_id: str
    command: Terminal | Piped
    began: float
    metered: bool
    task: asyncio.Task[None]


class Terminals:
    """Every command of this island that somebody holds."""

    def __init__(self, core: Core, leases: Leases, states: SessionStates, activity: Activity) -> None:
        self._core = core
        self._leases = leases
        self._states = states
        self._activity = activity
        self._open: dict[str, _Open] = {}

    async def open(
        self,
        sandbox: SandboxRecord,
        state: ShellState,
        command: str | Sequence[str] | None,
        env: dict[str, str],
        columns: int,
        rows: int,
        metered: bool = True,
    ) -> Terminal:
        """Start one on a pseudo-terminal; unless not `metered`, it is charged until its command ends.

        Raises:
            PaymentRequired: not enough to begin. Invalid: impossible size or command.
        """
        if not (1 <= columns <= 65535 and 1 <= rows <= 65535):
            raise Invalid("a terminal has 1 to 65535 columns and rows")
        id = new_id("tty")
        env = {"TERM": "xterm-256color", **env}
        spec = self._spec(id, sandbox, state, command, env)
        return await self._begin(id, sandbox, "terminal", metered, lambda live: live.terminal(spec, columns, rows))

    async def pipe(
        self,
        sandbox: SandboxRecord,
        state: ShellState,
        command: str | Sequence[str] | None,
        env: dict[str, str],
        metered: bool = True,
    ) -> Piped:
        """Start one on pipes. Raises as `open`."""
        id = new_id("ssh")
        spec = self._spec(id, sandbox, state, command, env)
        return await self._begin(id, sandbox, "command", metered, lambda live: live.piped(spec))

    async def _begin(
        self,
        id: str,
        sandbox: SandboxRecord,
        purpose: str,
        metered: bool,
        start: Callable[[Sandbox], Awaitable[Held]],
    ) -> Held:
        if metered:
            lease = self._leases.draft(
                sandbox.account_id,
                sandbox.id,
                sandbox.limits,
                id=id,
                purpose=purpose,
                seconds=None,
                now=self._core.clock.now(),
                gpus=len(sandbox.gpus),
            )
            await self._core.store.run(self._leases.open, lease, self._core.now())
        began = self._core.clock.monotonic()
        self._activity.begin(sandbox.id)
        try:
            with translated():
                command = await start(await self._core.driver.open(sandbox.id))
        except BaseException:
            self._activity.end(sandbox.id)
            if metered:
                await self._core.store.run(self._leases.close, id, 0, self._core.now())
            raise
        task = asyncio.get_running_loop().create_task(self._meter(id, sandbox.id, command, began, metered))
        self._open[id] = _Open(sandbox.id, command, began, metered, task)
        return command

    async def hang_up(self, sandbox_id: str | None = None) -> None:
        """End the commands held in a sandbox, or all, and wait until they are settled."""
        chosen = [entry for entry in self._open.values() if sandbox_id in (None, entry.sandbox_id)]
        for entry in chosen:
            try:
                await entry.command.cancel()
            except SandboxError:
                continue  # it has just ended
        await asyncio.gather(*(entry.task for entry in chosen), return_exceptions=True)

    def abandon(self) -> list[asyncio.Task[None]]:
        """Let go of every command without settling; returns the tasks that are ending."""
        tasks = [entry.task for entry in self._open.values()]
        for task in tasks:
            task.cancel()
        self._open.clear()
        return tasks

    def walls(self) -> dict[str, int]:
        """Nanoseconds for which each open lease has run."""
        now = self._core.clock.monotonic()
        return {id: round((now - entry.began) * 1e9) for id, entry in self._open.items() if entry.metered}

    async def cut(self, lease_id: str) -> None:
        """End a command that can no longer be paid."""
        entry = self._open.get(lease_id)
        if entry is not None:
            await entry.command.cancel()

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
        return ExecSpec(id=id, argv=argv, env={"HOME": HOME, **state.env, **env}, cwd="/")

    async def _meter(self, id: str, sandbox_id: str, command: Terminal | Piped, began: float, metered: bool) -> None:
        try:
            try:
                await command.wait()
            except SandboxError as error:
                log.info("command %s was lost: %s", id, error)
            finally:
                self._activity.end(sandbox_id)
            wall = round((self._core.clock.monotonic() - began) * 1e9)
            if metered:
                await self._core.store.run(self._leases.close, id, wall, self._core.now())
        except EngineError as error:
            log.error("command %s is not settled before the next start: %s", id, error)
        finally:
            # Whoever hangs up waits for the settlement, too, and not for the end alone.
            self._open.pop(id, None)
