"""One sandbox's door: what it may reach, what is open through it, and what it has moved."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from skerry.island.sandbox.egress.rules import Address, Rules


@dataclass(slots=True)
class EgressUsage:
    """What a sandbox moved through its proxy, in bytes and connections, since it was attached.

    Args:
        sent: bytes from the sandbox to the outside.
        received: bytes from the outside.
        connections: connections made.
        denied: connections refused by policy.
    """

    sent: int = 0
    received: int = 0
    connections: int = 0
    denied: int = 0


@dataclass(slots=True, eq=False)
class Link:
    """One open connection: where it leads, and the task that serves it."""

    sockets: list[socket.socket]
    task: asyncio.Task[None] | None = None
    name: str | None = None
    address: Address | None = None
    port: int = 0

    def cut(self) -> None:
        """End it."""
        if self.task is not None:
            self.task.cancel()


@dataclass(slots=True, eq=False)
class Gate:
    """One sandbox's door."""

    listener: socket.socket
    rules: Rules
    usage: EgressUsage = field(default_factory=EgressUsage)
    links: set[Link] = field(default_factory=set)
