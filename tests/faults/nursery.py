"""Servers without the second that loading one takes: a process that has loaded all of a server forks one when asked.

What is forked is a process like any other, with `skerry.island.server`'s own entry, its signals and its log.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOADED = (
    "skerry.island.app",
    "skerry.island.engine.engine",
    "skerry.island.faces.arker.face",
    "skerry.island.faces.dc1.face",
    "skerry.island.faces.dispersed.face",
    "skerry.island.faces.octaspace.face",
    "skerry.island.images.store",
    "skerry.island.protocol",
    "skerry.island.sandbox.egress.proxy",
    "skerry.island.sandbox.select",
    "sqlalchemy.dialects.sqlite",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "uvloop",
)


class Nursery:
    """The process, and talk with it; closed with the tests."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def ask(self, verb: str, *words: object) -> Any:
        """One question, one answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([verb, *words]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, arguments: Sequence[str], log: Path) -> Child:
        """A server with these arguments, which writes into that file."""
        return Child(self, self.ask("start", list(arguments), str(log)))

    def close(self) -> None:
        """Every server has been ended."""
        self._process.communicate(timeout=120)


class Child:
    """A server, with as much of `subprocess.Popen` as is needed."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its status, as Popen says it; None while it runs."""
        if self.returncode is None:
            self.returncode = self._nursery.ask("status", self.pid)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Its status once it has ended."""
        end = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("server", timeout)
            time.sleep(0.005)
        return status

    def terminate(self) -> None:
        """Ask it to end."""
        self._nursery.ask("signal", self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._nursery.ask("signal", self.pid, signal.SIGKILL)


def _main() -> None:
    for name in LOADED:
        importlib.import_module(name)
    from skerry.island import server
    from skerry.island.provider.container_job import ContainerOptions

    # What begins again does so after ten seconds otherwise.
    ContainerOptions.__init__.__kwdefaults__["pauses"] = (0.1, 0.3, 0.9)
    running: set[int] = set()
    ended: dict[int, int] = {}
    for line in sys.stdin:
        verb, *words = json.loads(line)
        answer: int | None = None
        if verb == "start":
            arguments, log = words
            answer = os.fork()
            if answer == 0:
                _become(server.main, arguments, log)
            running.add(answer)
        else:
            # Nobody else takes their statuses, so that a number here is theirs as long as it is among the running.
            for pid in list(running):
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    running.remove(pid)
                    ended[pid] = os.waitstatus_to_exitcode(status)
            pid, *rest = words
            answer = ended.get(pid)
            if verb == "signal" and pid in running:
                os.kill(pid, *rest)
        print(json.dumps(answer), flush=True)


def _become(main: Any, arguments: list[str], log: str) -> None:
    status = 1
    try:
        for number, path, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, log, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
            (2, log, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        ):
            opened = os.open(path, flags, 0o644)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        status = main(arguments)
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _main()
