"""Rows of idle jobs: what an operator lets a node do while nobody rents it (protocol section 5.4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, func, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.errors import Fault, invalid, not_found
from skerry.island.faces.octaspace.tables import idle_jobs
from skerry.island.ground.texts import digits

WAITING = "waiting"
RUNNING = "running"

MOST_JOBS = 16
"""Of one node."""

MOST_ERROR = 1_000
_MOST_ID = 2**31 - 1


def every(connection: Connection) -> list[Row[Any]]:
    """Every job, those that are being removed too."""
    return list(connection.execute(select(idle_jobs).order_by(idle_jobs.c.node_id, idle_jobs.c.job_id)))


def find(connection: Connection, node_id: int, job_id: int) -> Row[Any] | None:
    """One job, also when it is being removed."""
    query = select(idle_jobs).where(idle_jobs.c.node_id == node_id, idle_jobs.c.job_id == job_id)
    return connection.execute(query).one_or_none()


def kept(connection: Connection, node_id: str, job_id: str, account_id: str | None = None) -> Row[Any]:
    """One job by the texts of its path segments.

    Args:
        account_id: whose it must be; anybody's when None.

    Raises:
        Fault: 404.
    """
    found = find(connection, number(node_id), number(job_id))
    if found is None or found.deleted_at is not None or account_id not in (None, found.account_id):
        raise not_found("Idle job")
    return found


def number(text: str) -> int:
    """An id from a path segment; 0, which nothing has, for what is none."""
    found = digits(text) or 0
    return found if found <= _MOST_ID else 0


def add(
    connection: Connection,
    engine: Engine,
    node: Row[Any],
    job_id: int | None,
    now: int,
    *,
    envs: Mapping[str, str],
    **values: Any,
) -> Row[Any]:
    """A new job of a node, which belongs to the node's operator.

    Args:
        job_id: its number there; the next free one when None.
        envs: its environment, kept sealed.
        values: image, command and entrypoint.

    Raises:
        Fault: 409 when there is one of this number, 422 when there are too many.
    """
    here = idle_jobs.c.node_id == node.id
    if connection.execute(select(func.count()).select_from(idle_jobs).where(here)).scalar_one() >= MOST_JOBS:
        raise invalid(f"A node has at most {MOST_JOBS} idle jobs")
    if job_id is None:
        job_id = (connection.execute(select(func.max(idle_jobs.c.job_id)).where(here)).scalar() or 0) + 1
    present = find(connection, node.id, job_id)
    if present is not None:
        state = "has already" if present.deleted_at is None else "is still removing"
        raise Fault(409, "CONFLICT", f"Node {node.id} {state} an idle job {job_id}")
    sealed = engine.vault.seal(json.dumps(dict(envs)).encode(), envs_context(node.id, job_id))
    name = f"idle-{node.id}-{job_id}-{now:x}"
    connection.execute(
        idle_jobs.insert().values(
            node_id=node.id,
            job_id=job_id,
            account_id=node.account_id,
            envs=sealed,
            state=WAITING,
            sandbox_id=name,
            attempt=0,
            created_at=now,
            updated_at=now,
            **values,
        )
    )
    made = find(connection, node.id, job_id)
    assert made is not None, name
    return made


def put(connection: Connection, job: Row[Any], now: int, **values: Any) -> None:
    """Change columns of a job."""
    connection.execute(
        idle_jobs.update()
        .where(idle_jobs.c.node_id == job.node_id, idle_jobs.c.job_id == job.job_id)
        .values(**values, updated_at=now)
    )


def drop(connection: Connection, job: Row[Any]) -> None:
    """Forget a job of which nothing is left."""
    connection.execute(idle_jobs.delete().where(idle_jobs.c.node_id == job.node_id, idle_jobs.c.job_id == job.job_id))


def envs_context(node_id: int, job_id: int) -> str:
    """Under what a job's environment is sealed."""
    return f"octaspace idle job:{node_id}:{job_id}:envs"


def run_id(job: Row[Any], attempt: int) -> str:
    """The engine's run of an attempt: the same after a crash, so that none is ever begun twice."""
    return f"{job.sandbox_id}-{attempt}"


def view(job: Row[Any], now: int) -> dict[str, Any]:
    """A job in the network's words (protocol section 3.13)."""
    up = job.state == RUNNING and job.up_since is not None
    shown: dict[str, Any] = {"is_up": up, "uptime": max(0, now - job.up_since) // 1_000_000 if up else 0}
    if not up and job.error:
        shown["error"] = job.error
    return shown
