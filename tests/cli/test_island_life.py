"""Starting, finding, stopping and erasing an island from the command line."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from tests import processes
from tests.cli.command import DEADLINE, Skerry

APP = "https://app.example"


def test_nothing_runs_at_first(skerry: Skerry) -> None:
    shown = skerry("status", "-o", "json")
    assert (shown.status, shown.json["running"]) == (8, False)
    refused = skerry("env")
    assert refused.status == 8
    assert "skerry up" in refused.stderr
    assert skerry("down", "-o", "json").json["stopped"] is False


def test_up_status_env_down(skerry: Skerry) -> None:
    up = skerry("up", "--detach", "--origin", APP, "-o", "json")
    assert up.status == 0, up.stderr
    again = skerry("up", "--detach", "-o", "json")
    assert again.json["pid"] == up.json["pid"]
    assert skerry("up").status == 9
    elsewhere = skerry("up", "--detach", "--port", "1")
    assert (elsewhere.status, "not on port 1" in elsewhere.stderr) == (9, True)
    assert skerry("up", "--detach", "--origin", f"{APP}/").status == 0
    others = skerry("up", "--detach", "--origin", "https://other.test")
    assert (others.status, f"for pages of {APP};" in others.stderr) == (9, True)
    statuses = [httpx2.get(up.json["url"], headers={"origin": page}).status_code for page in (APP, "https://evil.test")]
    assert statuses == [200, 403]

    shown = skerry("status", "-o", "json").json
    assert shown["url"] == up.json["url"]
    assert shown["balance"]["currency"] == "USD"
    assert shown["nodes"][0]["state"] == "ready"

    variables = skerry("env", "-o", "json").json["variables"]
    assert variables["ARKER_BASE_URL"] == f"{shown['url']}/arker"
    assert f"export ARKER_API_KEY={variables['ARKER_API_KEY']}" in skerry("env").text
    assert "set -gx ARKER_API_KEY " in skerry("env", "--shell", "fish").text

    assert skerry("down", "-o", "json").json["stopped"] is True
    assert skerry("status").status == 8


def test_keys_are_for_the_owner_alone(skerry: Skerry) -> None:
    skerry("up", "--detach")
    for name in ("owner.key", "credentials.json"):
        assert stat.S_IMODE((skerry.data_dir / name).stat().st_mode) == 0o600


@pytest.mark.usefixtures("signals_end_programs")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_island_in_the_foreground_says_where_it_is_and_ends_on_a_signal(
    skerry: Skerry, number: signal.Signals
) -> None:
    server = skerry.popen("up", "-o", "json", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert server.stdout is not None
    told = b""
    while not told.endswith(b"\n}\n"):
        line = server.stdout.readline()
        assert line, told
        told += line
    assert json.loads(told)["pid"] == server.pid
    server.send_signal(number)
    _, errors = server.communicate(timeout=DEADLINE)
    assert server.returncode == 0, errors


def test_a_killed_island_is_not_mistaken_for_a_running_one(skerry: Skerry) -> None:
    first = skerry("up", "--detach", "-o", "json").json
    os.kill(first["pid"], signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE
    while processes.alive(first["pid"]):
        assert time.monotonic() < deadline, "it outlives its death"
        time.sleep(0.01)
    second = skerry("up", "--detach", "-o", "json")
    assert second.status == 0, second.stderr
    assert second.json["pid"] != first["pid"]


def test_what_refuses_to_start_says_why_as_it_does_in_the_foreground(skerry: Skerry) -> None:
    refused = skerry("up", "--detach", "--host", "192.0.2.1")
    assert refused.status == 2
    assert refused.stderr == skerry("up", "--host", "192.0.2.1").stderr
    refused = skerry("up", "--origin", APP, "--origin", "app.example")
    assert (refused.status, "'app.example' is no web origin" in refused.stderr) == (2, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_disk_without_room_for_a_log_is_named(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", small], check=True)
    try:
        (small / "filler").write_bytes(bytes(4096))
        refused = Skerry(small / "island")("up", "--detach")
        assert refused.status == 2
        assert "no space is left" in refused.stderr
    finally:
        subprocess.run(["umount", small], check=True)


def test_reset_deletes_an_island_and_nothing_else(skerry: Skerry, tmp_path: Path) -> None:
    skerry("up", "--detach")
    assert skerry("sandbox", "fork").status == 0
    asked = skerry("reset")
    assert asked.status == 2
    assert "--yes" in asked.stderr
    erased = skerry("reset", "--yes")
    assert erased.status == 0, erased.stderr
    assert not skerry.data_dir.exists()

    other = Skerry(tmp_path / "precious")
    other.data_dir.mkdir()
    (other.data_dir / "thesis.txt").write_text("years of work")
    assert other("reset", "--yes").status == 2
    assert (other.data_dir / "thesis.txt").exists()


def test_reset_deletes_what_a_provider_left_too(skerry: Skerry) -> None:
    home = skerry.data_dir / "provider"
    home.mkdir(parents=True)
    (home / "account.json").write_text("{}")
    erased = skerry("reset", "--yes")
    assert erased.status == 0, erased.stderr
    assert not skerry.data_dir.exists()


def test_a_data_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file" / "island", tmp_path / "file"):
        refused = Skerry(directory)("run", "--", "true")
        assert refused.status == 2
        assert "is not a directory; choose another with --data-dir or SKERRY_DATA_DIR" in refused.stderr
