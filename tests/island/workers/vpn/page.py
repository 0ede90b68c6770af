"""The page: says who asked and how much it was given, and sends as many bytes as the query wants."""

from __future__ import annotations

import socket
import sys
import threading


def serve(connection: socket.socket, peer: str) -> None:
    with connection, connection.makefile("rb") as stream:
        size = int(stream.readline().split()[1].rpartition(b"=")[2] or 0)
        length = 0
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        given = len(stream.read(length))
        body = f"{peer} gave {given}\n".encode() + b"x" * size
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def main() -> None:
    listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))
    print("ready", flush=True)
    while True:
        connection, (peer, _) = listener.accept()
        threading.Thread(target=serve, args=(connection, peer), daemon=True).start()


main()
