"""DC1 on a real island, from the command line: its renter, its operator, keys, credit and the environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import Skerry
from tests.cli.inside import Run, runner


@pytest.fixture
def run(island: Skerry, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """The command line on the module's island."""
    return runner(island.data_dir, monkeypatch, capsysbinary)


def balance(run: Run) -> int:
    return int(run("call", "dc1", "renters.balance").json["balance_halala"])


def test_the_renter_and_the_operator_of_the_island(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # The owner's key must not reach a proxy.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert run("call", "dc1", "renters.me").json["renter"]["name"] == "local"
    assert run("call", "dc1", "admin.dashboard").json["stats"]["total_renters"] >= 1
    made = run("call", "dc1", "renters.register", "name=Other", "email=o@example.sa", "organization=Lab")
    assert made.status == 0, made.stderr
    other = made.json["renter_id"]
    listed = run("call", "dc1", "admin.renters", "--query", "search=lab")
    assert [renter["id"] for renter in listed.json["renters"]] == [other]
    given = run("call", "dc1", "admin.credit_renter", str(other), "amount=1.50 SAR", "reason=welcome")
    assert given.json["new_balance"] == 1150, given.stderr
    refused = run("call", "dc1", "admin.credit_renter", str(other), "amount=1.5 USD", "reason=welcome")
    assert refused.status == 2
    assert run("call", "dc1", "admin.credit_renter", str(other), "amount=much", "reason=x").status == 2
    assert run("call", "dc1", "renters.settings", "webhook_url=http://example.com/").status == 2


def test_credit(run: Run) -> None:
    before = balance(run)
    told = run("credit", "add", "50", "--network", "dc1", "--memo", "June")
    assert told.status == 0, told.stderr
    assert told.text.splitlines()[1].split() == ["added", "50.00", "SAR"]
    assert balance(run) == before + 5_000
    as_data = run("credit", "add", "0.01", "--network", "dc1", "-o", "json")
    assert as_data.json["added"] == {"amount": "0.01", "currency": "SAR"}
    assert as_data.json["transaction"]["new_balance"] == before + 5_001
    for words in (["0.001"], ["--", "-1"], ["much"], ["1", "--account", "x"]):
        assert run("credit", "add", "--network", "dc1", *words).status == 2
    assert run("credit", "add", "1", "--network", "dc1", "--account", "999999").status == 5
    assert balance(run) == before + 5_001


def test_a_provider_registers_and_is_shown(run: Run, island: Skerry, tmp_path: Path) -> None:
    base_url = island("env", "dc1", "-o", "json").json["variables"]["API_BASE"]
    elsewhere = ["--data-dir", str(tmp_path)]
    register = ["provider", "register", "--name", "rig", "--email", "rig@example.sa", *elsewhere, "--base-url"]
    refused = run(*register, "http://127.0.0.1:9/dc1")
    assert refused.status == 8
    assert "http://127.0.0.1:9/dc1 was asked" in refused.stderr
    assert "skerry up" not in refused.stderr
    made = run(*register, base_url)
    assert made.status == 0, made.stderr
    assert "skerry provider run" in made.stderr
    shown = run("provider", "status", *elsewhere)
    assert shown.text.splitlines()[1].split() == ["name", "rig"], shown.stderr


def test_keys(run: Run) -> None:
    made = run("key", "create", "--network", "dc1", "--name", "ci", "--scope", "inference", "--scope", "billing")
    assert made.status == 0, made.stderr
    rows = dict(line.split(maxsplit=1) for line in made.text.splitlines())
    assert rows["key"].startswith("dc1-sk-")
    assert rows["scopes"] == "inference, billing"
    assert rows["key"] not in made.stderr
    listed = run("key", "ls", "--network", "dc1")
    assert rows["id"] in listed.text
    assert rows["key"] not in listed.text
    known = run("key", "ls", "--network", "dc1", "-o", "json").json["keys"]
    assert [key["label"] for key in known if key["id"] == rows["id"]] == ["ci"]
    for _ in range(2):
        assert run("key", "revoke", "--network", "dc1", rows["id"]).text == f"{rows['id']}\n"
    assert "revoked" in run("key", "ls", "--network", "dc1").text
    assert run("key", "revoke", "--network", "dc1", "nothing").status == 5
    assert run("key", "create", "--network", "dc1", "--preset", "CONSUMER").status == 2
    assert run("key", "create", "--scope", "inference").status == 2


def test_the_environment(run: Run) -> None:
    told = run("env", "dc1")
    assert told.status == 0, told.stderr
    assert "DCP_RENTER_KEY=" in told.text
    assert "/dc1" in told.text
    assert "own_" not in told.text


def test_what_is_said_of_calls(run: Run) -> None:
    assert "dc1" in run("call").text
    told = json.loads(run("call", "dc1", "renters.save_preset", "--describe", "-o", "json").text)
    assert [argument["name"] for argument in told["arguments"]] == ["..."]
    saved = run("call", "dc1", "renters.save_preset", "name=mine", "job_type=llm_inference", "params:={}")
    assert saved.json["template"]["job_type"] == "llm_inference", saved.stderr


def test_what_comes_piece_by_piece(run: Run) -> None:
    made = run(
        *("call", "dc1", "jobs.create", "job_type=custom_container", "duration_minutes:=1"),
        """params:={"script": "print(6 * 7)"}""",
    )
    assert made.status == 0, made.stderr
    job = made.json["job"]["job_id"]
    told = run("call", "dc1", "jobs.stream_lifecycle", job)
    assert told.status == 0, told.stderr
    events = [json.loads(line) for line in told.text.splitlines()]
    assert events[0]["event_type"] == "job.submitted"
    assert {event["job_id"] for event in events} == {job}
    lines = [
        json.loads(line) for line in run("call", "dc1", "jobs.stream_logs", job, "--query", "since=0").text.splitlines()
    ]
    assert "42" in [line.get("line", line.get("message")) for line in lines]
    assert run("call", "dc1", "jobs.stream_logs", job, "--raw").status == 2
    assert run("call", "dc1", "jobs.stream_logs", job, "--all").status == 2
    assert run("call", "dc1", "jobs.stream_logs", "job-0-nothing").status == 5
