"""A small load generator: kept connections, one request in flight on each, counted for a fixed time."""

from __future__ import annotations

import asyncio
import sys
import time
from urllib.parse import urlsplit

CONNECTIONS = 32


async def _worker(host: str, port: int, request: bytes, until: float) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    count = 0
    try:
        while time.perf_counter() < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode("latin-1"))
            length = next(
                int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
            )
            await reader.readexactly(length)
            count += 1
    finally:
        writer.close()
    return count


async def main(url: str, key: str, seconds: float) -> float:
    """Requests each second against `url` with a bearer key."""
    parts = urlsplit(url)
    lines = [f"GET {parts.path} HTTP/1.1", f"Host: {parts.netloc}"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    start = time.perf_counter()
    workers = (_worker(parts.hostname or "", parts.port or 80, request, start + seconds) for _ in range(CONNECTIONS))
    counts = await asyncio.gather(*workers)
    return sum(counts) / (time.perf_counter() - start)


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]))))
