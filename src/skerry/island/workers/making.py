"""Making an environment for a program: a Python to begin with, steps that say why they failed, a whole directory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skerry.island.engine.errors import Unsupported

_ABOUT = "import json, sys; print(json.dumps([*sys.version_info[:2], sys.executable, sys.base_prefix]))"
_ASK_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """An interpreter that runs.

    Args:
        version: major and minor number.
        executable: absolute path.
        home: what its standard library belongs to.
    """

    version: tuple[int, int]
    executable: str
    home: str


def examine(name: str) -> Python | None:
    """What an interpreter says of itself; None if it does not run."""
    try:
        answer = subprocess.run(
            [name, "-I", "-c", _ABOUT], capture_output=True, timeout=_ASK_SECONDS, check=True, text=True
        )
        major, minor, executable, home = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Python(version=(major, minor), executable=executable, home=home)


def step(
    *command: str,
    failing: str,
    limit: float | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    reason: Callable[[list[str]], str] = lambda lines: lines[-1],
) -> str:
    """Run a step; its output. What it makes can be read by the sandboxes' users, whatever our umask is.

    Args:
        command: program and arguments.
        failing: what to say when it fails, before its own reason.
        limit: seconds that it may take.
        cwd: where it runs.
        env: its whole environment.
        reason: finds that in the lines, at least one, that a failed one has written; its last line by default.

    Raises:
        Unsupported: it failed.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, umask=0o022, check=False, cwd=cwd, env=env
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unsupported(f"{failing}: {error}") from None
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise Unsupported(f"{failing}: {reason(lines) if lines else f'status {done.returncode}'}")
    return done.stdout


@contextmanager
def whole(directory: Path) -> Iterator[Path]:
    """A fresh path to make something at; it takes the place of `directory` when the block ends without an error."""
    fresh = directory.with_name(f"{directory.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield fresh
        old = directory.with_name(f"{directory.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if os.path.lexists(directory):
            directory.rename(old)
        fresh.rename(directory)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
