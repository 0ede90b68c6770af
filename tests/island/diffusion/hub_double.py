"""A model hub on loopback, as far as its library asks: what a model has, and its files."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.loopback import Handler, serving

COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


@contextlib.contextmanager
def hub(organisation: str, folder: Path) -> Iterator[str]:
    """Serve a folder as every model of an organisation; its address."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}

    class Hub(Handler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            name = "/".join(path.removeprefix("/api/models").split("/")[1:3])
            if not name.startswith(f"{organisation}/"):
                self.tell(b'{"error": "Repository not found"}', status=404)
                return
            if path in (f"/api/models/{name}", *(f"/api/models/{name}/revision/{ref}" for ref in ("main", COMMIT))):
                siblings = [{"rfilename": file, "size": files[file].stat().st_size} for file in sorted(files)]
                self.tell(json.dumps({"id": name, "sha": COMMIT, "siblings": siblings, "tags": []}).encode())
                return
            for ref in ("main", COMMIT):
                if path.startswith(f"/api/models/{name}/tree/{ref}"):
                    rows = [
                        {"type": "file", "path": file, "size": at.stat().st_size, "oid": etag(at)}
                        for file, at in files.items()
                    ]
                    self.tell(json.dumps(rows).encode())
                    return
                file = path.removeprefix(f"/{name}/resolve/{ref}/")
                if file in files:
                    self.tell(files[file].read_bytes(), etag=etag(files[file]))
                    return
            self.tell(b'{"error": "Repository not found"}', status=404)

        def tell(self, body: bytes, *, status: int = 200, etag: str | None = None) -> None:
            headers = {"X-Repo-Commit": COMMIT}
            if status == 404:
                headers["X-Error-Code"] = "RepoNotFound"
            if etag is not None:
                headers["ETag"] = f'"{etag}"'
            self.answer(status, body, headers)

    with serving(Hub) as url:
        yield url


def etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
