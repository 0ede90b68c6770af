"""The machines that offer capacity; here, this one."""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

from skerry.island.engine import gpus
from skerry.island.engine.errors import Invalid
from skerry.island.engine.records import Node
from skerry.island.sandbox.spec import Limits
from skerry.island.settings import Settings
from skerry.units import MIB, format_size

LOCAL = "local"


class Nodes:
    """Nodes and what fits on them."""

    def __init__(self, local: Node) -> None:
        self._local = local

    async def list(self) -> list[Node]:
        """Every node."""
        return [self._local]

    @property
    def local(self) -> Node:
        """This machine."""
        return self._local

    def fitting(self, limits: Limits) -> Limits:
        """The owner's usual limits, cut to what this machine has."""
        node = self._local
        return replace(
            limits,
            cpu_millis=_least(limits.cpu_millis, node.cpu_millis),
            memory_bytes=_least(limits.memory_bytes, node.memory_bytes),
            disk_bytes=_least(limits.disk_bytes, node.disk_bytes),
        )

    def check(self, limits: Limits) -> None:
        """Refuse limits that no node can ever give.

        Raises:
            Invalid: with what was asked and what the node has.
        """
        node = self._local
        asked = (
            ("CPU", limits.cpu_millis, node.cpu_millis, _cpus),
            ("memory", limits.memory_bytes, node.memory_bytes, format_size),
            ("disk", limits.disk_bytes, node.disk_bytes, format_size),
        )
        for what, wanted, most, show in asked:
            if wanted is None:
                continue
            if wanted <= 0:
                raise Invalid(f"{what} must be more than {show(wanted)}")
            if wanted > most:
                raise Invalid(f"{show(wanted)} of {what} were asked for; this machine has {show(most)}")
        if limits.memory_bytes is not None and limits.memory_bytes < 4 * MIB:
            raise Invalid(f"memory must be at least {format_size(4 * MIB)}")
        for what, count in (("processes", limits.pids), ("open files", limits.open_files)):
            if count is not None and count < 8:
                raise Invalid(f"a sandbox needs at least 8 {what}")
        if limits.output_bytes < 0:
            raise Invalid("kept output cannot be negative")


def detect(settings: Settings) -> Node:
    """Describe this machine: processors this process may use, memory, and the disk of the data directory."""
    prices = settings.prices
    return Node(
        id=LOCAL,
        name=socket.gethostname(),
        cpu_millis=len(os.sched_getaffinity(0)) * 1000,
        memory_bytes=_memory(),
        disk_bytes=shutil.disk_usage(settings.data_dir).total,
        gpus=gpus.detect(),
        state="ready",
        cpu_hour=prices.cpu_hour,
        memory_gib_hour=prices.memory_gib_hour,
        gpu_hour=prices.gpu_hour,
        labels={"architecture": os.uname().machine},
    )


def _memory(path: Path = Path("/proc/meminfo")) -> int:
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            return int(rest.split()[0]) * 1024
    raise OSError(f"{path} has no MemTotal")


def _least(wanted: int | None, most: int) -> int | None:
    return None if wanted is None else min(wanted, most)


def _cpus(millis: int) -> str:
    return f"{millis / 1000:g} processors"
