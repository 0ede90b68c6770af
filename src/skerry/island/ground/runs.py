"""Programs that go on in the background, one in each sandbox: begun, found again, and their ends."""

from __future__ import annotations

from collections.abc import Mapping

from skerry.island.engine import output
from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import Conflict
from skerry.island.engine.records import Program, RunRecord
from skerry.island.sandbox.driver import Driver, SandboxError
from skerry.island.store.values import micros


async def begin(
    engine: Engine,
    account_id: str,
    sandbox_id: str,
    run_id: str,
    program: Program,
    env: Mapping[str, str],
    *,
    timeout: float | None = None,
) -> RunRecord | None:
    """Start a program whose outputs are one, and that its network bills by itself; None where that has been done.

    Args:
        env: wins over the program's own.
        timeout: seconds that its agent lets it run.

    Raises:
        EngineError: as the engine refuses.
    """
    try:
        return await engine.runs.submit(
            account_id,
            sandbox_id,
            id=run_id,
            command=program.argv,
            background=True,
            timeout=timeout,
            env={**program.env, **env},
            cwd=program.cwd,
            user=program.user,
            metered=False,
            merge_output=True,
        )
    except Conflict:
        return None


async def goes_on(driver: Driver, sandbox_id: str, run_id: str) -> bool:
    """Whether a program lives, as far as its sandbox knows."""
    try:
        live = await driver.find(sandbox_id)
        if live is None or await driver.result(sandbox_id, run_id) is not None:
            return False
        return await live.attach(run_id) is not None
    except SandboxError:
        return False


async def agents_end(driver: Driver, sandbox_id: str, run_id: str, ended: RunRecord) -> int | None:
    """When a program ended by the clock of its agent, which saw it also if nobody else did; None where it is not known.

    Returns:
        Microseconds since 1970.
    """
    try:
        result = await driver.result(sandbox_id, run_id)
    except SandboxError:
        return None
    if result is None or not result.wall_ns or ended.started_at is None:
        return None
    return micros(ended.started_at) + result.wall_ns // 1_000


async def tail(driver: Driver, sandbox_id: str, run_id: str, most: int) -> bytes:
    """The end of a run's standard output, of so many bytes at the most; nothing where there is none."""
    path = driver.run_files(sandbox_id, run_id).stdout
    try:
        size = path.stat().st_size
    except OSError:
        return b""
    return await output.read(path, max(0, size - most))
