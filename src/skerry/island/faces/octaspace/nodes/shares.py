"""One machine as several nodes: what each has of it, and what a session takes."""

from __future__ import annotations

from sqlalchemy import Connection

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.nodes import node_rows


def share(whole: int, slots: int) -> int:
    """One node's equal part."""
    return max(1, whole // slots)


def allocation(session_uuid: str) -> str:
    """Under what name a session's part of the machine is set aside."""
    return f"octaspace-{session_uuid}"


def set_aside(connection: Connection, engine: Engine, session_uuid: str, account_id: str, slot: int, now: int) -> None:
    """Take a node's share of this machine for a session.

    Raises:
        NoCapacity: other networks' work has it.
    """
    count = node_rows.slots(engine)
    engine.capacity.take(
        connection,
        allocation(session_uuid),
        account_id,
        cpu_millis=share(engine.nodes.local.cpu_millis, count),
        memory_bytes=share(engine.nodes.local.memory_bytes, count),
        disk_bytes=0,
        gpus=node_rows.share_of_gpus(engine, slot),
        now=now,
    )


def give_back(connection: Connection, engine: Engine, session_uuid: str) -> None:
    """Give a session's part of the machine back."""
    engine.capacity.release(connection, allocation(session_uuid))
