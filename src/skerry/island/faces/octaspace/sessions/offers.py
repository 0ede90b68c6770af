"""What can be rented now (protocol sections 3.5 and 3.9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, func, select

from skerry.island.engine.engine import Engine
from skerry.island.engine.ports import MOST_PORTS
from skerry.island.faces.octaspace.nodes import node_rows, reliability
from skerry.island.faces.octaspace.nodes.hardware import Hardware, short_gpus
from skerry.island.faces.octaspace.nodes.prices import Prices, prices_of
from skerry.island.faces.octaspace.wire import octa, rounded, usd
from skerry.island.store.tables import published_ports

Unready = Callable[[], str | None]
"""Why a service cannot be had on this machine; None when it can."""


class Offers:
    """Nodes that are free for a service.

    Args:
        engine: open.
        hardware: of this machine.
        score: of rendering on this machine, 0 where nobody has measured it.
    """

    def __init__(self, engine: Engine, hardware: Hardware, score: Callable[[], float]) -> None:
        self._engine = engine
        self._hardware = hardware
        self._score = score

    def prices(self, node: Row[Any]) -> Prices:
        """A node's prices now."""
        return prices_of(node, self._engine.settings.octaspace.market_price.amount)

    def machines(self, connection: Connection, service: str, country: str, now: int) -> list[dict[str, Any]]:
        """Nodes that are idle, verified, and enabled for a service that needs them whole.

        Args:
            service: `mr` or `render`.
            country: a part of the country's name; empty for any.
            now: microseconds since 1970.
        """
        busy = node_rows.occupied(connection)
        return [
            self._machine(connection, node, service, now)
            for node in node_rows.every(connection, self._engine)
            if node_rows.state(node, busy) == "idle"
            and node.verified_at is not None
            and getattr(node, service)
            and self._hardware.fits(connection, node)
            and self._in(country)
        ]

    def relays(self, connection: Connection, country: str) -> list[dict[str, Any]]:
        """Nodes that are enabled for VPN, which they serve beside other things."""
        chosen = self._engine.settings.octaspace
        return [
            {
                "node_id": node.id,
                "country": chosen.country,
                "country_iso": chosen.country_iso,
                "city": chosen.city,
                "latitude": chosen.latitude,
                "longitude": chosen.longitude,
                "net_down_mbits": 0,
                "net_up_mbits": 0,
                "residential": chosen.residential,
                "traffic_price_usd": usd(self.prices(node).traffic, chosen.market_price.amount),
                "traffic_price_ether": octa(self.prices(node).traffic),
            }
            for node in node_rows.every(connection, self._engine)
            if node_rows.state(node, set()) == "idle" and node.vpn and self._in(country)
        ]

    def free_ports(self, connection: Connection) -> int:
        """Service ports that a session could have now."""
        taken = connection.execute(select(func.count()).select_from(published_ports)).scalar_one()
        return self._hardware.available_ports(MOST_PORTS - 1, taken)

    def _in(self, country: str) -> bool:
        chosen = self._engine.settings.octaspace
        return country.lower() in chosen.country.lower() or country.lower() == chosen.country_iso.lower()

    def _machine(self, connection: Connection, node: Row[Any], service: str, now: int) -> dict[str, Any]:
        facts, gpus = self._hardware.facts, short_gpus(self._hardware.gpu_views(node))
        chosen, score = self._engine.settings.octaspace, rounded(self._score())
        shown = {
            "node_id": node.id,
            "country": chosen.country,
            "country_iso": chosen.country_iso,
            "city": chosen.city,
            "cpu_model_name": facts.cpu_model_name,
            "cpu_vendor_id": facts.cpu_vendor_id,
            "cpu_cores": self._hardware.cores(),
            "cpu_speed": facts.cpu_speed,
            "total_memory": self._hardware.memory_bytes(),
            "memory_type": "",
            "memory_speed": 0,
            "free_disk": self._hardware.free_disk(),
            "arch": facts.arch,
            "os_version": facts.os_version,
            "virt": facts.virt,
            "cuda_version": self._hardware.gpus.cuda_version,
            "is_hive_os": facts.is_hive_os,
            "is_wsl": facts.is_wsl,
            "gpus": gpus,
            "gpu": {"nvidia": gpus, "amd": [], "intel": []},
            "is_has_gpu": bool(gpus),
            "ai_score": 0,
            "blender_score": score,
            "net_down_mbits": 0,
            "net_up_mbits": 0,
            **self.prices(node).offer(),
            "reliability": reliability.of_node(connection, node, now),
            "features": [],
            "available_ports": self.free_ports(connection),
        }
        if service == "mr":
            shown["blender_cuda_score"] = score if gpus else 0
        return shown
