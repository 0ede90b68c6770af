"""What is kept of one run on the host: two logs and the record of its end."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any, get_args

from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.handles.spares import SpareFiles
from skerry.island.sandbox.spec import Cause, ExecResult, RunFiles

_RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_CAUSES = get_args(Cause)


def run_files(directory: Path, run_id: str) -> RunFiles:
    """The files of a run in a sandbox's `runs` directory.

    Raises:
        SandboxError: `path`, for an id that is no plain file name.
    """
    if not _RUN_ID.match(run_id):
        raise SandboxError("path", f"{run_id!r} is no run id")
    return RunFiles(directory, run_id)


def open_new(files: RunFiles, spares: SpareFiles) -> list[int]:
    """Empty logs and an empty record, open for writing, as an agent wants them: stdout, stderr, record.

    Raises:
        SandboxError: `disk_full`, `limits` (no descriptors left).
    """
    opened: list[int] = []
    stem = f"{files.directory}/{files.run_id}"
    try:
        opened.append(spares.open(f"{stem}.out"))
        opened.append(spares.open(f"{stem}.err"))
        opened.append(spares.open(f"{stem}.json"))
    except OSError as error:
        for fd in opened:
            os.close(fd)
        reason = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "limits"
        raise SandboxError(reason, f"cannot keep the run's output: {error.strerror}") from None
    return opened


def read_record(files: RunFiles) -> ExecResult | None:
    """How the run ended, as its agent wrote it; None when there is no whole record."""
    try:
        content = files.record.read_bytes()
    except FileNotFoundError:
        return None
    line, newline, state = content.partition(b"\n")
    if not newline:
        return None
    try:
        values: dict[str, Any] = json.loads(line)
        size = values["state_bytes"]
        if size is not None and len(state) != size:
            return None
        return _result(values, None if size is None else state)
    except (ValueError, KeyError, TypeError):
        return None


def from_event(event: dict[str, Any], tail: bytes, files: RunFiles | None) -> ExecResult:
    """How the run ended, as its agent said; a large state is fetched from the record."""
    # An agent of an older release does not tell the size.
    size = event.get("state_bytes", -1)
    if size is None:
        return _result(event, None)
    if size != len(tail):
        recorded = None if files is None else read_record(files)
        if recorded is not None:
            return recorded
    return _result(event, tail if size == len(tail) else None)


def from_logs(files: RunFiles, *, exit_code: int, cause: Cause) -> ExecResult:
    """The end of a run whose agent did not live to tell it; what its logs hold is known all the same."""
    sizes = [path.stat().st_size if path.exists() else 0 for path in (files.stdout, files.stderr)]
    return ExecResult(exit_code=exit_code, cause=cause, stdout_bytes=sizes[0], stderr_bytes=sizes[1])


def _result(values: dict[str, Any], state: bytes | None) -> ExecResult:
    cause = values["cause"]
    return ExecResult(
        exit_code=int(values["exit_code"]),
        cause=cause if cause in _CAUSES else "lost",
        stdout_bytes=int(values["stdout_bytes"]),
        stderr_bytes=int(values["stderr_bytes"]),
        dropped_bytes=int(values["dropped_bytes"]),
        cpu_ns=int(values["cpu_ns"]),
        max_rss_bytes=int(values["max_rss_bytes"]),
        wall_ns=int(values["wall_ns"]),
        state=state,
    )
