"""`skerry machine`, over an island of its own and over a server that stands where the hosted network would."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Skerry
from tests.cli.hosted import Hosted
from tests.cli.inside import Run, runner

ID = "5bf3dcb9-09dc-4eed-9f44-560710d02b0f"
OTHER = "5bf3aaaa-0000-4000-8000-000000000000"
PATIENCE = 60.0
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def run(island: Skerry, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """The command line over the module's island."""
    return runner(island.data_dir, monkeypatch, capsysbinary)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh SSH key; the public half lies beside it."""
    path = tmp_path_factory.mktemp("ssh") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me@here", "-f", path], check=True)
    return path


@pytest.fixture
def rented(run: Run) -> Iterator[Callable[..., str]]:
    """Rents machines, and stops those that are left."""
    made: list[str] = []

    def make(*words: str) -> str:
        told = run("machine", "start", "--image", "host", *words)
        assert told.status == 0, told.stderr
        made.append(told.text.split()[0])
        return made[-1]

    yield make
    left = {one["uuid"] for one in run("machine", "ls", "-o", "json").json["machines"]}
    if left & set(made):
        assert run("machine", "stop", *(left & set(made))).status == 0


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client here")
def test_a_machine_from_key_to_stop(run: Run, island: Skerry, identity: Path, rented: Callable[..., str]) -> None:
    public = identity.with_suffix(".pub")
    assert run("machine", "key", "--only", str(public)).text == public.read_text()
    assert run("machine", "key", str(public)).status == 0
    assert run("machine", "key", "--list").text.split()[1] == public.read_text().split()[1]
    assert len(run("machine", "key", "--list", "-o", "json").json["ssh_public_keys"]) == 1

    offers = run("machine", "offers", "-o", "json").json["offers"]
    assert offers[0]["total_price_wei"] > 0
    assert run("machine", "offers").text.splitlines()[0].split()[0] == "NODE"

    machine = rented("--port", "22", "--http-port", "8080", "-e", "MY_VAR=hello", "--disk", "1G", "--wait")
    listed = run("machine", "ls", "-o", "json").json["machines"]
    assert [one["uuid"] for one in listed] == [machine]
    # What may hold secrets is not in a list.
    assert not {"user_envs", "config", "ssh_web"} & set(listed[0])
    assert run("machine", "ls").text.splitlines()[1].split()[2] == "ready"

    login = ("machine", "ssh", "-i", str(identity), machine[:8], "--")
    done = island(*login, "sh", "-c", 'echo "$MY_VAR $1"; cat; exit 7', "sh", "a  b", stdin=b"typed")
    assert (done.status, done.text) == (7, "hello a  b\ntyped"), done.stderr
    line = run("machine", "ssh", "-o", "json", machine).json["command"]
    assert "StrictHostKeyChecking=yes" in line
    assert line[-1].startswith("root@")

    system = run("machine", "logs", "--system", machine).text
    assert "Container started" in system
    assert run("machine", "stop", machine, "--score", "5").text == f"{machine}\n"
    assert run("machine", "ls").stderr.startswith("no machines")
    assert run("machine", "ls", "-a").text.splitlines()[1].split()[0] == machine
    told = run("machine", "logs", machine, "-o", "json").json
    assert (told["id"], told["container"]) == (machine, "")
    assert run("machine", "stop", machine).status == 5
    assert run("machine", "ssh", machine).status == 5


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client here")
def test_whoever_is_not_the_island_is_refused(
    island: Skerry, run: Run, identity: Path, rented: Callable[..., str]
) -> None:
    machine = rented("--wait")
    line = run("machine", "ssh", "-o", "json", "-i", str(identity), machine).json["command"]
    known = island.data_dir / "ssh" / "known_hosts"
    other = identity.with_suffix(".pub").read_text()
    known.write_text(f"skerry {other}")
    done = subprocess.run([*line, "true"], capture_output=True, timeout=60)
    assert done.returncode == 255
    assert b"verification failed" in done.stderr
    # Our own command puts the true key back.
    run("machine", "ssh", "-o", "json", machine)
    assert other not in known.read_text()


def test_the_output_of_a_command_and_its_failure(run: Run, rented: Callable[..., str]) -> None:
    machine = rented("--command", "sh -c 'echo out; echo err >&2; sleep 1000'", "--wait")
    deadline = time.monotonic() + PATIENCE
    while (told := run("machine", "logs", machine).text) not in ("out\nerr\n", "err\nout\n"):
        assert told in ("", "out\n", "err\n")
        assert time.monotonic() < deadline, told
    assert run("machine", "start", "--image", "host", "--command", "no-such-program", "--wait").status != 0


def test_templates_are_named(run: Run) -> None:
    told = run("machine", "start", "--app", "web SERVER", "--wait", "-o", "json")
    assert told.status == 0, told.stderr
    machine = told.json
    assert machine["app_name"] == "Web server"
    assert machine["urls"]["8080"].startswith("http://8080-")
    assert run("machine", "stop", machine["uuid"]).status == 0
    told = run("machine", "start", "--app", "web server", "--wait")
    assert f"skerry machine logs {told.text[:8]}" in told.stderr
    assert run("machine", "stop", told.text.split()[0]).status == 0
    told = run("machine", "start", "--app", "nothing")
    assert told.status == 5
    assert "Web server" in told.stderr


def test_keys_are_added_or_replaced(run: Run, identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = tmp_path / "second"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", second], check=True)
    run("machine", "key", "--only", str(identity.with_suffix(".pub")))
    run("machine", "key", str(second.with_suffix(".pub")))
    assert len(run("machine", "key", "--list").text.splitlines()) == 2
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "ssh-keygen" in run("machine", "key").stderr
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text(second.with_suffix(".pub").read_text())
    assert run("machine", "key", "--only").status == 0
    assert run("machine", "key", "--list").text.split()[1] == second.with_suffix(".pub").read_text().split()[1]


def test_what_is_no_key_stays_here(run: Run, identity: Path, tmp_path: Path) -> None:
    told = run("machine", "key", str(identity))
    assert told.status == 2
    assert identity.read_text().splitlines()[1] not in told.stderr
    (tmp_path / "empty").write_text("# nothing\n")
    (tmp_path / "wrong").write_text("ssh-ed25519 not-a-key\n")
    for name in ("empty", "wrong"):
        assert run("machine", "key", str(tmp_path / name)).status == 2
    assert run("machine", "key", "--list", "--only").status == 2
    assert run("machine", "key", str(tmp_path / "none")).status != 0


@pytest.mark.parametrize(
    "words",
    [
        ["start"],
        ["start", "--image", "host", "--port", "0"],
        ["start", "--image", "host", "--node", "0"],
        ["start", "--image", "host", "--disk", "0"],
        ["start", "--image", "host", "--disk", "20"],
        ["start", "--image", "host", "-e", "=x"],
        ["start", "--image", "host", "--port", "80", "--http-port", "80"],
        ["stop"],
        ["stop", "x", "--score", "6"],
        ["ssh"],
    ],
)
def test_usage(run: Run, words: list[str]) -> None:
    assert run("machine", *words).status == 2


def test_no_island_is_begun_for_a_look(tmp_path: Path, run: Run) -> None:
    told = run("machine", "ls", "--data-dir", str(tmp_path / "none"))
    assert told.status == 8
    assert not (tmp_path / "none").exists()


def session(uuid: str = ID, **members: Any) -> dict[str, Any]:
    return {"uuid": uuid, "service": "mr", "is_ready": True, "node_id": 7, "started_at": 1776161866303, **members}


def test_the_environment_decides_whom_to_ask(away: Run, hosted: Hosted) -> None:
    reach = {"ssh_proxy": {"host": "px.test", "port": 30005}, "user_envs": {"SECRET": "x"}}
    hosted.answers["GET /sessions"] = [session(**reach), session(OTHER, is_ready=False, progress="pulling image")]
    rows = away("machine", "ls").text.splitlines()
    assert rows[1].split()[:3] == [ID, "7", "ready"]
    assert rows[2].split()[:4] == [OTHER, "7", "pulling", "image"]
    told = away("machine", "ssh", "-o", "json", "5bf3d", "--", "echo", "a b").json
    assert told["command"][-2:] == ["root@px.test", "echo 'a b'"]
    assert "StrictHostKeyChecking=accept-new" in told["command"]
    assert f"HostKeyAlias=octaspace-{ID}" in told["command"]
    assert away("machine", "ssh", "5bf3").status == 2
    assert away("machine", "ssh", OTHER).status == 9
    assert away("machine", "ssh", "0").status == 5
    assert away("machine", "ls", "--island").status == 8


def test_the_cheapest_machine_is_taken(away: Run, hosted: Hosted) -> None:
    hosted.answers["GET /services/mr"] = [
        {"node_id": 1, "total_price_wei": 3 * 10**20},
        {"node_id": 2, "total_price_wei": 10**20},
    ]
    hosted.answers["POST /services/mr"] = [{"id": 0, "uuid": ID}]
    told = away("machine", "start", "--image", "ubuntu:24.04", "--disk", "1.5G", "--entrypoint", "sh")
    assert told.text == f"{ID}\n"
    (item,) = hosted.asked[-1][2]
    assert (item["node_id"], item["disk_size"], item["image"], item["entrypoint"]) == (2, 2, "ubuntu:24.04", "sh")
    hosted.answers["GET /services/mr"] = []
    assert away("machine", "start", "--image", "x").status == 6
    hosted.answers["POST /services/mr"] = [{"id": 0, "reason": "Insufficient balance", "status": 1}]
    assert away("machine", "start", "--image", "x", "--node", "3").status == 3


def test_a_machine_that_takes_too_long_goes_on(away: Run, hosted: Hosted) -> None:
    hosted.answers["POST /services/mr"] = [{"id": 0, "uuid": ID}]
    hosted.answers[f"GET /services/{ID}/info"] = session(is_ready=False, progress="pulling image")
    told = away("machine", "start", "--image", "x", "--node", "3", "--wait", "--timeout", "100ms")
    assert (told.status, told.text) == (7, f"{ID}\n")
    assert "it goes on" in told.stderr
    assert not [path for _, path, _ in hosted.asked if path.endswith("/stop")]


def test_a_machine_that_ends_before_it_is_ready(away: Run, hosted: Hosted) -> None:
    hosted.answers["POST /services/mr"] = [{"id": 0, "uuid": ID}]
    hosted.answers["GET /sessions?recent=true"] = [session(termination_reason=4, finished_at=1776161866304)]
    told = away("machine", "start", "--image", "x", "--node", "3", "--wait")
    assert told.status != 0
    assert told.text == f"{ID}\n"
    assert "before it was ready: start failed" in told.stderr
    told_last = {"msg": "The start has failed: image x is unknown\n", "ts": 1776161866304}
    hosted.answers[f"GET /services/{ID}/logs?recent=true"] = {"system": [told_last], "container": ""}
    told = away("machine", "start", "--image", "x", "--node", "3", "--wait")
    assert told.status == 9
    assert "before it was ready: The start has failed: image x is unknown" in told.stderr


def test_an_empty_id_is_no_beginning_of_one(away: Run, hosted: Hosted) -> None:
    hosted.answers["GET /sessions"] = [session()]
    assert away("machine", "stop", "").status == 2
    assert not [path for _, path, _ in hosted.asked if path.endswith("/stop")]


def test_a_machine_that_is_gone_when_it_is_stopped(away: Run, hosted: Hosted) -> None:
    hosted.answers["GET /sessions"] = [session()]
    assert away("machine", "stop", ID, ID[:6], "-o", "json").json["stopped"] == [ID]
    assert [asked[1] for asked in hosted.asked].count(f"/services/{ID}/stop") == 1


def test_ids_are_completed(island: Skerry, rented: Callable[..., str]) -> None:
    machine = rented()
    program, words = [sys.executable, "-m", "skerry"], f"skerry machine stop {machine[:3]}"
    asked = {**island.environment, "_SKERRY_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "3"}
    done = subprocess.run(program, env=asked, capture_output=True, timeout=60, check=True)
    assert done.stdout.decode() == f"plain,{machine}\n"
    nowhere = {**asked, "SKERRY_DATA_DIR": str(island.data_dir / "none")}
    done = subprocess.run(program, env=nowhere, capture_output=True, timeout=60, check=True)
    assert done.stdout.strip() == b""
