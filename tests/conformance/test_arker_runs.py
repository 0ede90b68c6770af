"""Runs: three shapes, sessions, keys, signals, ends of every kind (protocol sections 2.7, 3.4, 5.3, 5.4)."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from skerry.island.engine.runs import Runs
from skerry.island.faces.arker import patience
from skerry.island.faces.arker.errors import ArkerFault
from skerry.island.faces.arker.running import Running
from skerry.island.island import Island
from tests.conformance.conftest import PATIENCE

if TYPE_CHECKING:
    from tests.conformance.conftest import Raw

COMPLETED = {"stdout", "stdout_encoding", "stderr", "stderr_encoding", "exit_code", "completed"}
STATUS = COMPLETED | {"run_id", "tunnels", "retry_count"}
ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


@pytest.fixture(scope="module")
def vm(island: Island) -> str:
    """One VM for every test that leaves no trace in it."""

    async def make() -> str:
        engine = island.engine
        (account, *_) = await engine.accounts.list()
        record = await engine.sandboxes.create(account.id, id="vmh-runs", network="arker", image="host")
        return str(record.id)

    return str(island.call(make()))


@pytest.mark.parametrize(
    ("command", "stdout", "stderr", "code"),
    [
        ("printf 'no newline'", "no newline", "", 0),
        ("echo out; echo err >&2", "out\n", "err\n", 0),
        ("printf '  spaces kept \\n\\n'", "  spaces kept \n\n", "", 0),
        ("exit 7", "", "", 7),
        ("(exit 300)", "", "", 44),
        ("kill -9 $BASHPID", "", None, 137),
        ("sh -c 'kill -15 $$'", "", None, 143),
        ("no-such-program-anywhere", "", None, 127),
        ("if", "", None, 2),
        ("", "", "", 0),
        ("# nothing but a remark", "", "", 0),
        ('echo "grüße 🪨"', "grüße 🪨\n", "", 0),
        ("cat <<'END'\na\n  b $HOME\nEND", "a\n  b $HOME\n", "", 0),
        ("pwd; echo $HOME", "/home/user\n/home/user\n", "", 0),
        ('read line; echo "[$line] $?"', "[] 1\n", "", 0),
    ],
)
def test_a_command_and_its_end(raw: Raw, vm: str, command: str, stdout: str, stderr: str | None, code: int) -> None:
    session = raw.ok("POST", f"/v1/vms/{vm}/sessions", {})["session_id"]
    answer = raw.run(vm, command, session_id=session)
    assert set(answer) == COMPLETED
    assert answer["completed"] is True
    assert (answer["exit_code"], answer["stdout"]) == (code, stdout)
    assert (answer["stdout_encoding"], answer["stderr_encoding"]) == ("utf-8", "utf-8")
    if stderr is not None:
        assert answer["stderr"] == stderr


def test_bytes_that_are_no_text_travel_as_base64(raw: Raw, vm: str) -> None:
    answer = raw.run(vm, "printf '\\377\\000a'; echo fine >&2")
    assert (answer["stdout_encoding"], answer["stderr_encoding"]) == ("base64", "utf-8")
    assert base64.b64decode(answer["stdout"]) == b"\xff\x00a"
    assert answer["stderr"] == "fine\n"


def test_large_output_arrives_whole(raw: Raw, vm: str) -> None:
    answer = raw.run(vm, "head -c 3000000 /dev/zero | tr '\\0' x")
    assert answer["stdout"] == "x" * 3_000_000


def test_a_long_command(raw: Raw, vm: str) -> None:
    word = "y" * 300_000
    assert raw.out(vm, f"printf %s {word} | wc -c") == "300000\n"


@pytest.mark.parametrize("background", [False, True])
def test_a_timeout_is_milliseconds_and_ends_with_124(raw: Raw, background: bool) -> None:
    vm = raw.fork()
    # How much can be said within a time is the machine's affair: more time is given until it was enough.
    for limit, told in ((300, "0.3"), (3_000, "3"), (30_000, "30")):
        answer = raw.run(vm, "echo before; sleep 600; echo after", timeout=limit, background=background)
        if background:
            answer = raw.ended(vm, answer["run_id"])
        assert (answer["exit_code"], answer["completed"]) == (124, True)
        assert answer["stderr"] == f"skerry: ended after {told} seconds, its time limit\n"
        if answer["stdout"]:
            break
    assert answer["stdout"] == "before\n"
    assert raw.out(vm, "echo still here", timeout=60_000) == "still here\n"


def patiently(raw: Raw, vm: str, command: str, go: Callable[[], object]) -> Any:
    """The answer to a run that is told to go on once its answer has given two signs of life."""
    url = urlsplit(raw.base_url)
    with closing(http.client.HTTPConnection(str(url.hostname), url.port, timeout=PATIENCE)) as connection:
        fields = {"authorization": f"Bearer {raw.key}", "content-type": "application/json"}
        connection.request("POST", f"{url.path}/v1/vms/{vm}/run", json.dumps({"command": command}), fields)
        response = connection.getresponse()
        assert (response.status, response.headers["content-type"]) == (200, "application/json")
        assert response.read(2) == b"  "
        go()
        return json.loads(response.read())


def test_a_long_run_gives_signs_of_life(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    """Node's fetch waits five minutes for a header, and would then send the command again."""
    monkeypatch.setattr(patience, "BEAT_SECONDS", 0.05)
    vm = raw.fork()
    session = raw.ok("POST", f"/v1/vms/{vm}/sessions", {})["session_id"]

    def touch() -> None:
        raw.request("POST", f"/v1/vms/{vm}/run", {"command": "touch go", "session_id": session})

    slow = patiently(raw, vm, "until [ -e go ]; do sleep 0.02; done; echo slow", touch)
    assert (set(slow), slow["stdout"]) == (COMPLETED, "slow\n")
    moved = threading.Event()

    async def lost(*_: Any, **__: Any) -> Any:
        assert await asyncio.to_thread(moved.wait, PATIENCE)
        raise ArkerFault("unavailable", "the host is moved")

    monkeypatch.setattr(Running, "run", lost)
    failed = patiently(raw, vm, "true", moved.set)
    assert failed == {"code": "unavailable", "message": "the host is moved"}


def test_a_background_run_is_followed_by_its_id(raw: Raw) -> None:
    vm = raw.fork()
    answer = raw.run(
        vm, "echo one; until [ -e go ]; do sleep 0.02; done; echo two; echo err >&2; exit 5", background=True
    )
    assert set(answer) == {"run_id", "completed", "tunnels"}
    assert ULID.fullmatch(answer["run_id"])
    assert (answer["completed"], answer["tunnels"]) == (False, [])
    path = f"/v1/vms/{vm}/runs/{answer['run_id']}"
    status = raw.shows(vm, answer["run_id"], "one\n")
    assert set(status) == STATUS
    assert (status["exit_code"], status["retry_count"], status["run_id"]) == (None, 0, answer["run_id"])
    session = raw.ok("POST", f"/v1/vms/{vm}/sessions", {})["session_id"]
    raw.out(vm, "touch /home/user/go", session_id=session)
    status = raw.ended(vm, answer["run_id"])
    assert (status["stdout"], status["stderr"], status["exit_code"]) == ("one\ntwo\n", "err\n", 5)
    assert raw.ok("GET", path) == status
    assert raw.ok("DELETE", path) == {"cancelled": False}


def test_a_cancelled_run_is_over_with_143_or_137(raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = raw.fork()
    defaults = Runs.cancel.__kwdefaults__
    assert defaults["grace"] > 0
    monkeypatch.setitem(defaults, "grace", float(PATIENCE))
    soft = raw.run(vm, "touch up; sleep 600", background=True)["run_id"]
    raw.appears(vm, "up")
    assert raw.ok("DELETE", f"/v1/vms/{vm}/runs/{soft}") == {"cancelled": True}
    assert raw.ended(vm, soft)["exit_code"] == 143
    hard = raw.run(vm, "trap '' TERM; touch up2; while :; do sleep 1; done", background=True)["run_id"]
    raw.appears(vm, "up2")
    monkeypatch.setitem(defaults, "grace", 0.1)
    assert raw.ok("DELETE", f"/v1/vms/{vm}/runs/{hard}") == {"cancelled": True}
    assert raw.ended(vm, hard)["exit_code"] == 137
    assert raw.ok("DELETE", f"/v1/vms/{vm}/runs/{hard}") == {"cancelled": False}
    raw.fails(404, "not_found", "DELETE", f"/v1/vms/{vm}/runs/none")
    # The session goes on.
    assert raw.out(vm, "echo next") == "next\n"


def test_a_session_keeps_its_state_and_another_has_its_own(raw: Raw) -> None:
    vm = raw.fork()
    raw.out(vm, "mkdir -p a && cd a && export X=1 && y=2 && f() { echo f$1; } && alias hi='echo hey'")
    assert raw.out(vm, "pwd; echo $X $y; f 3") == "/home/user/a\n1 2\nf3\n"
    created = raw.ok("POST", f"/v1/vms/{vm}/sessions", {"cwd": "/tmp", "env": {"Z": "zed"}})
    assert set(created) == {"session_id", "state", "cwd"}
    other = created["session_id"]
    assert raw.out(vm, "pwd; echo $Z [$X]", session_id=other) == "/tmp\nzed []\n"
    assert raw.run(vm, "cd /usr; exit 9", session_id=other)["exit_code"] == 9
    assert raw.out(vm, "pwd", session_id=other) == "/usr\n"
    listed = raw.ok("GET", f"/v1/vms/{vm}/sessions")
    assert isinstance(listed, list)
    assert {item["session_id"]: item["cwd"] for item in listed}[other] == "/usr"
    assert len(listed) == 2
    assert raw.ok("DELETE", f"/v1/vms/{vm}/sessions/{other}") == {"deleted": True}
    raw.fails(404, "not_found", "DELETE", f"/v1/vms/{vm}/sessions/{other}")
    raw.fails(404, "not_found", "POST", f"/v1/vms/{vm}/run", {"command": "true", "session_id": other})


def test_one_session_runs_in_order_and_two_run_at_once(raw: Raw) -> None:
    vm = raw.fork()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(raw.run, vm, "echo a >> log; sleep 0.3; echo b >> log")
        raw.until(lambda: raw.ok("GET", f"/v1/vms/{vm}")["state"] == "running" or first.done(), "the first run")
        second = pool.submit(raw.run, vm, "echo c >> log")
        assert (first.result()["exit_code"], second.result()["exit_code"]) == (0, 0)
        assert raw.out(vm, "cat log") == "a\nb\nc\n"
        left = raw.ok("POST", f"/v1/vms/{vm}/sessions", {})["session_id"]
        right = raw.ok("POST", f"/v1/vms/{vm}/sessions", {})["session_id"]
        # Each waits for the other, so neither ends unless both run.
        meet = "touch {0}; until [ -e {1} ]; do sleep 0.02; done"
        both = [
            pool.submit(raw.run, vm, meet.format("l", "r"), session_id=left, timeout=PATIENCE * 1000),
            pool.submit(raw.run, vm, meet.format("r", "l"), session_id=right, timeout=PATIENCE * 1000),
        ]
        assert [future.result()["exit_code"] for future in both] == [0, 0]


def test_the_same_key_and_request_run_once(raw: Raw) -> None:
    vm = raw.fork()
    path, key = f"/v1/vms/{vm}/run", {"idempotency-key": "550e8400-e29b-41d4-a716-446655440000"}
    body = {"command": "echo x >> log; wc -l < log"}
    first = raw.ok("POST", path, body, headers=key)
    again = raw.ok("POST", path, {**body, "timeout": None, "background": False, "mounts": []}, headers=key)
    assert first == again
    assert first["stdout"].strip() == "1"
    raw.fails(409, "conflict", "POST", path, {"command": "echo y"}, headers=key)
    raw.fails(409, "conflict", "POST", path, {**body, "background": True}, headers=key)
    # Without a key, or in another VM, nothing is remembered.
    assert raw.ok("POST", path, body)["stdout"].strip() == "2"
    other = raw.fork(vm)
    assert raw.ok("POST", f"/v1/vms/{other}/run", body, headers=key)["stdout"].strip() == "3"


def test_the_key_counts_on_both_mounts(raw: Raw) -> None:
    vm = raw.fork()
    key = {"idempotency-key": "k"}
    body = {"command": "echo x >> log; wc -l < log"}
    first = raw.ok("POST", f"/v1/vms/{vm}/run", body, headers=key)
    assert raw.ok("POST", f"/api/v1/vms/{vm}/run", body, headers=key) == first


def test_a_background_run_with_a_key_has_one_id(raw: Raw) -> None:
    vm = raw.fork()
    path, key = f"/v1/vms/{vm}/run", {"idempotency-key": "once"}
    body = {"command": "echo x >> log; sleep 0.2", "background": True}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: raw.ok("POST", path, body, headers=key), range(6)))
    assert len({answer["run_id"] for answer in answers}) == 1
    raw.ended(vm, answers[0]["run_id"])
    after = raw.ok("POST", path, body, headers=key)
    assert (after["run_id"], after["completed"]) == (answers[0]["run_id"], True)
    assert raw.out(vm, "wc -l < log").strip() == "1"


def test_foreground_duplicates_wait_for_the_one_execution(raw: Raw) -> None:
    vm = raw.fork()
    path, key = f"/v1/vms/{vm}/run", {"idempotency-key": "together"}
    body = {"command": "echo x >> log; sleep 0.3; wc -l < log"}
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: raw.ok("POST", path, body, headers=key), range(5)))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["stdout"].strip() == "1"


@pytest.mark.parametrize("key", ["", "x" * 65, "ü", "a\tb"])
def test_a_bad_key_is_refused(raw: Raw, vm: str, key: str) -> None:
    body = {"command": "true"}
    raw.fails(400, "bad_request", "POST", f"/v1/vms/{vm}/run", body, headers={"idempotency-key": key})


def test_a_key_is_not_bound_by_a_refused_request(raw: Raw, vm: str) -> None:
    path, key = f"/v1/vms/{vm}/run", {"idempotency-key": raw.unique()}
    raw.fails(404, "not_found", "POST", path, {"command": "echo 1", "session_id": "none"}, headers=key)
    raw.fails(422, "unsupported_operation", "POST", path, {"command": "echo 1", "release": "v2"}, headers=key)
    assert raw.ok("POST", path, {"command": "echo 2"}, headers=key)["stdout"] == "2\n"


@pytest.mark.parametrize(
    ("said", "repeated"),
    [
        ({}, {"background": None, "end_symbol": None, "mounts": None, "timeout": None, "network": None}),
        ({"background": None}, {"background": False}),
        (
            {"network": {"inbound": {"ports": {"8080": {}}}}},
            {"network": {"inbound": {"ports": {"8080": {"visibility": None, "protocol": "http"}}}}},
        ),
    ],
)
def test_null_and_absent_and_the_default_are_one_request(
    raw: Raw, vm: str, said: dict[str, Any], repeated: dict[str, Any]
) -> None:
    key = {"idempotency-key": raw.unique()}
    path, command = f"/v1/vms/{vm}/run", {"command": "echo $RANDOM$RANDOM"}
    first = raw.ok("POST", path, {**command, **said}, headers=key)
    assert raw.ok("POST", path, {**command, **repeated}, headers=key) == first


def test_a_repetition_is_answered_after_its_session_is_gone(raw: Raw) -> None:
    vm = raw.fork()
    key = {"idempotency-key": raw.unique()}
    session = raw.ok("POST", f"/v1/vms/{vm}/sessions", {})["session_id"]
    body = {"command": "echo $RANDOM$RANDOM", "session_id": session}
    first = raw.ok("POST", f"/v1/vms/{vm}/run", body, headers=key)
    raw.ok("DELETE", f"/v1/vms/{vm}/sessions/{session}")
    assert raw.ok("POST", f"/v1/vms/{vm}/run", body, headers=key) == first
    other = {**body, "command": "echo other"}
    raw.fails(409, "conflict", "POST", f"/v1/vms/{vm}/run", other, headers=key)


def test_a_signal_with_a_key_is_sent_once(raw: Raw) -> None:
    vm = raw.fork()
    key = {"idempotency-key": raw.unique()}
    run = raw.run(vm, "trap 'echo x >> got' USR1; touch begun; while :; do sleep 0.01; done", background=True)["run_id"]
    raw.appears(vm, "begun")
    signal = {"command": "", "signal": "USR1"}
    raw.ok("POST", f"/v1/vms/{vm}/run", signal, headers=key)
    raw.appears(vm, "got")
    raw.ok("DELETE", f"/v1/vms/{vm}/runs/{run}")
    # With nothing left to be signalled, only a request that is not carried out again can succeed.
    raw.ok("POST", f"/v1/vms/{vm}/run", signal, headers=key)
    raw.fails(409, "conflict", "POST", f"/v1/vms/{vm}/run", signal)


def test_a_session_says_what_it_cannot_remember(raw: Raw) -> None:
    vm = raw.fork()
    raw.out(vm, "A=1")
    answer = raw.run(vm, "cd /tmp; B=$(head -c 3000000 /dev/zero | tr '\\0' x)")
    assert "remembers" in answer["stderr"]
    assert raw.out(vm, "echo $A ${#B}; pwd") == "1 0\n/home/user\n"


def test_a_client_that_leaves_does_not_end_its_run(raw: Raw, island: Island) -> None:
    vm = raw.fork()
    parts = urlsplit(raw.base_url)
    body = b'{"command":"touch begun; until [ -e go ]; do sleep 0.02; done; echo done > proof"}'
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(
            f"POST {parts.path}/v1/vms/{vm}/run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {raw.key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        raw.appears(vm, "begun")
    session = raw.ok("POST", f"/v1/vms/{vm}/sessions", {})["session_id"]
    raw.out(vm, "touch /home/user/go", session_id=session)
    # Its session takes this up when that has ended.
    assert raw.out(vm, "cat proof") == "done\n"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"mounts": [{"uri": "s3://bucket", "mount_point": "/mnt"}]}, "mounts"),
        ({"release": "stable"}, "release"),
        ({"end_symbol": ">>>"}, "end_symbol"),
        ({"runtime": "wasm"}, "runtime"),
        ({"runtime_override": "node"}, "runtime"),
        ({"network": {"inbound": {"ports": {"53": {"protocol": "udp"}}}}}, "53"),
    ],
)
def test_what_cannot_be_honoured_is_refused_and_not_run(raw: Raw, body: dict[str, Any], word: str) -> None:
    vm = _idle(raw)
    message = raw.fails(422, "unsupported_operation", "POST", f"/v1/vms/{vm}/run", {"command": "touch ran", **body})
    assert word in message
    assert raw.out(vm, "ls") == ""


_IDLE: dict[str, str] = {}


def _idle(raw: Raw) -> str:
    if raw.base_url not in _IDLE:
        _IDLE[raw.base_url] = raw.ok("POST", "/v1/vms/ubuntu/fork", {})["vm_id"]
    return _IDLE[raw.base_url]


@pytest.mark.parametrize(
    "body",
    [{"runtime": "bash"}, {"runtime": None, "end_symbol": "auto", "release": None}, {"mounts": [], "timeout": 0}],
)
def test_defaults_said_aloud_change_nothing(raw: Raw, vm: str, body: dict[str, Any]) -> None:
    assert raw.out(vm, "echo ok", **body) == "ok\n"


def test_per_run_sizes_are_kept_or_refused(raw: Raw, vm: str) -> None:
    answer = raw.request("POST", f"/v1/vms/{vm}/run", {"command": "echo ok", "memory_mib": 333})
    assert answer.status in (200, 422)
    if answer.status == 422:
        assert answer.json["code"] == "unsupported_operation"


def test_a_signal_reaches_what_the_session_runs(raw: Raw) -> None:
    vm = raw.fork()
    run = raw.run(vm, "trap 'echo caught; exit 3' INT; touch up; while :; do sleep 0.05; done", background=True)
    raw.appears(vm, "up")
    answer = raw.run(vm, "", signal="SIGINT")
    assert set(answer) == COMPLETED
    assert answer["exit_code"] == 0
    status = raw.ended(vm, run["run_id"])
    assert (status["stdout"], status["exit_code"]) == ("caught\n", 3)
    raw.fails(409, "conflict", "POST", f"/v1/vms/{vm}/run", {"command": "", "signal": "TERM"})


def test_runs_are_listed_newest_first(raw: Raw) -> None:
    vm = raw.fork()
    for number in range(3):
        raw.run(vm, f"exit {number}")
    listed = raw.ok("GET", f"/v1/vms/{vm}/runs")
    assert [run["exit_code"] for run in listed["runs"]] == [2, 1, 0]
    assert listed["next_cursor"] is None
    page = raw.ok("GET", f"/v1/vms/{vm}/runs?limit=2")
    assert [run["exit_code"] for run in page["runs"]] == [2, 1]
    rest = raw.ok("GET", f"/v1/vms/{vm}/runs?limit=2&cursor={page['next_cursor']}")
    assert [run["exit_code"] for run in rest["runs"]] == [0]


def test_the_state_of_a_vm_follows_its_runs(raw: Raw) -> None:
    vm = raw.fork()
    assert raw.ok("GET", f"/v1/vms/{vm}")["state"] == "idle"
    run = raw.run(vm, "sleep 600", background=True)["run_id"]
    info = raw.ok("GET", f"/v1/vms/{vm}")
    assert (info["state"], info["sessions"][0]["state"]) == ("running", "running")
    raw.ok("DELETE", f"/v1/vms/{vm}/runs/{run}")
    assert raw.ok("GET", f"/v1/vms/{vm}")["state"] == "idle"


def test_deleting_a_session_cancels_its_runs(raw: Raw) -> None:
    vm = raw.fork()
    session = raw.ok("POST", f"/v1/vms/{vm}/sessions", {})["session_id"]
    run = raw.run(vm, "sleep 600", background=True, session_id=session)["run_id"]
    assert raw.ok("DELETE", f"/v1/vms/{vm}/sessions/{session}") == {"deleted": True}
    assert raw.ended(vm, run)["exit_code"] in (137, 143)


def test_the_default_session_stays(raw: Raw, vm: str) -> None:
    default = raw.ok("GET", f"/v1/vms/{vm}/sessions")[0]["session_id"]
    raw.fails(400, "bad_request", "DELETE", f"/v1/vms/{vm}/sessions/{default}")
