"""This machine as a provider of its own island (section 1.1)."""

from __future__ import annotations

import platform
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.records import Node
from skerry.island.faces.dc1.providers import provider_rows
from skerry.island.provider import machine
from skerry.island.settings import DC1
from skerry.units import MIB

LOCATION = "here"


def ensure(connection: Connection, node: Node, settings: DC1, *, now: int) -> Row[Any] | None:
    """Have the provider that a node of the engine is, approved and online; None where it shall carry out nothing.

    What its owner or the operator chose for it since stays. Heartbeats are made by whoever carries out its jobs.

    Args:
        node: of the engine.
        settings: of the network.
        now: microseconds since 1970.
    """
    known = provider_rows.of_node(connection, node.id)
    if not settings.local_provider:
        if known is not None:
            provider_rows.change(connection, known.id, now, status="offline")
        return None
    name, vram = hardware(node)
    values: dict[str, Any] = {
        "gpu_model": name,
        "vram_mib": vram,
        "gpu_count": max(1, len(node.gpus)),
        "slots": settings.slots,
    }
    if known is None:
        provider_rows.add(
            connection,
            node_id=node.id,
            name=node.name[:100] or "this machine",
            email=f"{node.id}@island.invalid",
            os=platform.system(),
            location=LOCATION,
            approval="approved",
            approved_at=now,
            status="online",
            last_heartbeat=now,
            now=now,
            **values,
        )
    elif known.suspended or known.paused:
        provider_rows.change(connection, known.id, now, **values)
    else:
        provider_rows.change(connection, known.id, now, status="online", last_heartbeat=now, **values)
    return provider_rows.of_node(connection, node.id)


def hardware(node: Node) -> tuple[str, int]:
    """Name of the first GPU and its MiB; without a GPU, the processor's name and the memory that jobs may use."""
    if node.gpus:
        return node.gpus[0].name[:200], node.gpus[0].memory_bytes // MIB
    total, _ = machine.memory()
    return machine.processor()[:200], min(total, node.memory_bytes) // MIB
