"""Rows of nodes: this machine as one or several of them, and what goes on on each."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, func, select

from skerry.island.engine.engine import Engine
from skerry.island.engine.nodes import LOCAL
from skerry.island.faces.octaspace.errors import forbidden, not_found
from skerry.island.faces.octaspace.tables import nodes, sessions
from skerry.island.ground.texts import digits

EXCLUSIVE = ("mr", "render")
"""Services that have a node for themselves (protocol section 5.1)."""

MOST_SLOTS = 4
_TOKEN_BYTES = 32
_SECOND = 1_000_000


def slots(engine: Engine) -> int:
    """As how many nodes this machine is offered."""
    wanted = engine.settings.octaspace.nodes
    return wanted or max(1, min(MOST_SLOTS, engine.nodes.local.cpu_millis // 1000))


def share_of_gpus(engine: Engine, slot: int) -> tuple[int, ...]:
    """Indices of the GPUs that belong to a slot: they are dealt out in turn."""
    count = slots(engine)
    return tuple(gpu.index for at, gpu in enumerate(engine.nodes.local.gpus) if at % count == slot)


def ensure(connection: Connection, engine: Engine, now: int) -> None:
    """Have a row for each share of this machine, the first account being their operator; their uptime begins anew."""
    chosen = engine.settings.octaspace
    known = {row.slot for row in connection.execute(select(nodes).where(nodes.c.node_id == LOCAL))}
    for slot in range(slots(engine)):
        if slot in known:
            continue
        token = secrets.token_hex(_TOKEN_BYTES)
        made = connection.execute(
            nodes.insert().values(
                account_id=engine.account_id,
                node_id=LOCAL,
                slot=slot,
                enabled=1,
                mr=1,
                render=1,
                vpn=1,
                currency_usd=0,
                base=str(chosen.base.amount),
                storage=str(chosen.storage.amount),
                traffic=str(chosen.traffic.amount),
                ident=b"",
                booted_at=now,
                scores="{}",
                created_at=now,
                updated_at=now,
            )
        )
        id = made.inserted_primary_key[0] if made.inserted_primary_key else 0
        sealed = engine.vault.seal(token.encode(), ident_context(id))
        connection.execute(nodes.update().where(nodes.c.id == id).values(ident=sealed))
    connection.execute(nodes.update().where(nodes.c.node_id == LOCAL).values(booted_at=now, reboot_at=None))


def verified(connection: Connection, reachable: bool, now: int) -> None:
    """Note whether this machine's ports were reached now; nodes whose ports were not are not offered."""
    connection.execute(nodes.update().where(nodes.c.node_id == LOCAL).values(verified_at=now if reachable else None))


def ident_context(node_id: int) -> str:
    """Under what a node's ident token is sealed."""
    return f"octaspace node:{node_id}"


def find(connection: Connection, engine: Engine, node_id: int) -> Row[Any] | None:
    """A node that takes part, whoever operates it."""
    if not 0 < node_id < 2**31:
        return None
    query = select(nodes).where(nodes.c.id == node_id, nodes.c.slot < slots(engine))
    return connection.execute(query).one_or_none()


def every(connection: Connection, engine: Engine) -> list[Row[Any]]:
    """Every node that takes part."""
    return list(connection.execute(select(nodes).where(nodes.c.slot < slots(engine)).order_by(nodes.c.id)))


def own(connection: Connection, engine: Engine, account_id: str, text: str, *, acts: bool) -> Row[Any]:
    """A node of the caller's, by the text of its path segment.

    Args:
        acts: whether something is done to it: then another's node is forbidden, otherwise it is not found.

    Raises:
        Fault: 404 or 403.
    """
    found = find(connection, engine, digits(text) or 0)
    if found is None or (found.account_id != account_id and not acts):
        raise not_found("Node")
    if found.account_id != account_id:
        raise forbidden("This node has another operator")
    return found


def occupied(connection: Connection) -> set[int]:
    """Nodes on which a session goes on that has its node for itself."""
    query = select(sessions.c.node_id).where(sessions.c.finished_at.is_(None), sessions.c.service.in_(EXCLUSIVE))
    return set(connection.execute(query).scalars())


def relays(connection: Connection, node_id: int) -> int:
    """How many VPN sessions a node serves."""
    query = select(func.count()).where(
        sessions.c.node_id == node_id, sessions.c.finished_at.is_(None), sessions.c.service == "vpn"
    )
    count: int = connection.execute(query).scalar_one()
    return count


def state(node: Row[Any], busy: set[int]) -> str:
    """`idle`, `busy` or `offline` (protocol section 1.2)."""
    if not node.enabled or node.reboot_at is not None:
        return "offline"
    return "busy" if node.id in busy else "idle"


def marks(node: Row[Any]) -> dict[str, Any]:
    """What was measured of a node and is kept: scores, and how long it was up."""
    found = json.loads(node.scores)
    return found if isinstance(found, dict) else {}


def set_marks(connection: Connection, node: Row[Any], changes: Mapping[str, Any], now: int) -> None:
    """Keep measured figures of a node."""
    connection.execute(
        nodes.update()
        .where(nodes.c.id == node.id)
        .values(scores=json.dumps({**marks(node), **changes}), updated_at=now)
    )


def beat(connection: Connection, engine: Engine, now: int) -> None:
    """Note that the machine is up, for the nodes' reliability."""
    for node in every(connection, engine):
        known = marks(node)
        seen = max(int(known.get("seen_at", 0)), node.booted_at)
        up = int(known.get("up_seconds", 0)) + max(0, now - seen) // _SECOND
        set_marks(connection, node, {"up_seconds": up, "seen_at": now}, now)
