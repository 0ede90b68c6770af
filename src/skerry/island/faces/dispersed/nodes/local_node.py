"""This machine as a node of the network, owned by the first account."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, update

from skerry.island.engine.engine import Engine
from skerry.island.engine.records import Node
from skerry.island.faces.dispersed import wire
from skerry.island.faces.dispersed.account import profiles
from skerry.island.faces.dispersed.tables import nodes
from skerry.island.store.values import micros

REPUTATION = 50
GB = 1_000_000_000
GIB = 1 << 30


async def register(engine: Engine) -> None:
    """Enter this machine as the first account's node, or bring its entry up to date."""
    processor = await asyncio.to_thread(_processor)
    node = engine.nodes.local
    hardware = json.dumps(hardware_of(node, processor))
    region = engine.settings.dispersed.region
    await engine.store.run(_enter, engine.account_id, node, region, hardware, micros(engine.clock.now()))


def hardware_of(node: Node, processor: str) -> dict[str, Any]:
    """What a node has, in the network's words; memory and storage in units of 10^9 bytes, GPU memory in 2^30."""
    return {
        "cpus": [{"name": processor, "num_cores": max(1, node.cpu_millis // 1000)}],
        "gpus": [{"name": gpu.name, "vram_gb_max": round(gpu.memory_bytes / GIB)} for gpu in node.gpus],
        "rams": [{"memory_gb_max": node.memory_bytes // GB}],
        "hard_drives": [{"name": "data", "max_capacity_gb": node.disk_bytes // GB}],
    }


def _enter(connection: Connection, account_id: str, node: Node, region: str | None, hardware: str, now: int) -> None:
    profiles.ensure(connection, account_id, now)
    known = connection.execute(select(nodes.c.uuid).where(nodes.c.node_id == node.id)).scalar()
    facts = {
        "account_id": account_id,
        "name": node.name[:255],
        "region_code": region,
        "hardware": hardware,
        "updated_at": now,
    }
    if known is not None:
        connection.execute(update(nodes).where(nodes.c.uuid == known).values(**facts))
        return
    connection.execute(
        nodes.insert().values(
            uuid=wire.new_uuid(now),
            node_id=node.id,
            reputation=REPUTATION,
            last_seen_at=now,
            created_at=now,
            **facts,
        )
    )


def _processor(path: Path = Path("/proc/cpuinfo")) -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", path.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else "unknown"
