"""Control groups, version 2: one directory, with those controllers that were delegated to it."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from skerry.island.sandbox.limits.cgroup import (
    CPU_PERIOD_US,
    Cgroup,
    apply,
    cpu_quota_us,
    field,
    number,
    wait_for,
    write,
)
from skerry.island.sandbox.spec import Limits

CONTROLLERS = ("cpu", "memory", "pids")
_MIB = 1 << 20


class CgroupV2(Cgroup):
    """A sandbox's group in the one hierarchy of version 2.

    Stopping and killing all processes at once works without any controller.

    Args:
        id: the sandbox.
        directory: its group.
        controllers: those of `CONTROLLERS` that are enabled in it.
    """

    def __init__(self, id: str, directory: Path, controllers: Set[str]) -> None:
        active = [*(name for name in CONTROLLERS if name in controllers)]
        if (directory / "cgroup.freeze").exists():
            active.append("freezer")
        super().__init__(id, (directory,), active, entry="cgroup.procs")
        self.directory = directory
        """For starting a process right in the group (clone3 with CLONE_INTO_CGROUP), which spares `add`'s waiting."""

    @property
    def oom_file(self) -> Path | None:
        """File with a line `oom_kill <count>`."""
        return self.directory / "memory.events" if "memory" in self.active else None

    def freeze(self, timeout: float = 2.0) -> bool:
        """Stop every process; False, with everything running, if that did not happen in `timeout` seconds."""
        if "freezer" not in self.active:
            return False
        write(self.directory / "cgroup.freeze", "1")
        if wait_for(self.directory / "cgroup.events", "frozen 1", timeout):
            return True
        self.thaw()
        return False

    def thaw(self) -> None:
        """Let them run again; harmless when they do."""
        if "freezer" in self.active:
            write(self.directory / "cgroup.freeze", "0")

    def kill(self, timeout: float = 30.0) -> bool:
        """SIGKILL every process at once; False if some outlived `timeout` seconds."""
        try:
            write(self.directory / "cgroup.kill", "1")
        except FileNotFoundError:
            # Kernels before 5.14 leave it to us.
            return super().kill(timeout)
        return wait_for(self.directory / "cgroup.events", "populated 0", timeout)

    def update(self, limits: Limits) -> None:
        """Put new limits in force at once. Raises SandboxError `limits` if the kernel refuses; the old ones stay.

        There is no `memory.high` below the limit: it would slow a run down endlessly where the limit ends it clearly.
        """
        settings: list[tuple[Path, str]] = []
        if "memory" in self.active:
            swap = self.directory / "memory.swap.max"
            if swap.exists():
                settings.append((swap, "max" if limits.memory_bytes is None else "0"))
            most = "max" if limits.memory_bytes is None else str(max(limits.memory_bytes, _MIB))
            settings.append((self.directory / "memory.max", most))
        if "pids" in self.active:
            settings.append((self.directory / "pids.max", "max" if limits.pids is None else str(limits.pids)))
        if "cpu" in self.active:
            quota = cpu_quota_us(limits)
            settings.append((self.directory / "cpu.max", f"{'max' if quota is None else quota} {CPU_PERIOD_US}"))
        apply(settings)

    def memory_bytes(self) -> int | None:
        """Memory charged now, page cache included; None without the memory controller."""
        return number(self.directory / "memory.current")

    def cpu_ns(self) -> int | None:
        """Processor time used, by ended processes too; the kernel tells it without any controller."""
        microseconds = field(self.directory / "cpu.stat", "usage_usec")
        return None if microseconds is None else microseconds * 1000
