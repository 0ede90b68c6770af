"""The machines that offer capacity; here, this one."""

from __future__ import annotations

from skerry.island.engine.records import Node
from skerry.island.sandbox.spec import Limits


class Nodes:
    """Nodes and what fits on them."""

    async def list(self) -> list[Node]:
        """Every node."""
        ...

    @property
    def local(self) -> Node:
        """This machine."""
        ...

    def check(self, limits: Limits) -> None:
        """Refuse limits that no node can ever give.

        Raises:
            Invalid: with what was asked and what the node has.
        """
        ...
