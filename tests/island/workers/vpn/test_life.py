"""A relay outlives its server, its program and, with its credentials and counts, even itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from skerry.island.workers.vpn import RelayError, Traffic, living
from skerry.island.workers.vpn.living import ask
from tests import processes
from tests.island.workers.vpn.vpn_lab import PATIENCE, Lab, connected, counted, until

pytestmark = pytest.mark.anyio

SERVER = """
import asyncio, os, signal, sys
from pathlib import Path
from skerry.island.clock import SystemClock
from skerry.island.workers.vpn import Relays

async def main() -> None:
    state, host, page = sys.argv[1:4]
    relays = Relays(Path(state), host, None, SystemClock(), uplink="veth", egress_private=[page])
    for id in sys.argv[4:]:
        await relays.start(id, subkind="ss", label="octa-1")
    after = float(os.environ["DIE_AFTER"])
    if after < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    asyncio.get_running_loop().call_later(after, os.kill, os.getpid(), signal.SIGKILL)
    await relays.start("last", subkind="ss", label="octa-1")
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def crashed(lab: Lab, *ids: str, after: float = -1) -> None:
    """Let a server start relays and die: at once, or `after` seconds into starting one more, `last`."""
    root = str(Path(__file__).parents[4])
    path = os.pathsep.join([root, *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", SERVER, str(lab.scratch / "relays"), lab.host, lab.page_host, *ids],
        env={**os.environ, "PYTHONPATH": path, "DIE_AFTER": str(after)},
        timeout=3 * PATIENCE,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


def status(lab: Lab, id: str) -> dict[str, int]:
    answer = ask(lab.scratch / "relays" / f"r-{id}", "status")
    assert answer is not None
    return answer


def program(lab: Lab, id: str) -> int:
    """The process id of the relay's server program on this machine."""
    keeper = lab.relays._records.pids(id)["keeper"]
    (child,) = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    return int(child)


def free(lab: Lab, id: str) -> bool:
    """Whether nothing of the relay lives."""
    lock = lab.relays._records.acquire(id)
    if lock is not None:
        os.close(lock)
    return lock is not None


async def test_it_outlives_the_server_that_started_it(lab: Lab) -> None:
    crashed(lab, "one", "two")
    one = await lab.relays.find("one")
    assert one is not None
    with connected(lab, one) as socks:
        assert lab.fetch(socks=socks, size=100_000) == f"{lab.near} gave 0"
        moved = await counted(one, lambda it: it.sent > 100_000)
        await lab.another().recover(["one"])
        assert await lab.relays.find("two") is None
        assert lab.fetch(socks=socks) == f"{lab.near} gave 0"
        await counted(one, lambda it: it.sent > moved.sent)
        assert (await lab.relays.start("one", subkind="ss", label="octa-1")).config == one.config


@pytest.mark.parametrize("after", [0.0, 0.05, 0.1, 0.2])
async def test_a_server_killed_while_it_starts_one_leaves_a_relay_or_nothing(lab: Lab, after: float) -> None:
    crashed(lab, after=after)
    relay = await lab.relays.find("last")
    again = await lab.relays.start("last", subkind="ss", label="octa-1")
    assert relay is None or relay.config == again.config
    with connected(lab, again) as socks:
        assert lab.fetch(socks=socks) == f"{lab.near} gave 0"


@pytest.mark.parametrize("subkind", ["wg", "openvpn", "v2ray"])
async def test_its_program_is_started_again_with_the_same_credentials(lab: Lab, subkind: str) -> None:
    relay = await lab.relays.start("r1", subkind=subkind, label="octa-1")
    with connected(lab, relay) as socks:
        lab.fetch(socks=socks, size=100_000)
        before = await counted(relay, lambda it: it.sent > 100_000)
        os.kill(program(lab, "r1"), signal.SIGKILL)
        until(lambda: status(lab, "r1")["restarts"] == 1 and status(lab, "r1")["ready"])
        assert await relay.alive()
        assert (await relay.traffic()).sent >= before.sent
    with connected(lab, relay) as socks:
        assert lab.fetch(socks=socks, size=50_000) == f"{lab.near} gave 0"
    await counted(relay, lambda it: it.sent > before.sent + 50_000)


async def test_a_program_that_only_ends_is_given_up(lab: Lab) -> None:
    relay = await lab.relays.start("r1", subkind="ss", label="octa-1")
    restarts = -1
    home = lab.scratch / "relays" / "r-r1"
    while (known := await asyncio.to_thread(ask, home, "status")) is not None:
        if known["restarts"] > restarts and known["ready"]:
            restarts = known["restarts"]
            os.kill(program(lab, "r1"), signal.SIGKILL)
        await asyncio.sleep(0.02)
    assert restarts == 5
    assert not await relay.alive()
    assert await lab.relays.find("r1") is None


async def test_one_that_was_killed_comes_back_as_it_was(lab: Lab) -> None:
    relay = await lab.relays.start("r1", subkind="ss", label="octa-1")
    with connected(lab, relay) as socks:
        lab.fetch(socks=socks, size=100_000)
        lab.quiet()
        before = await relay.traffic()
        os.kill(lab.relays._records.pids("r1")["keeper"], signal.SIGKILL)
        until(lambda: free(lab, "r1"))
        assert not await relay.alive()
        assert await lab.relays.find("r1") is None
        assert await relay.traffic() == before
        again = await lab.relays.start("r1", subkind="ss", label="octa-1")
        assert again.config == relay.config
        assert await again.traffic() == before
        assert lab.fetch(socks=socks, size=50_000) == f"{lab.near} gave 0"
        assert (await again.traffic()).sent > before.sent + 50_000


async def test_all_rest_and_come_back_as_they_were(lab: Lab) -> None:
    relay = await lab.relays.start("r1", subkind="ss", label="octa-1")
    with connected(lab, relay) as socks:
        lab.fetch(socks=socks, size=100_000)
        before = await relay.traffic()
        await lab.relays.rest()
        assert free(lab, "r1")
        assert await lab.relays.find("r1") is None
        assert (await relay.traffic()).sent >= before.sent
        again = await lab.relays.start("r1", subkind="ss", label="octa-1")
        assert again.config == relay.config
        assert lab.fetch(socks=socks, size=50_000) == f"{lab.near} gave 0"
        assert (await again.traffic()).sent > before.sent + 50_000


async def test_a_dead_one_is_stopped_with_its_counts(lab: Lab) -> None:
    relay = await lab.relays.start("r1", subkind="ss", label="octa-1")
    with connected(lab, relay) as socks:
        lab.fetch(socks=socks, size=100_000)
    lab.quiet()
    before = await relay.traffic()
    os.kill(lab.relays._records.pids("r1")["keeper"], signal.SIGKILL)
    assert await lab.relays.stop("r1") == before
    # As the server would after dying between hearing the counts and writing them down.
    assert await lab.another().stop("r1") == before
    with pytest.raises(RelayError, match="was stopped"):
        await lab.relays.start("r1", subkind="ss", label="octa-1")
    await lab.relays.forget("r1")
    assert await lab.relays.stop("r1") == Traffic()


async def test_a_start_that_is_cancelled_leaves_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    building, cancelled = threading.Event(), threading.Event()
    build = living.build

    def slowly(*about: Any) -> None:
        building.set()
        assert cancelled.wait(PATIENCE)
        build(*about)

    monkeypatch.setattr(living, "build", slowly)
    task = asyncio.create_task(lab.relays.start("r1", subkind="ss", label="octa-1"))
    assert await asyncio.to_thread(building.wait, PATIENCE)
    task.cancel()
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await lab.relays.find("r1") is None
    assert sorted(path.name for path in (lab.scratch / "relays").rglob("*")) == ["ended"]


async def test_a_keeper_that_does_not_answer_is_ended_all_the_same(lab: Lab) -> None:
    relay = await lab.relays.start("r1", subkind="ss", label="octa-1")
    keeper = lab.relays._records.pids("r1")["keeper"]
    os.kill(keeper, signal.SIGSTOP)
    await lab.relays.stop("r1")
    assert not await relay.alive()
    # It gave its files back; what is left of it goes after that.
    until(lambda: not processes.alive(keeper))


async def test_many_at_once(lab: Lab) -> None:
    ids = [f"r{number}" for number in range(6)]
    relays = await asyncio.gather(*(lab.relays.start(id, subkind="ss", label="octa-1") for id in ids))
    assert len({relay.endpoint for relay in relays}) == len({relay.config for relay in relays}) == len(ids)
    same = await asyncio.gather(*(lab.relays.start("r0", subkind="ss", label="octa-1") for _ in range(3)))
    assert {relay.config for relay in same} == {relays[0].config}
    with connected(lab, relays[-1]) as socks:
        assert lab.fetch(socks=socks) == f"{lab.near} gave 0"
    assert await asyncio.gather(*(lab.relays.stop(id) for id in ids[:-1])) == [Traffic()] * 5
