"""A small marketplace on a loopback port: one provider, and jobs that echo their prompt after two looks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.loopback import Handler, serving


@dataclass
class Marketplace:
    """The running server: what it was asked."""

    url: str = ""
    targets: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    prompt: str = ""
    looks: int = 0
    release: threading.Event = field(default_factory=threading.Event)


class _Handler(Handler):
    known: Marketplace

    def _handle(self) -> None:
        body = self.content()
        self.known.targets.append(self.path)
        self.known.headers.append(self.fields())
        if self.path == "/silent":
            self.known.release.wait(60)
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
        self.answer(status, json.dumps(content).encode())


@contextmanager
def running() -> Iterator[Marketplace]:
    """One that runs until the block ends."""
    known = Marketplace()
    with serving(_Handler, known=known) as known.url:
        yield known
