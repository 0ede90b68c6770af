"""Nodes as their owner sees them (protocol section 6)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, true

from skerry.island.engine.engine import Engine
from skerry.island.engine.records import Free
from skerry.island.faces.dispersed import listing
from skerry.island.faces.dispersed.call import Call, Route
from skerry.island.faces.dispersed.callers import Profile
from skerry.island.faces.dispersed.nodes.local_node import GB, GIB
from skerry.island.faces.dispersed.routes import Table
from skerry.island.faces.dispersed.tables import nodes
from skerry.island.ground.texts import iso

_FILTERS = {"name": listing.contains(nodes.c.name), "region_code": listing.words(nodes.c.region_code)}


class NodeViews:
    """Nodes of the account that asks; the key of a node sees that one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Table:
        """One list, for consumers and nodes alike."""
        return [("GET", "/v1/nodes", Route(self.list, preset="ANY"))]

    async def list(self, call: Call) -> dict[str, Any]:
        """What each node has, what of it is free, and how it does."""
        mine = nodes.c.account_id == call.account_id
        own = true() if call.key.node_uuid is None else nodes.c.uuid == call.key.node_uuid
        wanted = listing.read_query(call.query, {**listing.dated(nodes), **_FILTERS})
        rows, total = await self._engine.store.read(listing.fetch, nodes, wanted, mine, own)
        data = [await self._view(row, call) for row in rows]
        return listing.envelope(data, wanted, total)

    async def _view(self, row: Row[Any], call: Call) -> dict[str, Any]:
        if row.node_id is None:
            return view(row, call.profile, json.loads(row.hardware), _kept_event(row))
        free, (load, memory, disk) = await asyncio.gather(
            self._engine.store.read(self._free), asyncio.to_thread(_measure, self._engine.settings.data_dir)
        )
        hardware = _with_free(json.loads(row.hardware), free, self._engine.nodes.local.gpus)
        event = _event(row, hardware, load, memory, disk, call.now)
        return {**view(row, call.profile, hardware, event), "last_seen_at": iso(call.now)}

    def _free(self, connection: Connection) -> Free:
        return self._engine.lending.free(connection)


def view(row: Row[Any], profile: Profile, hardware: dict[str, Any], event: Any) -> dict[str, Any]:
    """A node as it is sent.

    Args:
        row: of the table.
        profile: of its owner.
        hardware: what it has.
        event: how it does, None when it never said.
    """
    return {
        "object": "node",
        "_id": row.uuid,
        "uuid": row.uuid,
        "account_uuid": profile.uuid,
        "name": row.name,
        "region_code": row.region_code,
        "reputation": row.reputation,
        "cpus": hardware.get("cpus", []),
        "gpus": hardware.get("gpus", []),
        "hard_drives": hardware.get("hard_drives", []),
        "rams": hardware.get("rams", []),
        "ramTotal": sum(_number(ram.get("memory_gb_max")) for ram in hardware.get("rams", [])),
        "last_seen_at": iso(row.last_seen_at),
        "latest_hardware_event": event,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def _with_free(hardware: dict[str, Any], free: Free, cards: Any) -> dict[str, Any]:
    idle = {gpu.index for gpu in free.gpus}
    gpus = [
        {**known, "vram_gb_available": known["vram_gb_max"] if gpu.index in idle else 0}
        for known, gpu in zip(hardware["gpus"], cards, strict=False)
    ]
    return {
        **hardware,
        "gpus": gpus,
        "rams": [{**ram, "memory_gb_available": free.memory_bytes // GB} for ram in hardware["rams"]],
        "hard_drives": [{**drive, "available_capacity_gb": free.disk_bytes // GB} for drive in hardware["hard_drives"]],
    }


def _measure(data_dir: Path) -> tuple[float, tuple[int, int], tuple[int, int]]:
    """Load in hundredths of all processors; free and total bytes of memory and of the data directory's disk."""
    processors = len(os.sched_getaffinity(0))
    load = min(100.0, round(os.getloadavg()[0] / processors * 100, 1))
    lines = (line.partition(":") for line in Path("/proc/meminfo").read_text().splitlines())
    memory = {name: int(rest.split()[0]) * 1024 for name, _, rest in lines if name in ("MemTotal", "MemAvailable")}
    usage = shutil.disk_usage(data_dir)
    return load, (memory["MemAvailable"], memory["MemTotal"]), (usage.free, usage.total)


def _event(
    row: Row[Any],
    hardware: dict[str, Any],
    load: float,
    memory: tuple[int, int],
    disk: tuple[int, int],
    now: int,
) -> dict[str, Any]:
    gpus = [
        {
            "name": gpu["name"],
            "load": None,
            "vram": {"free": gpu["vram_gb_available"] * GIB, "total": gpu["vram_gb_max"] * GIB},
        }
        for gpu in hardware["gpus"]
    ]
    drive = {"name": "data", "model": None, "free_capacity": disk[0], "total_capacity": disk[1]}
    return {
        "object": "node_hardware_event",
        "timestamp_ms": now // 1000,
        "node": row.uuid,
        "node_hardware": row.uuid,
        "metadata": {
            "cpu": {"average": load, "cores": []},
            "gpu": {"average": None, "gpus": gpus},
            "ram": {"free": memory[0], "total": memory[1]},
            "storage": {"hard_drives": [drive]},
        },
    }


def _kept_event(row: Row[Any]) -> Any:
    return None if row.event is None else json.loads(row.event)


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0
