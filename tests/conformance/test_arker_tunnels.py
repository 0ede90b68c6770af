"""Ports of VMs, reached from outside (protocol section 3.4)."""

from __future__ import annotations

import base64
import hashlib
import http.client
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from skerry.island.island import Island
from tests.conformance.conftest import PATIENCE

if TYPE_CHECKING:
    from tests.conformance.conftest import Raw

SERVER = """
import http.server, hashlib, base64, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.headers.get("upgrade") == "websocket":
            key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            self.send_response(101); self.send_header("upgrade", "websocket"); self.send_header("connection", "upgrade")
            self.send_header("sec-websocket-accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
            self.end_headers(); self.wfile.write(b"\\x81\\x05hello\\x88\\x02\\x03\\xe8"); self.close_connection = True
            return
        body = (self.path + "|" + self.headers.get("authorization", "-")).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        out = hashlib.sha256(body).hexdigest().encode()
        self.send_response(200); self.send_header("content-length", str(len(out))); self.end_headers()
        self.wfile.write(out)
    def log_message(self, *a): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("listening", flush=True)
server.serve_forever()
"""


@pytest.fixture
def vm(raw: Raw) -> Iterator[str]:
    vm = raw.fork()
    data = SERVER.encode()
    entry = {
        "path": "/home/user/server.py",
        "size": len(data),
        "upload_id": "s",
        "content": base64.b64encode(data).decode(),
        "start": 0,
        "end": len(data),
    }
    assert raw.sync(vm, op="write", writes=[entry])["results"][0]["written"]
    yield vm
    raw.request("DELETE", f"/v1/vms/{vm}")


def listening(raw: Raw, vm: str, port: int = 8000, **wanted: Any) -> dict[str, Any]:
    """Start the server behind an inbound port; the answer of the run, once it listens."""
    network = {"inbound": {"ports": {str(port): wanted}}}
    answer = raw.run(vm, f"exec python3 server.py {port}", background=True, network=network)
    raw.shows(vm, answer["run_id"], "listening\n")
    return dict(answer)


def visit(
    url: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """A request to a tunnel's URL; its host name is taken for loopback, whatever this machine's resolver says."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=PATIENCE)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body=body, headers={"host": parts.netloc, **headers})
        response = connection.getresponse()
        return response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()


def test_a_public_port(raw: Raw, vm: str, island: Island) -> None:
    answer = listening(raw, vm, visibility="public")
    (tunnel,) = answer["tunnels"]
    assert set(tunnel) == {"port", "visibility", "protocol", "status", "run_id", "url", "message"}
    assert tunnel["url"] == f"http://8000-{vm}.localhost:{urlsplit(island.url).port}/"
    assert (tunnel["port"], tunnel["visibility"], tunnel["protocol"], tunnel["status"]) == (
        8000,
        "public",
        "http",
        "open",
    )
    assert tunnel["run_id"] == answer["run_id"]
    port = answer["network"]["inbound"]["ports"]["8000"]
    assert set(port) == {"requested", "observed", "effective", "protocol", "url"}
    assert (port["requested"], port["effective"], port["url"]) == ("public", "public", tunnel["url"])
    status = raw.ok("GET", f"/v1/vms/{vm}/runs/{answer['run_id']}")
    assert status["tunnels"][0]["url"] == tunnel["url"]
    assert visit(tunnel["url"] + "a?b=1")[:2] == (200, b"/a?b=1|-")
    assert visit(tunnel["url"], authorization="Basic abc")[1] == b"/|Basic abc"
    assert visit(tunnel["url"], authorization=f"Bearer {raw.key}")[1] == b"/|-"
    big = bytes(range(256)) * 40_000
    assert visit(tunnel["url"], "POST", big)[1] == hashlib.sha256(big).hexdigest().encode()


def test_a_private_port(raw: Raw, stranger: Raw, vm: str) -> None:
    (tunnel,) = listening(raw, vm)["tunnels"]
    url = tunnel["url"]
    assert tunnel["visibility"] == "private"
    assert visit(url)[0] == 401
    assert visit(url, authorization=f"Bearer {stranger.key}")[0] == 401
    assert visit(url, authorization=f"Bearer {raw.key}")[:2] == (200, b"/|-")
    link = next(word for word in tunnel["message"].split() if "skerry_pass=" in word)
    status, _, headers = visit(link)
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"].partition(";")[0]
    assert visit(url, cookie=cookie)[:2] == (200, b"/|-")
    assert visit(url.replace("//8000-", "//8001-"), cookie=cookie)[0] == 404
    assert visit(url, cookie=cookie[:-3] + "AAA")[0] == 401


def test_websocket_through_a_tunnel(raw: Raw, vm: str) -> None:
    from websockets.sync.client import connect

    (tunnel,) = listening(raw, vm, visibility="public")["tunnels"]
    parts = urlsplit(tunnel["url"])
    with connect(
        f"ws://{parts.netloc}/ws",
        sock=socket.create_connection(("127.0.0.1", parts.port)),
        proxy=None,
        open_timeout=PATIENCE,
    ) as wire:
        assert wire.recv(timeout=PATIENCE) == "hello"


def test_no_tunnel_and_nothing_behind_it(raw: Raw, vm: str, island: Island) -> None:
    port = urlsplit(island.url).port
    status, body, headers = visit(f"http://9-{vm}.localhost:{port}/")
    assert (status, headers["content-type"]) == (404, "text/plain; charset=utf-8")
    assert b"tunnel" in body
    network = {"inbound": {"ports": {"9": {"visibility": "public"}}}}
    raw.run(vm, "true", network=network)
    status, body, _ = visit(f"http://9-{vm}.localhost:{port}/")
    assert (status, b"cannot be reached" in body) == (502, True)


def test_a_foreground_run_may_ask_for_ports_too(raw: Raw, vm: str, island: Island) -> None:
    answer = raw.run(
        vm,
        "python3 server.py 8000 > /dev/null 2>&1 & sleep 0; until (exec 3<>/dev/tcp/127.0.0.1/8000) 2>/dev/null; do"
        " sleep 0.05; done; echo up",
        network={"inbound": {"ports": {"8000": {"visibility": "public"}}}},
        timeout=60_000,
    )
    assert set(answer) == {"stdout", "stdout_encoding", "stderr", "stderr_encoding", "exit_code", "completed"}
    assert answer["stdout"] == "up\n"
    assert visit(f"http://8000-{vm}.localhost:{urlsplit(island.url).port}/x")[:2] == (200, b"/x|-")


@pytest.mark.parametrize("ports", [["0000809999"], ["0"], ["65536"], ["8" * 400], ["80", "080"], ["²"], [""]])
def test_a_port_is_a_port(raw: Raw, vm: str, ports: list[str]) -> None:
    network = {"inbound": {"ports": {port: {} for port in ports}}}
    raw.fails(400, "bad_request", "POST", f"/v1/vms/{vm}/run", {"command": "true", "network": network})


def test_tcp_gets_a_port_of_this_machine(raw: Raw, vm: str) -> None:
    (tunnel,) = listening(raw, vm, protocol="tcp", visibility="public")["tunnels"]
    url = urlsplit(tunnel["url"])
    assert (url.scheme, url.hostname, tunnel["visibility"]) == ("tcp", "127.0.0.1", "private")
    connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=PATIENCE)
    connection.request("GET", "/tcp")
    assert connection.getresponse().read() == b"/tcp|-"
    connection.close()
    raw.ok("DELETE", f"/v1/vms/{vm}")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", url.port), timeout=PATIENCE)


def test_tunnels_of_burst_vms_and_after_deletion(raw: Raw, island: Island) -> None:
    vm = raw.fork("arkuntu")
    answer = raw.run(vm, "true", network={"inbound": {"ports": {"80": {"visibility": "public"}}}}, background=True)
    url = answer["tunnels"][0]["url"]
    assert url == f"http://80-{vm.lower().replace('_', '-')}.localhost:{urlsplit(island.url).port}/"
    assert visit(url)[0] == 502
    child = raw.fork(vm)
    assert visit(url.replace(vm.lower().replace("_", "-"), child.lower().replace("_", "-")))[0] == 404
    raw.ok("DELETE", f"/v1/vms/{vm}")
    assert visit(url)[0] == 404


def test_tunnels_survive_a_restart() -> None:
    with Island() as island:
        key = {"authorization": f"Bearer {island.key('arker')}"}

        def call(method: str, path: str, body: Any = None) -> Any:
            import json

            connection = http.client.HTTPConnection("127.0.0.1", urlsplit(island.url).port, timeout=PATIENCE)
            connection.request(method, "/arker/v1" + path, json.dumps(body or {}), key)
            answer = json.loads(connection.getresponse().read())
            connection.close()
            return answer

        vm = call("POST", "/vms/ubuntu/fork")["vm_id"]
        ports = {"80": {"visibility": "public"}, "81": {"protocol": "tcp"}}
        run = call(
            "POST", f"/vms/{vm}/run", {"command": "", "background": True, "network": {"inbound": {"ports": ports}}}
        )
        before = {tunnel["port"]: tunnel["url"] for tunnel in run["tunnels"]}
        island.restart()
        after = {tunnel["port"]: tunnel["url"] for tunnel in call("GET", f"/vms/{vm}/runs/{run['run_id']}")["tunnels"]}
        assert after == before
        assert visit(after[80])[0] == 502
        socket.create_connection(("127.0.0.1", urlsplit(after[81]).port), timeout=PATIENCE).close()
