"""The server as a process: how it starts, what it refuses, how it ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from skerry.errors import ConfigurationError
from skerry.island import Island
from skerry.island.erase import erase
from skerry.island.server import bind
from skerry.island.settings import Settings
from tests.held import Held

PATIENCE = 60


class Process:
    """A server in a process of its own, and what it says."""

    def __init__(self, data_dir: Path, *arguments: str, **settings: str) -> None:
        command = [sys.executable, "-m", "skerry.island.server", "--data-dir", str(data_dir), "--port", "0", *arguments]
        self.data_dir = data_dir
        environment = {**os.environ, **{f"SKERRY_{name.upper()}": value for name, value in settings.items()}}
        self.popen = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment
        )
        self.said: list[str] = []

    def answering(self) -> None:
        """Wait until it answers."""
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.said.append(line)
            if "answers at" in line:
                return
        raise AssertionError("".join(self.said))

    def ready(self) -> dict[str, Any]:
        """Its `server.json`, once it answers."""
        self.answering()
        return dict(json.loads((self.data_dir / "server.json").read_text()))

    def end(self, number: int | None = None) -> int:
        """Its exit status, after a signal if one is given."""
        if number is not None:
            self.popen.send_signal(number)
        _, rest = self.popen.communicate(timeout=PATIENCE)
        self.said.append(rest)
        return self.popen.returncode

    @property
    def text(self) -> str:
        return "".join(self.said)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "island"
    yield directory
    erase(directory)


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Every process in this list is gone at the end."""
    started: list[Process] = []
    yield started
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.communicate()


def call(url: str, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=PATIENCE)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {PATIENCE} s"
        time.sleep(0.01)


def refuses(url: str) -> bool:
    """Whether nobody listens there any more."""
    try:
        socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def agents(data_dir: Path) -> list[int]:
    """Processes of this user whose command line or working directory speaks of the data directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if str(data_dir) in text and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


@pytest.mark.usefixtures("signals_end_programs")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_says_where_and_leaves_nothing(
    data_dir: Path, processes: list[Process], number: signal.Signals
) -> None:
    processes.append(process := Process(data_dir))
    state = process.ready()
    assert set(state) == {"pid", "url", "started_at", "version", "idle_exit", "origins"}
    assert state["pid"] == process.popen.pid
    assert call(state["url"], "GET", "/healthz")[0] == 200
    # A base URL without a network: every client finds its own word for what is wrong in the body.
    status, told = call(state["url"], "GET", "/v1/vms")
    assert (status, told["code"]) == (404, "not_found")
    assert f"{state['url']}/dispersed" in told["message"] == told["error"] == told["detail"]
    key = json.loads((data_dir / "credentials.json").read_text())["keys"]["arker"]
    vm = call(state["url"], "POST", "/arker/v1/vms/ubuntu/fork", {}, key)[1]["vm_id"]
    body = {"command": "sleep 600", "background": True}
    assert call(state["url"], "POST", f"/arker/v1/vms/{vm}/run", body, key)[0] == 200
    assert (data_dir / "owner.key").stat().st_mode & 0o777 == 0o600
    assert process.end(number) == 0, process.text
    assert not (data_dir / "server.json").exists()
    assert agents(data_dir) == []
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(data_dir) not in mounts
    assert "Traceback" not in process.text


def test_a_foreground_run_gets_time_to_end(data_dir: Path, processes: list[Process]) -> None:
    processes.append(process := Process(data_dir, drain=str(PATIENCE)))
    url = process.ready()["url"]
    key = json.loads((data_dir / "credentials.json").read_text())["keys"]["arker"]
    vm = call(url, "POST", "/arker/v1/vms/ubuntu/fork", {}, key)[1]["vm_id"]
    path = f"/arker/v1/vms/{vm}/run"
    answers: list[Any] = []
    held = Held("touch begun", "echo whole; exit 0")
    command = {"command": held.shell}
    thread = threading.Thread(target=lambda: answers.append(call(url, "POST", path, command, key)))
    thread.start()
    session = call(url, "POST", f"/arker/v1/vms/{vm}/sessions", {}, key)[1]["session_id"]
    wait = {"command": "until [ -e /home/user/begun ]; do sleep 0.02; done", "session_id": session}
    assert call(url, "POST", path, wait, key)[0] == 200
    process.popen.send_signal(signal.SIGTERM)
    until(lambda: refuses(url), "the end of its listening")
    held.release()
    assert process.end() == 0, process.text
    thread.join(PATIENCE)
    assert answers[0][0] == 200
    assert answers[0][1]["stdout"] == "whole\n"


def test_a_second_server_is_told_about_the_first(data_dir: Path, processes: list[Process]) -> None:
    processes.append(first := Process(data_dir))
    pid = first.ready()["pid"]
    processes.append(second := Process(data_dir))
    assert second.end() == 1
    assert f"pid {pid}" in second.text
    assert "Traceback" not in second.text
    assert (data_dir / "server.json").exists()
    assert first.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "allow_remote"),
        (["--host", "no-such-host.invalid"], "no address"),
        (["--port", "{taken}"], "--port 0"),
    ],
)
def test_addresses_that_cannot_be_had(
    data_dir: Path, processes: list[Process], arguments: list[str], words: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        processes.append(process := Process(data_dir, *(text.format(taken=port) for text in arguments)))
        assert process.end() == 1
    assert words in process.text
    assert "Traceback" not in process.text


def test_a_data_directory_that_cannot_be_used(tmp_path: Path, processes: list[Process]) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    processes.append(process := Process(file / "below"))
    assert process.end() == 1
    assert str(file) in process.text
    assert "Traceback" not in process.text
    assert file.read_text() == "mine"


@pytest.mark.parametrize("size", ["64k", "900k"], ids=["for the database", "for the first keys"])
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, processes: list[Process], size: str) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", mount], check=False).returncode
    ):
        pytest.skip("mounting a small file system needs root")
    try:
        processes.append(process := Process(mount / "island"))
        assert process.end() == 1
        assert "space" in process.text or "full" in process.text
        assert "Traceback" not in process.text
    finally:
        subprocess.run(["umount", mount], check=True)


def test_it_leaves_by_itself_when_idle(data_dir: Path, processes: list[Process]) -> None:
    processes.append(process := Process(data_dir, "--idle-exit", "0.5"))
    process.answering()
    assert process.end() == 0
    assert not (data_dir / "server.json").exists()


def test_it_does_not_leave_while_something_runs(data_dir: Path, processes: list[Process]) -> None:
    # What it finds running when it starts keeps it from the first moment on.
    held = Held("true", "exit 0")
    island = Island(data_dir).start()
    try:
        key = island.key("arker")
        with island.arker() as arker:
            vm = arker.vm("ubuntu").fork()
            run = vm.run(held.shell, background=True)
    finally:
        island.kill()
    processes.append(process := Process(data_dir, "--idle-exit", "0.4"))
    url = process.ready()["url"]
    with pytest.raises(subprocess.TimeoutExpired):
        process.popen.wait(1.2)
    status, told = call(url, "GET", f"/arker/v1/vms/{vm.id}/runs/{run.run_id}", key=key)
    assert (status, told["completed"]) == (200, False)
    held.release()
    assert process.end() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.8.8"])
def test_loopback_needs_no_permission(tmp_path: Path, host: str) -> None:
    bind(Settings(data_dir=tmp_path, host=host, port=0)).close()


def test_everything_else_does(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="allow_remote"):
        bind(Settings(data_dir=tmp_path, host="0.0.0.0", port=0))
    bind(Settings(data_dir=tmp_path, host="0.0.0.0", port=0, allow_remote=True)).close()
