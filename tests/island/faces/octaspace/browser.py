"""Debian's Chromium without a window, driven by its DevTools protocol over a WebSocket."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PATIENCE = 60.0
PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# What keeps it from asking for anything on its own.
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--window-size=900,600",
    "about:blank",
)


class Page:
    """One page of a browser.

    Args:
        socket: to the page's end of the protocol.

    Attributes:
        asked: addresses of everything that was loaded.
        complaints: what the page wrote to its console, and what its policy has blocked.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._count = 0
        self.asked: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """One command, and its result."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": params}))
        while True:
            told = json.loads(self._socket.recv(timeout=PATIENCE))
            if told.get("id") == self._count:
                assert "error" not in told, told
                return told["result"]
            self._note(told)

    def _note(self, told: Any) -> None:
        name, facts = told["method"], told["params"]
        if name == "Network.requestWillBeSent":
            self.asked.append(facts["request"]["url"])
        elif name == "Network.webSocketCreated":
            self.asked.append(facts["url"])
        elif name == "Runtime.consoleAPICalled":
            self.complaints.append(str(facts["args"]))
        elif name == "Runtime.exceptionThrown":
            self.complaints.append(str(facts["exceptionDetails"]))
        elif name == "Log.entryAdded":
            self.complaints.append(facts["entry"]["text"])

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=url)

    def look(self, script: str) -> Any:
        """The value of an expression in the page."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE
        # Between two pages there is no document.
        while not (found := self.look(f"document.body && ({script})")):
            assert time.monotonic() < end, (script, self.look("document.body.innerText"), self.complaints)
            time.sleep(0.02)
        return found

    def press(self, key: str, code: int, **more: Any) -> None:
        """Press a key that is no letter."""
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code, **more}
        self.call("Input.dispatchKeyEvent", type="keyDown", **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def type(self, text: str) -> None:
        """Type letters, then Enter."""
        for letter in text:
            self.call("Input.dispatchKeyEvent", type="char", text=letter)
        self.enter()

    def enter(self) -> None:
        """Press Enter."""
        self.press("Enter", 13, text="\r")


@contextmanager
def page(directory: Path) -> Iterator[Page]:
    """A page of a browser with a profile of its own, gone when the block ends."""
    assert PROGRAM is not None
    # As root it has no sandbox of its own; it shows nothing but the page under test.
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    told = directory / "browser.log"
    with told.open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, f"--user-data-dir={directory / 'profile'}", *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        address = _address(process, told)
        with connect(address, max_size=None, open_timeout=PATIENCE, ping_interval=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    from http.client import HTTPConnection

    end = time.monotonic() + PATIENCE
    while not (found := re.search(r"ws://127\.0\.0\.1:(\d+)/", log.read_text(errors="replace"))):
        assert time.monotonic() < end, log.read_text(errors="replace")
        assert process.poll() is None, log.read_text(errors="replace")
        time.sleep(0.02)
    while True:
        connection = HTTPConnection("127.0.0.1", int(found[1]), timeout=PATIENCE)
        try:
            connection.request("GET", "/json/list")
            pages = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        # It answers before it has opened its first page.
        for one in pages:
            if one["type"] == "page":
                address: str = one["webSocketDebuggerUrl"]
                return address
        assert time.monotonic() < end, pages
        time.sleep(0.02)
