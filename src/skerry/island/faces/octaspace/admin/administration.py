"""What the network's API lacks, for the island's owner, below `/octaspace/admin` (protocol section 11.11)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from skerry.island.admin.auth import admits, owner_key
from skerry.island.asgi import Receive, Scope, header
from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace import requests
from skerry.island.faces.octaspace.errors import Fault
from skerry.island.faces.octaspace.routes import Resource, Routes
from skerry.island.ground.answers import Answer


class Administration:
    """The owner's calls.

    Args:
        engine: open.
        key: of the owner.
        resources: what can be administered; their paths begin with `/admin/`.
    """

    def __init__(self, engine: Engine, key: str, resources: Sequence[Resource]) -> None:
        self._engine = engine
        self._key = key
        self._routes = Routes(resources)

    @classmethod
    async def of(cls, engine: Engine, resources: Sequence[Resource]) -> Administration:
        """With the key of the engine's data directory."""
        key = await asyncio.to_thread(owner_key, engine.settings.data_dir)
        return cls(engine, key, resources)

    async def answer(self, scope: Scope, receive: Receive, path: bytes) -> Answer:
        """Answer a request below `/admin/`.

        Raises:
            Fault: 401 without the owner's key; else as every call.
        """
        if not admits(self._key, header(scope["headers"], b"authorization")):
            raise Fault(401, "UNAUTHORIZED", "Send the key in owner.key as: authorization: Bearer <key>")
        route, values = self._routes.find(scope["method"], path)
        query = requests.query_of(scope)
        return await route.handler(await requests.call_of(self._engine, scope, receive, route, "", query), *values)
