"""HTTP servers of a few lines on loopback ports."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Keeps connections open and says nothing on the terminal."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        return

    def content(self) -> bytes:
        """The body of the request."""
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def fields(self) -> dict[str, str]:
        """The headers of the request by lower-case name."""
        return {name.lower(): value for name, value in self.headers.items()}

    def answer(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        """A whole answer, JSON unless the headers say otherwise; without its body where it was HEAD."""
        self.send_response(status)
        usual = {"content-type": "application/json", "content-length": str(len(content))}
        for name, value in {**usual, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A connection that finds no room in the queue is made a second later.
    request_queue_size = 128


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], **members: object) -> Iterator[str]:
    """A server on a free port until the block ends; its URL.

    Args:
        members: of the handler's class, such as what this server knows.
    """
    server = _Server(("127.0.0.1", 0), type("Serving", (handler,), members))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
