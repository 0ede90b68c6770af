"""What a relay's user reaches: the open internet, never the machine or its networks, unless the owner says so."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry.island.workers.vpn.records import Records
from tests.island.workers.vpn.vpn_lab import PATIENCE, Lab, connected, counted

pytestmark = pytest.mark.anyio
KINDS = [("wg", None), ("openvpn", None), ("ss", None), ("v2ray", "vless")]


@pytest.fixture
def neighbour(lab: Lab) -> Iterator[int]:
    """A port of this machine, on all its addresses; the test fails if anybody ever connects to it."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        visits: list[object] = []

        def wait() -> None:
            try:
                while True:
                    connection, peer = listener.accept()
                    connection.close()
                    visits.append(peer)
            except OSError:
                pass

        thread = threading.Thread(target=wait)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        assert visits == []


@pytest.mark.parametrize(
    ("uplink", "subkind", "protocol"),
    [*(("veth", *kind) for kind in KINDS), *(("slirp", *kind) for kind in KINDS if kind[0] in ("wg", "ss"))],
    ids=lambda value: value or "",
)
async def test_private_networks_and_the_machine_are_closed(
    lab: Lab, neighbour: int, uplink: str, subkind: str, protocol: str | None
) -> None:
    relays = lab.another(egress_private=(), uplink=uplink)
    relay = await relays.start("r1", subkind=subkind, protocol=protocol, label="octa-1")
    with connected(lab, relay) as socks:
        assert lab.fetch(socks=socks, timeout=0.3).startswith("failed: ")
        own = {lab.near, relay.exit_ip, "127.0.0.1", "10.212.0.1", "10.0.2.2"} - ({lab.host} if not socks else set())
        for address in own if socks else own - {"127.0.0.1"}:
            url = f"http://{address}:{neighbour}/"
            assert lab.fetch(socks=socks, timeout=0.3, url=url).startswith("failed: ")


async def test_the_machine_is_reached_where_its_owner_says_so(lab: Lab) -> None:
    relay = await lab.another(egress_private=(f"{lab.near}/32",)).start("r1", subkind="ss", label="octa-1")
    with socket.create_server(("0.0.0.0", 0)) as listener, connected(lab, relay) as socks:
        listener.settimeout(PATIENCE)
        url = f"http://{lab.near}:{listener.getsockname()[1]}/"
        fetched = asyncio.create_task(asyncio.to_thread(lab.fetch, socks=socks, url=url))
        connection, _ = await asyncio.to_thread(listener.accept)
        connection.close()
        assert (await fetched).startswith("failed: ")
        assert lab.fetch(socks=socks, timeout=0.3).startswith("failed: ")


@pytest.mark.parametrize(("subkind", "protocol"), KINDS, ids=lambda value: value or "")
async def test_programs_have_no_power_over_the_machine(lab: Lab, subkind: str, protocol: str | None) -> None:
    forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    await lab.relays.start("r1", subkind=subkind, protocol=protocol, label="octa-1")
    keeper = Records(lab.scratch / "relays").pids("r1")["keeper"]
    (program,) = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{program}/status").read_text().splitlines())
    # wireguard-go administers its own network; the others not even that.
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == (1 << 12 if subkind == "wg" else 0)
    assert all(int(user) > 1_000_000_000 for user in (*status["Uid"].split(), *status["Gid"].split()))
    assert status["Groups"].split() == []
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    root = Path(f"/proc/{program}/root")
    assert not {"home", "root", "srv", "opt"} & set(os.listdir(root))
    assert not (root / str(lab.scratch).lstrip("/")).exists()
    for place in (f"/proc/{program}/net/route", f"/proc/{program}/net/dev"):
        assert "eth0" not in Path(place).read_text()
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == forwarding


@pytest.mark.parametrize(("subkind", "protocol"), KINDS[:3], ids=lambda value: value or "")
async def test_by_slirp4netns_what_is_open_is_reached(lab: Lab, subkind: str, protocol: str | None) -> None:
    relay = await lab.another(uplink="slirp").start("r1", subkind=subkind, protocol=protocol, label="octa-1")
    with connected(lab, relay) as socks:
        before = await relay.traffic()
        assert lab.fetch(socks=socks, size=200_000) == f"{lab.near} gave 0"
        moved = await counted(relay, lambda it: it.sent - before.sent > 200_000)
        assert moved.sent - before.sent < 300_000
        await lab.relays.stop("r1")
        assert lab.fetch(socks=socks, timeout=0.3).startswith("failed: ")


async def test_on_loopback_as_islands_are_by_default(lab: Lab) -> None:
    from skerry.island.clock import SystemClock
    from skerry.island.workers.vpn import Relays

    relays = Relays(lab.scratch / "relays", "localhost", range(20_000, 60_000), SystemClock(), uplink="veth")
    relay = await relays.start("r1", subkind="ss", label="octa-1")
    assert relay.endpoint[0] == "127.0.0.1"
    assert 20_000 <= relay.endpoint[1] < 60_000
    with socket.create_connection(relay.endpoint, PATIENCE) as connection:
        connection.sendall(b"not what it speaks")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((lab.host, relay.endpoint[1]), PATIENCE)
    # Strangers cost nothing.
    assert (await relay.traffic()).received == 0
