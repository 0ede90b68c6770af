"""The operator's side of a node, and the terminals of its sessions: all of it in one hand."""

from __future__ import annotations

from collections.abc import Sequence

from skerry.island.asgi import Receive, Scope, Send, raw_path
from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.admin.ssh_admin import SshAdmin
from skerry.island.faces.octaspace.idle.idle_jobs import IdleJobs, IdleJobsAdmin
from skerry.island.faces.octaspace.idle.idle_runner import IdleRunner
from skerry.island.faces.octaspace.nodes.hardware import Hardware
from skerry.island.faces.octaspace.nodes.node_ident import NodeIdent
from skerry.island.faces.octaspace.nodes.node_logs import NodeLogs
from skerry.island.faces.octaspace.nodes.node_prices import NodePrices
from skerry.island.faces.octaspace.nodes.reboots import Reboots
from skerry.island.faces.octaspace.routes import Resource
from skerry.island.faces.octaspace.sessions.carrier import Carrier
from skerry.island.faces.octaspace.sessions.mr_work import MrWork
from skerry.island.faces.octaspace.terminal.terminal_pages import TerminalFiles
from skerry.island.faces.octaspace.terminal.web_terminal import WebTerminal
from skerry.island.gateway import refuse


class Operating:
    """Made once per face, between its carrier and its routes.

    Args:
        engine: open.
        carrier: of the sessions.
        hardware: of this machine.
        machines: the work of machine rental.

    Attributes:
        terminal: tells the addresses of terminals.
        idle: the idle jobs.
    """

    def __init__(self, engine: Engine, carrier: Carrier, hardware: Hardware, machines: MrWork) -> None:
        self._engine = engine
        self._hardware = hardware
        self.terminal = WebTerminal(engine, machines)
        self.idle = IdleRunner(engine, carrier)
        self._reboots = Reboots(engine, carrier, self.idle)

    def resources(self) -> Sequence[Resource]:
        """What the network's API has of it."""
        engine = self._engine
        return [
            NodeIdent(engine),
            NodeLogs(engine, self._hardware),
            NodePrices(engine),
            self._reboots,
            IdleJobs(engine, self.idle),
            self.terminal,
            TerminalFiles(),
        ]

    def administration(self) -> Sequence[Resource]:
        """What the island's owner has beside it."""
        return [IdleJobsAdmin(self._engine, self.idle), SshAdmin(self._engine)]

    async def start(self) -> None:
        """Take up idle jobs, once the sessions have been."""
        await self.idle.start()

    async def stop(self) -> None:
        """Let go of everything, before the sessions are."""
        await self._reboots.stop()
        await self.idle.stop()

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket, or refuse it: terminals have one each, and nothing else has any."""
        parts = raw_path(scope).decode("latin-1").strip("/").split("/")
        if parts[:1] == ["v1"]:
            parts = parts[1:]
        if len(parts) == 3 and (parts[0], parts[2]) == ("ssh", "socket"):
            await self.terminal.websocket(scope, receive, send, parts[1])
            return
        await refuse(scope, receive, send, 404, "There is nothing here.\n")
