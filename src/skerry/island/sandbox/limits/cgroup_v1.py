"""Control groups, version 1: one hierarchy per controller, each optional."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from skerry.island.sandbox.limits.cgroup import CPU_PERIOD_US, Cgroup, apply, cpu_quota_us, number, wait_for, write
from skerry.island.sandbox.spec import Limits

CONTROLLERS = ("memory", "pids", "cpu", "cpuacct", "freezer")
_MIB = 1 << 20


class CgroupV1(Cgroup):
    """A sandbox's groups in the hierarchies of version 1.

    Args:
        id: the sandbox.
        directories: its directory by controller; controllers mounted together share one.
    """

    def __init__(self, id: str, directories: Mapping[str, Path]) -> None:
        active = [name for name in ("cpu", "memory", "pids", "freezer") if name in directories]
        super().__init__(id, tuple(dict.fromkeys(directories.values())), active, entry="tasks")
        self._by_name = dict(directories)

    @property
    def oom_file(self) -> Path | None:
        """File with a line `oom_kill <count>`."""
        memory = self._by_name.get("memory")
        return None if memory is None else memory / "memory.oom_control"

    def freeze(self, timeout: float = 2.0) -> bool:
        """Stop every process; False, with everything running, if that did not happen in `timeout` seconds."""
        freezer = self._by_name.get("freezer")
        if freezer is None:
            return False
        state = freezer / "freezer.state"
        write(state, "FROZEN")
        # A process that was forking meanwhile is only caught by asking again.
        if wait_for(state, "FROZEN", timeout, again=(state, "FROZEN")):
            return True
        self.thaw()
        return False

    def thaw(self) -> None:
        """Let them run again; harmless when they do."""
        freezer = self._by_name.get("freezer")
        if freezer is not None:
            write(freezer / "freezer.state", "THAWED")

    def update(self, limits: Limits) -> None:
        """Put new limits in force at once. Raises SandboxError `limits` if the kernel refuses; the old ones stay."""
        settings: list[tuple[Path, str]] = []
        if (memory := self._by_name.get("memory")) is not None:
            most = "-1" if limits.memory_bytes is None else str(max(limits.memory_bytes, _MIB))
            both = memory / "memory.memsw.limit_in_bytes"
            # Memory and swap together may never be less than memory, at no moment.
            if both.exists():
                settings += [(both, "-1"), (memory / "memory.limit_in_bytes", most), (both, most)]
            else:
                settings.append((memory / "memory.limit_in_bytes", most))
        if (pids := self._by_name.get("pids")) is not None:
            settings.append((pids / "pids.max", "max" if limits.pids is None else str(limits.pids)))
        if (cpu := self._by_name.get("cpu")) is not None:
            quota = cpu_quota_us(limits)
            settings.append((cpu / "cpu.cfs_period_us", str(CPU_PERIOD_US)))
            settings.append((cpu / "cpu.cfs_quota_us", "-1" if quota is None else str(quota)))
        apply(settings)

    def memory_bytes(self) -> int | None:
        """Memory charged now, page cache included."""
        memory = self._by_name.get("memory")
        return None if memory is None else number(memory / "memory.usage_in_bytes")

    def cpu_ns(self) -> int | None:
        """Processor time used, by ended processes too."""
        account = self._by_name.get("cpuacct")
        return None if account is None else number(account / "cpuacct.usage")
