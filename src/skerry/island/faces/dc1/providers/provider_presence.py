"""When a provider is there, and how far it lets itself be used (sections 1.1 and 3.7)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import PROVIDER, PROVIDER_BY_ID
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.providers import heartbeat_bodies, provider_access, provider_rows, provider_views
from skerry.island.faces.dc1.providers.providers import note

HEARTBEAT_SECONDS = 30
_RUN_MODES = ("always-on", "manual", "scheduled")
_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")
_BOUNDS = {"gpu_usage_cap_pct": (0, 100), "vram_reserve_gb": (0, 1_024), "temp_limit_c": (30, 120)}


class Presence:
    """Lets providers come and go.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Pauses, wishes, presence."""

        def route(path: str, handler: Any, access: Any = PROVIDER) -> Route:
            return Route(method="POST", path=f"/api/providers/{path}", handler=handler, access=access)

        return [
            route("pause", self.pause),
            route("resume", self.resume),
            route("preferences", self.preferences),
            route("{id}/online", self.online, PROVIDER_BY_ID),
            route("{id}/offline", self.offline, PROVIDER_BY_ID),
        ]

    async def pause(self, call: Call) -> Answer:
        """Take no more work; what goes on goes on."""
        await self._engine.store.run(_present, call.provider.id, call.now, paused=1, status="paused")
        return Answer({"success": True, "status": "paused"})

    async def resume(self, call: Call) -> Answer:
        """Take work again."""
        await self._engine.store.run(_present, call.provider.id, call.now, paused=0, status="online")
        return Answer({"success": True, "status": "online"})

    async def preferences(self, call: Call) -> Answer:
        """When and how far it lets itself be used; what is not said stays."""
        body = call.json if isinstance(call.json, dict) else {}
        wishes = _wishes(body)
        provider = await self._engine.store.run(_prefer, call.provider.id, call.now, wishes)
        return Answer({"success": True, "preferences": provider_views.preferences(provider)})

    async def online(self, call: Call, provider_id: str) -> Answer:
        """Be there from now on. Approves itself where nobody needs to approve."""
        number = provider_access.own(call, provider_id)
        body = call.json if isinstance(call.json, dict) else {}
        models = body.get("loaded_models")
        loaded = [model for model in models[:500] if isinstance(model, str)] if isinstance(models, list) else []
        told: dict[str, Any] = {"declared_vram_gb": heartbeat_bodies.number(body, "vramGb", 0, 1_000_000)}
        if loaded:
            told["cached_models"] = loaded
        model = heartbeat_bodies.text(body, "gpuModel", 200)
        more = {} if model is None else {"gpu_model": model}
        await self._engine.store.run(self._come, number, call.now, told, more)
        message = f"Provider online. Send heartbeat every {HEARTBEAT_SECONDS}s to stay live."
        return Answer(
            {
                "online": True,
                "provider_id": number,
                "status": "online",
                "expires_at": wire.iso(call.now + provider_rows.OFFLINE_SECONDS * 1_000_000),
                "heartbeat_interval_seconds": HEARTBEAT_SECONDS,
                "loaded_models": loaded,
                "message": message,
            }
        )

    async def offline(self, call: Call, provider_id: str) -> Answer:
        """Be away from now on."""
        number = provider_access.own(call, provider_id)
        await self._engine.store.run(_present, number, call.now, status="offline")
        told = {"offline": True, "provider_id": number, "status": "offline"}
        return Answer({**told, "offline_at": wire.iso(call.now)})

    def _come(
        self, connection: Connection, provider_id: int, now: int, told: dict[str, Any], more: dict[str, Any]
    ) -> None:
        provider = provider_access.known(connection, provider_id)
        if provider.suspended:
            raise Fault(403, "Provider is suspended")
        if provider.approval != "approved":
            if provider.approval != "pending" or not self._engine.settings.dc1.auto_approve:
                raise Fault(403, "Provider is not approved yet")
            more = {**more, "approval": "approved", "approved_at": now}
        note(connection, provider_id, now, told, status="online", paused=0, last_heartbeat=now, **more)


def _present(connection: Connection, /, provider_id: int, now: int, **values: Any) -> None:
    """Set whether it is there, unless the operator has suspended it."""
    provider = provider_access.known(connection, provider_id)
    if provider.suspended:
        raise Fault(403, "Provider is suspended")
    if values.get("status") == "online" and provider.approval != "approved":
        raise Fault(403, "Provider is not approved yet")
    provider_rows.change(connection, provider_id, now, **values)


def _prefer(connection: Connection, provider_id: int, now: int, wishes: dict[str, Any]) -> Row[Any]:
    provider = provider_access.known(connection, provider_id)
    chosen = wire.text({**provider_views.preferences(provider), **wishes})
    provider_rows.change(connection, provider_id, now, preferences=chosen)
    return provider_access.known(connection, provider_id)


def _wishes(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if body.get("run_mode") is not None:
        if body["run_mode"] not in _RUN_MODES:
            raise Fault(400, f"run_mode must be one of: {', '.join(_RUN_MODES)}")
        found["run_mode"] = body["run_mode"]
    for name in ("scheduled_start", "scheduled_end"):
        if body.get(name) is not None:
            if not isinstance(body[name], str) or not _TIME.fullmatch(body[name]):
                raise Fault(400, f"{name} must be a time HH:MM")
            found[name] = body[name]
    for name, (least, most) in _BOUNDS.items():
        if body.get(name) is not None:
            value = heartbeat_bodies.number(body, name, least, most)
            if value is None:
                raise Fault(400, f"{name} must be a number from {least} to {most}")
            found[name] = value
    return found
