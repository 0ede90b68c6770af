"""Runs, sandboxes, files, images and logs from the command line, against one island."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.command import DEADLINE, Skerry


def sandboxes(island: Skerry) -> set[str]:
    return {vm["vm_id"] for vm in island("sandbox", "ls", "-o", "json").json["sandboxes"]}


@pytest.fixture
def box(island: Skerry) -> str:
    forked = island("sandbox", "fork")
    assert forked.status == 0, forked.stderr
    return forked.text.strip()


def test_run_passes_streams_and_status_through(island: Skerry) -> None:
    before = sandboxes(island)
    done = island("run", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.status, done.stdout, done.stderr) == (7, b"out\n", "err\n")
    assert sandboxes(island) == before


def test_run_passes_words_through_unchanged(island: Skerry) -> None:
    words = ["a b", "$HOME", "*", "'quoted'", ""]
    done = island("run", "--", "python3", "-c", "import sys; print(sys.argv[1:])", *words)
    assert done.text == f"{words}\n"


def test_a_program_that_is_not_there_is_127(island: Skerry) -> None:
    assert island("run", "--", "no-such-program").status == 127


def test_a_time_out_is_124(island: Skerry) -> None:
    assert island("run", "--timeout", "300ms", "--", "sleep", "60").status == 124


def test_run_in_json_has_output_cost_and_isolation(island: Skerry) -> None:
    done = island("run", "-o", "json", "--keep", "--", "sh", "-c", "printf 'a\\377'; exit 3")
    told = done.json
    assert done.status == told["exit_code"] == 3
    assert (told["schema"], told["stdout"], told["stdout_encoding"]) == ("skerry.run/1", "Yf8=", "base64")
    assert float(told["cost"]["amount"]) > 0
    assert told["isolation"]["active"]
    assert told["sandbox_id"] in sandboxes(island)


def test_files_variables_and_standard_input_reach_the_command(island: Skerry, tmp_path: Path) -> None:
    job = tmp_path / "job.sh"
    job.write_text('#!/bin/sh\ncat "$WHERE" -\n')
    job.chmod(0o755)
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "note").write_text("from the tree, ")
    words = ["-f", str(job), "-f", f"{tree}:data", "-e", "WHERE=data/deep/note", "-i"]
    done = island("run", *words, "--", "./job.sh", stdin=b"from stdin")
    assert (done.status, done.text) == (0, "from the tree, from stdin"), done.stderr


def test_standard_input_leaves_nothing_in_a_sandbox_that_stays(island: Skerry, box: str) -> None:
    done = island("sandbox", "run", "-i", box, "--", "sh", "-c", "cat; exit 3", stdin=b"once")
    assert (done.status, done.text, done.stderr) == (3, "once", "")
    assert ".skerry" not in island("sandbox", "run", box, "--", "ls", "-A").text


def test_a_reader_that_goes_away_ends_the_command_and_takes_the_sandbox_along(island: Skerry) -> None:
    before = sandboxes(island)
    with island.popen("run", "--", "yes", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"y\n"
        running.stdout.close()
        assert running.wait(DEADLINE) == 141
    assert sandboxes(island) == before


def test_output_that_cannot_be_written_ends_the_command_and_is_reported(island: Skerry) -> None:
    before = sandboxes(island)
    with Path("/dev/full").open("wb") as full, island.popen("run", "--", "yes", stdout=full, stderr=-1) as running:
        _, errors = running.communicate(timeout=DEADLINE)
    assert (running.returncode, errors) == (1, b"skerry: [Errno 28] No space left on device\n")
    assert sandboxes(island) == before


def test_standard_streams_may_be_closed(island: Skerry) -> None:
    closed = 'exec "$@" <&- >&- 2>&-'
    words = [sys.executable, "-m", "skerry", "run", "--", "sh", "-c", "echo a; exit 6"]
    done = subprocess.run(["sh", "-c", closed, "sh", *words], env=island.environment, timeout=DEADLINE)
    assert done.returncode == 6


def test_output_beyond_the_limit_is_said_to_be_missing(island: Skerry) -> None:
    done = island("run", "--", "head", "-c", str((16 << 20) + 1000), "/dev/zero")
    assert (done.status, len(done.stdout)) == (0, 16 << 20)
    assert done.stderr == "skerry: 1000 bytes of output beyond the limit were dropped\n"


def test_a_sandbox_that_is_kept_is_named(island: Skerry) -> None:
    done = island("run", "--keep", "--", "true")
    assert done.stderr.startswith("skerry: vmh-")
    assert done.stderr.split()[1] in sandboxes(island)


def test_a_detached_run_is_found_again(island: Skerry) -> None:
    started = island("run", "--detach", "--", "sh", "-c", "echo one; exit 5")
    run_id = started.text.strip()
    followed = island("logs", "--follow", run_id)
    assert (followed.status, followed.text) == (5, "one\n")
    assert island("logs", run_id).text == "one\n"
    assert run_id in {run["id"] for run in island("logs", "-o", "json").json["runs"]}


def test_a_forked_sandbox_has_its_parents_files(island: Skerry, box: str) -> None:
    assert island("sandbox", "run", box, "--", "sh", "-c", "echo parent > f; cd /tmp").status == 0
    child = island("sandbox", "fork", box).text.strip()
    island("sandbox", "run", child, "--", "sh", "-c", "echo child > /home/user/f")
    assert island("sandbox", "run", box, "--", "cat", "/home/user/f").text == "parent\n"
    removed = island("sandbox", "rm", box, child)
    assert removed.text.split() == [box, child]
    assert island("sandbox", "run", box, "--", "true").status == 5


def test_copying_files_in_and_out(island: Skerry, box: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"\x00binary\xff")
    assert island("sandbox", "cp", str(tmp_path / "in"), f"{box}:copy").status == 0
    assert island("sandbox", "cp", f"{box}:copy", str(tmp_path / "out")).status == 0
    assert (tmp_path / "out" / "a").read_bytes() == b"\x00binary\xff"
    assert island("sandbox", "cp", str(tmp_path / "in" / "a"), f"{box}:/tmp/deep/a").status == 0
    assert island("sandbox", "cp", f"{box}:/tmp/deep/a", "-").stdout == b"\x00binary\xff"
    missing = island("sandbox", "cp", f"{box}:nothing", str(tmp_path))
    assert missing.status == 5
    assert island("sandbox", "cp", "a", "b").status == 2
    endless = island("sandbox", "cp", f"{box}:/dev/zero", "-")
    assert (endless.status, "neither a file nor a directory: /dev/zero" in endless.stderr) == (2, True)
    assert island("sandbox", "cp", str(tmp_path / "in" / "a"), f"{box}:/usr/bin/a").status == 1
    assert ".skerry-" not in island("sandbox", "run", box, "--", "ls", "-A", "/home/user").text


def test_ports_that_listen_are_listed_with_their_urls(island: Skerry, box: str) -> None:
    serve = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "11")
        self.end_headers()
        self.wfile.write(b"from inside")
server = http.server.HTTPServer(("127.0.0.1", 8123), Page)
print("up", flush=True)
server.serve_forever()
"""
    run_id = island("sandbox", "run", "--detach", box, "--", "python3", "-c", serve).text.strip()
    with island.popen("logs", "--follow", run_id, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as log:
        assert log.stdout is not None
        assert log.stdout.readline() == b"up\n"
        log.kill()
    (port,) = island("sandbox", "ports", box, "-o", "json").json["ports"]
    assert (port["port"], port["visibility"]) == (8123, "private")
    assert port["url"].startswith(f"http://8123-{box}.localhost:")
    assert (fetch(port["url"]).status, fetch(port["link"]).status) == (401, 303)
    key = island("env", "-o", "json").json["variables"]["ARKER_API_KEY"]
    answer = fetch(port["url"], {"authorization": f"Bearer {key}"})
    assert (answer.status, answer.body) == (200, b"from inside")
    (port,) = island("sandbox", "ports", "--public", box, "-o", "json").json["ports"]
    assert (port["link"], fetch(port["url"]).body) == (port["url"], b"from inside")
    # The server was left in a session of its own: the default one is free.
    assert island("sandbox", "run", box, "--", "echo", "free").text == "free\n"
    island("sandbox", "rm", box)


@dataclass
class Answer:
    status: int
    body: bytes


def fetch(url: str, headers: dict[str, str] | None = None) -> Answer:
    """GET without a resolver: every island answers on loopback, and the name goes into the Host header."""
    parts = urlsplit(url)
    with closing(HTTPConnection("127.0.0.1", parts.port, timeout=DEADLINE)) as connection:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"host": parts.netloc, **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, response.read())


def test_the_ids_of_sandboxes_are_completed(island: Skerry, box: str) -> None:
    asked = {"_SKERRY_COMPLETE": "bash_complete", "COMP_WORDS": f"skerry sandbox run {box[:8]}", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "skerry"],
        env={**island.environment, **asked},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert f"plain,{box}" in done.stdout.split(), done.stderr


def test_an_empty_name_is_told_apart_from_a_list(island: Skerry) -> None:
    for words in (["sandbox", "rm", ""], ["logs", ""], ["image", "show", ""]):
        refused = island(*words)
        assert (refused.status, "must not be empty" in refused.stderr) == (2, True), words
    absent = island("logs", "01absent")
    assert (absent.status, "`skerry logs`" in absent.stderr) == (5, True)


def test_a_name_mistyped_keeps_no_other_sandbox(island: Skerry, box: str) -> None:
    done = island("sandbox", "rm", "vmh-mistyped", box)
    assert (done.status, done.text) == (5, f"{box}\n")
    assert "vmh-mistyped" in done.stderr
    assert box not in sandboxes(island)


def test_the_host_image_is_always_there(island: Skerry) -> None:
    assert "host" in {image["name"] for image in island("image", "ls", "-o", "json").json["images"]}
    assert island("image", "rm", "host").status == 2
    assert island("run", "--image", "no-such-image:1", "--", "true").status == 5


def test_an_image_is_imported_used_and_removed(island: Skerry, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for part in ("bin", "etc"):
        (root / part).mkdir(parents=True)
    (root / "etc" / "motto").write_text("small and rocky\n")
    tar = tmp_path / "root.tar"
    subprocess.run(["tar", "-C", root, "-cf", tar, "."], check=True)
    made = island("image", "import", str(tar), "--name", "tiny")
    assert made.status == 0, made.stderr
    box = island("sandbox", "fork", "--image", "tiny").text.strip()
    island("sandbox", "rm", box)
    assert island("image", "rm", "tiny").status == 0


def test_an_image_is_defined_shown_used_and_removed(island: Skerry, tmp_path: Path) -> None:
    (tmp_path / "motto").write_text("small and rocky\n")
    made = island(
        *("image", "define", "greeter", "--entrypoint", "echo 'hello there'", "--cmd", "you", "--env", "A=b=c"),
        *("--workdir", "/srv", "--user", "user", "--file", f"{tmp_path / 'motto'}:/srv/motto"),
    )
    assert (made.status, made.text) == (0, "greeter:latest\n"), made.stderr
    program = island("image", "show", "greeter", "-o", "json").json["image"]["program"]
    assert program["env"].pop("A") == "b=c"
    assert (program["entrypoint"], program["command"]) == (["echo", "hello there"], ["you"])
    assert (program["working_dir"], program["user"]) == ("/srv", "user")
    assert "echo 'hello there' you" in island("image", "ls").text
    assert "hello there" in island("image", "show", "greeter").text
    box = island("sandbox", "fork", "--image", "greeter").text.strip()
    assert island("sandbox", "run", box, "--", "sh", "-c", "cat /srv/motto; echo $A").text == "small and rocky\nb=c\n"
    assert island("image", "rm", "greeter").status == 9
    island("sandbox", "rm", box)
    assert island("image", "rm", "greeter").status == 0
    for words in (["--file", "nothing"], ["--env", "A"], ["--entrypoint", "'"], ["--from", "absent"]):
        assert island("image", "define", "greeter", *words).status in (2, 5)
    assert island("image", "show", "greeter").status == 5


def test_a_command_that_reads_no_further_ends_us_silently(island: Skerry) -> None:
    with island.popen("logs", "-o", "json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        listing.stdout.close()
        errors = listing.stderr.read()
        listing.wait(DEADLINE)
    assert errors == b""


# For how long it waits to be interrupted once more is decided beforehand.
WAITING = "from skerry.cli import main, watch; watch.SECOND_CHANCE = {}; main.main()"


def interrupted(island: Skerry, times: int) -> tuple[int, str, str]:
    """Start a long run, press Ctrl-C so many times, and give status, its sandbox and what was said."""
    before = sandboxes(island)
    program = [sys.executable, "-c", WAITING.format(0.1 if times == 1 else DEADLINE)]
    command = [*program, "run", "--", "sh", "-c", "echo ready; sleep 300"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=island.environment, **pipes) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline() == b"ready\n"
        run.send_signal(signal.SIGINT)
        said = b""
        while b"again within" not in said:
            piece = os.read(run.stderr.fileno(), 4096)
            assert piece, said
            said += piece
        if times > 1:
            run.send_signal(signal.SIGINT)
        said += run.stderr.read()
        run.wait(DEADLINE)
    (box,) = (sandboxes(island) - before) or {""}
    return run.returncode, box, said.decode()


@pytest.mark.usefixtures("signals_end_programs")
def test_ctrl_c_once_detaches(island: Skerry) -> None:
    status, box, said = interrupted(island, 1)
    assert status == 130
    assert f"goes on in {box}" in said
    assert "skerry logs --follow" in said
    island("sandbox", "rm", box)


@pytest.mark.usefixtures("signals_end_programs")
def test_ctrl_c_twice_cancels_and_tidies_up(island: Skerry) -> None:
    status, box, said = interrupted(island, 2)
    assert status in {130, 137, 143}
    assert "cancelled" in said
    assert box == ""
