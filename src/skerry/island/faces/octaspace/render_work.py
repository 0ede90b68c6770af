"""Render: a session is a worker that takes jobs of its owner's queue (protocol section 5.2)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from sqlalchemy import Row

from skerry.island.engine.engine import Engine
from skerry.island.engine.traffic import Moved
from skerry.island.faces.octaspace import node_rows, states
from skerry.island.faces.octaspace.mr_work import envs_context
from skerry.island.faces.octaspace.works import Ending, StartFailed, Tell

_LOOK_SECONDS = 5.0


class Worker(Protocol):
    """A renderer of one session."""

    async def alive(self) -> bool:
        """Whether it still works."""


class Workers(Protocol):
    """Makes renderers, and finds them again."""

    async def start(self, id: str, *, gpus: int, envs: Mapping[str, str]) -> Worker:
        """A worker, the same for the same id."""

    async def find(self, id: str) -> Worker | None:
        """One that lives."""

    async def stop(self, id: str) -> None:
        """End it."""

    async def recover(self, wanted: Collection[str]) -> None:
        """End those that nobody wants."""

    async def log(self, id: str) -> bytes:
        """The end of what it wrote."""


class RenderWork:
    """Sessions of rendering.

    Args:
        engine: open.
        workers: of this machine; None where Blender cannot run.
        failure: what workers raise when they cannot be started.
    """

    def __init__(self, engine: Engine, workers: Workers | None, failure: type[Exception]) -> None:
        self._engine = engine
        self._workers = workers
        self._failure = failure

    async def begin(self, session: Row[Any], tell: Tell) -> None:
        """Start the worker, one process for each GPU where that was asked for."""
        await tell(states.PREPARING, f"Preparing node {session.node_id}\n")
        await tell(states.STARTING, "Starting the render worker\n")
        envs = json.loads(self._engine.vault.open(session.envs, envs_context(session.uuid)))
        node = await self._engine.store.read(node_rows.find, self._engine, session.node_id)
        if node is None:
            raise StartFailed("the node does not take part any more")
        gpus = len(node_rows.share_of_gpus(self._engine, node.slot))
        several = json.loads(session.request)["multi-gpu-worker"]
        try:
            await self._have().start(session.uuid, gpus=gpus if several else min(1, gpus), envs=envs)
        except self._failure as error:
            raise StartFailed(str(error)) from None
        await tell(states.CONFIGURING, "Render worker started\n")

    async def alive(self, session: Row[Any]) -> bool:
        """Whether the worker works."""
        worker = None if self._workers is None else await self._workers.find(session.uuid)
        return worker is not None and await worker.alive()

    async def follow(self, session: Row[Any], *, adopted: bool) -> Ending:
        """Until the worker is gone."""
        while True:
            worker = await self._have().find(session.uuid)
            if worker is None or not await worker.alive():
                return Ending(reason=states.NODE_LOST, message="The render worker was lost", at=session.seen_at)
            await self._engine.clock.sleep(_LOOK_SECONDS)

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
        """What Blender wrote."""
        return b"" if self._workers is None else await self._workers.log(session.uuid)

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
