"""A small server that shows what came over the socket, and serves files in pieces, whole or cut."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PIECE = bytes(range(256)) * 256
PIECES = 40


@dataclass
class PlainServer:
    """The running server: what it was asked, and how often it is yet to cut a file short."""

    url: str
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    cuts: int = 0
    stalled: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    known: PlainServer

    def log_message(self, format: str, *args: object) -> None:
        return

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.known.asked.append((self.command, self.path, headers, body))
        if self.path.endswith("/logs") and self.path.startswith("/nodes/"):
            self._file()
        elif self.path.endswith("/stall/info"):
            self.known.stalled.wait(60)
            self.close_connection = True
        else:
            self._answer({"uuid": "u", "target": self.path, "body": body.decode()})

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

    def _answer(self, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def start() -> tuple[PlainServer, ThreadingHTTPServer, threading.Thread]:
    """Start a server on a free port."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    known = PlainServer(f"http://127.0.0.1:{server.server_address[1]}")
    handler.known = known  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    return known, server, thread
