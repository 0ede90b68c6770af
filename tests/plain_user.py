"""Running tests as a user who is not root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

USER = 1001
ROOT = Path(__file__).parents[1]


def python() -> str | None:
    """An interpreter of this very version that the user may run; ours may lie in root's home."""
    check = f"import sys, os; assert sys.version_info[:2] == {sys.version_info[:2]}; print(os.getuid())"
    for path in (sys.executable, "/usr/bin/python3"):
        try:
            done = subprocess.run([path, "-c", check], user=USER, group=USER, extra_groups=[], capture_output=True)
        except OSError:
            continue
        if done.stdout.split() == [str(USER).encode()]:
            return path
    return None


def run_tests(*files: Path) -> None:
    """Run test files as the user; all of them must pass."""
    found = python()
    if found is None:
        pytest.skip("no Python of this version that a plain user may run")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry.startswith(str(ROOT)))]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
    }
    plugins = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    done = subprocess.run(
        [found, "-m", "pytest", "-q", *plugins, *(str(file) for file in files)],
        user=USER,
        group=USER,
        extra_groups=[],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
