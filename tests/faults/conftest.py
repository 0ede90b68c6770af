"""A real server process that can be killed, and questions to ask of the machine after it is gone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skerry import Arker
from skerry.networks.dc1 import DC1
from skerry.networks.dispersed import Dispersed
from tests.faults.nursery import Child, Nursery
from tests.processes import alive, began

DEADLINE = 120.0


def eventually(question: Callable[[], object], what: str, deadline: float = DEADLINE) -> object:
    """The first true answer to a question asked often, or a failure that names what never came."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        answer = question()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {deadline:g} s")


class ServerProcess:
    """A server in a process of its own over one data directory, started and killed as often as a test likes."""

    def __init__(self, data_dir: Path, nursery: Nursery) -> None:
        self.data_dir = data_dir
        self.nursery = nursery
        self.process: Child | None = None
        self.seen: set[tuple[int, str]] = set()

    def start(self) -> None:
        """Start it and return once it answers."""
        state = self.data_dir / "server.json"
        state.unlink(missing_ok=True)
        log = self.data_dir.parent / "server.log"
        self.process = process = self.nursery.start(["--data-dir", str(self.data_dir), "--port", "0"], log)

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError, ValueError):
                return json.loads(state.read_text())["pid"] == process.pid
            return False

        eventually(answers, "the server's start")

    def kill9(self) -> None:
        """End the server as the kernel's out-of-memory killer would; its sandboxes stay."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(DEADLINE)

    def stop(self) -> None:
        """End it gracefully."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(DEADLINE)

    @property
    def url(self) -> str:
        """Where it answers."""
        return str(json.loads((self.data_dir / "server.json").read_text())["url"])

    @property
    def key(self) -> str:
        """The first account's Arker key."""
        return str(json.loads((self.data_dir / "credentials.json").read_text())["keys"]["arker"])

    def arker(self, **options: object) -> Arker:
        """A client of this server."""
        return Arker(api_key=self.key, base_url=f"{self.url}/arker", **options)  # type: ignore[arg-type]

    def dispersed(self, **options: object) -> Dispersed:
        """A Dispersed client of this server."""
        keys = json.loads((self.data_dir / "credentials.json").read_text())["keys"]
        pair = keys["dispersed"], keys["dispersed_secret"]
        return Dispersed(*pair, f"{self.url}/dispersed", environ={}, **options)  # type: ignore[arg-type]

    def dc1(self, **options: object) -> DC1:
        """A DC1 client of this server."""
        key = json.loads((self.data_dir / "credentials.json").read_text())["keys"]["dc1"]
        return DC1(key, f"{self.url}/dc1", environ={}, **options)  # type: ignore[arg-type]

    def query(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Ask the database directly; only tests may."""
        connection = sqlite3.connect(self.data_dir / "island.db")
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def agents(self) -> set[int]:
        """First processes of this data directory's live sandboxes, as seen from outside."""
        found = set()
        for path in self.data_dir.glob("sandboxes/*/agent.sock"):
            folder = os.open(path.parent, os.O_PATH)
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
                    connection.connect(f"/proc/self/fd/{folder}/{path.name}")
                    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                    found.add(struct.unpack("3i", credentials)[0])
            except OSError:
                continue
            finally:
                os.close(folder)
        self.seen |= {(pid, began(pid)) for pid in found}
        return found

    def kill_sandboxes(self) -> None:
        """Take the host away: every process of every sandbox."""
        for pid in self.agents():
            os.kill(pid, signal.SIGKILL)
            eventually(lambda pid=pid: not alive(pid), f"the death of sandbox process {pid}")  # type: ignore[misc]


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where servers come from."""
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def server(tmp_path: Path, nursery: Nursery) -> Iterator[ServerProcess]:
    """A running server; whatever it leaves is a failure of the test."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    # A plain user's sandboxes and a mapped root both have to get through to their files.
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        with contextlib.suppress(OSError):
            folder.chmod(0o755)
    server = ServerProcess(data_dir, nursery)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is not None:
            # Killed by the test: the next start finds what it left, and a graceful stop then removes it.
            server.start()
        server.agents()
        server.stop()
    # By number and beginning: their numbers may be others' by now.
    leftovers = {pid for pid, when in server.seen if alive(pid) and began(pid) == when}
    for pid in leftovers:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    assert not leftovers, "sandboxes outlived a graceful stop"
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(data_dir) in line]
    assert not mounts
