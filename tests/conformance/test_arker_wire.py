"""The wire itself: envelopes, statuses, authorisation, hostile requests (protocol sections 2 and 5.6)."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from skerry.island.island import Island
from tests.conformance.conftest import PATIENCE

if TYPE_CHECKING:
    from tests.conformance.conftest import Raw

ULID = "01KR4AN62T47VXQ0A3AVSSWFTZ"
PROTECTED = [
    ("GET", "/goldens"),
    ("GET", "/vms"),
    ("GET", "/vms/x"),
    ("DELETE", "/vms/x"),
    ("POST", "/vms/ubuntu/fork"),
    ("POST", "/vms/x/run"),
    ("GET", "/vms/x/runs"),
    ("GET", "/vms/x/runs/y"),
    ("DELETE", "/vms/x/runs/y"),
    ("POST", "/vms/x/sync"),
    ("GET", "/vms/x/sessions"),
    ("POST", "/vms/x/sessions"),
    ("DELETE", "/vms/x/sessions/y"),
    ("POST", "/vms/x/sessions/y/resize"),
    ("POST", "/vms/x/sessions/y/pty-ticket"),
    ("POST", "/vms/x/resize"),
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
@pytest.mark.parametrize("key", [None, "ark_live_wrong", "", "ark_live_\xfc"])
def test_every_call_needs_a_key(raw: Raw, method: str, path: str, key: str | None) -> None:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    raw.fails(401, "unauthorized", method, "/v1" + path, key=None, headers=headers)


@pytest.mark.parametrize(("method", "path"), [pair for pair in PROTECTED if "/vms/x" in pair[1]])
def test_an_unknown_vm_is_not_found(raw: Raw, method: str, path: str) -> None:
    bodies: dict[str, Any] = {
        "/run": {"command": "true"},
        "/sync": {"op": "read", "path": "/home/user/a"},
        "/y/resize": {"cols": 1, "rows": 1},
    }
    body = next((body for end, body in bodies.items() if path.endswith(end)), {} if method == "POST" else None)
    raw.fails(404, "not_found", method, "/v1" + path, body)


def test_a_vm_of_another_is_not_found_and_stays_as_it_is(raw: Raw, stranger: Raw) -> None:
    vm = raw.fork()
    session = raw.ok("GET", f"/v1/vms/{vm}/sessions")[0]["session_id"]
    raw.sync(vm, op="read", path=_write(raw, vm))
    run = raw.run(vm, "sleep 60", background=True)["run_id"]
    path = f"/v1/vms/{vm}"
    for method, tail, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/fork", {}),
        ("POST", "/run", {"command": "true"}),
        ("GET", "/runs", None),
        ("GET", f"/runs/{run}", None),
        ("DELETE", f"/runs/{run}", None),
        ("POST", "/sync", {"op": "read", "path": "/home/user/mine.txt"}),
        ("POST", "/sync", {"op": "write", "writes": []}),
        ("GET", "/sessions", None),
        ("POST", "/sessions", {}),
        ("DELETE", f"/sessions/{session}", None),
        ("POST", f"/sessions/{session}/resize", {"cols": 1, "rows": 1}),
        ("POST", f"/sessions/{session}/pty-ticket", {}),
        ("POST", "/resize", {}),
    ):
        stranger.fails(404, "not_found", method, path + tail, body)
    assert vm not in {item["vm_id"] for item in stranger.ok("GET", "/v1/vms")["vms"]}
    assert raw.ok("DELETE", f"{path}/runs/{run}") == {"cancelled": True}


def test_ids_of_one_vm_mean_nothing_in_another(raw: Raw) -> None:
    first, second = raw.fork(), raw.fork()
    session = raw.ok("POST", f"/v1/vms/{first}/sessions", {})["session_id"]
    run = raw.run(first, "true", background=True)["run_id"]
    raw.fails(404, "not_found", "GET", f"/v1/vms/{second}/runs/{run}")
    raw.fails(404, "not_found", "DELETE", f"/v1/vms/{second}/runs/{run}")
    raw.fails(404, "not_found", "DELETE", f"/v1/vms/{second}/sessions/{session}")
    raw.fails(404, "not_found", "POST", f"/v1/vms/{second}/run", {"command": "true", "session_id": session})


def _write(raw: Raw, vm: str, path: str = "/home/user/mine.txt") -> str:
    entry = {"path": path, "size": 2, "upload_id": raw.unique(), "content": "aGk=", "start": 0, "end": 2}
    assert raw.sync(vm, op="write", writes=[entry])["results"][0]["written"]
    return path


def test_goldens_can_be_forked_and_nothing_else(raw: Raw) -> None:
    golden = raw.ok("GET", "/v1/goldens")["goldens"][0]
    for reference in (golden["name"], golden["vm_id"]):
        raw.fails(403, "forbidden", "POST", f"/v1/vms/{reference}/run", {"command": "true"})
        raw.fails(403, "forbidden", "POST", f"/v1/vms/{reference}/sync", {"op": "write", "writes": []})
        raw.fails(403, "forbidden", "DELETE", f"/v1/vms/{reference}")
        assert raw.fork(reference).startswith("vmh-")


@pytest.mark.parametrize(
    "query",
    [
        "limit=000000000001999",
        "offset=000000000000" + "9" * 30,
        "offset=" + "9" * 5000,
        "limit=%C2%B2",
        "q=%00",
        "limit=+1",
    ],
)
def test_numbers_of_a_query_are_read_whole(raw: Raw, query: str) -> None:
    raw.fails(400, "bad_request", "GET", f"/v1/vms?{query}")


def test_unknown_paths_and_wrong_methods(raw: Raw) -> None:
    for path in ("/", "/v1", "/v1/", "/v2/vms", "/v1/vm", "/v1/vms/a/b", "/v1/vms/list/x/y", "/_store", "/v1//vms/a/"):
        raw.fails(404, "not_found", "GET", path)
    for method, path, allow in (
        ("PATCH", "/v1/vms/x", "DELETE, GET"),
        ("PUT", "/v1/vms/x/run", "POST"),
        ("HEAD", "/v1/vms", "GET"),
        ("OPTIONS", "/v1/goldens", "GET"),
        ("DELETE", "/v1/goldens", "GET"),
    ):
        answer = raw.request(method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allow)
        if method != "HEAD":
            assert answer.json["code"] == "method_not_allowed"
        assert answer.headers["access-control-allow-origin"] == "*"
    asked = {"origin": "https://example.test", "access-control-request-method": "POST"}
    assert raw.request("OPTIONS", "/v1/vms/x/run", headers=asked, key=None).status == 204


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"command"',
        b'{"command":"x",}',
        b'{"command":"x"}{}',
        b'{"command":"\xff"}',
        b'{"command":"\\udc00"}',
        b'{"command":"x\\u0000"}',
        b'{"command":"x","command":"x"}',
        b'{"command":1}',
        b'{"command":"x","unknown":null}',
        b'{"command":"x","timeout":1e400}',
        b'{"command":"x","timeout":-1}',
        b'{"command":"x","timeout":NaN}',
        b'{"command":"x","timeout":' + b"1" * 5000 + b"}",
        b'{"command":"x","vcpu_count":256}',
        b'{"command":"x","session_id":0}',
        b'{"command":"x","signal":"SIGNOTHING"}',
        b'{"command":"x","network":{"inbound":{"ports":{"0":{}}}}}',
        b'{"command":"x","network":{"inbound":{"ports":{"http":{}}}}}',
        b'{"command":"x","network":{"inbound":{"ports":{"80":{"visibility":"both"}}}}}',
        b'{"command":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b"\x00\x01\x02",
        b"command=x",
    ],
)
def test_a_bad_body_is_a_bad_request(raw: Raw, body: bytes) -> None:
    vm = _shared_vm(raw)
    raw.fails(400, "bad_request", "POST", f"/v1/vms/{vm}/run", raw=body)


_SHARED: dict[str, str] = {}


def _shared_vm(raw: Raw) -> str:
    """One VM for the many tests that never get as far as using it."""
    if raw.base_url not in _SHARED:
        _SHARED[raw.base_url] = raw.ok("POST", "/v1/vms/ubuntu/fork", {})["vm_id"]
    return _SHARED[raw.base_url]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/vms/ubuntu/fork", {"nam": "x"}),
        ("/v1/vms/ubuntu/fork", {"is_public": False}),
        ("/v1/vms/ubuntu/fork", {"network": {"type": "closed"}}),
        ("/v1/vms/ubuntu/fork", {"network": {"type": "open", "allow": ["a.example"]}}),
        ("/v1/vms/ubuntu/fork", {"network": 5}),
        ("/v1/vms/ubuntu/fork", {"name": "x" * 257}),
        ("/v1/vms/ubuntu/fork", {"name": "a\nb"}),
        ("/v1/vms/ubuntu/fork", {"durable": "yes"}),
        ("/v1/vms/{vm}/sync", {"op": "manifest", "path": "/home/user"}),
        ("/v1/vms/{vm}/sync", {"op": "read"}),
        ("/v1/vms/{vm}/sync", {"op": "read", "path": "/home/user/a", "more": 1}),
        ("/v1/vms/{vm}/sync", {"op": "write", "writes": [{"path": "/home/user/a"}]}),
        ("/v1/vms/{vm}/sync", {"op": "write", "writes": [{"path": "/home/user/a", "size": 1, "more": 1}]}),
        ("/v1/vms/{vm}/sessions", {"env": {"A": 1}}),
        ("/v1/vms/{vm}/sessions", {"cwd": "relative"}),
        ("/v1/vms/{vm}/sessions", {"env": {"bad name": "x"}}),
        ("/v1/vms/{vm}/resize", {"vcpus": 1}),
        ("/v1/vms/{vm}/resize", {"memory_mib": 0}),
    ],
)
def test_schemas_are_closed_everywhere(raw: Raw, path: str, body: Any) -> None:
    raw.fails(400, "bad_request", "POST", path.format(vm=_shared_vm(raw)), body)


def test_bodies_have_limits(raw: Raw, island: Island) -> None:
    vm = _shared_vm(raw)
    big = json.dumps({"command": "x" * (4 << 20)}).encode()
    raw.fails(413, "payload_too_large", "POST", f"/v1/vms/{vm}/run", raw=big)
    # Announced but never sent: refused without waiting for it.
    parts = urlsplit(island.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as connection:
        connection.sendall(
            f"POST /arker/v1/vms/{vm}/fork HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {raw.key}\r\n"
            "Content-Length: 99999999999999999999999\r\n\r\n".encode()
        )
        assert b" 4" in connection.recv(64)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as connection:
        connection.sendall(
            f"POST /arker/v1/vms/{vm}/fork HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {raw.key}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(40):
            try:
                connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            except OSError:
                break
        assert b" 413 " in connection.recv(64)


def test_hostile_bytes_do_not_stop_the_server(raw: Raw, island: Island) -> None:
    parts = urlsplit(island.url)
    for noise in (
        b"\x00" * 100,
        b"GET\r\n\r\n",
        b"GET /arker/v1/vms/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /arker/v1/vms/%ff%00 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\r\n\r\n",
        b"GET //arker//v1 HTTP/1.1\r\nHost: [::1\r\n\r\n",
        b"POST /arker/v1/vms/x/run HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabc",
        b"GET /arker/v1/health HTTP/1.1\r\nHost: " + b"a" * 70_000 + b"\r\n\r\n",
    ):
        with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as connection:
            connection.sendall(noise)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
            assert b" 500 " not in answer.partition(b"\r\n")[0]
    assert raw.ok("GET", "/v1/health", key=None)["status"] == "ok"


def test_health_needs_no_key(raw: Raw) -> None:
    for prefix in ("/v1", "/api/v1"):
        assert set(raw.ok("GET", f"{prefix}/health", key=None)) == {"status", "timestamp"}


def test_both_mounts_and_both_roots_answer(raw: Raw, island: Island) -> None:
    parts = urlsplit(island.url)
    host = {"host": f"arker.localhost:{parts.port}"}
    for url, headers in (
        (f"{island.url}/arker/v1/vms", None),
        (f"{island.url}/arker/api/v1/vms", None),
        (f"{island.url}/v1/vms", host),
        (f"{island.url}/api/v1/vms", host),
    ):
        assert set(raw.ok("GET", url, headers=headers)) == {"vms"}
    raw.fails(404, "not_found", "GET", f"{island.url}/v1/nothing", headers=host)
    other = raw.request("GET", f"{island.url}/v1/vms", headers={"host": f"dc1.localhost:{parts.port}"})
    assert other.status == 404


def test_errors_below_api_are_read_by_both_generations(raw: Raw) -> None:
    answer = raw.request("GET", "/api/v1/vms/none")
    assert answer.status == 404
    inner = {"code": answer.json["code"], "message": answer.json["message"]}
    assert answer.json == {**inner, "ok": False, "error": inner}


def test_the_key_of_another_network_opens_nothing(raw: Raw, island: Island) -> None:
    for network in ("dc1", "run402"):
        key = island.engine.credentials.get(network)
        if key is not None:
            raw.fails(401, "unauthorized", "GET", "/v1/vms", key=key)


def test_a_defect_shows_nothing_of_its_inside(
    raw: Raw, island: Island, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(island.engine.nodes, "list", broken)
    message = raw.fails(500, "internal", "GET", "/v1/goldens")
    assert "secret" not in message
    reference = message.rpartition(" ")[2]
    assert any(reference in record.getMessage() and record.exc_info for record in caplog.records)


def test_the_index_names_every_base_url(island: Island, raw: Raw) -> None:
    answer = raw.request("GET", island.url + "/", key=None)
    assert (answer.status, f"arker: {island.url}/arker" in answer.body.decode()) == (200, True)
    assert raw.ok("GET", island.url + "/healthz", key=None)["status"] == "ok"
    assert raw.request("GET", island.url + "/nothing", key=None).status == 404
