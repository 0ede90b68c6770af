"""A small web server on a loopback port that answers by path and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.loopback import Handler, serving


@dataclass
class Seen:
    """One request as it came over the socket."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class LoopbackServer:
    """The running server."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)


class _Handler(Handler):
    known: LoopbackServer

    def _handle(self) -> None:
        body = self.content()
        headers = self.fields()
        self.known.seen.append(Seen(self.command, self.path, headers, body))
        action = getattr(self, "_" + self.path.strip("/").partition("/")[0].partition("?")[0], self._echo)
        action()

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def _echo(self) -> None:
        self._answer(200, self.path.encode(), ("X-Request-Id", "r1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))

    def _redirect(self) -> None:
        self._answer(302, b"", ("Location", "/elsewhere"))

    def _silent(self) -> None:
        self.known.release.wait(60)
        self.close_connection = True

    def _cut(self) -> None:
        self._answer(200, b"half", length=1000)
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()

    def _trickle(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        while not self.known.release.wait(0.02):
            try:
                self.wfile.write(b".")
                self.wfile.flush()
            except OSError:
                break
        self.close_connection = True


@contextmanager
def running() -> Iterator[LoopbackServer]:
    """One that runs until the block ends."""
    known = LoopbackServer()
    with serving(_Handler, known=known) as known.url:
        yield known
