"""The island's SSH server, for the island's owner: by which key its logins know it."""

from __future__ import annotations

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.ground.answers import Answer


class SshAdmin:
    """Tells the host key.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        """What it answers."""
        return [Route(method="GET", path="/admin/ssh", handler=self.get, summary="The SSH server's host key")]

    async def get(self, call: Call) -> Answer:
        """GET /admin/ssh: `host_key`, in OpenSSH's one-line form, for a `known_hosts` file."""
        return Answer({"host_key": await self._engine.ssh.host_key()})
