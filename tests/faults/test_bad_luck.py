"""Full disks, locked directories, cut connections: a clear message, and nothing half-done."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from skerry import Arker, SkerryError
from tests.faults.conftest import DEADLINE, ServerProcess, eventually
from tests.faults.nursery import Nursery
from tests.faults.test_dispersed_killed import body as batch


def start_only(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Try to start a server that is expected to refuse."""
    command = [sys.executable, "-m", "skerry.island.server", "--data-dir", str(data_dir), "--port", "0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


def test_a_second_server_on_the_same_data_names_the_first(server: ServerProcess) -> None:
    second = start_only(server.data_dir)
    assert second.returncode == 1
    assert server.process is not None
    assert str(server.process.pid) in second.stderr
    assert "Traceback" not in second.stderr


def test_a_data_directory_that_is_a_file_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("not a directory")
    refused = start_only(path)
    assert refused.returncode == 1
    assert str(path) in refused.stderr
    assert "Traceback" not in refused.stderr


def test_other_machines_are_not_served_by_accident(tmp_path: Path) -> None:
    refused = start_only(tmp_path / "data", "--host", "0.0.0.0")
    assert refused.returncode == 1
    assert "allow" in refused.stderr


def test_a_database_from_the_future_is_left_alone(server: ServerProcess) -> None:
    server.stop()
    database = server.data_dir / "island.db"
    import sqlite3

    connection = sqlite3.connect(database)
    connection.execute("UPDATE alembic_version SET version_num = '9999_from_the_future'")
    connection.commit()
    connection.close()
    refused = start_only(server.data_dir)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "later" in refused.stderr
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM alembic_version")
    connection.commit()
    connection.close()
    for name in ("island.db", "island.db-wal", "island.db-shm"):
        (server.data_dir / name).unlink(missing_ok=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=755", "tmpfs", str(path)], check=True)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        with contextlib.suppress(OSError):
            folder.chmod(0o755)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.root
def test_a_full_disk_is_named_and_survived(small_disk: Path, nursery: Nursery) -> None:
    data_dir = small_disk / "data"
    data_dir.mkdir()
    server = ServerProcess(data_dir, nursery)
    server.start()
    try:
        with (
            server.arker(retry=False) as arker,
            server.dispersed(retry=0) as dispersed,
            server.dc1() as dc1,
        ):
            vm = arker.vm("ubuntu").fork(disk_mib=8)
            assert vm.run("echo fine").stdout == b"fine\n"
            filler = small_disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(b"\0" * 4096):
                    pass
            wanted = {"job_type": "custom_container", "duration_minutes": 5, "params": {"script": "print()"}}
            for ask in (
                lambda: fork_often(arker, 200),
                lambda: dispersed.jobs.create(batch("true"), idempotency_key="once"),
                lambda: dc1.jobs.create(**wanted),
            ):
                with pytest.raises(SkerryError, match="disk is full") as caught:
                    ask()
                assert str(small_disk) not in str(caught.value), "callers learn nothing of the machine's paths"
            filler.unlink()
            known = {one.vm_id for one in arker.list()}
            assert vm.id in known
            assert vm.run("echo again").stdout == b"again\n"
            job = dispersed.jobs.create(batch("true"), idempotency_key="once")
            eventually(lambda: dispersed.jobs.get(str(job.uuid)).status == "COMPLETED", "the end of a job")
            assert dc1.jobs.create(**wanted).job.id
            for vm_id in known:
                arker.vm(vm_id).delete()
            assert len(arker.list()) == 0
        assert server.query("SELECT COUNT(*) FROM dispersed_jobs") == [(1,)]
        assert server.query("SELECT COUNT(*) FROM dc1_jobs") == [(1,)]
        assert server.query("SELECT currency FROM postings GROUP BY currency HAVING SUM(amount) <> 0") == []
    finally:
        server.stop()
    assert server.process is not None
    assert server.process.returncode == 0


def fork_often(arker: Arker, count: int) -> None:
    """More forks than a full disk can take."""
    for _ in range(count):
        arker.vm("ubuntu").fork(name="x" * 200)


def raw(server: ServerProcess) -> socket.socket:
    """A plain connection to the server."""
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=DEADLINE)


def test_a_caller_that_hangs_up_does_not_end_its_run(server: ServerProcess) -> None:
    with server.arker() as arker:
        vm = arker.vm("ubuntu").fork()
        body = json.dumps({"command": "while [ ! -e go ]; do sleep 0.02; done; echo ran > proof"}).encode()
        with raw(server) as connection:
            connection.sendall(
                f"POST /arker/v1/vms/{vm.id}/run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            eventually(lambda: arker.get(vm.id).state == "running", "the run's start")
        vm.sync.write_file("/home/user/go", b"")

        def proof() -> bytes | None:
            with contextlib.suppress(SkerryError):
                return vm.sync.read_file("/home/user/proof")
            return None

        assert eventually(proof, "the end of the abandoned run") == b"ran\n"


@pytest.mark.parametrize(
    "cut",
    [
        b"POST /arker/v1/vms/ubuntu/fork HTTP/1.1\r\nHo",
        (
            b"POST /arker/v1/vms/ubuntu/fork HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n"
            b"Content-Length: 50\r\n\r\n{"
        ),
    ],
    ids=["in the head", "in the body"],
)
def test_a_half_written_request_does_nothing(server: ServerProcess, cut: bytes) -> None:
    with server.arker() as arker:
        with raw(server) as connection:
            connection.sendall(cut.replace(b"KEY", server.key.encode()))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(4096)
        assert len(arker.list()) == 0
