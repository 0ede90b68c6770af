"""The main job, shown on an island of its own: fork a sandbox, run a real command in it, see what that took.

`python -m skerry.demo` (or `make run`). Everything happens in a temporary directory and is gone afterwards.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from skerry import Island
from skerry.island.admin.models import RunView

PATH = "/home/user/total.txt"
COMMAND = """python3 - <<'PROGRAM'
import os, platform
from pathlib import Path
total = sum(n * n for n in range(1, 1_000_001))
Path("total.txt").write_text(f"{total}\\n")
print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
visible = sum(entry.name.isdigit() for entry in Path("/proc").iterdir())
print(f"I am process {os.getpid()} of the {visible} that I can see, on host {platform.node()}")
print(f"The sum of the first million squares is {total}; it is in {Path('total.txt').absolute()}")
PROGRAM"""


def main() -> int:
    """Run the demonstration and return its exit status."""
    island = Island()
    with clocked("An island of our own starts"):
        island.start()
        click.echo(f"  {island.url}, Arker's protocol at {island.base_url('arker')}")
    with island, island.arker() as arker, island.admin() as owner:
        with clocked("A sandbox is forked from the golden `ubuntu`"):
            vm = arker.vm("ubuntu").fork(name="demo")
            click.echo(f"  {vm.id}")

        with clocked("A Python program runs in it"):
            started = vm.run(COMMAND, background=True)
            if started.type != "background":
                raise click.ClickException("the island did not take the run into the background")
            run = None
            for event in owner.events(started.run_id):
                for line in event.data.decode(errors="replace").splitlines():
                    click.echo(f"  | {line}")
                run = event.run or run
        if run is None:
            raise click.ClickException("the island ended its answer before the run had ended")
        report(run)

        with clocked("The sandbox is forked, and the fork has its files"):
            child = vm.fork()
            child.run("echo changed > total.txt")
            click.echo(f"  parent still reads {vm.sync.read_file(PATH).decode().strip()}")
            click.echo(f"  child reads        {child.sync.read_file(PATH).decode().strip()}")
        click.echo(f"  balance: {owner.island().balance.amount} USD left of the opening credit")
    click.echo(
        """
Next:
  .venv/bin/skerry run -- python3 -c 'print(6 * 7)'   one command, one sandbox, no set-up
  .venv/bin/skerry up                                 keep an island running; prints what clients need
  .venv/bin/skerry doctor                             what this machine can isolate, limit and build
  docs/start.md                                       the same from Python"""
    )
    return run.exit_code if run.exit_code is not None else 1


def report(run: RunView) -> None:
    """What a run took and what stood around it."""
    click.echo(f"  exit {run.exit_code} after {run.duration_seconds:.3f} s, {run.cpu_seconds:.3f} s of processor time")
    if run.cost is not None:
        click.echo(f"  cost {run.cost.amount} {run.cost.currency}")
    if run.isolation is not None:
        click.echo(f"  isolation by the {run.isolation.driver} driver: {', '.join(run.isolation.active)}")
        for wall in run.isolation.missing:
            click.echo(f"  not isolated: {wall.name} ({wall.reason})")


@contextmanager
def clocked(title: str) -> Iterator[None]:
    """A heading, and the time taken until the block ends."""
    began = time.perf_counter()
    click.echo(f"\n{title}")
    yield
    click.echo(f"  {(time.perf_counter() - began) * 1000:.1f} ms")


if __name__ == "__main__":
    sys.exit(main())
