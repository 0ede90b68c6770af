"""The same tests as a plain user, who has no powers but those that every user of the machine has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

USER = 1001
HERE = Path(__file__).parent
# About as long each, so that workers can share them.
SUITES = (
    ("exec", "warm", "files"),
    ("hostile", "survival", "select"),
    ("life", "volumes", "users"),
    ("escape", "network", "gpus"),
)


def _python() -> str | None:
    """An interpreter of this very version that the user may run; ours may lie in root's home."""
    for path in (sys.executable, "/usr/bin/python3"):
        check = f"import sys, os; assert sys.version_info[:2] == {sys.version_info[:2]}; print(os.getuid())"
        try:
            done = subprocess.run(
                [path, "-c", check], user=USER, group=USER, extra_groups=[], capture_output=True, check=False
            )
        except OSError:
            continue
        if done.stdout.split() == [str(USER).encode()]:
            return path
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user runs these tests anyway")
@pytest.mark.parametrize("names", SUITES, ids="-".join)
def test_as_a_plain_user(names: tuple[str, ...]) -> None:
    python = _python()
    if python is None:
        pytest.skip("no Python of this version that a plain user may run")
    root = HERE.parents[2]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(root), *(entry for entry in sys.path if entry.startswith(str(root)))]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
    }
    suites = [str(HERE / f"test_{name}.py") for name in names]
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *suites]
    done = subprocess.run(
        command,
        user=USER,
        group=USER,
        extra_groups=[],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
