"""What runs have written."""

from __future__ import annotations

from skerry.island.engine import output
from skerry.island.sandbox.driver import Driver


async def tail(driver: Driver, sandbox_id: str, run_id: str, most: int) -> bytes:
    """The end of a run's standard output, of so many bytes at the most; nothing where there is none."""
    path = driver.run_files(sandbox_id, run_id).stdout
    try:
        size = path.stat().st_size
    except OSError:
        return b""
    return await output.read(path, max(0, size - most))
