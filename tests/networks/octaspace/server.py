"""A small server that shows what came over the socket, and serves files in pieces, whole or cut."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.loopback import Handler, serving

PIECE = bytes(range(256)) * 256
PIECES = 40


@dataclass
class PlainServer:
    """The running server: what it was asked, and how often it is yet to cut a file short."""

    url: str = ""
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    cuts: int = 0
    stalled: threading.Event = field(default_factory=threading.Event)


class _Handler(Handler):
    known: PlainServer

    def _handle(self) -> None:
        body = self.content()
        headers = self.fields()
        self.known.asked.append((self.command, self.path, headers, body))
        if self.path.endswith("/logs") and self.path.startswith("/nodes/"):
            self._file()
        elif self.path.endswith("/stall/info"):
            self.known.stalled.wait(60)
            self.close_connection = True
        else:
            self.answer(200, json.dumps({"uuid": "u", "target": self.path, "body": body.decode()}).encode())

    do_GET = do_POST = do_PATCH = _handle

    def _file(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/gzip")
        self.send_header("content-length", str(len(PIECE) * PIECES))
        self.end_headers()
        cut, self.known.cuts = self.known.cuts > 0, max(0, self.known.cuts - 1)
        for _ in range(PIECES // 2 if cut else PIECES):
            self.wfile.write(PIECE)
        self.close_connection = cut


@contextmanager
def running() -> Iterator[PlainServer]:
    """One that runs until the block ends."""
    known = PlainServer()
    with serving(_Handler, known=known) as known.url:
        yield known
