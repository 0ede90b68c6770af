"""The nodes of the account that operates them (protocol section 3.4)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace.call import Call, Route
from skerry.island.faces.octaspace.nodes import node_rows, reliability
from skerry.island.faces.octaspace.nodes.hardware import Hardware, osn_version
from skerry.island.faces.octaspace.nodes.prices import prices_of
from skerry.island.faces.octaspace.sessions.session_views import reached
from skerry.island.ground.answers import Answer

_MILLION = 1_000_000


class Nodes:
    """What an operator sees of his machines.

    Args:
        engine: open.
        hardware: of this machine.
    """

    def __init__(self, engine: Engine, hardware: Hardware) -> None:
        self._engine = engine
        self._hardware = hardware

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route(
                method="GET",
                path="/nodes",
                handler=self.list,
                summary="The account's own nodes",
                answer="Node",
                listed=True,
                parameters={"country": "a part of the country's name, or its two letters"},
            ),
            Route(
                method="GET",
                path="/nodes/{node_id}",
                handler=self.get,
                summary="One node at length",
                answer="NodeDetail",
                faults=(404,),
            ),
        ]

    async def list(self, call: Call) -> Answer:
        """GET /nodes."""
        country, chosen = call.query.get("country", "").lower(), self._engine.settings.octaspace
        if country not in chosen.country.lower() and country != chosen.country_iso.lower():
            return Answer([])
        found, busy = await self._engine.store.read(_own, self._engine, call.account_id)
        return Answer(await asyncio.to_thread(lambda: [self._listed(node, busy, call) for node in found]))

    async def get(self, call: Call, node_id: str) -> Answer:
        """GET /nodes/{id}."""
        node, busy, trusted = await self._engine.store.read(_one, self._engine, call.account_id, node_id, call.now)
        chosen = self._engine.settings.octaspace
        data = await asyncio.to_thread(self._hardware.detail, node, call.now)
        return Answer(
            {
                **self._common(node, busy, call),
                "features": [],
                "reliability": trusted,
                "location": {
                    **self._hardware.location(),
                    "isocode": chosen.country_iso,
                    "ip": reached(self._engine, call.place),
                    "hostname": self._engine.nodes.local.name,
                },
                "data": data,
            }
        )

    def _common(self, node: Row[Any], busy: set[int], call: Call) -> dict[str, Any]:
        verified = node.verified_at
        return {
            "id": node.id,
            "state": node_rows.state(node, busy),
            "ip": reached(self._engine, call.place),
            "vrf_dt": "" if verified is None else moment_text(verified),
        }

    def _listed(self, node: Row[Any], busy: set[int], call: Call) -> dict[str, Any]:
        prices = prices_of(node, self._engine.settings.octaspace.market_price.amount)
        return {
            **self._common(node, busy, call),
            "osn": osn_version(),
            "uptime": self._hardware.uptime(node, call.now),
            "location": self._hardware.location(),
            "prices": {"base": prices.base, "storage": prices.storage, "traffic": prices.traffic},
            "system": self._hardware.listed(node),
        }


def moment_text(micros: int) -> str:
    """A moment as ISO 8601 in UTC, in whole seconds."""
    return datetime.fromtimestamp(micros // _MILLION, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _own(connection: Connection, engine: Engine, account_id: str) -> tuple[list[Row[Any]], set[int]]:
    found = [node for node in node_rows.every(connection, engine) if node.account_id == account_id]
    return found, node_rows.occupied(connection)


def _one(
    connection: Connection, engine: Engine, account_id: str, node_id: str, now: int
) -> tuple[Row[Any], set[int], dict[str, Any]]:
    node = node_rows.own(connection, engine, account_id, node_id, acts=False)
    return node, node_rows.occupied(connection), reliability.of_node(connection, node, now)
