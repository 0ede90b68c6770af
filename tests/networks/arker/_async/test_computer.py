"""Handles: fork, run, sessions, waiting."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skerry import AsyncArker
from skerry._kernel.options import Deadline, RequestOptions
from skerry._kernel.request import Request, Response, TransportFailure
from skerry.errors import ConnectionFailedError, DeadlineExceededError, InvalidRequestError, ProtocolError
from skerry.networks.arker import ArkerError, AsyncComputer, CompletedRunResult
from tests.io.script import AsyncScripted, Notes, Step, answer

pytestmark = pytest.mark.anyio

BASE = "https://api.test"
DONE = {
    "stdout": "hi\n",
    "stdout_encoding": "utf-8",
    "stderr": "",
    "stderr_encoding": "utf-8",
    "exit_code": 0,
    "completed": True,
}
FORKED = {"vm_id": "vmh-2", "owner_id": "o", "created_at": "t", "sessions": []}


def _vm(*steps: Step, **options: Any) -> tuple[AsyncComputer, AsyncScripted, Notes]:
    transport, notes = AsyncScripted(*steps), Notes()
    client = AsyncArker(
        "k",
        base_url=BASE,
        transport=transport,
        effects=notes.effects,
        sleeper=notes.async_sleep,
        environ={},
        **options,
    )
    return client.vm("vmh-1"), transport, notes


def _sent(request: Request) -> tuple[str, str, Any]:
    body = json.loads(request.body) if isinstance(request.body, bytes) else None
    return request.method, request.url.removeprefix(BASE), body


async def test_fork_tells_what_the_service_said() -> None:
    vm, transport, _ = _vm(answer(200, {**FORKED, "ssh_private_key": "pem", "new": 1}))
    child = await vm.fork(name=None, disk=False, extra={"name": "loses", "layers": ["disk"]})
    assert _sent(transport.sent[0]) == (
        "POST",
        "/v1/vms/vmh-1/fork",
        {"name": None, "disk": False, "layers": ["disk"]},
    )
    assert (child.id, child.base_url) == ("vmh-2", BASE)
    assert child.forked is not None
    assert (child.forked.ssh_private_key, child.forked.extra) == ("pem", {"new": 1})
    assert "vmh-2" in repr(child)


async def test_run_result_as_text() -> None:
    vm, transport, _ = _vm(answer(200, {**DONE, "stdout": "/w==", "stdout_encoding": "base64", "exit_code": 3}))
    result = await vm.run("x", extra={"command": "evil", "new": 1})
    assert isinstance(result, CompletedRunResult)
    assert (result.stdout, result.stdout_text, result.stderr_text, result.ok) == (b"\xff", "\ufffd", "", False)
    assert _sent(transport.sent[0])[2] == {"command": "x", "new": 1}


async def test_both_names_of_the_time_limit() -> None:
    vm, transport, _ = _vm(answer(200, DONE))
    await vm.run("x", timeout_ms=5)
    await vm.run("x", timeout=None)
    assert [_sent(request)[2] for request in transport.sent] == [
        {"timeout": 5, "command": "x"},
        {"timeout": None, "command": "x"},
    ]
    with pytest.raises(InvalidRequestError, match="same thing"):
        await vm.run("x", timeout=1, timeout_ms=1)


async def test_a_long_command_gets_a_long_wait() -> None:
    vm, transport, _ = _vm(answer(200, DONE))
    await vm.run("x", timeout=3_600_000)
    await vm.run("x", timeout=1000)
    await vm.run("x", timeout=3_600_000, background=True)
    await vm.run("x", timeout=3_600_000, options=RequestOptions(timeout=10))
    assert [request.timeout for request in transport.sent] == [3630.0, 120.0, 120.0, 10]
    vm, transport, _ = _vm(answer(200, DONE), timeout=None)
    await vm.run("x", timeout=1000)
    assert transport.sent[0].timeout is None


async def test_an_unkeyed_run_is_not_repeated_after_its_time_limit() -> None:
    vm, transport, _ = _vm(TransportFailure("no answer in time", "timeout"))
    with pytest.raises(ConnectionFailedError) as caught:
        await vm.run("x")
    assert len(transport.sent) == 1
    assert caught.value.outcome == "unknown"
    vm, transport, _ = _vm(TransportFailure("no answer in time", "timeout"), answer(200, DONE))
    await vm.run("x", idempotency_key="k")
    assert [request.header("idempotency-key") for request in transport.sent] == ["k", "k"]


async def test_strict_clients_repeat_only_what_is_harmless() -> None:
    for failure in (TransportFailure("cut"), answer(503, {"code": "unavailable", "message": "x"})):
        vm, transport, _ = _vm(failure, retry={"strict": True})
        with pytest.raises(ArkerError):
            await vm.run("x")
        assert len(transport.sent) == 1
        vm, transport, _ = _vm(failure, answer(200, DONE), retry={"strict": True})
        await vm.run("x", idempotency_key="k")
        assert len(transport.sent) == 2
    for failure in (TransportFailure("refused", "never_sent"), answer(429)):
        vm, transport, _ = _vm(failure, answer(200, DONE), retry={"strict": True})
        await vm.run("x")
        assert len(transport.sent) == 2


async def test_the_key_may_come_with_the_options() -> None:
    vm, transport, _ = _vm(answer(200, DONE))
    await vm.run("x", options=RequestOptions(idempotency_key="from-options"))
    await vm.run("x", idempotency_key="")
    assert [request.header("idempotency-key") for request in transport.sent] == ["from-options", None]
    with pytest.raises(InvalidRequestError, match="idempotency-key"):
        await vm.run("x", idempotency_key="two\nlines")


async def test_broken_base64_is_a_protocol_error() -> None:
    vm, _, _ = _vm(answer(200, {**DONE, "stdout": "a", "stdout_encoding": "base64"}))
    with pytest.raises(ProtocolError, match="base64"):
        await vm.run("x")


async def test_sessions() -> None:
    info = {"session_id": "s1", "state": "idle", "cwd": "/srv"}
    vm, transport, _ = _vm(
        answer(200, info),
        answer(200, [info, {"session_id": "s2"}]),
        answer(200, {"resized": True}),
        answer(200, {"deleted": True}),
        answer(200, {"not": "a list"}),
    )
    assert (await vm.sessions.create(cwd="/srv", env={"A": "1"})).session_id == "s1"
    assert [session.session_id for session in await vm.sessions.list()] == ["s1", "s2"]
    assert (await vm.sessions.resize("s1", cols=80, rows=24)).resized
    assert (await vm.sessions.delete("s/1")).deleted
    with pytest.raises(ProtocolError, match="must be an array"):
        await vm.sessions.list()
    assert [_sent(request) for request in transport.sent[:4]] == [
        ("POST", "/v1/vms/vmh-1/sessions", {"env": {"A": "1"}, "cwd": "/srv"}),
        ("GET", "/v1/vms/vmh-1/sessions", None),
        ("POST", "/v1/vms/vmh-1/sessions/s1/resize", {"cols": 80, "rows": 24}),
        ("DELETE", "/v1/vms/vmh-1/sessions/s%2F1", None),
    ]


async def test_terminals() -> None:
    vm, transport, _ = _vm(answer(200, {"ticket": "t/1", "expires_in": 60}))
    url = await vm.sessions.terminal_url("s 1", cols=80, rows=24, persist=True)
    assert url == ("wss://api.test/v1/vms/vmh-1/sessions/s%201/pty?ticket=t%2F1&cols=80&rows=24&persist=true")
    assert transport.sent[0].url.endswith("/sessions/s%201/pty-ticket")
    raw = await vm.with_raw_response.sessions.ticket("s")
    assert raw.parsed.expires_in == 60


async def test_the_rest_of_a_vm() -> None:
    vm, transport, _ = _vm(
        answer(200, {"ok": True}),
        answer(200, {**FORKED, "state": "idle"}),
        answer(200, {"runs": [{"run_id": "r1", "state": "completed"}]}),
    )
    assert (await vm.resize(memory_mib=512)).ok
    assert (await vm.info()).state == "idle"
    runs = await vm.list_runs(limit=5)
    assert [run.run_id for run in runs] == ["r1"]
    assert len(runs) == 1
    assert [_sent(request) for request in transport.sent] == [
        ("POST", "/v1/vms/vmh-1/resize", {"memory_mib": 512}),
        ("GET", "/v1/vms/vmh-1", None),
        ("GET", "/v1/vms/vmh-1/runs?limit=5", None),
    ]


def _status(completed: bool, output: str = "") -> Response:
    body = {
        "run_id": "r1",
        "stdout": output,
        "stdout_encoding": "utf-8",
        "stderr": "ZQ==",
        "stderr_encoding": "base64",
        "exit_code": 0 if completed else None,
        "completed": completed,
        "tunnels": [],
    }
    return answer(200, body)


async def test_waiting_for_a_run() -> None:
    seen: list[str] = []
    vm, transport, notes = _vm(_status(False), _status(False), _status(False, "a"), _status(True, "ab"))
    status = await vm.wait("r1", on_change=lambda status: seen.append(status.stdout))
    assert (status.stdout_bytes, status.stderr_bytes, status.exit_code, status.retry_count) == (b"ab", b"e", 0, 0)
    assert seen == ["", "a", "ab"]
    assert len(transport.sent) == 4
    assert notes.slept == sorted(notes.slept)


async def test_waiting_ends_with_the_time() -> None:
    vm, transport, notes = _vm(_status(False))
    with pytest.raises(DeadlineExceededError):
        await vm.wait("r1", timeout=1)
    assert sum(notes.slept) < 1
    assert len(transport.sent) == len(notes.slept) + 1 > 2
    deadline = Deadline()
    deadline.cancel()
    with pytest.raises(DeadlineExceededError, match="cancelled"):
        await vm.wait("r1", timeout=5, options=RequestOptions(deadline=deadline))
