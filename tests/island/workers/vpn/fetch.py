"""A user's program: fetches a page, through SOCKS or as the network goes, and prints what it says or why it failed.

Arguments: URL, bytes wanted, bytes to give, seconds, SOCKS port or 0.
"""

from __future__ import annotations

import socket
import sys
from urllib.parse import urlsplit


def main() -> None:
    url, size, upload, timeout, socks = sys.argv[1], *map(int, sys.argv[2:4]), float(sys.argv[4]), int(sys.argv[5])
    parts = urlsplit(url)
    host, port = str(parts.hostname), parts.port or 80
    try:
        with (
            socket.create_connection(("127.0.0.1", socks) if socks else (host, port), timeout) as connection,
            connection.makefile("rb") as stream,
        ):
            if socks:
                connection.sendall(b"\5\1\0\5\1\0\1" + socket.inet_aton(host) + port.to_bytes(2, "big"))
                assert stream.read(12)[:4] == b"\5\0\5\0", "refused by the proxy"
            head = f"POST {parts.path}?size={size} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {upload}\r\n\r\n"
            connection.sendall(head.encode() + b"y" * upload)
            status = stream.readline()
            assert status.startswith(b"HTTP/1.1 200"), f"no answer: {status!r}"
            while stream.readline().strip():
                pass
            text = stream.readline().decode().strip()
            assert len(stream.read(size)) == size, "cut short"
    except (OSError, AssertionError) as error:
        text = f"failed: {error}"
    print(text)


main()
