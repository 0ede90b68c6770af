"""Rebooting a node: its sessions are lost, whatever runs on it is ended, and it is back (protocol section 3.4).

A node is a share of this machine, so what is restarted is everything that is the node's: sessions end with the reason
that the node was lost, and its idle jobs' sandboxes get new agents. The node is offline until all of that is over. What
a crash interrupts is over with the next start of the island, which is a boot of every node.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.faces.octaspace.idle.idle_runner import IdleRunner
from skerry.island.faces.octaspace.nodes import node_rows, verification
from skerry.island.faces.octaspace.sessions import session_rows, states
from skerry.island.faces.octaspace.sessions.carrier import Carrier
from skerry.island.faces.octaspace.tables import nodes, sessions
from skerry.island.ground.answers import Answer
from skerry.island.ground.waiting import give_up
from skerry.island.store.values import micros

WINDOW_SECONDS = 60
"""For so long after one, a further request is taken for a repetition: clients repeat every GET that failed."""

MESSAGE = "The node is being rebooted"
_PATIENCE = 300.0
_MARK = "reboot_asked_at"
_SECOND = 1_000_000

log = logging.getLogger("skerry.island.octaspace")


class Reboots:
    """Reboots nodes.

    Args:
        engine: open.
        carrier: ends their sessions.
        idle: ends their idle jobs, and begins them again.
    """

    def __init__(self, engine: Engine, carrier: Carrier, idle: IdleRunner) -> None:
        self._engine = engine
        self._carrier = carrier
        self._idle = idle
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route(
                method="GET",
                path="/nodes/{node_id}/reboot",
                handler=self.reboot,
                summary="Reboot a node; again within a minute does nothing",
                answer="Nothing",
                changes=True,
                faults=(404,),
            )
        ]

    async def reboot(self, call: Call, node_id: str) -> Answer:
        """GET /nodes/{id}/reboot."""
        node, lost = await self._engine.store.run(_begin, self._engine, call.account_id, node_id, call.now)
        if lost is not None:
            log.info("node %s is being rebooted; %d sessions are lost", node, len(lost))
            task = asyncio.get_running_loop().create_task(self._boot(node, lost), name=f"reboot of node {node}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return Answer({})

    async def stop(self) -> None:
        """Let go of reboots that are not over; the next start is one."""
        await give_up(*self._tasks)

    async def _boot(self, node_id: int, lost: list[str]) -> None:
        try:
            for uuid in lost:
                await self._carrier.end(uuid, states.NODE_LOST)
            await self._idle.take_down(node_id)
            for uuid in lost:
                await self._carrier.finished(uuid, _PATIENCE)
        except Exception:
            log.exception("the reboot of node %s was not clean", node_id)
        reached = await verification.reachable(self._engine.settings)
        await self._engine.store.run(_booted, node_id, reached, micros(self._engine.clock.now()))
        self._idle.wake()


def _begin(
    connection: Connection, engine: Engine, account_id: str, text: str, now: int
) -> tuple[int, list[str] | None]:
    """Take a node down, and mark its sessions as lost; no list for a repetition."""
    node = node_rows.own(connection, engine, account_id, text, acts=False)
    asked = int(node_rows.marks(node).get(_MARK, 0))
    if node.reboot_at is not None or asked <= now < asked + WINDOW_SECONDS * _SECOND:
        return node.id, None
    node_rows.set_marks(connection, node, {_MARK: now}, now)
    connection.execute(nodes.update().where(nodes.c.id == node.id).values(reboot_at=now))
    lost = [session.uuid for session in _sessions(connection, node.id)]
    for uuid in lost:
        session_rows.end_soon(connection, uuid, states.NODE_LOST, now, now, message=MESSAGE)
    return node.id, lost


def _sessions(connection: Connection, node_id: int) -> list[Row[Any]]:
    query = select(sessions).where(sessions.c.node_id == node_id, sessions.c.finished_at.is_(None))
    return list(connection.execute(query))


def _booted(connection: Connection, node_id: int, reached: bool, now: int) -> None:
    """A node is up; it is verified anew, as with every start."""
    verified = now if reached else None
    connection.execute(
        nodes.update()
        .where(nodes.c.id == node_id)
        .values(booted_at=now, verified_at=verified, reboot_at=None, updated_at=now)
    )
