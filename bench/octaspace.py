"""OctaSpace on the island: the start of a machine, an HTTP port through the gateway, and an SSH login."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from bench.harness import Row, in_turn
from bench.peers import one_shot_peers
from bench.served import Served
from skerry import OctaSpace
from skerry.networks.octaspace import Session

_PATIENCE = 60.0
SITE = """
import http.server, sys
class Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Site)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@contextmanager
def _machine(octa: OctaSpace, **asked: object) -> Iterator[Session]:
    """A session that is ready, asked for without pause, and stopped at the end."""
    node = octa.services.mr.available()[0].node_id
    assert node is not None
    session = octa.services.mr.start(node, disk_size=1, image="host", **asked)  # type: ignore[arg-type]
    try:
        deadline = time.monotonic() + _PATIENCE
        while not session.info().ready:
            if time.monotonic() > deadline:
                raise RuntimeError("the session is not ready")
        yield session
    finally:
        session.stop()


def start_to_ready(island: Served, rounds: int) -> list[Row]:
    """From the start of a machine to `is_ready`, stop included, beside sandboxes that run `true` once."""
    with island.octaspace() as octa:

        def ours() -> None:
            with _machine(octa, entrypoint="/bin/sh -c", start_command="'exec tail -f /dev/null'"):
                pass

        found, *others = in_turn({"skerry": ours, **one_shot_peers()}, rounds, warmup=3)
    return [Row("OctaSpace: start to ready and stop", found, others)]


def http_port(island: Served, rounds: int) -> list[Row]:
    """One GET on a kept connection, by the public URL and reaching the same program directly."""
    with (
        island.octaspace() as octa,
        subprocess.Popen([sys.executable, "-c", SITE, "0"], stdout=subprocess.PIPE) as direct,
        _machine(octa, http_ports=[8080], entrypoint="python3 -c", start_command=f"'{SITE}' 8080") as session,
    ):
        assert direct.stdout is not None
        beside = http.client.HTTPConnection("127.0.0.1", int(direct.stdout.readline()))
        url = urlsplit((session.info().urls or {})["8080"])
        through = http.client.HTTPConnection("127.0.0.1", url.port)

        def get(connection: http.client.HTTPConnection, host: str) -> int:
            connection.request("GET", "/", headers={"host": host})
            answer = connection.getresponse()
            answer.read()
            return answer.status

        deadline = time.monotonic() + _PATIENCE
        while get(through, url.netloc) != 200:
            if time.monotonic() > deadline:
                raise RuntimeError("the program in the session does not answer")
        ours, peer = in_turn(
            {"skerry": lambda: get(through, url.netloc), "direct": lambda: get(beside, "localhost")}, rounds, warmup=20
        )
        direct.kill()
    return [Row("OctaSpace: GET by public URL", ours, [peer])]


def ssh_login(island: Served, rounds: int) -> list[Row]:
    """OpenSSH's client: connect, log in, run `true`, leave; beside a bare TCP connection to the same port."""
    if shutil.which("ssh") is None:
        return []
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as scratch, island.octaspace() as octa:
        key = Path(scratch) / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        httpx2.put(
            f"{island.base_url('octaspace')}/admin/accounts/me/ssh_keys",
            json={"ssh_public_keys": [key.with_suffix(".pub").read_text()]},
            headers={"authorization": f"Bearer {island.owner_key()}"},
        ).raise_for_status()
        with _machine(octa, ports=[22]) as session:
            way = session.info().ssh_direct
            assert way is not None
            options = ["-oUserKnownHostsFile=/dev/null", "-oStrictHostKeyChecking=no", "-oLogLevel=ERROR", "-F", "none"]
            line = ["ssh", *options, "-i", str(key), "-p", str(way.port), f"root@{way.host}", "true"]

            def connect() -> None:
                with socket.create_connection((way.host, way.port), timeout=30) as connection:
                    connection.recv(64)

            ours, peer = in_turn(
                {"skerry": lambda: subprocess.run(line, check=True), "greeting alone": connect}, rounds, warmup=2
            )
    return [Row("OctaSpace: SSH login and true", ours, [peer])]
