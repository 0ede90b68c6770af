"""A model hub on loopback, as far as its library asks: what a model has, and its files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


@contextlib.contextmanager
def hub(organisation: str, folder: Path) -> Iterator[str]:
    """Serve a folder as every model of an organisation; its address."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            name = "/".join(path.removeprefix("/api/models").split("/")[1:3])
            if not name.startswith(f"{organisation}/"):
                self.answer(b'{"error": "Repository not found"}', status=404)
                return
            if path in (f"/api/models/{name}", *(f"/api/models/{name}/revision/{ref}" for ref in ("main", COMMIT))):
                siblings = [{"rfilename": file, "size": files[file].stat().st_size} for file in sorted(files)]
                self.answer(json.dumps({"id": name, "sha": COMMIT, "siblings": siblings, "tags": []}).encode())
                return
            for ref in ("main", COMMIT):
                if path.startswith(f"/api/models/{name}/tree/{ref}"):
                    rows = [
                        {"type": "file", "path": file, "size": at.stat().st_size, "oid": etag(at)}
                        for file, at in files.items()
                    ]
                    self.answer(json.dumps(rows).encode())
                    return
                file = path.removeprefix(f"/{name}/resolve/{ref}/")
                if file in files:
                    self.answer(files[file].read_bytes(), etag=etag(files[file]))
                    return
            self.answer(b'{"error": "Repository not found"}', status=404)

        def answer(self, body: bytes, *, status: int = 200, etag: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Repo-Commit", COMMIT)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            if etag is not None:
                self.send_header("ETag", f'"{etag}"')
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
