"""Reaching out of a sandbox through the egress proxy, which is the only way there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skerry.island.sandbox.egress.proxy import EgressProxy
from skerry.island.sandbox.spec import NetworkPolicy
from tests.island.sandbox import sandbox_lab
from tests.island.sandbox.sandbox_lab import ENV, Lab

pytestmark = pytest.mark.anyio

FETCH = "import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1], timeout=50).read().decode())"


@pytest.fixture
async def site() -> AsyncIterator[int]:
    """A web server of the machine; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


@pytest.fixture
async def lab(scratch: Path) -> AsyncIterator[Lab]:
    """A driver with an egress proxy that may reach this machine."""
    egress = EgressProxy(private_ok=("127.0.0.0/8",))
    async with sandbox_lab.lab(scratch, egress=egress) as it:
        yield it
    await egress.aclose()


async def fetch(lab: Lab, box: sandbox_lab.AgentSandbox, url: str, **env: str) -> str | None:
    result, out, _ = await lab.run(box, ("python3", "-c", FETCH, url), env={**ENV, **env})
    return out.decode().strip() if result.exit_code == 0 else None


async def test_policies(lab: Lab, site: int) -> None:
    # Python asks no proxy for 127.0.0.1, as `no_proxy` says; any other name of the machine will do.
    url = f"http://127.0.0.2:{site}/"
    closed = await lab.box("closed")
    assert await fetch(lab, closed, url) is None
    assert "proxy" not in await lab.output(closed, "env")
    for name, policy, reached in (
        ("allowed", NetworkPolicy(mode="allow", hosts=("127.0.0.0/8",)), True),
        ("elsewhere", NetworkPolicy(mode="allow", hosts=("example.org",)), False),
        ("blocked", NetworkPolicy(mode="block", hosts=("127.0.0.0/8",)), False),
    ):
        box = await lab.box(name, network=policy)
        env = await lab.output(box, "env")
        assert "https_proxy=http://127.0.0.1:" in env
        assert "NO_PROXY=localhost,127.0.0.1,::1" in env
        url = f"http://127.0.0.1:{site}/"
        got = await fetch(lab, box, url, no_proxy="none", NO_PROXY="none")
        assert (got == "hello") is reached, name


async def test_a_policy_can_change_and_survives_rest(lab: Lab, site: int) -> None:
    url = f"http://127.0.0.1:{site}/"
    off = {"no_proxy": "none", "NO_PROXY": "none"}
    allowed = NetworkPolicy(mode="allow", hosts=("127.0.0.1",))
    box = await lab.box()
    assert await fetch(lab, box, url, **off) is None
    await lab.driver.reconfigure("box", network=allowed)
    assert await fetch(lab, box, url, **off) == "hello"
    assert await lab.driver.suspend("box")
    assert await fetch(lab, box, url, **off) == "hello"
    await lab.driver.reconfigure("box", network=NetworkPolicy())
    assert await fetch(lab, box, url, **off) is None
    assert "proxy" not in await lab.output(box, "env")


async def test_the_proxy_is_there_again_after_a_new_server(scratch: Path, site: int) -> None:
    allowed = NetworkPolicy(mode="allow", hosts=("127.0.0.1",))
    off = {"no_proxy": "none", "NO_PROXY": "none"}
    first_egress = EgressProxy(private_ok=("127.0.0.0/8",))
    first = Lab(scratch, egress=first_egress)
    await first.driver.start()
    box = await first.box(network=allowed)
    port = first.driver._live["box"].proxy_port
    await first.driver.stop(kill=False)
    await first_egress.aclose()
    egress = EgressProxy(private_ok=("127.0.0.0/8",))
    async with sandbox_lab.lab(scratch, egress=egress) as lab:
        box = await lab.driver.open("box")
        assert lab.driver._live["box"].proxy_port == port
        assert await fetch(lab, box, f"http://127.0.0.1:{site}/", **off) == "hello"
    await egress.aclose()
