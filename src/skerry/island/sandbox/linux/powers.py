"""What the kernel and our own user id let us do, as those who put sandboxes up have to know before they begin."""

from __future__ import annotations

import functools
import os
import re

from skerry.island.sandbox.linux import seccomp
from skerry.island.sandbox.linux import syscalls as sc

_CAP_SYS_ADMIN = 21


def kernel_version() -> tuple[int, int]:
    """Major and minor version of the running kernel."""
    match = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def is_privileged() -> bool:
    """Whether we may map ids and mount outside of a user namespace: root with its full powers."""
    if os.geteuid() != 0:
        return False
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


@functools.cache
def seccomp_ready() -> bool:
    """Whether sandboxes get a system call filter here."""
    return sc.supported() and seccomp.program(sc.MACHINE) is not None
