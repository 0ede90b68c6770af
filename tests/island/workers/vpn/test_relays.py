"""Every kind of relay, end to end: the real client program, given exactly what a user is given, fetches a page."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from skerry.island.workers.vpn import uplinks
from tests.island.workers.vpn.vpn_lab import KINDS, PATH, Lab, connected, counted, lacking

pytestmark = pytest.mark.anyio
DOWN, UP = 400_000, 150_000


def left(lab: Lab, id: str) -> list[str]:
    """Whatever of a relay is still on this machine: interface, table, files."""
    directory = lab.scratch / "relays"
    mark = uplinks.tag(str(directory), id)
    tables = subprocess.run(["nft", "list", "tables"], env={"PATH": PATH}, capture_output=True, text=True, check=True)
    found = [name for name in os.listdir("/sys/class/net") if mark in name]
    found += [line for line in tables.stdout.splitlines() if mark in line]
    return found + [str(path) for path in directory.iterdir() if path.name != "ended"]


def processes(directory: Path) -> list[str]:
    """Command lines of living processes that mention a directory, or hold a file in it open."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                files = [os.readlink(fd) for fd in (entry / "fd").iterdir()]
            except OSError:
                continue
            if any(str(directory) in text for text in (words, *files)):
                found.append(words)
    return found


def test_the_page_is_out_of_reach_without_a_relay(lab: Lab) -> None:
    assert lab.fetch(socks=False, timeout=0.5).startswith("failed: ")


@pytest.mark.parametrize(("subkind", "protocol"), KINDS, ids=lambda value: value or "")
async def test_a_page_is_fetched_through_it(lab: Lab, subkind: str, protocol: str | None) -> None:
    if (reason := lacking(subkind)) is not None:
        pytest.skip(reason)
    relay = await lab.relays.start("r1", subkind=subkind, protocol=protocol, label="octa-9539")
    assert relay.endpoint[0] == lab.host
    assert await relay.alive()
    before = await relay.traffic()
    with connected(lab, relay) as socks:
        # The page is asked by this machine, not by the user's.
        assert lab.fetch(socks=socks) == f"{lab.near} gave 0"
        small = await counted(relay, lambda it: it.received > before.received and it.sent > before.sent)
        assert small.received < 50_000
        assert small.sent < 50_000
        # What was repeated on the way has been moved, too.
        began = lab.carried()
        lab.fetch(socks=socks, size=DOWN)
        down = await counted(relay, lambda it: it.sent - small.sent > DOWN)
        carried = lab.carried()
        assert down.sent - small.sent < 1.5 * (carried[1] - began[1])
        assert down.received - small.received < (carried[1] - began[1]) / 4
        assert lab.fetch(socks=socks, upload=UP) == f"{lab.near} gave {UP}"
        up = await counted(relay, lambda it: it.received - down.received > UP)
        began, carried = carried, lab.carried()
        assert up.received - down.received < 1.5 * (carried[0] - began[0])
        assert up.sent - down.sent < (carried[0] - began[0]) / 2
        final = await lab.relays.stop("r1")
        assert final.received >= up.received
        assert final.sent >= up.sent
        assert lab.fetch(socks=socks, timeout=0.5).startswith("failed: ")
    assert left(lab, "r1") == []
    assert processes(lab.scratch / "relays") == []
    assert not await relay.alive()
    assert await lab.relays.stop("r1") == final
    assert await relay.traffic() == final
