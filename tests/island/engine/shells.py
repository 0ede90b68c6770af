"""Runs session commands in real shells, with descriptors 8 and 9 as an agent gives them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

from skerry.island.engine.shell import Shell, ShellState, invocation, saved

BASH = Shell("bash", "/bin/bash")
DASH = Shell("sh", "/bin/dash")


@dataclass
class Outcome:
    code: int
    out: str
    err: str
    state: ShellState
    blob: bytes


def execute(
    shell: Shell,
    state: ShellState,
    command: str,
    *,
    home: str = "/",
    overrides: Mapping[str, str] | None = None,
    ambient: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Outcome:
    """One run of a session."""
    built = invocation(shell, state, command, home=home, overrides=overrides)
    nine = os.memfd_create("state")
    os.fchmod(nine, 0o1600)
    with tempfile.TemporaryFile() as eight:
        eight.write(built.state)
        eight.seek(0)
        environment = {**(ambient or {}), **built.env}

        def descriptors() -> None:
            os.dup2(eight.fileno(), 200)
            os.dup2(nine, 201)
            os.dup2(200, 8)
            os.dup2(201, 9)
            os.closerange(10, 300)

        process = subprocess.Popen(
            built.argv,
            env=environment,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            close_fds=False,
            preexec_fn=descriptors,
            start_new_session=True,
        )
        out, err = process.communicate(stdin, timeout=60)
    blob = os.pread(nine, os.lseek(nine, 0, os.SEEK_CUR), 0)
    os.close(nine)
    return Outcome(
        process.returncode,
        out.decode(errors="replace"),
        err.decode(errors="replace"),
        saved(shell, state, blob, overrides),
        blob,
    )


class Session:
    """Commands one after another in one session."""

    def __init__(self, shell: Shell, home: str = "/", env: Mapping[str, str] | None = None) -> None:
        self.shell = shell
        self.home = home
        self.state = ShellState(
            cwd=home, env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": home, **(env or {})}
        )

    def __call__(
        self,
        command: str,
        *,
        overrides: Mapping[str, str] | None = None,
        ambient: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Outcome:
        outcome = execute(
            self.shell, self.state, command, home=self.home, overrides=overrides, ambient=ambient, stdin=stdin
        )
        self.state = outcome.state
        return outcome
