"""Shells that wait for the next run: asked for after a run has ended, and counted over all sandboxes."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from skerry.island.sandbox.spec import Limits
from skerry.units import MIB

if TYPE_CHECKING:
    from skerry.island.sandbox.handles.live import LiveAgent

MOST = 32
_FEWEST_PIDS = 64
_LEAST_MEMORY = 64 * MIB


def has_room(limits: Limits) -> bool:
    """Whether one more process is nothing to a sandbox of such limits."""
    pids = limits.pids is None or limits.pids >= _FEWEST_PIDS
    return pids and (limits.memory_bytes is None or limits.memory_bytes >= _LEAST_MEMORY)


class WarmShells:
    """Which sandboxes have a shell waiting (see `agent.warm`); the one unused for longest gives way.

    Args:
        most: how many may wait at once; each holds a process and a megabyte or two.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._agents: OrderedDict[LiveAgent, None] = OrderedDict()

    def start(self, live: LiveAgent, shell: dict[str, object]) -> None:
        """Have a shell waiting for the next run.

        Args:
            live: the sandbox's agent.
            shell: see `LiveAgent.prepare_shell`.
        """
        live.prepare_shell(shell)
        self._agents[live] = None
        self._agents.move_to_end(live)
        if len(self._agents) > self._most:
            oldest, _ = self._agents.popitem(last=False)
            oldest.channel.tell("warm", argv=None)

    def forget(self, live: LiveAgent) -> None:
        """An agent is gone, or let go of."""
        self._agents.pop(live, None)
