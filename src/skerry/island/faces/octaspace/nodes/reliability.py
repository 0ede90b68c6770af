"""How well a node has served, from the sessions it had (protocol section 3.6)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, case, func, select

from skerry.island.faces.octaspace.nodes import node_rows
from skerry.island.faces.octaspace.sessions.states import FAULTS
from skerry.island.faces.octaspace.tables import sessions
from skerry.island.faces.octaspace.wire import rounded

_SECOND = 1_000_000


def of_node(connection: Connection, node: Row[Any], now: int) -> dict[str, Any]:
    """Uptime, stability, lengths of sessions and the users' scores."""
    ended = (sessions.c.node_id == node.id, sessions.c.finished_at.is_not(None))
    length = sessions.c.finished_at - sessions.c.ready_at
    faulty = case((sessions.c.reason.in_(FAULTS), 1), else_=0)
    count, failed, average, longest, scored, score = connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(faulty), 0),
            func.coalesce(func.avg(length), 0),
            func.coalesce(func.max(length), 0),
            func.count(sessions.c.score),
            func.coalesce(func.avg(sessions.c.score), 0),
        ).where(*ended)
    ).one()
    normal = count - failed
    known = max(1, (now - node.created_at) // _SECOND)
    up = int(node_rows.marks(node).get("up_seconds", 0)) + max(0, now - _last_seen(node)) // _SECOND
    return {
        "uptime": rounded(min(100.0, 100 * up / known)),
        "stability": rounded(100 * normal / count) if count else 100,
        "s_avg_d": int(average) // _SECOND,
        "s_max_d": int(longest) // _SECOND,
        "s_normal": normal,
        "s_failed": failed,
        "rating": {"count": scored, "score": rounded(float(score))},
    }


def _last_seen(node: Row[Any]) -> int:
    return max(int(node_rows.marks(node).get("seen_at", 0)), int(node.booted_at))


def sessions_since(connection: Connection, moment: int) -> int:
    """How many sessions began since a moment (microseconds since 1970)."""
    query = select(func.count()).select_from(sessions).where(sessions.c.started_at >= moment)
    count: int = connection.execute(query).scalar_one()
    return count
