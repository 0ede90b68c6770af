"""kill -9 of the server at chosen and random moments: nothing accepted is lost, nothing is billed twice."""

from __future__ import annotations

import contextlib
import random
import threading
import uuid

import pytest

from skerry import SkerryError
from tests.faults.conftest import DEADLINE, ServerProcess, eventually
from tests.held import Held


def finished(vm, run_id):  # type: ignore[no-untyped-def]
    """The run's status once it has ended."""
    return eventually(lambda: (status := vm.run_status(run_id)).completed and status, f"the end of {run_id}")


def ledger_is_sound(server: ServerProcess) -> None:
    """Postings sum to zero, no lease is open, and no lease was charged twice."""
    assert server.query("SELECT currency, SUM(amount) FROM postings GROUP BY currency HAVING SUM(amount) <> 0") == []
    assert server.query("SELECT id FROM leases") == []
    held = server.query("SELECT SUM(amount) FROM postings WHERE account LIKE '%:held'")
    assert held in ([(0,)], [(None,)])


def test_a_run_goes_on_while_the_server_is_dead(server: ServerProcess) -> None:
    with server.arker() as arker:
        vm = arker.vm("ubuntu").fork()
        run = vm.run("echo before; while [ ! -e go ]; do sleep 0.02; done; echo after; exit 7", background=True)
        eventually(lambda: b"before" in vm.run_status(run.run_id).stdout_bytes, "the first line")
    server.kill9()
    assert server.agents(), "the sandbox must outlive its server"
    server.start()
    with server.arker() as arker:
        vm = arker.vm(vm.id)
        vm.sync.write_file("/home/user/go", b"")
        status = finished(vm, run.run_id)
    assert (status.stdout_bytes, status.exit_code, status.retry_count) == (b"before\nafter\n", 7, 0)
    ledger_is_sound(server)


def test_a_run_that_ends_while_the_server_is_dead_is_found(server: ServerProcess) -> None:
    with server.arker() as arker:
        vm = arker.vm("ubuntu").fork()
        program = Held("echo one", "echo two; exit 3")
        run = vm.run(program.shell, background=True)
        eventually(lambda: b"one" in vm.run_status(run.run_id).stdout_bytes, "the first line")
    server.kill9()
    program.release()
    marker = server.data_dir / "sandboxes" / vm.id / "runs" / f"{run.run_id}.json"
    eventually(lambda: marker.exists() and marker.stat().st_size, "the exit record")
    server.start()
    with server.arker() as arker:
        status = finished(arker.vm(vm.id), run.run_id)
    assert (status.stdout_bytes, status.exit_code, status.retry_count) == (b"one\ntwo\n", 3, 0)
    ledger_is_sound(server)


def test_a_durable_run_is_done_again_when_its_host_is_lost(server: ServerProcess) -> None:
    command = "echo start >> log; if [ -e second ]; then echo done; exit 0; fi; touch second; sleep 600"
    with server.arker() as arker:
        vm = arker.vm("ubuntu").fork(durable=True)
        run = vm.run(command, background=True, idempotency_key="only-once")
        eventually(lambda: _has(vm, "/home/user/second"), "the first attempt")
    server.kill9()
    server.kill_sandboxes()
    server.start()
    with server.arker() as arker:
        vm = arker.vm(vm.id)
        status = finished(vm, run.run_id)
        assert (status.stdout_bytes, status.exit_code, status.retry_count) == (b"done\n", 0, 1)
        assert vm.sync.read_file("/home/user/log") == b"start\nstart\n"
        again = vm.run(command, background=True, idempotency_key="only-once")
        assert again.run_id == run.run_id
        assert vm.sync.read_file("/home/user/log") == b"start\nstart\n"
    ledger_is_sound(server)


def _has(vm, path):  # type: ignore[no-untyped-def]
    with contextlib.suppress(SkerryError):
        vm.sync.read_file(path)
        return True
    return False


def test_an_ordinary_run_whose_host_is_lost_is_reported_so(server: ServerProcess) -> None:
    with server.arker() as arker:
        vm = arker.vm("ubuntu").fork()
        run = vm.run("echo alive; sleep 600", background=True)
        eventually(lambda: b"alive" in vm.run_status(run.run_id).stdout_bytes, "the first line")
    server.kill9()
    server.kill_sandboxes()
    server.start()
    with server.arker() as arker:
        vm = arker.vm(vm.id)
        status = finished(vm, run.run_id)
        assert (status.stdout_bytes, status.exit_code) == (b"alive\n", -1)
        assert status.stderr
        assert vm.run("echo usable").stdout == b"usable\n"
    ledger_is_sound(server)


def test_the_agent_alone_killed_ends_its_run(server: ServerProcess) -> None:
    with server.arker() as arker:
        vm = arker.vm("ubuntu").fork()
        run = vm.run("echo alive; sleep 600", background=True)
        eventually(lambda: b"alive" in vm.run_status(run.run_id).stdout_bytes, "the first line")
        server.kill_sandboxes()
        status = finished(vm, run.run_id)
        assert status.exit_code == -1
        assert vm.run("echo usable").stdout == b"usable\n"
    ledger_is_sound(server)


def test_an_idempotency_key_outlives_the_server(server: ServerProcess) -> None:
    with server.arker() as arker:
        vm = arker.vm("ubuntu").fork()
        first = vm.run("echo x >> count; cat count", idempotency_key="k-1")
    server.kill9()
    server.start()
    with server.arker() as arker:
        vm = arker.vm(vm.id)
        again = vm.run("echo x >> count; cat count", idempotency_key="k-1")
        assert again.stdout == first.stdout == b"x\n"
        assert vm.sync.read_file("/home/user/count") == b"x\n"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_at_random_moments_every_keyed_run_happens_once(server: ServerProcess, seed: int) -> None:
    chance = random.Random(seed)
    with server.arker() as arker:
        vm_id = arker.vm("ubuntu").fork().id
    keys = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(12)]
    for round_keys in (keys[:4], keys[4:8], keys[8:]):
        with server.arker(retry=False) as arker:
            vm = arker.vm(vm_id)

            def submit(vm=vm, round_keys=round_keys) -> None:  # type: ignore[no-untyped-def]
                for key in round_keys:
                    # The server dies somewhere in here; whether a request was accepted is exactly the question.
                    with contextlib.suppress(SkerryError):
                        vm.run(f"echo {key} >> done; sleep 0.05", background=True, idempotency_key=key)

            thread = threading.Thread(target=submit)
            thread.start()
            thread.join(chance.random() * 0.15)
            server.kill9()
            thread.join(DEADLINE)
        server.start()
    with server.arker() as arker:
        vm = arker.vm(vm_id)
        runs = [vm.run(f"echo {key} >> done; sleep 0.05", background=True, idempotency_key=key) for key in keys]
        for run in runs:
            assert finished(vm, run.run_id).exit_code == 0
        assert sorted(vm.sync.read_file("/home/user/done").decode().split()) == sorted(keys)
        assert len({run.run_id for run in runs}) == len(keys)
    eventually(lambda: not server.query("SELECT id FROM leases"), "the last lease's end")
    ledger_is_sound(server)
