"""A node's hardware in the network's words: its share of this machine, and what the machine measures of itself."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.nodes import node_rows
from skerry.island.faces.octaspace.nodes.machine import Gpus, Load, System, disk, memory, system
from skerry.island.faces.octaspace.nodes.shares import share

_SECOND = 1_000_000


class Hardware:
    """Measures; make it with `await Hardware.measured(engine)`."""

    def __init__(self, engine: Engine, facts: System) -> None:
        self._engine = engine
        self.facts = facts
        self.load = Load(engine.clock.monotonic)
        self.gpus = Gpus(engine.nodes.local.gpus)

    @classmethod
    async def measured(cls, engine: Engine) -> Hardware:
        """Look at the machine once; what changes is looked at when it is asked for."""
        return await asyncio.to_thread(lambda: cls(engine, system()))

    @property
    def directory(self) -> Path:
        """On whose disk everything lies."""
        return self._engine.settings.data_dir

    def cores(self) -> int:
        """Processors of one node, at least one."""
        return max(1, share(self._engine.nodes.local.cpu_millis, node_rows.slots(self._engine)) // 1000)

    def memory_bytes(self) -> int:
        """Memory of one node."""
        return share(self._engine.nodes.local.memory_bytes, node_rows.slots(self._engine))

    def free_disk(self) -> int:
        """Bytes that a session could ask for now: the disk is not cut into shares, each node has all that is free."""
        return int(disk(self.directory)["free"])

    def gpu_views(self, node: Row[Any]) -> list[dict[str, Any]]:
        """The GPUs of one node."""
        return self.gpus.views(node_rows.share_of_gpus(self._engine, node.slot))

    def fits(self, connection: Connection, node: Row[Any]) -> bool:
        """Whether the machine has a node's share to give, beside the other networks' work and what idles for it."""
        free = self._engine.lending.free(connection)
        indices = {gpu.index for gpu in free.gpus}
        count = node_rows.slots(self._engine)
        return (
            free.cpu_millis >= share(self._engine.nodes.local.cpu_millis, count)
            and free.memory_bytes >= share(self._engine.nodes.local.memory_bytes, count)
            and set(node_rows.share_of_gpus(self._engine, node.slot)) <= indices
        )

    def available_ports(self, most: int, taken: int) -> int:
        """Service ports that are free.

        Args:
            most: that one session may have.
            taken: host ports that are published now.
        """
        span = self._engine.settings.port_range
        if span is None:
            return most
        return max(0, min(most, span[1] - span[0] + 1 - taken))

    def location(self) -> dict[str, Any]:
        """Where the machine is said to be."""
        chosen = self._engine.settings.octaspace
        return {
            "city": chosen.city,
            "country": chosen.country,
            "latitude": chosen.latitude,
            "longitude": chosen.longitude,
        }

    def uptime(self, node: Row[Any], now: int) -> int:
        """Seconds since a node's last start."""
        return int(max(0, now - node.booted_at) // _SECOND)

    def listed(self, node: Row[Any]) -> dict[str, Any]:
        """`system` of a node in the list (section 3.4)."""
        found = memory()
        return {
            "arch": self.facts.arch,
            "cpu_cores": self.cores(),
            "cpu_load_percent": self.load.percent(),
            "cpu_model_name": self.facts.cpu_model_name,
            "os_version": self.facts.os_version,
            "disk": disk(self.directory),
            "gpus": self.gpu_views(node),
            "memory": {
                "free": min(found["available_memory"], self.memory_bytes()),
                "size": self.memory_bytes(),
            },
        }

    def detail(self, node: Row[Any], now: int) -> dict[str, Any]:
        """`data` of one node (section 3.4)."""
        facts, gpus = self.facts, self.gpu_views(node)
        drivers = {gpu["driver_version"] for gpu in gpus if gpu.get("driver_version")}
        return {
            "arch": facts.arch,
            "cpu_cores": self.cores(),
            "cpu_load_percent": self.load.percent(),
            "cpu_model_name": facts.cpu_model_name,
            "cpu_vendor_id": facts.cpu_vendor_id,
            "cuda_version": self.gpus.cuda_version,
            "os_version": facts.os_version,
            "kernel_version": facts.kernel_version,
            "linux_distro": facts.linux_distro,
            "linux_release": facts.linux_release,
            "is_hive_os": facts.is_hive_os,
            "is_wsl": facts.is_wsl,
            "virt": facts.virt,
            "gpu_pt": False,
            "gpu_vendor": "nvidia" if gpus else "",
            "gpu_driver_version": next(iter(drivers), ""),
            "gpus": gpus,
            "gpu": {"nvidia": gpus, "amd": []},
            "disk": disk(self.directory),
            "memory": {**memory(), "total_memory": self.memory_bytes()},
            "version": osn_version(),
            "uptime": self.uptime(node, now),
        }

    def session(self, node: Row[Any], disk_gb: int) -> dict[str, Any]:
        """`node_hw` of a session (section 3.10)."""
        return {
            "cpu": self.facts.cpu_model_name,
            "cpu_cores": self.cores(),
            "gpu": short_gpus(self.gpu_views(node)),
            "total_memory": self.memory_bytes(),
            "disk": disk_gb << 30,
        }


def short_gpus(views: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """GPUs by model and memory alone."""
    return [{"model": gpu["model"], "mem_total_mb": gpu["mem_total_mb"]} for gpu in views]


def osn_version() -> str:
    """The version of the node's software, which is this one."""
    return version("skerry")
