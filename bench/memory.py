"""What a resident agent costs in memory, counted as proportional set size by the kernel."""

from __future__ import annotations

from pathlib import Path

from bench.harness import Row, Series, at_most
from bench.served import Served


def agent_memory(island: Served, count: int) -> list[Row]:
    """PSS of each agent with `count` sandboxes alive at once, in MiB."""
    with island.arker() as client:
        vms = [client.vm("ubuntu").fork() for _ in range(count)]
        before = _agents()
        for vm in vms:
            vm.run("true")
        series = Series("agent", [_pss_mib(pid) for pid in _agents() - before], unit="MiB")
        for vm in vms:
            vm.delete()
    return [Row(f"agent memory, {count} alive", series, [], *at_most(series, 4))]


def _agents() -> set[int]:
    """Processes that are number 1 of a process namespace other than ours."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            line = next(line for line in status.read_text().splitlines() if line.startswith("NSpid:"))
        except (OSError, StopIteration):
            continue
        numbers = line.split()[1:]
        if len(numbers) > 1 and numbers[-1] == "1":
            found.add(int(status.parent.name))
    return found


def _pss_mib(pid: int) -> float:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
