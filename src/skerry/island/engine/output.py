"""What runs wrote: read whole, followed as it grows, and annotated when the engine has something to add."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

from skerry.island.sandbox.driver import Driver
from skerry.island.sandbox.spec import ExecResult

_AT_ONCE = 256 * 1024


async def read(path: Path, offset: int = 0) -> bytes:
    """The content of a log from an offset; nothing when it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        left = os.fstat(fd).st_size - offset
        if left <= 0:
            return b""
        if left <= _AT_ONCE:
            return os.pread(fd, left, offset)
        return await asyncio.to_thread(_read_all, fd, left, offset)
    finally:
        os.close(fd)


def note(
    driver: Driver, sandbox_id: str, exec_id: str, text: str, result: ExecResult, *, merged: bool = False
) -> ExecResult:
    """Add a line to the standard error of an ended attempt, and count it; without room it goes unsaid.

    With `merged` outputs it is added to standard output.
    """
    files = driver.run_files(sandbox_id, exec_id)
    try:
        with (files.stdout if merged else files.stderr).open("ab") as file:
            file.write(f"skerry: {text}\n".encode(errors="replace"))
        return replace(result, stdout_bytes=_size(files.stdout), stderr_bytes=_size(files.stderr))
    except OSError:
        return result


def discard(driver: Driver, sandbox_id: str, exec_id: str) -> None:
    """Remove every file of an attempt."""
    stdout = driver.run_files(sandbox_id, exec_id).stdout
    for path in stdout.parent.glob(f"{stdout.stem}.*"):
        path.unlink(missing_ok=True)


def exists(driver: Driver, sandbox_id: str, exec_id: str) -> bool:
    """Whether an attempt was ever begun: of its files, that for the record is the last to be made before it is."""
    return driver.run_files(sandbox_id, exec_id).record.exists()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read_all(fd: int, left: int, offset: int) -> bytes:
    chunks = []
    while left > 0 and (chunk := os.pread(fd, min(left, 1 << 20), offset)):
        chunks.append(chunk)
        left -= len(chunk)
        offset += len(chunk)
    return b"".join(chunks)
