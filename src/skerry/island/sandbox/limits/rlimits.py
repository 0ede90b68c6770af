"""What a process can be held to without control groups: weaker, because each process counts alone."""

from __future__ import annotations

from collections.abc import Collection

from skerry.island.sandbox.spec import Limits


def rlimits(limits: Limits, active: Collection[str] = (), *, own_user: bool = True) -> dict[str, int]:
    """Resource limits (names of the `resource` module) for the first process of a sandbox.

    Args:
        limits: what the sandbox may use.
        active: which of `cpu`, `memory`, `pids` a control group enforces already; the rest falls to us.
        own_user: whether processes of the sandbox's user are counted for this sandbox alone (its own user namespace);
            otherwise a process limit would count everything else this user runs and is left out.
    """
    values = {"RLIMIT_CORE": 0}
    if limits.open_files is not None:
        values["RLIMIT_NOFILE"] = limits.open_files
    if limits.disk_bytes is not None:
        values["RLIMIT_FSIZE"] = limits.disk_bytes
    if limits.pids is not None and "pids" not in active and own_user:
        values["RLIMIT_NPROC"] = limits.pids
    if limits.memory_bytes is not None and "memory" not in active:
        # Not the address space: many runtimes reserve far more of it than they ever touch.
        values["RLIMIT_DATA"] = limits.memory_bytes
    return values
