"""Starlette on uvicorn with nothing between: the floor of the island's own stack, in a process of its own."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def bare_server() -> Iterator[str]:
    """Start one, give its URL, end it."""
    process = subprocess.Popen([sys.executable, "-m", "bench.bare"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def main() -> None:
    """Serve `/file` (PUT and GET of one file) and `/ping` on any free port, and print the URL."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, Response
    from starlette.routing import Route

    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder:
        path = Path(folder) / "file"

        async def put(request: Request) -> Response:
            with path.open("wb") as file:
                async for chunk in request.stream():
                    file.write(chunk)
            return Response()

        async def get(request: Request) -> Response:
            return FileResponse(path)

        async def ping(request: Request) -> Response:
            return Response(b'{"ok":true}', media_type="application/json")

        routes = [Route("/file", put, methods=["PUT"]), Route("/file", get), Route("/ping", ping)]
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        config = uvicorn.Config(Starlette(routes=routes), log_level="error", access_log=False, lifespan="off")
        asyncio.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main()
