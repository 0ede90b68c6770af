"""`skerry call` against a server that verifies every signature, and against nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skerry.cli.networks import NETWORKS, Network, identifiers
from skerry.cli.signature import Signature
from tests.cli.inside import Run, pretend_island, runner
from tests.networks.dispersed.server import OWNER_KEY, PUBLIC_KEY, SECRET_KEY, SignedServer

U = "019582a6-27fc-731d-af0a-594f04d6d0d5"
OPERATIONS = [(network, name) for network in NETWORKS.values() for name in network.operations]


@pytest.fixture
def skerry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """The command line on an empty data directory."""
    return runner(tmp_path / "island", monkeypatch, capsysbinary)


@pytest.fixture
def asking(skerry: Run, server: SignedServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line in an environment that names the server."""
    monkeypatch.setenv("DISPERSED_PUBLIC_KEY", PUBLIC_KEY)
    monkeypatch.setenv("DISPERSED_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("DISPERSED_API_BASE_URL", server.url)
    return skerry


def page(number: int, total: int, *objects: str) -> tuple[int, bytes]:
    """One page of two objects each."""
    return 200, f'{{"data":[{",".join(objects)}],"page":{number},"limit":2,"total":{total}}}'.encode()


SAMPLES: dict[str, Any] = {
    "text": "x",
    "integer": 1,
    "object": {},
    "BATCH or PERSISTENT": "BATCH",
    "docker": "docker",
    "money, such as 12.50 SAR": "12.50 SAR",
}


def sample(network: Network, name: str) -> list[str]:
    """Words of a call with nothing but what is required."""
    operation = network.operations[name]
    words = [f"id-{at}" for at, _ in enumerate(identifiers(operation))]
    for argument in Signature(network, operation).described:
        if argument.place == "body" and argument.required and argument.type != "object":
            value = SAMPLES.get(argument.type, "x")
            words.append(f"{argument.name}:={json.dumps(value)}")
        if argument.place == "query" and argument.required:
            words += ["--query", f"{argument.name}=x"]
    return words


@pytest.mark.parametrize(("network", "name"), OPERATIONS, ids=[f"{n.name}-{name}" for n, name in OPERATIONS])
def test_every_operation_can_be_called(
    skerry: Run, monkeypatch: pytest.MonkeyPatch, network: Network, name: str
) -> None:
    monkeypatch.setenv("ARKER_API_KEY", "ark_live_0123456789abcdef")
    monkeypatch.setenv("ARKER_BASE_URL", "http://127.0.0.1:9/base")
    monkeypatch.setenv("DISPERSED_PUBLIC_KEY", "pk_1")
    monkeypatch.setenv("DISPERSED_SECRET_KEY", "sk_0123456789abcdef")
    monkeypatch.setenv("DISPERSED_API_BASE_URL", "http://127.0.0.1:9/base")
    monkeypatch.setenv("OCTA_API_KEY", "octa0123456789abcdef")
    monkeypatch.setenv("OCTA_BASE_URL", "http://127.0.0.1:9/base")
    monkeypatch.setenv("DCP_RENTER_KEY", "dc1-renter-0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("SKERRY_DC1_PROVIDER_KEY", "dc1-provider-0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("DC1_ADMIN_TOKEN", "admin-token-of-the-operator")
    monkeypatch.setenv("API_BASE", "http://127.0.0.1:9/base")
    operation = network.operations[name]
    assert operation.summary
    words = sample(network, name)
    if name == "job_recipes.create":
        words.append("payload:={}")
    if name == "nodes.update_prices":
        words.append("base:=1")
    if name == "provider.readiness":
        words.append("checks:={}")
    if operation.request is not None:
        words += ["--data", "{}"]
    told = skerry("call", network.name, name, *words, "--dry-run", "-o", "json")
    assert told.status == 0, told.stderr
    ids = {key: f"id-{at}" for at, key in enumerate(identifiers(operation))}
    # A key that the client itself puts into the path is masked as one in the query is.
    path = operation.path.format(**{"key": "***", **ids})
    assert told.json["method"] == operation.method
    assert told.json["url"].partition("?")[0] == f"http://127.0.0.1:9/base{path}"
    assert "0123456789abcdef" not in told.text
    assert "admin-token-of-the-operator" not in told.text
    assert "0123456789abcdef" not in told.text


def test_networks_and_operations_are_listed(skerry: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [row["name"] for row in skerry("call", "-o", "json").json["networks"]] == list(NETWORKS)
    assert skerry("call", "--list").text == skerry("call").text
    for network in NETWORKS.values():
        listed = skerry("call", network.name, "-o", "json").json["operations"]
        assert [row["name"] for row in listed] == list(network.operations)
        assert skerry("call", network.name, "--list").text.count("\n") == len(listed) + 1
    monkeypatch.setenv("ZER_PUBLIC_KEY", "pk_old")
    shown = skerry("call").text
    assert "as ZER_PUBLIC_KEY say" in shown
    assert "pk_old" not in shown


def test_what_a_call_takes_is_told_from_its_types(skerry: Run) -> None:
    told = skerry("call", "dispersed", "jobs.create", "--describe", "-o", "json").json
    assert (told["method"], told["path"], told["takes_idempotency_key"]) == ("POST", "/v1/jobs", True)
    arguments = {argument["name"]: argument for argument in told["arguments"]}
    assert arguments["task"] == {"name": "task", "place": "body", "type": "BATCH or PERSISTENT", "required": True}
    assert arguments["max_timeout_run_ms"]["type"] == "integer or null"
    assert not arguments["max_timeout_run_ms"]["required"]
    assert arguments["parameters.parameters.ports"]["type"] == "list of integer"
    recipe = skerry("call", "dispersed", "job_recipes.create", "--describe", "-o", "json").json["arguments"]
    assert [argument["name"] for argument in recipe if argument["required"]] == ["name", "payload"]
    jobs = skerry("call", "dispersed", "jobs.list", "--describe", "-o", "json").json
    assert jobs["paged"]
    places = {argument["name"]: (argument["place"], argument["type"]) for argument in jobs["arguments"]}
    assert places["limit"] == ("query", "integer")
    assert places["status"] == ("filter", "text")
    assert places["cpu_count"] == ("filter", "number")
    assert not {"headers", "timeout", "retry", "cancel", "filter"} & set(places)
    run = skerry("call", "arker", "vms.run", "--describe").text
    assert "POST /v1/vms/{vm_id}/run  Run a command" in run
    assert [line.split() for line in run.splitlines() if line.startswith("command")] == [
        ["command", "body", "text", "yes"]
    ]
    assert "it takes no arguments" in skerry("call", "arker", "health", "--describe").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dispersd"], "Did you mean `dispersed`?"),
        (["nowhere"], "There are arker, dispersed"),
        (["dispersed", "jobs.creat"], "Did you mean `jobs.create`?"),
        (["dispersed", "jobs.get"], "jobs.get needs UUID"),
        (["dispersed", "jobs.get", ""], "jobs.get needs UUID"),
        (["dispersed", "jobs.cancel", "reason=x"], "jobs.cancel needs UUID before any field"),
        (["dispersed", "jobs.get", U, "a=1"], "jobs.get takes no body"),
        (["dispersed", "jobs.get", U, "extra"], "sets no field"),
        (["dispersed", "jobs.get", U, "--query", "a=1"], "jobs.get takes no query"),
        (["dispersed", "jobs.get", U, "--filter", "a=1"], "jobs.get takes no filters"),
        (["dispersed", "jobs.get", U, "--all"], "answers without pages"),
        (["dispersed", "jobs.list", "--all", "--raw"], "choose one"),
        (["dispersed", "jobs.list", "--filter", "status"], "--filter takes NAME=VALUE"),
        (["dispersed", "jobs.list", "--header", "secret-thing"], "--header takes 'NAME: VALUE'"),
        (["dispersed", "jobs.list", "--retries", "-1"], "-1"),
        (["dispersed", "jobs.list", "--idempotency-key", "k"], "takes no idempotency key"),
        (["dispersed", "jobs.create"], "jobs.create needs a body"),
        (["dispersed", "jobs.create", "title=a\udcff"], "not Unicode text"),
        (["dispersed", "jobs.create", 'title:="\\ud800"', "--header", "x: é"], "printable ASCII"),
        (["arker", "vms.run", "vm"], "vms.run needs command"),
        (["arker", "vms.run", "vm", 'command:="\\ud800"'], "not Unicode text"),
        (["arker", "sync.write", "vm", "path=/x", "data:=5"], "data takes text, or a file"),
        (["arker", "vms.resize", "vm", "color=red"], "the fields vcpu_count"),
        (["arker", "vms.list", "--query", "limit=many"], "--query limit takes integer"),
        (["arker", "vms.list", "--query", "colour=red"], "the query names limit"),
    ],
)
def test_what_cannot_be_called_is_a_usage_error(
    asking: Run, monkeypatch: pytest.MonkeyPatch, server: SignedServer, words: list[str], said: str
) -> None:
    monkeypatch.setenv("ARKER_API_KEY", "k")
    monkeypatch.setenv("ARKER_BASE_URL", server.url)
    refused = asking("call", *words)
    assert refused.status == 2
    assert said in refused.stderr
    assert "secret-thing" not in refused.stderr
    assert server.targets == []


def test_a_body_of_words_arrives_signed(asking: Run, server: SignedServer) -> None:
    server.answers = [(201, b'{"object":"job","hourly_rate_usd":0.350,"big":123456789012345678901234567890}')]
    made = asking(
        *("call", "dispersed", "jobs.create", "title=Hello", "task=BATCH", "max_timeout_run_ms:=60000"),
        *("parameters.type=docker", "parameters.parameters.image=host"),
        *("parameters.parameters.env.SKERRY_COMMAND=echo hi", "--idempotency-key", "once", "--header", "x-a: b"),
    )
    assert made.status == 0, made.stderr
    assert made.text == (
        '{\n  "object": "job",\n  "hourly_rate_usd": 0.350,\n  "big": 123456789012345678901234567890\n}\n'
    )
    assert json.loads(server.bodies[-1]) == {
        "title": "Hello",
        "task": "BATCH",
        "max_timeout_run_ms": 60000,
        "parameters": {"type": "docker", "parameters": {"image": "host", "env": {"SKERRY_COMMAND": "echo hi"}}},
    }
    assert (server.headers[-1]["x-idempotency-key"], server.headers[-1]["x-a"]) == ("once", "b")


def test_bodies_come_from_standard_input_and_files_too(asking: Run, server: SignedServer, tmp_path: Path) -> None:
    assert asking("call", "dispersed", "jobs.create", "--data", "-", "title=b", stdin=b'{"title": "a"}').status == 0
    (tmp_path / "job.json").write_text('{"title": "file"}')
    assert asking("call", "dispersed", "jobs.create", "--data", f"@{tmp_path / 'job.json'}").status == 0
    assert asking("call", "dispersed", "jobs.cancel", U).status == 0
    assert asking("call", "dispersed", "jobs.cancel", U, "--data", "{}").status == 0
    assert server.bodies == [b'{"title":"b"}', b'{"title":"file"}', b"", b"{}"]


def test_queries_filters_and_pages(asking: Run, server: SignedServer) -> None:
    server.answers = [page(1, 3, '{"n": 1.10}', '{"n": 2}'), page(2, 3, '{"n": "é\\u001b"}')]
    words = ("call", "dispersed", "jobs.list", "--filter", "status=RUNNING", "--filter", "status=PENDING")
    found = asking(*words, "--query", "limit=2", "--filter", "title=a b", "--all")
    assert found.text == '{"n":1.10}\n{"n":2}\n{"n":"é\\u001b"}\n'
    query = "filter%5Bstatus%5D=RUNNING%2CPENDING&filter%5Btitle%5D=a%20b&limit=2"
    assert server.targets == [f"/v1/jobs?{query}", f"/v1/jobs?{query}&page=2"]
    server.answers = [page(1, 3, '{"n": 1.10}', '{"n": 2}'), page(2, 3, '{"n": 3}')]
    told = asking("call", "dispersed", "jobs.list", "--all", "-o", "json")
    assert '"n": 1.10' in told.text
    assert (told.json["schema"], told.json["items"]) == ("skerry.call/1", [{"n": 1.1}, {"n": 2}, {"n": 3}])
    server.answers = [page(1, 3, '{"n": 1}', '{"n": 2}')]
    assert asking("call", "dispersed", "jobs.list").json["total"] == 3


def test_the_machines_form(asking: Run, server: SignedServer) -> None:
    server.answers = [(200, b'{"balance_usd": 12.500000}')]
    told = asking("call", "dispersed", "accounts.get_balance", U, "-o", "json")
    assert '"balance_usd": 12.500000' in told.text
    assert {name: told.json[name] for name in ("schema", "network", "operation", "status")} == {
        "schema": "skerry.call/1",
        "network": "dispersed",
        "operation": "accounts.get_balance",
        "status": 200,
    }
    server.answers = [(204, b"")]
    assert asking("call", "dispersed", "ssh_public_keys.delete", U, "-o", "json").json["answer"] is None
    server.answers = [(204, b"")]
    assert asking("call", "dispersed", "ssh_public_keys.delete", U).stdout == b""


def test_raw_is_what_came(asking: Run, server: SignedServer) -> None:
    server.answers = [(200, b'{"object" :"job",\n "n":1.10}')]
    came = asking("call", "dispersed", "jobs.get", U, "--raw")
    assert came.stdout == b'{"object" :"job",\n "n":1.10}'
    assert came.stderr.startswith("HTTP 200\n")
    assert "content-type: application/json" in came.stderr
    server.answers = [(404, b'{"code":"NOT_FOUND","detail":"no such job"}')]
    came = asking("call", "dispersed", "jobs.get", U, "--raw")
    assert (came.status, came.stdout) == (5, b'{"code":"NOT_FOUND","detail":"no such job"}')
    assert came.stderr.startswith("HTTP 404\n")
    assert "skerry: NOT_FOUND: no such job" in came.stderr


def test_errors_keep_their_details_and_statuses(asking: Run, server: SignedServer) -> None:
    problem = {"code": "too_small", "path": ["parameters", "ports", 0], "message": "at least 1\x1b[2J"}
    refusal = json.dumps({"code": "VALIDATION_ERROR", "detail": "the body is wrong", "details": [problem, "odd"]})
    server.answers = [(400, refusal.encode())] * 2
    refused = asking("call", "dispersed", "jobs.create", "title=x")
    assert refused.status == 2
    assert "skerry: VALIDATION_ERROR: the body is wrong\n  parameters.ports.0: at least 1?[2J\n" in refused.stderr
    assert "next:" not in refused.stderr
    told = json.loads(asking("call", "dispersed", "jobs.create", "title=x", "-o", "json").stderr)
    assert (told["code"], told["exit_code"], told["details"]) == ("VALIDATION_ERROR", 2, [problem, "odd"])
    for status, expected in ((401, 4), (402, 3), (403, 4), (404, 5), (409, 9), (429, 6), (500, 8)):
        server.answers = [(status, b"{}")]
        assert asking("call", "dispersed", "jobs.get", U, "--retries", "0").status == expected


def test_the_clients_retries_and_limits_are_ours_to_set(asking: Run, server: SignedServer) -> None:
    server.failures = [503]
    assert asking("call", "dispersed", "jobs.get", U, "--retries", "0").status == 8
    assert len(server.targets) == 1
    server.failures = [503]
    assert asking("call", "dispersed", "jobs.get", U, "--retries", "1", "--timeout", "60s").status == 0
    assert len(server.nonces) == 3


def test_a_rehearsal_sends_nothing_and_shows_no_secret(asking: Run, server: SignedServer) -> None:
    shown = asking(
        *("call", "dispersed", "jobs.create", "title=x", "parameters.parameters.secret=hidden-1", "--dry-run"),
        *("-H", "Cookie: hidden-2", "-H", "X-Auth-Token: hidden-3", "-H", "x-plain: seen"),
    )
    assert shown.status == 0, shown.stderr
    head, _, body = shown.text.partition("\n\n")
    assert head.splitlines()[0] == f"POST {server.url}/v1/jobs"
    assert {"x-api-key: ***", "x-signature: ***", "cookie: ***", "x-plain: seen"} <= set(head.splitlines())
    assert json.loads(body) == {"title": "x", "parameters": {"parameters": {"secret": "***"}}}
    assert "hidden" not in shown.text
    assert SECRET_KEY not in shown.text
    assert server.targets == []


def test_the_environment_decides_unless_told_otherwise(
    asking: Run, server: SignedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_island(tmp_path / "other", server)
    assert asking("call", "dispersed", "accounts.get_me").status == 0
    assert asking("call", "dispersed", "accounts.get_me", "--data-dir", str(tmp_path / "other")).status == 0
    monkeypatch.setenv("SKERRY_DATA_DIR", str(tmp_path / "other"))
    assert asking("call", "dispersed", "accounts.get_me").status == 0
    assert asking("call", "dispersed", "accounts.get_me", "--island").status == 0
    for name in ("DISPERSED_PUBLIC_KEY", "DISPERSED_SECRET_KEY", "DISPERSED_API_BASE_URL"):
        monkeypatch.delenv(name)
    assert asking("call", "dispersed", "accounts.get_me").status == 0
    asked = [target for target in server.targets if not target.startswith("/_island/")]
    here, island = "/v1/accounts/me", "/dispersed/v1/accounts/me"
    assert asked == [here, island, here, island, island]
    unknown = asking("call", "dispersed", "accounts.get_me", "--hosted")
    assert unknown.status == 2
    assert "DISPERSED_PUBLIC_KEY" in unknown.stderr
    assert "--island" in unknown.stderr


def test_a_wrong_place_is_named_when_it_may_be_the_reason(asking: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPERSED_SECRET_KEY", "sk_wrong_0123456789")
    refused = asking("call", "dispersed", "accounts.get_me")
    assert refused.status == 4
    assert "DISPERSED_API_BASE_URL said whom to ask" in refused.stderr
    assert "sk_wrong" not in refused.stderr


def test_an_island_that_does_not_speak_the_network_says_what_it_speaks(
    skerry: Run, server: SignedServer, tmp_path: Path
) -> None:
    pretend_island(tmp_path / "island", server)
    path = tmp_path / "island" / "credentials.json"
    path.write_text(json.dumps({"account": "acc", "keys": {"arker": "ark_live_x", "dispersed": "dsp_x"}}))
    refused = skerry("call", "dispersed", "accounts.get_me")
    assert refused.status == 2
    assert "no keys for 'dispersed'; it speaks arker" in refused.stderr
    assert set(skerry("env", "-o", "json").json["variables"]) == {
        "ARKER_API_KEY",
        "ARKER_BASE_URL",
        "ARKER_BURST_BASE_URL",
    }
    assert skerry("env", "dispersed").status == 2


def test_a_rehearsal_starts_no_island(skerry: Run, tmp_path: Path) -> None:
    refused = skerry("call", "dispersed", "accounts.get_me", "--dry-run")
    assert refused.status == 8
    assert not (tmp_path / "island").exists()


def test_the_environment_of_one_network(skerry: Run, server: SignedServer, tmp_path: Path) -> None:
    pretend_island(tmp_path / "island", server)
    lines = [
        f"export DISPERSED_PUBLIC_KEY={PUBLIC_KEY}",
        f"export DISPERSED_SECRET_KEY={SECRET_KEY}",
        f"export DISPERSED_API_BASE_URL={server.url}/dispersed",
    ]
    assert skerry("env", "dispersed").text.splitlines() == lines
    every = skerry("env").text.splitlines()
    assert every[-3:] == lines
    assert len(every) == 6
    assert skerry("env", "nowhere").status == 2
    up = skerry("up", "--detach", "-o", "json").json
    assert up["base_urls"] == {"arker": f"{server.url}/arker", "dispersed": f"{server.url}/dispersed"}
    told = skerry("up", "--detach").text
    assert f"  dispersed  {server.url}/dispersed\n" in told
    assert OWNER_KEY not in told


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["call", "dis"], ["dispersed"]),
        (["call", "dispersed", "jobs.c"], ["jobs.create", "jobs.cancel"]),
        (["call", "arker", "vms.r"], ["vms.run", "vms.resize"]),
        (["call", "nowhere", "x"], []),
    ],
)
def test_the_shell_completes_networks_and_operations(typed: list[str], offered: list[str]) -> None:
    line = {
        "COMP_WORDS": " ".join(["skerry", *typed]),
        "COMP_CWORD": str(len(typed)),
        "_SKERRY_COMPLETE": "bash_complete",
    }
    done = subprocess.run(
        [sys.executable, "-c", "from skerry.cli.main import main; main()"],
        env={**os.environ, **line},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == [f"plain,{name}" for name in offered], done.stderr
