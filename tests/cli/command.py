"""The `skerry` command as a test uses it: a real process on a data directory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEADLINE = 300
OURS = ("SKERRY_", "ARKER_", "DISPERSED_", "OCTA_", "ZER_", "DC1_", "DCP_", "API_BASE")
"""What the variables that we read begin with."""


def counts(name: str) -> bool:
    """Whether a variable of whoever runs the tests would change what a command does: it is ours, or names a proxy."""
    return name.startswith(OURS) or name.lower().endswith("_proxy")


@dataclass
class Skerry:
    """The `skerry` command with a data directory of its own."""

    data_dir: Path
    env: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, stdin: bytes | None = None, cwd: Path | None = None) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "skerry", *words],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=DEADLINE,
            env=self.environment,
            cwd=cwd,
        )
        return Outcome(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def popen(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """The command, left running."""
        return subprocess.Popen([sys.executable, "-m", "skerry", *words], env=self.environment, **options)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not counts(name)}
        return {**inherited, "SKERRY_DATA_DIR": str(self.data_dir), "SKERRY_PORT": "0", "NO_COLOR": "1", **self.env}


@dataclass
class Outcome:
    """How a command ended."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout.decode()

    @property
    def json(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.stdout)
        return data
