"""The network's documented flows as raw HTTP over real sockets and real sandboxes, with OpenSSH, curl and WebSocket."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from skerry.island.faces.octaspace.sessions import sessions
from skerry.island.island import Island
from skerry.island.settings import OctaSpace
from tests.conformance.conftest import PATIENCE, Raw

ECHO = """
import contextlib, socket, threading
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 3000))
listener = socket.create_server(("127.0.0.1", 3000))
print("listening", flush=True)
def streams():
    while True:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(ConnectionError):
            while data := connection.recv(65536):
                connection.sendall(data)
threading.Thread(target=streams, daemon=True).start()
while True:
    data, peer = datagrams.recvfrom(65536)
    datagrams.sendto(data[::-1], peer)
"""

SITE = """
import base64, hashlib, http.server, struct
class Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.headers.get("upgrade", "").lower() == "websocket":
            return self.talk()
        body = f"hello from {self.path}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def talk(self):
        text = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "upgrade")
        self.send_header("sec-websocket-accept", base64.b64encode(hashlib.sha1(text.encode()).digest()).decode())
        self.end_headers()
        while True:
            kind, size = self.rfile.read(2)
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[n % 4] for n, byte in enumerate(self.rfile.read(size & 127)))
            if kind & 15 == 8:
                self.wfile.write(bytes((0x88, len(data))) + data)
                self.close_connection = True
                return
            self.wfile.write(bytes((kind, len(data))) + data[::-1])
print("listening", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Site).serve_forever()
"""


class User:
    """Somebody with a key, who knows the protocol and nothing else."""

    def __init__(self, island: Island) -> None:
        self.island = island
        self.raw = Raw(island.base_url("octaspace"), None)

    def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, key: str | None = "") -> Any:
        token = self.island.key("octaspace") if key == "" else key
        headers = {} if token is None else {"authorization": token}
        answer = self.raw.request(method, path, body, headers=headers, key=None)
        assert answer.status == status, (answer.status, answer.body[:500])
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["access-control-allow-origin"] == "*"
        return answer.json

    def owner(self, method: str, path: str, body: Any = None) -> Any:
        return self.ask(
            method, f"/admin{path}", body, key=f"Bearer {(self.island.data_dir / 'owner.key').read_text().strip()}"
        )

    def start(self, **members: Any) -> str:
        """As the documented client does: the first machine on offer, an array of one item."""
        machines = self.ask("GET", "/services/mr")
        item = {
            "id": 0,
            "node_id": machines[0]["node_id"],
            "disk_size": 1,
            "image": "host",
            "app": "",
            "envs": {},
            "ports": [],
            "http_ports": [],
            "start_command": "",
            "entrypoint": "",
            **members,
        }
        answer = self.ask("POST", "/services/mr", [item])
        uuid: str = answer[0]["uuid"]
        return uuid

    def ready(self, uuid: str) -> Any:
        def look() -> Any:
            info = self.ask("GET", f"/services/{uuid}/info")
            return info if info["is_ready"] else None

        return Raw.until(look, f"session {uuid} ready")

    def says(self, uuid: str, text: str) -> None:
        Raw.until(lambda: text in self.ask("GET", f"/services/{uuid}/logs")["container"], f"{text!r} from {uuid}")


@pytest.fixture(scope="module")
def island(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Island]:
    with pytest.MonkeyPatch.context() as patch:
        # A stop that is answered before its session has ended is none that these tests mean.
        patch.setattr(sessions, "STOP_SECONDS", float(PATIENCE))
        with Island(tmp_path_factory.mktemp("octaspace"), octaspace=OctaSpace(nodes=4)) as it:
            yield it


@pytest.fixture
def user(island: Island) -> Iterator[User]:
    it = User(island)
    yield it
    for session in it.ask("GET", "/sessions"):
        it.ask("POST", f"/services/{session['uuid']}/stop")


def test_the_first_page_of_the_documents(user: User) -> None:
    """List machines, start a session, look at it, stop it with a score."""
    machines = user.ask("GET", "/services/mr")
    assert len(machines) == 4
    uuid = user.start(ports=[22])
    info = user.ready(uuid)
    assert info["ssh_direct"]["port"] == info["ports_matrix"]["22"]
    assert len(user.ask("GET", "/services/mr")) == 3
    assert user.ask("POST", f"/services/{uuid}/stop", {"score": 5}) == {}
    assert user.ask("GET", "/sessions") == []
    recent = user.ask("GET", "/sessions?recent=true")
    assert (recent[0]["uuid"], recent[0]["termination_reason"]) == (uuid, 0)
    assert len(user.ask("GET", "/services/mr")) == 4


def test_public_figures_account_and_wallet(user: User) -> None:
    stats = user.ask("GET", "/network", key=None)
    assert stats["nodes"]["count"] == 4
    account = user.ask("GET", "/accounts")
    assert user.ask("GET", "/accounts/balance") == {"balance": account["balance"]}
    wallet = user.ask("POST", "/accounts", status=201)
    assert user.ask("GET", "/accounts")["wallet"] == wallet["address"]
    user.ask("GET", "/accounts", key=None, status=401)


def test_templates_start_without_an_image(user: User) -> None:
    apps = user.ask("GET", "/apps")
    web = next(app for app in apps if app["name"] == "Web server")
    uuid = user.start(app=web["uuid"], image="")
    info = user.ready(uuid)
    assert info["app_name"] == "Web server"
    assert b"Directory listing" in visit(info["urls"]["8080"])


@pytest.mark.skipif(shutil.which("ssh") is None, reason="on Debian: apt-get install openssh-client")
def test_openssh_logs_in_directly_and_through_the_proxy(user: User, tmp_path: Path) -> None:
    key = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    user.owner("PUT", "/accounts/me/ssh_keys", {"ssh_public_keys": [key.with_suffix(".pub").read_text()]})
    uuid = user.start(ports=[22], envs={"MY_VAR": "hello"})
    info = user.ready(uuid)
    # The two entrances of a machine are two ports, and the user is root.
    for way in ("ssh_direct", "ssh_proxy"):
        said = ssh(key, info[way], 'echo "$MY_VAR" from "$(id -un)"; echo kept > ~/file')
        assert said.returncode == 0, said.stderr
        assert said.stdout == "hello from root\n"
    assert ssh(key, info["ssh_proxy"], "cat ~/file; exit 7").returncode == 7
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
    assert ssh(stranger, info["ssh_direct"], "true").returncode == 255
    moved = user.ask("GET", f"/services/{uuid}/info")
    assert moved["tx"] > 1000
    assert moved["rx"] > 1000
    user.owner("PUT", "/accounts/me/ssh_keys", {"ssh_public_keys": []})
    assert ssh(key, info["ssh_direct"], "true").returncode == 255


def test_ports_carry_tcp_and_udp(user: User) -> None:
    uuid = user.start(ports=[3000, 3001], entrypoint="python3 -c", start_command=quoted(ECHO))
    info = user.ready(uuid)
    user.says(uuid, "listening")
    port = info["ports_matrix"]["3000"]
    with socket.create_connection((info["public_ip"], port), timeout=PATIENCE) as stream:
        stream.sendall(b"x" * 100_000)
        received = 0
        while received < 100_000:
            received += len(stream.recv(65536))
        # What was sent to us counts once the kernel has acknowledged it, for which it may take its time.
        Raw.until(lambda: user.ask("GET", f"/services/{uuid}/info")["rx"] >= 100_000, "what was received")
        stream.shutdown(socket.SHUT_WR)
        assert (received, stream.recv(1)) == (100_000, b"")
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)]
        for n, peer in enumerate(peers):
            peer.settimeout(PATIENCE)
            peer.connect((info["public_ip"], port))
            peer.send(b"abc%d" % n)
        assert [peer.recv(100) for peer in peers] == [b"%dcba" % n for n in range(3)]
    shown = user.ask("GET", f"/services/{uuid}/info")
    assert shown["tx"] >= 100_000 + 12
    assert shown["rx"] >= 100_000 + 12
    # Nobody listens on the other port; nothing hangs.
    with socket.create_connection((info["public_ip"], info["ports_matrix"]["3001"]), timeout=PATIENCE) as nobody:
        assert nobody.recv(1) == b""
    user.ask("GET", f"/services/{uuid}/stop")
    with pytest.raises(OSError):
        socket.create_connection((info["public_ip"], port), timeout=PATIENCE)


def test_http_ports_have_public_urls_with_websocket(user: User) -> None:
    uuid = user.start(http_ports=[8080, 8081], entrypoint="python3 -c", start_command=quoted(SITE))
    info = user.ready(uuid)
    assert set(info["urls"]) == {"8080", "8081"}
    user.says(uuid, "listening")
    url = info["urls"]["8080"]
    assert visit(f"{url}a/b?c=d") == b"hello from /a/b?c=d"
    port = urlsplit(url).port
    name = urlsplit(url).hostname
    connection = socket.create_connection(("127.0.0.1", port))
    with connect(f"ws://{name}:{port}/x", sock=connection, open_timeout=PATIENCE) as talk:
        talk.send("abc")
        assert talk.recv(timeout=PATIENCE) == "cba"
    assert b"cannot be reached" in visit(info["urls"]["8081"])
    other = url.replace("8080-", "9090-")
    assert b"No such tunnel" in visit(other)
    user.ask("GET", f"/services/{uuid}/stop")
    assert b"No such tunnel" in visit(url)


def test_a_kill_loses_no_session(user: User) -> None:
    uuid = user.start(ports=[3000], entrypoint="python3 -c", start_command=quoted(ECHO))
    before = user.ready(uuid)
    user.says(uuid, "listening")
    user.island.kill()
    user.island.start()
    after = user.ready(uuid)
    assert after["ports_matrix"] == before["ports_matrix"]
    assert after["started_at"] == before["started_at"]
    with socket.create_connection((after["public_ip"], after["ports_matrix"]["3000"]), timeout=PATIENCE) as stream:
        stream.sendall(b"still here")
        assert stream.recv(100) == b"still here"


def test_an_agent_that_is_killed_is_a_lost_node(user: User) -> None:
    uuid = user.start()
    user.ready(uuid)
    os.kill(user.island.engine.driver._live[f"octa-{uuid}"].pid, signal.SIGKILL)

    def ended() -> Any:
        recent = user.ask("GET", "/sessions?recent=true")
        return next((it for it in recent if it["uuid"] == uuid and "finished_at" in it), None)

    assert Raw.until(ended, "the end of the session")["termination_reason"] == 2


def test_the_clients_of_this_library(island: Island) -> None:
    with island.octaspace() as client:
        started = client.services.mr.start(client.services.mr.available()[0].node_id, disk_size=1, image="host")
        session = client.services.session(started.uuid)
        deadline = time.monotonic() + PATIENCE
        while not session.info().ready:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        logs = session.logs()
        assert logs.system
        session.stop(score=4)
        ended = client.sessions.list(recent=True)[0]
        assert (ended.uuid, ended.termination, ended.charge_amount_wei) == (started.uuid, "ended normally", 0)


def quoted(text: str) -> str:
    """As one word of a command line."""
    return "'" + text.replace("'", "'\\''") + "'"


def visit(url: str) -> bytes:
    """A GET as a browser does it: any name below localhost is this machine."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = Raw("", None).request(
            "GET", f"http://127.0.0.1:{parts.port}{target}", headers={"host": parts.netloc}, key=None
        )
        # A program that has just been started may need a moment to listen.
        if answer.status != 502 or "8081" in url or time.monotonic() > deadline:
            return answer.body
        time.sleep(0.02)


def ssh(key: Path, way: dict[str, Any], command: str) -> subprocess.CompletedProcess[str]:
    """What an unmodified client does with what the API says."""
    options = {
        "UserKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "no",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "BatchMode": "yes",
        "LogLevel": "ERROR",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    line = ["ssh", "-F", "none", "-i", str(key), *words, "-p", str(way["port"]), f"root@{way['host']}", command]
    return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_every_answer_is_json_that_a_strict_reader_takes(user: User) -> None:
    for path in ("/accounts", "/network", "/apps", "/nodes", "/nodes/1", "/services/mr", "/services/vpn", "/sessions"):
        json.dumps(user.ask("GET", path), allow_nan=False)
