"""What the command line decides without an island."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from skerry import errors
from skerry.cli import exits, files, island_link, output
from skerry.cli.copy import _remote
from skerry.cli.main import ROOT_COMMANDS, cli
from skerry.cli.options import Duration, Network, environment, fork_arguments
from skerry.cli.ports import link_of, listening
from skerry.cli.sandbox import LAZY, sandbox
from skerry.cli.watch import encoded
from skerry.networks.arker.models import RunTunnelStatus


@pytest.mark.parametrize("words", [[name, "--help"] for name in ROOT_COMMANDS])
def test_every_command_explains_itself(words: list[str]) -> None:
    shown = CliRunner().invoke(cli, words)
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith("Usage:")


@pytest.mark.parametrize(("group", "table"), [(cli, ROOT_COMMANDS), (sandbox, LAZY)])
def test_names_known_beforehand_are_those_of_the_commands(
    group: click.Group, table: dict[str, tuple[str, str]]
) -> None:
    for name in table:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        assert (command.name, bool(command.help)) == (name, True)


def test_a_typing_mistake_gets_a_guess() -> None:
    shown = CliRunner().invoke(cli, ["snadbox"])
    assert shown.exit_code == 2
    assert "Did you mean `sandbox`?" in shown.output


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.SkerryError, 1),
        (errors.InvalidRequestError, 2),
        (errors.BudgetExceededError, 3),
        (errors.PermissionDeniedError, 4),
        (errors.NotFoundError, 5),
        (errors.NoCapacityError, 6),
        (errors.DeadlineExceededError, 7),
        (errors.UnavailableError, 8),
        (errors.ConnectionFailedError, 8),
        (errors.BusyError, 9),
    ],
)
def test_errors_become_statuses_by_what_they_mean(error: type[errors.SkerryError], status: int) -> None:
    assert exits.status_of(error("x")) == status


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["status", "-o", "json"], True),
        (["status", "--output=json"], True),
        (["status", "-o", "table"], False),
        (["run", "--", "tool", "-o", "json"], False),
    ],
)
def test_json_is_recognised_even_where_the_rest_is_wrong(
    words: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SKERRY_OUTPUT", raising=False)
    assert output.wants_json(words) is expected


def test_errors_in_json_keep_their_facts_and_name_the_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_error(errors.NotFoundError("no such sandbox", network="arker", code="not_found"), 5, as_json=True)
    captured = capsys.readouterr()
    told = json.loads(captured.err)
    assert captured.out == ""
    assert told["schema"] == "skerry.error/1"
    assert (told["error"], told["code"], told["exit_code"]) == ("NotFoundError", "not_found", 5)
    assert "skerry sandbox ls" in told["next"]


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFoundError("no such file here: x"),
        errors.UnavailableError("the registry cannot be reached", network="island"),
        errors.NotFoundError("there is no image; `skerry image pull x` fetches one", network="island"),
    ],
)
def test_no_next_step_is_named_that_would_lead_astray(error: errors.SkerryError) -> None:
    assert exits.next_step(error) is None


def test_what_a_machine_cannot_do_has_nothing_to_do_with_money() -> None:
    step = exits.next_step(errors.UnsupportedError("no builder is here"))
    assert step is not None
    assert "balance" not in step
    assert "skerry doctor" in step


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(2, "No such file or directory", "/a/b"), "skerry: /a/b: No such file or directory\n"),
        (
            errors.InvalidRequestError("Validation failed", details=[{"field": "name", "message": "Too small"}]),
            "skerry: Validation failed\n  name: Too small\n",
        ),
        (
            errors.InvalidRequestError("name: is short", details=[{"path": ["name"], "message": "is short"}]),
            "skerry: name: is short\n",
        ),
        (
            errors.NotFoundError("rejected: Node not found", details=[{"id": 0, "reason": "Node not found"}]),
            "skerry: rejected: Node not found\n",
        ),
    ],
)
def test_an_error_is_told_once_and_in_words(error: Exception, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.print_error(error, 1, as_json=False)
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "--data-dir", ""], "it is empty"),
        (["run", "--memory", "99999999999999999999G", "--", "true"], "more than any machine has"),
        (["run", "--disk", "0", "--", "true"], "nothing at all"),
        (["sandbox", "run", "vmh-any", "--"], "no command is given"),
        (["vpn", "up", "--file", "/nonexistent/wg0.conf"], "there is no directory /nonexistent"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(words: list[str], said: str) -> None:
    told = CliRunner().invoke(cli, words)
    assert told.exit_code == 2
    assert said in told.output


def test_a_file_for_an_image_is_looked_for_before_an_island_is_started(tmp_path: Path) -> None:
    where = {"SKERRY_DATA_DIR": str(tmp_path)}
    told = CliRunner(env=where).invoke(cli, ["image", "define", "job", "--file", "absent.sh:/opt/job.sh"])
    assert not list(tmp_path.iterdir())
    assert isinstance(told.exception, errors.NotFoundError)
    assert "absent.sh" in str(told.exception)
    assert exits.next_step(told.exception) is None


def test_a_table_in_a_pipe_is_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["id", "state"], [("a", "idle"), ("longer", None)], empty="none")
    assert capsys.readouterr().out == "ID      STATE\na       idle\nlonger\n"


def test_an_empty_table_says_so_beside_the_payload(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["id"], [], empty="nothing here")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "nothing here\n")


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("none", {"type": "blocked"}),
        ("open", {"type": "open"}),
        ("allow:a.example,b.example:443", {"type": "allow", "allow": ["a.example", "b.example:443"]}),
        ("block:10.0.0.0/8", {"type": "block", "block": ["10.0.0.0/8"]}),
    ],
)
def test_network_policies_are_told_in_the_networks_words(text: str, policy: dict[str, object]) -> None:
    assert Network()(text) == policy


@pytest.mark.parametrize("text", ["", "some", "allow:", "none:x", "open:x"])
def test_other_network_policies_are_usage_errors(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Network()(text)


def test_only_what_was_asked_for_reaches_the_fork() -> None:
    nothing = {"image": None, "cpus": None, "memory": None, "disk": None, "network": None}
    assert fork_arguments(**nothing, durable=False) == {}
    some = {**nothing, "cpus": 2, "memory": (1 << 20) + 1}
    assert fork_arguments(**some, durable=True) == {"vcpu_count": 2, "memory_mib": 2, "durable": True}


def test_variables_are_given_or_taken_from_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSED_ON", "ours")
    assert environment(("A=1", "B=", "C=x=y", "PASSED_ON")) == {"A": "1", "B": "", "C": "x=y", "PASSED_ON": "ours"}
    monkeypatch.delenv("PASSED_ON")
    for wrong in ("PASSED_ON", "=x"):
        with pytest.raises(errors.InvalidRequestError):
            environment((wrong,))


def test_files_go_to_the_home_directory_unless_told_otherwise(tmp_path: Path) -> None:
    source = tmp_path / "job.py"
    source.write_text("")
    assert files.parse_file(str(source)) == (source, "/home/user/job.py")
    assert files.parse_file(f"{source}:in/") == (source, "/home/user/in/job.py")
    assert files.parse_file(f"{source}:/opt/x") == (source, "/opt/x")
    with pytest.raises(errors.NotFoundError):
        files.parse_file(str(tmp_path / "absent"))


def test_one_side_of_a_copy_is_remote() -> None:
    assert _remote("vmh-1:a/b") == ("vmh-1", "a/b")
    assert _remote("./x:y") is None
    assert _remote("plain") is None


def test_listening_ports_are_read_from_the_kernels_table() -> None:
    table = """  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000
   1: 0100007F:0016 0100007F:C350 01 00000000:00000000
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0
   1: 00000000000000000000000001000000:0BB8 00000000000000000000000000000000:0000 0A 0
"""
    assert listening(table) == [3000, 8080]


def test_the_link_of_a_private_port_has_its_pass() -> None:
    url = "http://8080-01kr4an62t47vxq0a3avsswftz-skry.localhost:4242/"
    told = f"private: send your key as a bearer token, or open {url}?skerry_pass=a.b-c_d"
    private = RunTunnelStatus(
        port=8080, visibility="private", protocol="http", status="open", run_id="r", url=url, message=told
    )
    public = RunTunnelStatus(port=8080, visibility="public", protocol="http", status="open", run_id="r", url=url)
    assert link_of(private) == f"{url}?skerry_pass=a.b-c_d"
    assert link_of(public) == url


@pytest.mark.parametrize("text", ["0", "0s", "-1s", "soon"])
def test_a_time_limit_has_to_be_some_time(text: str) -> None:
    with pytest.raises(click.UsageError):
        Duration()(text)


def test_the_file_of_a_killed_island_is_not_believed_when_its_follower_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    facts = {"url": "http://127.0.0.1:9", "pid": gone.pid, "version": "1", "started_at": "2026-01-01T00:00:00Z"}
    (tmp_path / "server.json").write_text(json.dumps(facts))
    (tmp_path / "owner.key").write_text("key")
    (tmp_path / "credentials.json").write_text('{"keys": {}}')
    monkeypatch.setattr(island_link, "_answers", lambda _: True)
    assert island_link.find(tmp_path) is None


def test_output_that_is_not_text_becomes_base64() -> None:
    assert encoded("Größe".encode()) == ("Größe", "utf-8")
    assert encoded(b"\xff\x00") == ("/wA=", "base64")


def _tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for info, content in entries:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive.getvalue()


def _entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_an_archive_from_a_sandbox_is_unpacked(tmp_path: Path) -> None:
    files.unpack(
        _tar(
            (_entry("./", tarfile.DIRTYPE), b""),
            (_entry("./sub", tarfile.DIRTYPE), b""),
            (_entry("./sub/a.txt"), b"hello"),
            (_entry("./link", tarfile.SYMTYPE, "sub/a.txt"), b""),
        ),
        tmp_path / "out",
    )
    assert (tmp_path / "out/sub/a.txt").read_bytes() == b"hello"
    assert (tmp_path / "out/link").read_bytes() == b"hello"


@pytest.mark.parametrize("name", ["../evil", "/evil", "sub/../../evil", ".."])
def test_an_archive_cannot_reach_beyond_its_target(name: str, tmp_path: Path) -> None:
    with pytest.raises(errors.ProtocolError):
        files.unpack(_tar((_entry(name), b"x")), tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_an_archive_cannot_lay_a_link_and_write_through_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    crooked = _tar((_entry("door", tarfile.SYMTYPE, str(outside)), b""), (_entry("door/evil"), b"x"))
    files.unpack(crooked, tmp_path / "out")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_our_command(shell: str) -> None:
    shown = CliRunner().invoke(cli, ["completion", shell])
    assert shown.exit_code == 0
    assert "_SKERRY_COMPLETE" in shown.output


def test_completion_completes() -> None:
    environment = {"_SKERRY_COMPLETE": "bash_complete", "COMP_WORDS": "skerry sandbox f", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "skerry"], env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["plain,fork"]
