"""What a VPN relay costs in speed: one download through each kind, beside the bare link between two namespaces."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.harness import Row, Series
from skerry.island.workers.vpn import Relay
from tests.island.workers.vpn import vpn_lab

_SIZE = 64 << 20
_READER = """
import socket, sys, time
host, port, size, socks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
connection = socket.create_connection(("127.0.0.1", socks) if socks else (host, port), 30)
if socks:
    connection.sendall(b"\\5\\1\\0\\5\\1\\0\\1" + socket.inet_aton(host) + port.to_bytes(2, "big"))
    for _ in range(12):
        assert connection.recv(1)
connection.sendall(b"GET /page?size=%d HTTP/1.1\\r\\n\\r\\n" % size)
room = bytearray(1 << 20)
assert connection.recv_into(room)
start, left = time.perf_counter(), size - (1 << 20)
while left > 0:
    count = connection.recv_into(room)
    assert count
    left -= count
print((size - (1 << 20)) * 8 / (time.perf_counter() - start) / 1e6)
"""


def throughput(rounds: int) -> list[Row]:
    """Mbit/s down through every kind of relay that can run here; nothing where none can."""
    reason = vpn_lab.lacking()
    if reason is not None:
        print(f"vpn: {reason}", file=sys.stderr)
        return []
    rows = []
    with vpn_lab.lab() as lab, _here(lab) as port:
        bare = Series("bare link", [_rate(lab, lab.host, port, 0) for _ in range(rounds)], unit="Mbit/s")
        for uplink in ("veth", "slirp"):
            relays = lab.another(uplink=uplink)
            for subkind, protocol in vpn_lab.KINDS:
                relay = asyncio.run(relays.start("bench", subkind=subkind, protocol=protocol, label="bench"))
                try:
                    rows.append(_row(lab, relay, uplink, rounds, bare))
                finally:
                    asyncio.run(relays.recover([]))
    return rows


def _row(lab: vpn_lab.Lab, relay: Relay, uplink: str, rounds: int, bare: Series) -> Row:
    name = f"vpn {relay.protocol or relay.subkind}, {uplink}"
    with vpn_lab.connected(lab, relay) as socks:
        port = vpn_lab.SOCKS if socks else 0
        samples = [_rate(lab, lab.page_host, 8080, port) for _ in range(rounds)]
    return Row(name, Series("relay", samples, unit="Mbit/s"), [bare])


def _rate(lab: vpn_lab.Lab, host: str, port: int, socks: int) -> float:
    done = lab.user.run(sys.executable, "-I", "-S", "-c", _READER, host, str(port), str(_SIZE), str(socks), timeout=120)
    return float(done.stdout)


@contextmanager
def _here(lab: vpn_lab.Lab) -> Iterator[int]:
    """The same page on this machine, one veth pair from the user."""
    with socket.create_server((lab.host, 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-I", "-S", str(vpn_lab.HERE / "page.py"), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield port
        finally:
            process.kill()
