"""What a sandbox costs: the first command, the next command, a fork, a hundred forks at once."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import uvloop

from bench.harness import Row, Series, at_most, in_turn, timed
from bench.peers import COMMAND, bubblewrap, burst, one_shot_peers, works
from bench.served import Served
from skerry.ids import new_id, new_ulid
from skerry.island.promptness import be_prompt

T = TypeVar("T")

_AFTER = ", after 20,000 deletions"


def create_and_first_command(island: Served, rounds: int) -> list[Row]:
    """Fork the golden and run `true`, over HTTP with the public client; the fork is deleted outside the clock."""
    made = []
    with island.arker() as client:

        def one() -> None:
            vm = client.vm("ubuntu").fork()
            vm.run(COMMAND)
            made.append(vm)

        ours, *peers = in_turn({"skerry": one, **one_shot_peers()}, rounds)
        for vm in made:
            vm.delete()
    goal, reached = at_most(ours, 30)
    return [Row("create + first command, sequential", ours, peers, goal, reached)]


def exec_in_live_sandbox(island: Served, rounds: int) -> list[Row]:
    """One more command in a sandbox that already lives: over HTTP, through the engine, through the driver; and the same
    right after thousands of files were deleted on the same disk, as a test run leaves it.
    """
    peers = one_shot_peers()
    rows = []
    with island.arker() as client:
        vm = client.vm("ubuntu").fork()
        try:
            vm.run(COMMAND)
            for when in ("", _AFTER):
                if when:
                    _delete_many(island.data_dir)
                over_http, *rest = in_turn({"skerry": lambda: vm.run(COMMAND), **peers}, rounds)
                rows.append(Row(f"exec in a live sandbox, HTTP{when}", over_http, rest, *at_most(over_http, 5)))
        finally:
            vm.delete()
    # In a thread and on a loop as the server has them.
    with ThreadPoolExecutor(1, initializer=be_prompt) as thread:
        inside = thread.submit(_run, _exec_inside(rounds)).result()
    for when, (text, program, direct, peer) in inside.items():
        rows += [
            Row(f"exec in a live sandbox, engine, session{when}", text, [peer], *at_most(text, 2)),
            Row(f"exec in a live sandbox, engine, argv{when}", program, [peer], *at_most(program, 2)),
            Row(f"exec in a live sandbox, driver, argv{when}", direct, [peer]),
        ]
    return rows


def _delete_many(directory: Path, count: int = 20_000) -> None:
    """Make and remove files, whose inodes a file system may take pains not to use again for a while."""
    folder = directory / "deleted"
    folder.mkdir()
    for number in range(count):
        (folder / str(number)).touch()
    shutil.rmtree(folder)


def _run(work: Coroutine[object, object, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def _exec_inside(rounds: int) -> dict[str, list[Series]]:
    """Inside the server's own process, without wire: text in the default session and a program's arguments through
    submit and wait, the same arguments through the driver alone, and a bare process beside them, in turn.
    """
    from skerry.island.engine.engine import Engine
    from skerry.island.sandbox.spec import ExecSpec
    from skerry.island.settings import Settings

    argv = ("/bin/sh", "-c", COMMAND)
    taken: dict[str, list[Series]] = {}
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder:
        engine = await Engine.open(Settings(data_dir=Path(folder) / "data"))
        try:
            owner = engine.account_id
            vm = await engine.sandboxes.create(owner, id=new_id("vmh"), network="arker", image="host")

            async def session() -> int | None:
                run = await engine.runs.submit(owner, vm.id, id=new_ulid(), command=COMMAND)
                return (await engine.runs.wait(run.id)).exit_code

            async def program() -> int | None:
                run = await engine.runs.submit(owner, vm.id, id=new_ulid(), command=argv, sessionless=True)
                return (await engine.runs.wait(run.id)).exit_code

            async def direct() -> int:
                sandbox = await engine.driver.open(vm.id)
                process = await sandbox.exec(ExecSpec(id=new_ulid(), argv=argv, env={"PATH": "/usr/bin:/bin"}))
                return (await process.wait()).exit_code

            async def bare() -> int:
                return subprocess.run(argv, check=True).returncode

            for when in ("", _AFTER):
                if when:
                    await asyncio.to_thread(_delete_many, Path(folder))
                series = [Series("session"), Series("argv"), Series("driver"), Series("subprocess")]
                for _ in range(rounds + 5):
                    for one, action in zip(series, (session, program, direct, bare), strict=True):
                        start = time.perf_counter_ns()
                        code = await action()
                        one.samples.append((time.perf_counter_ns() - start) / 1e6)
                        if code != 0:
                            raise RuntimeError(f"{one.name} ended with {code}")
                for one in series:
                    del one.samples[:5]
                taken[when] = series
        finally:
            await engine.close()
    return taken


def burst_of_forks(island: Served, count: int) -> list[Row]:
    """`count` forks at once, then the same with a first command in each; every one must succeed."""

    async def forks(*, run: bool) -> float:
        async with island.async_arker() as client:
            golden = client.vm("ubuntu")

            async def one():  # type: ignore[no-untyped-def]
                vm = await golden.fork()
                if run:
                    result = await vm.run("echo $((6*7))")
                    if result.stdout != b"42\n":
                        raise RuntimeError(f"a fork of the burst answered {result!r}")
                return vm

            start = time.perf_counter_ns()
            vms = await asyncio.gather(*(one() for _ in range(count)))
            elapsed = (time.perf_counter_ns() - start) / 1e6
            for vm in vms:
                await vm.delete()
            return elapsed

    alone = Series("skerry", [asyncio.run(forks(run=False)) for _ in range(3)])
    with_run = Series("skerry", [asyncio.run(forks(run=True)) for _ in range(3)])
    peers = []
    wrapped = bubblewrap()
    if wrapped and works([*wrapped, "true"]):
        samples = [timed(lambda: asyncio.run(burst([*wrapped, "true"], count))) for _ in range(3)]
        peers.append(Series("bubblewrap", samples))
    goal, reached = at_most(with_run, 2500)
    return [
        Row(f"burst of {count} forks", alone, peers),
        Row(f"burst of {count} forks, a command in each", with_run, peers, goal, reached),
    ]


def fork_against_size(island: Served, rounds: int) -> list[Row]:
    """An idle sandbox forked when it holds 10 MB, 1 GB and 10 GB (sparse); time must not follow size."""
    fills = {
        "10 MB": "head -c 10485760 /dev/urandom > big",
        "1 GB": "head -c 1073741824 /dev/zero > big",
        "10 GB sparse": "truncate -s 10737418240 big && dd if=/dev/urandom of=big bs=1M count=8 conv=notrunc 2>&-",
    }
    rows = []
    medians: dict[str, float] = {}
    with island.arker(timeout=300) as client:
        for name, fill in fills.items():
            parent = client.vm("ubuntu").fork(disk_mib=20 * 1024)
            parent.run(fill)
            series = Series("skerry")
            for number in range(rounds):
                # Without a write since the last fork there is no layer to freeze, and nothing would be measured.
                parent.run(f"echo {number} > mark")
                children = []
                series.samples.append(timed(lambda parent=parent, children=children: children.append(parent.fork())))
                children[0].delete()
            medians[name] = series.median
            goal, reached = at_most(series, 20)
            rows.append(Row(f"idle fork holding {name}", series, [_copy_peer(name)], goal, reached))
            parent.delete()
    ratio = Series("10 GB : 10 MB", [medians["10 GB sparse"] / medians["10 MB"]], unit="x")
    rows.append(Row("fork time, 10 GB : 10 MB", ratio, [], *at_most(ratio, 2)))
    return rows


def _copy_peer(name: str) -> Series:
    """`cp -a` of the same bytes: what a fork costs without copy-on-write."""
    series = Series("cp -a")
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder:
        source = Path(folder) / "a"
        source.mkdir()
        fill = {"10 MB": (10 << 20, 10 << 20), "1 GB": (1 << 30, 1 << 30), "10 GB sparse": (8 << 20, 10 << 30)}[name]
        with (source / "big").open("wb") as file:
            for _ in range(fill[0] >> 20):
                file.write(b"\1" * (1 << 20))
            file.truncate(fill[1])
        for number in range(3):
            target = Path(folder) / f"copy{number}"
            series.samples.append(timed(lambda target=target: subprocess.run(["cp", "-a", source, target], check=True)))
            subprocess.run(["rm", "-rf", target], check=True)
    return series


def fork_against_depth(island: Served) -> list[Row]:
    """A chain of forks of forks, with a first command in each child."""
    wanted = (1, 10, 40)
    rows = []
    with island.arker(timeout=120) as client:
        chain = [client.vm("ubuntu").fork()]
        for depth in range(1, max(wanted) + 1):
            chain[-1].run(f"echo {depth} > level{depth}")
            fork = timed(lambda: chain.append(chain[-1].fork()))
            first = timed(lambda: chain[-1].run(COMMAND))
            if depth in wanted:
                rows.append(Row(f"fork at chain depth {depth}", Series("skerry", [fork]), note="one sample a depth"))
                rows.append(
                    Row(f"first command at chain depth {depth}", Series("skerry", [first]), note="one sample a depth")
                )
        for vm in chain:
            vm.delete()
    return rows


__all__ = [
    "burst_of_forks",
    "create_and_first_command",
    "exec_in_live_sandbox",
    "fork_against_depth",
    "fork_against_size",
]
