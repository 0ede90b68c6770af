"""Everything that renters and the operator ask of accounts and money, put together."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1.registration import Registration
from skerry.island.faces.dc1.renters import Renters
from skerry.island.faces.dc1.routes import Resource


class Renting:
    """The renters' side of the network.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def resources(self) -> Sequence[Resource]:
        """The nouns."""
        return [Registration(self._engine), Renters(self._engine)]

    async def start(self) -> None:
        """Take up what must be told to renters' servers."""

    async def stop(self) -> None:
        """Let go of it; what was not told is told later."""
