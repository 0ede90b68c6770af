"""A small marketplace on a loopback port: one provider, and jobs that echo their prompt after two looks."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Marketplace:
    """The running server: what it was asked."""

    url: str
    targets: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    prompt: str = ""
    looks: int = 0
    release: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    known: Marketplace

    def log_message(self, format: str, *args: object) -> None:
        return

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.known.targets.append(self.path)
        self.known.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.path == "/silent":
            self.known.release.wait(30)
            self.close_connection = True
        elif self.path.endswith("/available-providers"):
            provider = {"id": 3, "name": "GPU Farm", "vram_mib": 24564, "is_live": True}
            self._answer(200, {"providers": [{"id": 2, "vram_mib": 12288, "is_live": True}, provider]})
        elif self.path == "/api/jobs/submit":
            self.known.prompt = json.loads(body)["params"]["prompt"]
            self._answer(201, {"success": True, "job": {"id": 1, "job_id": "job-1", "status": "pending"}})
        elif self.path.endswith("/logs/stream"):
            self._stream()
        elif self.known.looks < 2:
            self.known.looks += 1
            self._answer(202, {"job_id": "job-1", "status": "running"})
        else:
            self._answer(200, {"job_id": "job-1", "status": "completed", "result": self.known.prompt})

    do_GET = do_POST = _handle

    def _stream(self) -> None:
        lines = [{"type": "log", "line_no": n, "line": text} for n, text in enumerate(("one", "zwei", "ثلاثة"), 1)]
        events = [*lines, {"type": "end", "status": "completed"}]
        text = "".join(f"data: {json.dumps(event, ensure_ascii=False)}\r\n\r\n" for event in events).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for start in range(0, len(text), 7):
            piece = text[start : start + 7]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def start() -> tuple[Marketplace, ThreadingHTTPServer, threading.Thread]:
    """Start a server on a free port."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    known = Marketplace(f"http://127.0.0.1:{server.server_address[1]}")
    handler.known = known  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    return known, server, thread
