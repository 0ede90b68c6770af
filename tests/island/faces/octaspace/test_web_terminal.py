"""The terminal in a browser: who gets in, what travels, and a real browser on it."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from skerry.errors import NotFoundError
from skerry.island.faces.octaspace.terminal import terminal_tokens, web_terminal
from skerry.island.faces.octaspace.terminal.web_terminal import Size
from skerry.island.island import Island
from skerry.networks.octaspace import OctaSpace, Session
from tests.island.faces.octaspace import browser

PATIENCE = 60.0
SECRET = b"a session's secret"
# What a shell tells a terminal beside its text, such as that pasted text is to be marked.
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]\r?|\x1b\][^\x07]*\x07")


@pytest.fixture(scope="module")
def island() -> Iterator[Island]:
    with Island() as it:
        yield it


@pytest.fixture(scope="module")
def client(island: Island) -> Iterator[OctaSpace]:
    with island.octaspace() as octa:
        yield octa


@pytest.fixture
def session(client: OctaSpace) -> Iterator[Session]:
    """A machine that is ready."""
    node = client.services.mr.available()[0].node_id
    it = client.services.mr.start(node, disk_size=1, image="host", envs={"MY_VAR": "hello there"})
    try:
        it.wait_ready(timeout=PATIENCE, poll=0.02)
        yield it
    finally:
        with contextlib.suppress(NotFoundError):
            it.stop()


def ssh_web(session: Session) -> str:
    found = session.info().ssh_web
    assert isinstance(found, str)
    return found


def socket_url(url: str, **more: object) -> str:
    """The WebSocket of a page."""
    parts = urlsplit(url)
    extra = "".join(f"&{name}={value}" for name, value in more.items())
    return f"ws://{parts.netloc}{parts.path}/socket?{parts.query}{extra}"


def get(url: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
    try:
        connection.request(method, f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def connected(url: str, **options: object) -> ClientConnection:
    """A WebSocket; it is waited for as long as for everything else, and ends only when one side ends it."""
    usual: dict[str, object] = {"open_timeout": PATIENCE, "ping_interval": None, "max_size": None, "proxy": None}
    return connect(url, **{**usual, **options})  # type: ignore[arg-type]


class Shell:
    """What a page does, without a page."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.shown = ""
        self.told: list[dict[str, object]] = []

    def type(self, text: str) -> None:
        self.socket.send(text.encode())

    def until(self, pattern: str) -> re.Match[str]:
        """Wait for what the terminal shows."""
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, _SEQUENCE.sub("", self.shown))):
            message = self.socket.recv(timeout=end - time.monotonic())
            if isinstance(message, bytes):
                self.shown += message.decode(errors="replace")
            else:
                self.told.append(json.loads(message))
        return found

    def end(self) -> ConnectionClosed:
        """Wait for the end of the connection."""
        with pytest.raises(ConnectionClosed) as caught:
            self.until("(?!)")
        return caught.value


def shell(url: str, **options: object) -> Iterator[Shell]:
    with connected(url, **options) as socket:
        yield Shell(socket)


Open = Callable[..., Shell]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens connections, and closes what is left of them."""
    living: list[Iterator[Shell]] = []

    def make(url: str, **options: object) -> Shell:
        it = shell(url, **options)
        living.append(it)
        return next(it)

    yield make
    for it in living:
        it.close()  # type: ignore[attr-defined]


def test_a_shell_in_the_session(session: Session, opened: Open) -> None:
    terminal = opened(socket_url(ssh_web(session), cols=97, rows=31))
    terminal.type('stty size; echo "<$MY_VAR> $(id -un) $PWD"\n')
    assert terminal.until(r"\n(\d+ \d+)\r\n")[1] == "31 97"
    assert terminal.until(r"\n<(.*?)> (\w+) (\S+)\r\n").groups() == ("hello there", "root", "/home/user")
    terminal.socket.send(json.dumps({"type": "resize", "cols": 120, "rows": 40}))
    terminal.type("stty size\n")
    terminal.until(r"\n40 120\r\n")
    # A long paste arrives whole, whatever the terminal's own buffer holds.
    terminal.type("stty raw -echo; echo no$((1))w; head -c 200000 | cksum; stty sane\n")
    terminal.until("no1w")
    for _ in range(10):
        terminal.socket.send(b"y" * 20_000)
    terminal.until(r"\d+ 200000")
    terminal.type("exit 7\n")
    closed = terminal.end()
    assert terminal.told == [{"type": "exit", "code": 7}]
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1000


def test_a_flood_of_output_is_stopped_by_a_key(session: Session, opened: Open) -> None:
    terminal = opened(socket_url(ssh_web(session)))
    terminal.type("yes flood\n")
    terminal.until("(flood\r\n){10000}")
    terminal.type("\x03")
    terminal.type("echo $((6 * 7))\n")
    terminal.until(r"\n42\r\n")


def test_leaving_ends_the_shell_and_what_it_runs(session: Session, opened: Open) -> None:
    url = ssh_web(session)
    first, second = opened(socket_url(url)), opened(socket_url(url))
    first.type("exec sleep 31536000\n")
    second.type("until pgrep -fx 'sleep 31536000'; do sleep 0.02; done; echo is here\n")
    second.until(r"\nis here\r\n")
    first.socket.close()
    second.type("while pgrep -fx 'sleep 31536000' > /dev/null; do sleep 0.02; done; echo is gone\n")
    second.until(r"\nis gone\r\n")


def test_whoever_leaves_is_heard_when_nobody_reads(session: Session, opened: Open) -> None:
    url = ssh_web(session)
    first, second = opened(socket_url(url)), opened(socket_url(url))
    first.type("stty raw -echo; echo no$((1))w; exec sleep 31536001\n")
    first.until("no1w")
    for _ in range(30):
        first.socket.send(b"y" * 60_000)
    second.type("until pgrep -fx 'sleep 31536001'; do sleep 0.02; done; echo is here\n")
    second.until(r"\nis here\r\n")
    first.socket.close()
    second.type("while pgrep -fx 'sleep 31536001' > /dev/null; do sleep 0.02; done; echo is gone\n")
    second.until(r"\nis gone\r\n")


def test_the_end_of_a_session_ends_its_terminals(session: Session, opened: Open) -> None:
    url = ssh_web(session)
    terminal = opened(socket_url(url))
    terminal.type("echo ready; sleep 1000\n")
    terminal.until(r"\nready\r\n")
    session.stop()
    terminal.end()
    assert get(url)[0] == 401
    with pytest.raises(InvalidStatus) as caught:
        connected(socket_url(url))
    assert caught.value.response.status_code == 401


def test_what_is_typed_and_shown_is_counted(session: Session, opened: Open) -> None:
    terminal = opened(socket_url(ssh_web(session)))
    before = session.info()
    terminal.type("head -c 100000 /dev/zero | tr '\\0' x; echo; echo end-$((1 + 1))\n")
    terminal.until("end-2")
    after = session.info()
    assert int(after.rx) - int(before.rx) >= 100_000
    assert int(after.tx) - int(before.tx) >= 50


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no json", 1007),
        ("[]", 1007),
        ('{"type": "resize", "cols": 0, "rows": 5}', 1007),
        ('{"type": "resize", "cols": "80", "rows": 5}', 1007),
        ('{"type": "resize", "cols": true, "rows": 5}', 1007),
        ('{"type": "exec"}', 1007),
        ("[" * 50_000, 1007),
        (b"x" * 65_537, 1009),
        ("x" * 65_537, 1009),
    ],
)
def test_other_messages_end_the_connection(session: Session, opened: Open, message: str | bytes, code: int) -> None:
    terminal = opened(socket_url(ssh_web(session)))
    terminal.socket.send(message)
    closed = terminal.end()
    assert closed.rcvd is not None
    assert closed.rcvd.code == code


def test_a_session_has_only_so_many_terminals(session: Session, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_terminal, "MOST_OF_SESSION", 2)
    url = socket_url(ssh_web(session))
    first, second = opened(url), opened(url)
    for terminal in (first, second):
        terminal.type("echo $((40 + 2))\n")
        terminal.until("\n42\r\n")
    closed = opened(url).end()
    assert closed.rcvd is not None
    assert closed.rcvd.code == 1013
    first.type("exit\n")
    first.end()
    # Its place is free once all of it has been tidied up.
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        third = opened(url)
        try:
            third.type("echo $((40 + 2))\n")
            third.until("\n42\r\n")
            return
        except ConnectionClosed:
            continue
    pytest.fail("the place of a terminal that has ended is not free")


def test_who_is_let_in(session: Session, client: OctaSpace) -> None:
    url = ssh_web(session)
    parts = urlsplit(url)
    base, token = f"http://{parts.netloc}{parts.path}", parts.query.removeprefix("token=")
    other = base.replace(session.uuid, "00000000-0000-4000-8000-000000000000")
    flipped = token[:-1] + ("A" if token[-1] != "A" else "B")
    later = f"{int(token.partition('.')[0], 16) + 1:x}.{token.partition('.')[2]}"
    doors = [base, f"{base}?token=", f"{base}?token={flipped}", f"{base}?token={later}", f"{other}?token={token}"]
    doors += [
        f"{base}?token={'x' * 5000}",
        f"{base}?token=%00",
        f"{base}?token={token}%20",
        f"{base[:-1]}?token={token}",
    ]
    for door in doors:
        status, _, body = get(door)
        assert (status, b"<script" in body) == (401, False), door
        with pytest.raises(InvalidStatus) as caught:
            connected(socket_url(door))
        assert caught.value.response.status_code == 401, door
    status, _, body = get(url.replace("/ssh/", "/v1/ssh/"))
    assert (status, b"<script" in body) == (200, True)


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://127.0.0.1:1", "file://", "http://[::1"])
def test_pages_from_elsewhere_are_refused(session: Session, origin: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connected(socket_url(ssh_web(session)), additional_headers={"Origin": origin})
    assert caught.value.response.status_code == 403


def test_the_page_loads_nothing_from_elsewhere(session: Session) -> None:
    url = ssh_web(session)
    status, headers, body = get(url)
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == f"'self' ws://{urlsplit(url).netloc}"
    assert b"://" not in body
    for name in re.findall(r'(?:src|href)="\.\./static/([\w.-]+)"', body.decode()):
        status, headers, _ = get(url.replace(f"/ssh/{session.uuid}", f"/static/{name}"))
        assert status == 200
        assert headers["x-content-type-options"] == "nosniff"
    for name in ("../face.py", "%2e%2e%2fface.py", "LICENSE.xterm", "terminal.html", "", "x.js"):
        assert get(url.replace(f"/ssh/{session.uuid}", f"/static/{name}"))[0] in (400, 404)


def test_a_page_before_there_is_a_terminal(client: OctaSpace) -> None:
    assert not any(one.ssh_web for one in client.sessions.list() if not one.is_ready)


def test_tokens_are_good_for_a_while() -> None:
    token = terminal_tokens.make(SECRET, "s", 1000)
    end = 1000 + terminal_tokens.LIFETIME_SECONDS
    assert [terminal_tokens.admits(SECRET, "s", token, now) for now in (1000, end - 1, end)] == [True, True, False]
    assert not terminal_tokens.admits(b"another", "s", token, 1000)
    for text in ("", ".", "x.y", "-1.", "1", "é.é", f"{'f' * 99}.", token.replace(".", "")):
        assert not terminal_tokens.admits(SECRET, "s", text, 1000)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, (80, 24)),
        ({"cols": "100", "rows": "9"}, (100, 9)),
        ({"cols": "0", "rows": "9999999"}, (1, 1000)),
        ({"cols": "-5", "rows": "x" * 99}, (80, 24)),
        ({"cols": "٣", "rows": None}, (80, 24)),
    ],
)
def test_sizes_of_windows(given: dict[str, object], size: tuple[int, int]) -> None:
    found = Size.of(given)
    assert (found.columns, found.rows) == size


@pytest.mark.skipif(browser.PROGRAM is None, reason="no Chromium here; Debian's package is chromium")
def test_a_real_browser(session: Session, tmp_path: Path) -> None:
    rows = "[...document.querySelectorAll('.xterm-rows > div')].map((row) => row.textContent.trimEnd()).join('\\n')"
    with browser.page(tmp_path) as page:
        url = ssh_web(session)
        page.open(url)
        page.until("document.documentElement.dataset.state === 'open'")
        page.type('echo "<$MY_VAR>"; stty size')
        page.until(f"/^<hello there>$/m.test({rows})")
        size = page.until(f"({rows}.match(/^\\d+ \\d+$/m) || [''])[0]")
        assert size != "24 80"
        # Pasted text, with letters of other scripts.
        page.call("Input.insertText", text="echo 'žluťoučký kůň 🐎' $((6 * 7))")
        page.enter()
        page.until(f"/^žluťoučký kůň 🐎 +42$/m.test({rows})")
        page.call("Emulation.setDeviceMetricsOverride", width=500, height=300, deviceScaleFactor=1, mobile=False)
        page.type('clear; until [ "$(stty size)" != \'' + size + "' ]; do sleep 0.02; done; echo re$((1))sized")
        page.until(f"/^re1sized$/m.test({rows})")
        page.type("exit 3")
        page.until("document.getElementById('notice').textContent.includes('ended with status 3')")
        page.until("document.documentElement.dataset.state === 'closed'")
        page.enter()
        page.until("document.documentElement.dataset.state === 'open'")
        page.type("clear; echo ag$((1))ain")
        page.until(f"/^ag1ain$/m.test({rows})")
        session.stop()
        page.until("document.documentElement.dataset.state === 'closed'")
        page.until("document.getElementById('notice').textContent.includes('Press Enter')")
        assert {urlsplit(asked).netloc for asked in page.asked} <= {urlsplit(url).netloc, ""}
        assert page.complaints == []
