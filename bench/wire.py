"""What the wire costs: the SDK over its bare transport, the server beside a bare one, files, durable runs."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from bench.bare import bare_server
from bench.harness import Row, Series, at_most, in_turn, timed
from bench.served import Served


class HandWritten:
    """The client that a careful engineer writes in ten minutes: a pool, JSON in and out, a checked status."""

    def __init__(self, base_url: str, key: str) -> None:
        self._http = httpx2.Client(base_url=base_url, headers={"authorization": f"Bearer {key}"}, timeout=30)

    def get(self, vm_id: str) -> dict[str, object]:
        """One machine, as plain JSON."""
        response = self._http.get(f"/v1/vms/{vm_id}")
        response.raise_for_status()
        answer = response.json()
        if "code" in answer and "message" in answer:
            raise RuntimeError(answer["message"])
        return answer

    def close(self) -> None:
        """Drop the pool."""
        self._http.close()


def sdk_overhead(island: Served, rounds: int) -> list[Row]:
    """`client.get(id)` beside the same request through its bare transport, and through a hand-written client."""
    base, key = island.base_url("arker"), island.key("arker")
    hand = HandWritten(base, key)
    headers = {"authorization": f"Bearer {key}"}
    with island.arker() as client, httpx2.Client(timeout=30) as bare:
        vm = client.vm("ubuntu").fork()
        url = f"{base}/v1/vms/{vm.id}"
        ours, *peers = in_turn(
            {
                "skerry": lambda: client.get(vm.id),
                "bare httpx2": lambda: bare.get(url, headers=headers).read(),
                "hand-written": lambda: hand.get(vm.id),
            },
            rounds,
            warmup=20,
        )
        vm.delete()
    hand.close()
    ratio = Series("skerry : httpx2", [ours.median / peers[0].median], unit="x")
    return [
        Row("SDK: get one machine", ours, peers),
        Row("SDK : its bare transport", ratio, [], *at_most(ratio, 1.3)),
    ]


def file_sync(island: Served, rounds: int) -> list[Row]:
    """16 MiB into a sandbox and back, beside httpx2 putting and getting the same bytes on a bare server."""
    data = bytes(range(256)) * (16 << 12)
    with island.arker() as client, bare_server() as base, httpx2.Client(timeout=60) as bare:
        vm = client.vm("ubuntu").fork()
        write, write_peer = in_turn(
            {
                "skerry": lambda: vm.sync.write_file("/home/user/big", data),
                "httpx2 PUT": lambda: bare.put(f"{base}/file", content=data).raise_for_status(),
            },
            rounds,
        )
        read, read_peer = in_turn(
            {
                "skerry": lambda: vm.sync.read_file("/home/user/big"),
                "httpx2 GET": lambda: bare.get(f"{base}/file").read(),
            },
            rounds,
        )
        if vm.sync.read_file("/home/user/big") != data:
            raise RuntimeError("the file came back changed")
        vm.delete()
    return [
        Row("16 MiB file into a sandbox", write, [write_peer]),
        Row("16 MiB file out of a sandbox", read, [read_peer]),
    ]


def durable_run(island: Served, rounds: int) -> list[Row]:
    """Submit a keyed run on a durable machine and have its result, beside a process with a SQLite row around it."""
    import sqlite3
    import uuid

    folder = tempfile.TemporaryDirectory(prefix="skerry-bench-")
    database = sqlite3.connect(Path(folder.name) / "jobs.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE job (id TEXT PRIMARY KEY, state TEXT, code INTEGER)")

    def by_hand() -> None:
        name = uuid.uuid4().hex
        database.execute("INSERT INTO job VALUES (?, 'running', NULL)", (name,))
        code = subprocess.run(["sh", "-c", "echo 42"], capture_output=True, check=True).returncode
        database.execute("UPDATE job SET state='done', code=? WHERE id=?", (code, name))

    with island.arker() as client:
        vm = client.vm("ubuntu").fork(durable=True)
        vm.run("true")
        ours, peer = in_turn(
            {"skerry": lambda: vm.run("echo 42", idempotency_key=uuid.uuid4().hex), "subprocess + SQLite": by_hand},
            rounds,
        )
        vm.delete()
    database.close()
    folder.cleanup()
    return [Row("durable run, submit to result", ours, [peer], *at_most(ours, 15))]


def server_throughput(island: Served, seconds: float) -> list[Row]:
    """Requests each second over 32 kept connections, beside a bare Starlette route on the same server stack."""
    with island.arker() as client, bare_server() as bare:
        vm = client.vm("ubuntu").fork()
        url = f"{island.base_url('arker')}/v1/vms/{vm.id}"
        ours, peer = Series("skerry", unit="req/s"), Series("bare Starlette", unit="req/s")
        for _ in range(3):
            ours.samples.append(_load(url, island.key("arker"), seconds))
            peer.samples.append(_load(f"{bare}/ping", "", seconds))
        vm.delete()
    return [Row("server: GET one machine, 32 connections", ours, [peer])]


def _load(url: str, key: str, seconds: float) -> float:
    """Requests each second that a second process gets through."""
    arguments = [sys.executable, "-m", "bench.load", url, key, str(seconds)]
    return float(json.loads(subprocess.run(arguments, capture_output=True, check=True, text=True).stdout))


def start_up(rounds: int) -> list[Row]:
    """`import skerry` and `skerry --help` over a bare interpreter, in processes of their own."""
    python = sys.executable

    def run(*arguments: str) -> float:
        return timed(lambda: subprocess.run([python, *arguments], check=True, capture_output=True))

    bare, imported, helped = Series("python -c pass"), Series("skerry"), Series("skerry")
    for _ in range(rounds):
        base = run("-c", "pass")
        bare.samples.append(base)
        imported.samples.append(run("-c", "import skerry") - base)
        helped.samples.append(run("-m", "skerry", "--help") - base)
    return [
        Row("import skerry, over bare Python", imported, [bare], *at_most(imported, 25)),
        Row("skerry --help, over bare Python", helped, [bare], *at_most(helped, 120)),
    ]


ANSWERING = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128)
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(connection.recv(1))
    connection.close()
"""


def published_port(island: Served, rounds: int) -> list[Row]:
    """A new TCP connection and one byte back, through a port of this machine into a sandbox and without that detour."""

    def converse(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"x")
            connection.recv(1)

    with (
        island.arker() as client,
        subprocess.Popen([sys.executable, "-c", ANSWERING, "0"], stdout=subprocess.PIPE) as direct,
    ):
        vm = client.vm("ubuntu").fork()
        try:
            assert direct.stdout is not None
            beside = int(direct.stdout.readline())
            run = vm.run(
                f"exec python3 -c {shlex.quote(ANSWERING)} 8000",
                background=True,
                network={"inbound": {"ports": {"8000": {"protocol": "tcp"}}}},
            )
            while not vm.run_status(run.run_id).stdout_bytes:
                time.sleep(0.01)
            tunnel = urlsplit(next(iter(run.tunnels or ())).url or "").port
            assert tunnel is not None
            ours, *peers = in_turn(
                {"skerry": lambda: converse(tunnel), "direct": lambda: converse(beside)}, rounds, warmup=20
            )
        finally:
            vm.delete()
            direct.kill()
    return [Row("new TCP connection into a sandbox", ours, peers)]
