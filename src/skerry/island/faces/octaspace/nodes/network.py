"""The network at large, which here is this island (protocol section 3.2).

There is no chain behind it: nothing is mined or staked, so those figures are zero, and the supply is what the ledger
has granted. The market price is the owner's choice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Connection, func, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.faces.octaspace.nodes import node_rows, reliability
from skerry.island.faces.octaspace.nodes.hardware import Hardware
from skerry.island.faces.octaspace.nodes.prices import prices_of
from skerry.island.faces.octaspace.profiles import CURRENCY
from skerry.island.faces.octaspace.tables import profiles, sessions
from skerry.island.faces.octaspace.wire import octa, rounded, usd
from skerry.island.ground.answers import Answer
from skerry.island.store import ledger

_DAY = 86_400 * 1_000_000


class Network:
    """Figures for everybody.

    Args:
        engine: open.
        hardware: of this machine.
        relays: how many kinds of VPN can be had.
        frames: figures of the renderer, in the network's words.
    """

    def __init__(
        self,
        engine: Engine,
        hardware: Hardware,
        relays: Callable[[], int],
        frames: Callable[[], Awaitable[dict[str, Any]]],
    ) -> None:
        self._engine = engine
        self._hardware = hardware
        self._relays = relays
        self._frames = frames

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route(
                method="GET",
                path="/network",
                handler=self.get,
                summary="The network at large",
                answer="NetworkStats",
                access="public",
            )
        ]

    async def get(self, call: Call) -> Answer:
        """GET /network."""
        frames = await self._frames()
        return Answer({**await self._engine.store.read(self._view, call.now), "render": frames})

    def _view(self, connection: Connection, now: int) -> dict[str, Any]:
        engine, chosen = self._engine, self._engine.settings.octaspace
        nodes = [node for node in node_rows.every(connection, engine) if node.enabled]
        busy = node_rows.occupied(connection)
        machine = engine.nodes.local
        vpn = sum(1 for node in nodes if node.vpn) if self._relays() else 0
        supply = octa(-ledger.balance(connection, "grant", CURRENCY))
        users = select(func.count()).select_from(profiles)
        return {
            "blockchain": {
                "height": 0,
                "difficulty": 0,
                "hashrate": 0,
                "total_supply": supply,
                "circulating_supply": supply,
                "era": 0,
                "blocktime": 0,
            },
            "market_price": chosen.market_price.amount / 1_000_000,
            "mmROI": 0,
            "nodes": {
                "count": len(nodes),
                "vpn": vpn,
                "locations": int(bool(nodes)),
                "vpn_locations": int(bool(vpn)),
            },
            "power": {
                "cpus": max(1, machine.cpu_millis // 1000),
                "gpus": len(machine.gpus),
                "disk": machine.disk_bytes,
                "mem": machine.memory_bytes,
                "tflops": 0,
            },
            "marketplace": {
                "gpus": self._gpus(connection),
                "nodes_rented": len(busy),
                "nodes_idle": sum(1 for node in nodes if node_rows.state(node, busy) == "idle"),
                "sessions_24h": reliability.sessions_since(connection, now - _DAY),
                "total_sessions": reliability.sessions_since(connection, 0),
            },
            "platform": {
                "users": connection.execute(users).scalar_one(),
                "users_24h": connection.execute(
                    select(func.count(func.distinct(sessions.c.account_id))).where(sessions.c.started_at >= now - _DAY)
                ).scalar_one(),
            },
            "staked": 0,
        }

    def _gpus(self, connection: Connection) -> dict[str, Any]:
        """Models of GPUs on offer, with the price of an hour of the nodes that have them."""
        prices: dict[str, list[float]] = {}
        market = self._engine.settings.octaspace.market_price.amount
        for node in node_rows.every(connection, self._engine):
            for gpu in self._hardware.gpu_views(node):
                prices.setdefault(gpu["model"], []).append(usd(prices_of(node, market).base, market))
        return {
            model: {"avg_price": rounded(sum(found) / len(found), 6), "count": len(found)}
            for model, found in prices.items()
        }
