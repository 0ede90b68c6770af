"""What survives when the server dies as by SIGKILL (protocol sections 2.7 and 5.4)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from skerry.island.island import Island

if TYPE_CHECKING:
    from tests.conformance.conftest import Raw


@pytest.fixture
def island() -> Iterator[Island]:
    """An island of each test's own, because it will be killed."""
    with Island() as island:
        yield island


def lose(island: Island, vm: str) -> None:
    """Take a VM's processes away as the death of its host would: nobody asked for it."""
    os.kill(island.engine.driver._live[vm].pid, signal.SIGKILL)


def test_a_run_goes_on_while_the_server_is_away(raw: Raw, island: Island) -> None:
    vm = raw.fork()
    run = raw.run(vm, "echo a; until [ -e go ]; do sleep 0.02; done; echo b", background=True)["run_id"]
    island.kill()
    island.start()
    session = raw.ok("POST", f"/v1/vms/{vm}/sessions", {})["session_id"]
    raw.out(vm, "touch /home/user/go", session_id=session)
    status = raw.ended(vm, run)
    assert (status["stdout"], status["exit_code"], status["retry_count"]) == ("a\nb\n", 0, 0)


def test_an_accepted_key_outlives_the_server(raw: Raw, island: Island) -> None:
    vm = raw.fork()
    key = {"idempotency-key": "kept"}
    body = {"command": "echo x >> log", "background": True}
    first = raw.ok("POST", f"/v1/vms/{vm}/run", body, headers=key)["run_id"]
    island.kill()
    island.start()
    assert raw.ok("POST", f"/v1/vms/{vm}/run", body, headers=key)["run_id"] == first
    raw.fails(409, "conflict", "POST", f"/v1/vms/{vm}/run", {"command": "other"}, headers=key)
    raw.ended(vm, first)
    assert raw.out(vm, "wc -l < log").strip() == "1"


@pytest.mark.parametrize("durable", [True, False])
def test_a_run_whose_host_is_lost(raw: Raw, island: Island, durable: bool) -> None:
    vm = raw.fork(durable=durable)
    command = "echo try >> tries; n=$(wc -l < tries); echo attempt $n; [ $n -gt 1 ] || sleep 600; echo done"
    run = raw.run(vm, command, background=True)["run_id"]
    raw.shows(vm, run, "attempt 1\n")

    lose(island, vm)
    status = raw.ended(vm, run)
    if durable:
        assert (status["stdout"], status["exit_code"], status["retry_count"]) == ("attempt 2\ndone\n", 0, 1)
        assert raw.out(vm, "cat tries") == "try\ntry\n"
        # Children start out as they always do: not durable.
        child = raw.fork(vm)
        lost = raw.run(child, "echo up; sleep 600", background=True)["run_id"]
        raw.shows(child, lost, "up\n")
        lose(island, child)
        assert raw.ended(child, lost)["exit_code"] == -1
    else:
        assert (status["exit_code"], status["retry_count"]) == (-1, 0)
        assert "lost" in status["stderr"]
        assert raw.out(vm, "cat tries") == "try\n"


def test_an_upload_goes_on_after_the_server_died(raw: Raw, island: Island) -> None:
    vm = raw.fork()
    entry = {"path": "/home/user/f", "size": 6, "upload_id": "u"}
    first = {**entry, "content": "YWJj", "start": 0, "end": 3}
    assert raw.sync(vm, op="write", writes=[first])["results"][0]["received_bytes"] == 3
    begun = raw.sync(vm, op="write", writes=[{"path": "/home/user/g", "size": 3, "presigned": True}])["results"][0]
    island.kill()
    island.start()
    last = {**entry, "content": "ZGVm", "start": 3, "end": 6}
    assert raw.sync(vm, op="write", writes=[last])["results"][0]["written"]
    assert raw.request("PUT", begun["presigned_url"], raw=b"ghi", key=None).status == 200
    commit = {"path": "/home/user/g", "size": 3, "upload_id": begun["upload_id"]}
    assert raw.sync(vm, op="write", writes=[commit])["results"][0]["written"]
    assert raw.out(vm, "cat f g") == "abcdefghi"


def test_a_graceful_restart_keeps_everything_but_processes(raw: Raw, island: Island) -> None:
    vm = raw.fork(name="kept")
    raw.out(vm, "cd /tmp; export A=1; echo x > /home/user/f")
    url = island.url
    island.restart()
    assert island.url == url
    assert raw.ok("GET", f"/v1/vms/{vm}")["name"] == "kept"
    assert raw.out(vm, "pwd; echo $A; cat /home/user/f") == "/tmp\n1\nx\n"
