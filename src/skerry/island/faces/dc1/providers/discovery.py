"""Which providers there are (section 3.2): for renters who choose one, and for the network's pages.

The seed's guide takes the first that is live, or the first with memory enough, so the order decides where jobs run:
most memory first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import limits, wire
from skerry.island.faces.dc1.access import ANYBODY
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.providers import provider_rows, provider_views
from skerry.island.faces.dc1.tables import providers

_HEALTH = {"mode": "sqlite", "enabled": False, "announcement_enabled": False, "bootstrap_configured": False}
_CACHED = ((b"cache-control", b"public, max-age=30"), (b"x-cache", b"MISS"))
_DEGRADED_SECONDS = 600


class Discovery:
    """Lists providers; nobody needs a key for that.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Seven lists."""

        def route(path: str, handler: Any, *limit: limits.Limit) -> Route:
            return Route(method="GET", path=path, handler=handler, access=ANYBODY, limits=limit)

        return [
            route("/api/renters/available-providers", self.for_renters),
            route("/api/providers/available", self.available),
            route("/api/providers/online", self.online),
            route("/api/providers/marketplace", self.marketplace, limits.MARKETPLACE),
            route("/api/providers/public", self.public, limits.PUBLIC),
            route("/api/providers/active", self.active),
            route("/api/providers/models", self.models),
        ]

    async def for_renters(self, call: Call) -> Answer:
        """Those that are online and take work, also when they have not been heard of for a moment: see `is_live`."""
        found = await self._read(_is_offered)
        views = [provider_views.offered(provider, call.now) for provider in found]
        told = {"providers": views, "total": len(views), "discovery_mode": "sqlite"}
        return Answer({**told, "discovery_health": _HEALTH})

    async def available(self, call: Call) -> Answer:
        """The same with all that is known of each; degraded ones too."""
        found = await self._read(lambda provider: _is_there(provider, call.now))
        live = sum(provider_rows.is_live(provider, call.now) for provider in found)
        settings = self._engine.settings.dc1
        return Answer(
            {
                "providers": [provider_views.listed(provider, settings, call.now) for provider in found],
                "total": len(found),
                "online_count": live,
                "degraded_count": len(found) - live,
                "timestamp": wire.iso(call.now),
            }
        )

    async def online(self, call: Call) -> Answer:
        """Those that are live, in short; `vram_gb` is what the owner declared when it went online."""
        found = await self._read(lambda one: _is_offered(one) and provider_rows.is_live(one, call.now))
        views = [
            {
                "id": provider.id,
                "name": provider.name,
                "gpu_model": provider_rows.model_of(provider),
                "vram_gb": provider_rows.profile(provider).get("declared_vram_gb"),
                "location": provider.location,
                "loaded_models": provider_rows.profile(provider).get("cached_models", []),
                "heartbeat_age_seconds": provider_views.age(provider, call.now),
                "is_live": True,
            }
            for provider in found
        ]
        return Answer({"count": len(views), "providers": views, "generated_at": wire.iso(call.now)})

    async def marketplace(self, call: Call) -> Answer:
        """With prices."""
        found = await self._read(_is_offered)
        return Answer([provider_views.on_market(provider, call.now) for provider in found])

    async def public(self, call: Call) -> Answer:
        """Without names."""
        found = await self._read(_is_offered)
        return Answer([provider_views.public(provider, call.now) for provider in found], headers=_CACHED)

    async def active(self, call: Call) -> Answer:
        """Those that were heard of lately, whether or not they take work."""
        found = await self._read(lambda provider: provider_rows.is_live(provider, call.now))
        views = [provider_views.offered(provider, call.now) for provider in found]
        return Answer({"providers": views, "total": len(views), "timestamp": wire.iso(call.now)})

    async def models(self, call: Call) -> Answer:
        """Models that some live provider has at hand, and how many have each."""
        found = await self._read(lambda one: _is_offered(one) and provider_rows.is_live(one, call.now))
        held: dict[str, list[int]] = {}
        for provider in found:
            known = provider_rows.profile(provider)
            for model in {*known.get("cached_models", []), *known.get("vllm_models", [])}:
                held.setdefault(model, []).append(provider.id)
        views = [
            {"model_id": model, "providers_online": len(ids), "provider_ids": ids}
            for model, ids in sorted(held.items())
        ]
        return Answer({"models": views, "total": len(views), "generated_at": wire.iso(call.now)})

    async def _read(self, fits: Callable[[Row[Any]], bool]) -> list[Row[Any]]:
        return [provider for provider in await self._engine.store.read(by_memory) if fits(provider)]


def by_memory(connection: Connection) -> list[Row[Any]]:
    """Every approved provider, most memory first."""
    query = select(providers).where(providers.c.approval == "approved", providers.c.suspended == 0)
    return list(connection.execute(query.order_by(providers.c.vram_mib.desc(), providers.c.id)))


def _is_offered(provider: Row[Any]) -> bool:
    return provider.status == "online" and not provider.paused


def _is_there(provider: Row[Any], now: int) -> bool:
    age = provider_rows.age_seconds(provider, now)
    return provider.status in ("online", "degraded") and age is not None and age < _DEGRADED_SECONDS
