"""Render: a session is a worker that takes jobs of its owner's queue (protocol section 5.2)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Row

from skerry.island.engine.engine import Engine
from skerry.island.engine.traffic import Moved
from skerry.island.faces.octaspace.nodes import node_rows
from skerry.island.faces.octaspace.sessions import states
from skerry.island.faces.octaspace.sessions.mr_work import envs_context
from skerry.island.faces.octaspace.sessions.works import Ending, StartFailed, Tell
from skerry.units import GIB

_LOOK_SECONDS = 5.0


class Workers(Protocol):
    """Makes renderers, and finds them again."""

    async def start(
        self,
        id: str,
        *,
        queue: str,
        gpus: Sequence[int] = (),
        per_gpu: bool = False,
        envs: Mapping[str, str] | None = None,
        disk_bytes: int | None = None,
    ) -> object:
        """A worker that takes the jobs of a queue, the same for the same id."""

    async def find(self, id: str) -> object | None:
        """One that was started and not stopped."""

    async def stop(self, id: str) -> None:
        """End it; what it has not finished waits for the queue's next worker."""

    async def recover(self, wanted: Collection[str]) -> None:
        """Let the wanted ones go on, and end the others."""


class RenderWork:
    """Sessions of rendering.

    Args:
        engine: open.
        workers: of this machine; None where Blender cannot run.
    """

    def __init__(self, engine: Engine, workers: Workers | None) -> None:
        self._engine = engine
        self._workers = workers

    async def begin(self, session: Row[Any], tell: Tell) -> None:
        """Start the worker on the account's own queue; by GPU where that was asked for."""
        await tell(states.PREPARING, f"Preparing node {session.node_id}\n")
        await tell(states.STARTING, "Starting the render worker\n")
        envs = json.loads(self._engine.vault.open(session.envs, envs_context(session.uuid)))
        node = await self._engine.store.read(node_rows.find, self._engine, session.node_id)
        if node is None:
            raise StartFailed("the node does not take part any more")
        await self._have().start(
            session.uuid,
            queue=session.account_id,
            gpus=node_rows.share_of_gpus(self._engine, node.slot),
            per_gpu=json.loads(session.request)["multi-gpu-worker"],
            envs=envs,
            disk_bytes=session.disk_gb * GIB,
        )
        await tell(states.CONFIGURING, "Render worker started\n")

    async def alive(self, session: Row[Any]) -> bool:
        """Whether there is such a worker; one that an earlier server left takes up its work by itself."""
        return self._workers is not None and await self._workers.find(session.uuid) is not None

    async def follow(self, session: Row[Any], *, adopted: bool) -> Ending:
        """Until the worker is gone; its processes may come and go."""
        while await self.alive(session):
            await self._engine.clock.sleep(_LOOK_SECONDS)
        return Ending(reason=states.NODE_LOST, message="The render worker was lost", at=session.seen_at)

    async def moved(self, session: Row[Any]) -> Moved:
        """Nothing: packages and frames stay on the island."""
        return Moved()

    async def quiet_since(self, session: Row[Any]) -> float | None:
        """None: a worker without jobs waits for them."""
        return None

    async def halt(self, session: Row[Any]) -> None:
        """End the worker."""
        if self._workers is not None:
            await self._workers.stop(session.uuid)

    async def log(self, session: Row[Any]) -> bytes:
        """Nothing: what Blender writes belongs to jobs, and the farm shows it there."""
        return b""

    async def end(self, session: Row[Any]) -> None:
        """Nothing is left after `halt`."""

    async def recover(self, wanted: Collection[str]) -> None:
        """End workers of sessions that have ended."""
        if self._workers is not None:
            await self._workers.recover(wanted)

    def _have(self) -> Workers:
        if self._workers is None:
            raise StartFailed("Blender cannot run on this island")
        return self._workers
