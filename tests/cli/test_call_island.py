"""`skerry call` on a real island: what the client's methods do there, done by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import Outcome, Skerry
from tests.cli.inside import Run, runner


@pytest.fixture
def call(island: Skerry, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """`skerry call arker`, on the module's island."""
    run = runner(island.data_dir, monkeypatch, capsysbinary)

    def arker(*words: str) -> Outcome:
        return run("call", "arker", *words)

    return arker


def test_a_sandbox_from_fork_to_deletion(call: Run, tmp_path: Path) -> None:
    forked = call("vms.fork", "ubuntu", "name=by hand", "durable:=false")
    assert forked.status == 0, forked.stderr
    vm = forked.json["vm_id"]
    assert forked.json["sessions"]

    ran = call("vms.run", vm, "command=echo hi; exit 3", "timeout:=60000", "--idempotency-key", "k")
    assert (ran.status, ran.json["stdout"], ran.json["exit_code"]) == (0, "hi\n", 3)

    (tmp_path / "blob").write_bytes(b"\xff\x00\n")
    written = call("sync.write", vm, "path=/home/user/blob", f"data=@{tmp_path / 'blob'}")
    assert written.status == 0, written.stderr
    assert written.json["results"][0]["written"] is True
    assert call("sync.read", vm, "path=/home/user/blob").stdout == b"\xff\x00\n"
    told = call("sync.read", vm, "path=/home/user/blob", "-o", "json").json
    assert (told["content"], told["encoding"]) == ("/wAK", "base64")

    session = call("sessions.create", vm, "env.A=1").json["session_id"]
    assert session in {one["session_id"] for one in json.loads(call("sessions.list", vm).text)}
    assert call("vms.run", vm, "command=echo $A", f"session_id={session}").json["stdout"] == "1\n"
    assert call("sessions.delete", vm, session).json == {"deleted": True}

    listed = call("vms.list", "--query", "limit=1", "--query", "q=by hand").json
    assert [one["vm_id"] for one in listed["vms"]] == [vm]
    assert call("runs.list", vm, "--query", "limit=1").json["runs"][0]["command"] == "echo $A"
    assert call("vms.delete", vm).json == {"deleted": True}
    assert call("vms.get", vm).status == 5


def test_unknown_fields_reach_the_server_and_its_refusal_us(call: Run) -> None:
    refused = call("vms.fork", "ubuntu", "color=red")
    assert refused.status == 2
    assert "color" in refused.stderr


def test_the_first_call_starts_an_island(skerry: Skerry) -> None:
    called = skerry("call", "arker", "goldens.list")
    assert called.status == 0, called.stderr
    assert called.json["goldens"]
    assert "starting an island" in called.stderr
