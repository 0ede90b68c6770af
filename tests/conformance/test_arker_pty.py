"""Interactive terminals over WebSocket (protocol section 6)."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from skerry.island.island import Island
from tests.conformance.conftest import PATIENCE

if TYPE_CHECKING:
    from tests.conformance.conftest import Raw


@pytest.fixture
def vm(raw: Raw) -> str:
    return raw.fork()


@pytest.fixture
def session(raw: Raw, vm: str) -> str:
    return str(raw.ok("POST", f"/v1/vms/{vm}/sessions", {})["session_id"])


@contextlib.contextmanager
def opened(raw: Raw, url: str, *, key: bool = True, **headers: str) -> Iterator[ClientConnection]:
    fields = {"authorization": f"Bearer {raw.key}", **headers} if key else headers
    with connect(url, additional_headers=fields, proxy=None, open_timeout=PATIENCE) as wire:
        yield wire


def url_of(raw: Raw, vm: str, session: str, query: str = "") -> str:
    base = "ws" + raw.base_url.removeprefix("http")
    return f"{base}/v1/vms/{vm}/sessions/{session}/pty{query}"


def refused(url: str, **headers: str) -> tuple[int, Any]:
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(url, additional_headers=headers, proxy=None, open_timeout=PATIENCE),
    ):
        pass
    response = caught.value.response
    return response.status_code, json.loads(response.body or b"{}")


def expect(wire: ClientConnection, text: bytes) -> bytes:
    """Everything the terminal shows until it shows this."""
    shown = b""
    while text not in shown:
        message = wire.recv(timeout=PATIENCE)
        assert isinstance(message, bytes)
        shown += message
    return shown


def rest(wire: ClientConnection) -> tuple[bytes, list[Any]]:
    """Everything until the terminal ends: what it shows, and the control frames."""
    shown, frames = b"", []
    with contextlib.suppress(ConnectionClosed):
        while True:
            message = wire.recv(timeout=PATIENCE)
            if isinstance(message, bytes):
                shown += message
            else:
                frames.append(json.loads(message))
    return shown, frames


def test_a_shell_in_a_terminal(raw: Raw, vm: str, session: str) -> None:
    with opened(raw, url_of(raw, vm, session, "?cols=100&rows=30")) as wire:
        wire.send(b"stty size; tty; echo $((6*7)); exit 5\n")
        shown, frames = rest(wire)
        assert b"30 100" in shown
        assert b"/dev/pts/" in shown
        assert b"42" in shown
        assert frames == [{"type": "exit", "code": 5}]
        assert wire.close_code == 1000


def test_a_command_instead_of_a_shell_and_its_size(raw: Raw, vm: str, session: str) -> None:
    command = "stty+size%3B+read+x%3B+stty+size%3B+echo+got+%24x"
    with opened(raw, url_of(raw, vm, session, f"?cols=40&rows=10&command={command}")) as wire:
        expect(wire, b"10 40")
        wire.send(json.dumps({"type": "resize", "cols": 132, "rows": 50}))
        wire.send(json.dumps({"type": "ping"}))
        assert json.loads(wire.recv(timeout=PATIENCE)) == {"type": "pong"}
        wire.send(b"word\n")
        shown, _ = rest(wire)
        assert b"50 132" in shown
        assert b"got word" in shown


def test_the_session_s_directory_and_environment(raw: Raw, vm: str) -> None:
    session = raw.ok("POST", f"/v1/vms/{vm}/sessions", {"cwd": "/tmp", "env": {"MARK": "here"}})["session_id"]
    with opened(raw, url_of(raw, vm, session, "?command=pwd%3B+echo+%24MARK")) as wire:
        shown, _ = rest(wire)
        assert shown.split() == [b"/tmp", b"here"]


def test_reattaching_replays_what_was_shown(raw: Raw, vm: str, session: str) -> None:
    url = url_of(raw, vm, session, "?persist=true")
    with opened(raw, url) as wire:
        wire.send(b"MARK=kept; echo first $((1+1))\n")
        expect(wire, b"first 2")
    with opened(raw, url) as wire:
        expect(wire, b"first 2")
        wire.send(b"echo second $MARK\n")
        expect(wire, b"second kept")
        with opened(raw, url) as other:
            expect(other, b"second kept")
            other.send(b"echo third\n")
            expect(wire, b"third\r\n")


def test_a_terminal_that_nobody_wants_ends(raw: Raw, vm: str, session: str) -> None:
    url = url_of(raw, vm, session, "?persist=false")
    with opened(raw, url) as wire:
        wire.send(b"MARK=lost; echo ready $MARK\n")
        expect(wire, b"ready lost")
    resize = f"/v1/vms/{vm}/sessions/{session}/resize"
    raw.until(lambda: not raw.ok("POST", resize, {"cols": 80, "rows": 24})["resized"], "the end of the terminal")
    with opened(raw, url) as wire:
        wire.send(b"echo [$MARK]\n")
        expect(wire, b"[]")


def test_kill_ends_the_terminal(raw: Raw, vm: str, session: str) -> None:
    with opened(raw, url_of(raw, vm, session, "?command=sleep+600")) as wire:
        wire.send(json.dumps({"type": "kill"}))
        _, frames = rest(wire)
        assert frames[0]["type"] == "exit"
        assert frames[0]["code"] != 0


@pytest.mark.parametrize("what", ["session", "vm"])
def test_deleting_its_session_or_vm_ends_the_terminal(raw: Raw, vm: str, session: str, what: str) -> None:
    with opened(raw, url_of(raw, vm, session)) as wire:
        wire.send(b"echo up $((1+1))\n")
        expect(wire, b"up 2")
        raw.ok("DELETE", f"/v1/vms/{vm}/sessions/{session}" if what == "session" else f"/v1/vms/{vm}")
        rest(wire)
        assert wire.close_code == 1000


def test_resize_over_http(raw: Raw, vm: str, session: str) -> None:
    path = f"/v1/vms/{vm}/sessions/{session}/resize"
    assert raw.ok("POST", path, {"cols": 90, "rows": 20}) == {"resized": False}
    with opened(raw, url_of(raw, vm, session)) as wire:
        wire.send(b"echo up $((1+1))\n")
        expect(wire, b"up 2")
        assert raw.ok("POST", path, {"cols": 90, "rows": 20}) == {"resized": True}
        wire.send(b"stty size\n")
        expect(wire, b"20 90")


def test_a_ticket_admits_once(raw: Raw, vm: str, session: str) -> None:
    answer = raw.ok("POST", f"/v1/vms/{vm}/sessions/{session}/pty-ticket", {})
    assert set(answer) == {"ticket", "expires_in"}
    assert answer["expires_in"] == 60
    url = url_of(raw, vm, session, f"?ticket={answer['ticket']}&command=echo+hi")
    with opened(raw, url, key=False) as wire:
        assert b"hi" in rest(wire)[0]
    status, body = refused(url)
    assert (status, body["code"]) == (401, "unauthorized")
    other = raw.ok("POST", f"/v1/vms/{vm}/sessions", {})["session_id"]
    ticket = raw.ok("POST", f"/v1/vms/{vm}/sessions/{session}/pty-ticket")["ticket"]
    assert refused(url_of(raw, vm, other, f"?ticket={ticket}"))[0] == 401


def test_who_may_attach(raw: Raw, stranger: Raw, vm: str, session: str, caplog: pytest.LogCaptureFixture) -> None:
    url = url_of(raw, vm, session)
    caplog.set_level(logging.INFO)
    assert refused(f"{url}?ticket=secret")[0] == 401

    def noted() -> list[logging.LogRecord]:
        # What asyncio says of connections that earlier tests have cut is not meant.
        said = [it for it in caplog.records if it.name.startswith(("skerry", "uvicorn"))]
        return [it for it in said if "WebSocket" in it.getMessage() or it.levelno > logging.INFO]

    said = raw.until(noted, "a line in the log")
    assert [(record.levelname, "status 401" in record.getMessage()) for record in said] == [("INFO", True)]
    assert "secret" not in said[0].getMessage()
    assert refused(url, authorization="Bearer ark_live_wrong")[0] == 401
    assert refused(url, authorization=f"Bearer {stranger.key}") == (
        404,
        {"code": "not_found", "message": f"vm not found: {vm}"},
    )
    good = {"authorization": f"Bearer {raw.key}"}
    assert refused(url_of(raw, vm, "none"), **good)[0] == 404
    assert refused(url_of(raw, vm, session, "?cols=0"), **good)[0] == 400
    assert refused(url.replace("/pty", "/run"), **good)[0] == 404
    # The same path without an upgrade is not part of the API.
    raw.fails(404, "not_found", "GET", f"/v1/vms/{vm}/sessions/{session}/pty")


def test_an_unknown_control_frame_ends_the_connection(raw: Raw, vm: str, session: str) -> None:
    with opened(raw, url_of(raw, vm, session)) as wire:
        wire.send("not json")
        rest(wire)
        assert wire.close_code == 1007


def test_a_run_that_asks_for_a_terminal(raw: Raw, vm: str) -> None:
    answer = raw.run(vm, "tty; echo in a terminal", runtime="pty")
    assert set(answer) == {"pty", "session_id", "ws_url"}
    assert answer["pty"] is True
    assert answer["session_id"] == raw.ok("GET", f"/v1/vms/{vm}/sessions")[0]["session_id"]
    with opened(raw, answer["ws_url"], key=False) as wire:
        shown, _ = rest(wire)
        assert b"/dev/pts/" in shown
        assert b"in a terminal" in shown


def test_a_flood_arrives_whole_and_in_order(raw: Raw, vm: str, session: str) -> None:
    with opened(raw, url_of(raw, vm, session, "?command=seq+1+200000")) as wire:
        shown, _ = rest(wire)
    assert shown.split() == [str(number).encode() for number in range(1, 200_001)]


def test_the_client_opens_terminals_too(raw: Raw, island: Island, vm: str) -> None:
    with island.arker() as arker:
        computer = arker.vm(vm)
        session = computer.sessions.create()
        url = computer.sessions.terminal_url(session.session_id, cols=50, rows=5, command="stty size")
        with connect(url, proxy=None, open_timeout=PATIENCE) as wire:
            assert b"5 50" in rest(wire)[0]


def test_a_broken_connection_leaves_the_terminal(raw: Raw, vm: str, session: str) -> None:
    parts = urlsplit(raw.base_url)
    connection = socket.create_connection((parts.hostname, parts.port))
    with connect(
        url_of(raw, vm, session, "?persist=true"),
        sock=connection,
        additional_headers={"authorization": f"Bearer {raw.key}"},
        proxy=None,
        open_timeout=PATIENCE,
    ) as wire:
        wire.send(b"MARK=kept; echo ready $((1+1))\n")
        expect(wire, b"ready 2")
        connection.shutdown(socket.SHUT_RDWR)
    with opened(raw, url_of(raw, vm, session)) as wire:
        wire.send(b"echo [$MARK]\n")
        expect(wire, b"[kept]")
