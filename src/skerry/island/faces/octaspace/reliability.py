"""How well a node has served, from the sessions it had (protocol section 3.6)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, select

from skerry.island.faces.octaspace import node_rows
from skerry.island.faces.octaspace.states import FAULTS
from skerry.island.faces.octaspace.tables import sessions
from skerry.island.faces.octaspace.wire import rounded

_SECOND = 1_000_000


def of_node(connection: Connection, node: Row[Any], now: int) -> dict[str, Any]:
    """Uptime, stability, lengths of sessions and the users' scores."""
    lengths, normal, failed, scores = [], 0, 0, []
    query = select(sessions.c.ready_at, sessions.c.finished_at, sessions.c.reason, sessions.c.score).where(
        sessions.c.node_id == node.id, sessions.c.finished_at.is_not(None)
    )
    for row in connection.execute(query):
        if row.reason in FAULTS:
            failed += 1
        else:
            normal += 1
        if row.ready_at is not None:
            lengths.append((row.finished_at - row.ready_at) // _SECOND)
        if row.score is not None:
            scores.append(row.score)
    known = max(1, (now - node.created_at) // _SECOND)
    up = int(node_rows.marks(node).get("up_seconds", 0)) + max(0, now - _last_seen(node)) // _SECOND
    return {
        "uptime": rounded(min(100.0, 100 * up / known)),
        "stability": rounded(100 * normal / (normal + failed)) if normal + failed else 100,
        "s_avg_d": sum(lengths) // len(lengths) if lengths else 0,
        "s_max_d": max(lengths, default=0),
        "s_normal": normal,
        "s_failed": failed,
        "rating": {"count": len(scores), "score": rounded(sum(scores) / len(scores)) if scores else 0},
    }


def _last_seen(node: Row[Any]) -> int:
    return max(int(node_rows.marks(node).get("seen_at", 0)), int(node.booted_at))


def sessions_since(connection: Connection, moment: int) -> int:
    """How many sessions began since a moment (microseconds since 1970)."""
    query = select(func.count()).select_from(sessions).where(sessions.c.started_at >= moment)
    count: int = connection.execute(query).scalar_one()
    return count
