"""Provider accounts: made, looked at, described (sections 1.1 and 3.7)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import key_rows, limits, wire
from skerry.island.faces.dc1.access import ANYBODY, PROVIDER, PROVIDER_ACCOUNT
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.fields import Fields
from skerry.island.faces.dc1.providers import (
    heartbeat_bodies,
    provider_access,
    provider_rows,
    provider_views,
    reputation,
)

SYSTEMS = ("windows", "linux", "mac", "darwin")
_LEAST_VRAM_GB = 4
_WALLET = re.compile(r"0x[0-9a-fA-F]{40}")


class Providers:
    """Answers for provider accounts.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Accounts."""
        register = (limits.REGISTER,)

        def route(method: str, path: str, handler: Any, access: Any = PROVIDER) -> Route:
            return Route(method=method, path=f"/api/providers/{path}", handler=handler, access=access)

        return [
            Route(
                method="POST", path="/api/providers/register", handler=self.register, access=ANYBODY, limits=register
            ),
            route("GET", "me", self.me, PROVIDER_ACCOUNT),
            route("GET", "status", self.status, PROVIDER_ACCOUNT),
            route("GET", "self-test", self.self_test, PROVIDER_ACCOUNT),
            route("GET", "me/metrics", self.metrics, PROVIDER_ACCOUNT),
            route("GET", "{id}/liveness", self.liveness, ANYBODY),
            route("POST", "readiness", self.readiness),
            route("PATCH", "me/gpu-profile", self.gpu_profile),
            route("PATCH", "me/wallet", self.wallet),
        ]

    async def register(self, call: Call) -> Answer:
        """A new account; its key is told this once."""
        fields = Fields(call.json, nulls=True)
        name = fields.text("name", least=2, most=100)
        email = fields.text("email", email=True, most=320)
        gpu_model = fields.text("gpu_model", least=1, most=120)
        system = fields.one_of("os", SYSTEMS, fold=True)
        phone, location = (
            fields.text("phone", most=40, required=False),
            fields.text("location", most=200, required=False),
        )
        spec = call.json.get("resource_spec") if isinstance(call.json, dict) else None
        if spec is not None and not isinstance(spec, dict | str):
            fields.wrong("resource_spec", "Invalid input")
        kept = heartbeat_bodies.spec_text(spec)
        if spec and isinstance(spec, dict | str) and kept is None:
            fields.wrong("resource_spec", f"Too big: expected string to have <={heartbeat_bodies.MOST_SPEC} characters")
        fields.check()
        more = {"phone": phone, "location": location, "resource_spec": kept}
        key = key_rows.make(key_rows.PROVIDER)
        provider_id = await self._engine.store.run(
            self._add, key, call.now, name=name, email=str(email), gpu_model=gpu_model, os=system, **more
        )
        installer = f"/api/providers/installer?key={key}&os={quote(str(call.json['os']))}"
        message = f"Welcome {name}! Your API key is ready. Download the installer to get started."
        told = {"success": True, "provider_id": provider_id, "api_key": key, "installer_url": installer}
        return Answer({**told, "message": message})

    async def me(self, call: Call) -> Answer:
        """The account and its latest jobs."""
        return Answer(await self._engine.store.read(provider_views.account, call.provider, call.now))

    async def status(self, call: Call) -> Answer:
        """How the network sees it."""
        return Answer(provider_views.status(call.provider, call.now))

    async def metrics(self, call: Call) -> Answer:
        """Measurements of its latest heartbeat."""
        known = provider_rows.profile(call.provider)
        names = ("gpu_util_pct", "memory_used_mb", "free_vram_mib", "temp_c", "power_w", "all_gpus", "model_cache")
        return Answer(
            {
                "provider_id": call.provider.id,
                "status": call.provider.status,
                "last_heartbeat": wire.maybe_iso(call.provider.last_heartbeat),
                "metrics": {**{name: known.get(name) for name in names}, **known.get("metrics", {})},
                "uptime_percent": reputation.long_uptime(call.provider, call.now),
            }
        )

    async def self_test(self, call: Call) -> Answer:
        """What is still missing before work may come."""
        provider, known = call.provider, provider_rows.profile(call.provider)
        checks = known.get("checks", {})
        detected = bool(known.get("gpu_name"))
        found = {
            "key_valid": True,
            "gpu_detected": detected,
            "docker_accessible": bool(checks.get("docker")),
            "network_reachable": provider_rows.is_live(provider, call.now),
            "vram_available_gb": provider_views.vram_gb(provider),
        }
        ready = detected and found["network_reachable"] and provider.approval == "approved" and not provider.suspended
        return Answer(
            {
                "ready": ready,
                "checks": found,
                "next_step": _next_step(provider, found),
                "provider_id": provider.id,
                "gpu_model": provider_rows.model_of(provider),
                "status": provider.status,
            }
        )

    async def liveness(self, call: Call, provider_id: str) -> Answer:
        """Whether it was heard of lately; anybody may ask."""
        number = provider_access.number(provider_id)
        provider = await self._engine.store.read(provider_access.known, number)
        age = provider_rows.age_seconds(provider, call.now)
        word = "offline" if age is None or age >= 90 else "degraded" if age >= 30 else "online"
        return Answer(
            {
                "provider_id": provider.id,
                "liveness_status": word,
                "last_heartbeat": wire.maybe_iso(provider.last_heartbeat),
                "heartbeat_age_seconds": provider_views.age(provider, call.now),
            }
        )

    async def readiness(self, call: Call) -> Answer:
        """What it found out about itself."""
        body = call.json if isinstance(call.json, dict) else {}
        checks = body.get("checks", {})
        if not isinstance(checks, dict) or len(wire.text(checks)) > heartbeat_bodies.MOST_SPEC:
            raise Fault(400, "checks must be an object")
        memory = heartbeat_bodies.number(checks, "vram_gb", _LEAST_VRAM_GB, 1_000_000)
        ready = checks.get("cuda") is True and checks.get("pytorch") is True and memory is not None
        word = "ready" if ready else "failed"
        await self._engine.store.run(note, call.provider.id, call.now, {"checks": checks}, readiness=word)
        return Answer({"success": True, "readiness_status": word, "checks": checks})

    async def gpu_profile(self, call: Call) -> Answer:
        """Say what the GPU is, where nothing detects it."""
        body = call.json if isinstance(call.json, dict) else {}
        found = heartbeat_bodies.read({"gpu_status": body, "gpu_spec": body}, call.address)
        types = body.get("supported_compute_types")
        values: dict[str, Any] = {}
        if types is not None:
            if (
                not isinstance(types, list)
                or not types
                or any(kind not in provider_rows.COMPUTE_TYPES for kind in types)
            ):
                known = ", ".join(provider_rows.COMPUTE_TYPES)
                raise Fault(400, f"supported_compute_types must be a list of: {known}")
            values["compute_types"] = wire.text(types)
        if found.vram_mib is not None:
            values["vram_mib"] = found.vram_mib
        if found.gpu_count is not None:
            values["gpu_count"] = found.gpu_count
        told = {name: value for name, value in found.profile.items() if name not in ("gpu_status", "cached_models")}
        if not told and not values:
            raise Fault(400, "No valid GPU profile fields provided")
        told |= {"profile_source": "manual", "profile_updated_at": call.now}
        provider = await self._engine.store.run(note, call.provider.id, call.now, told, **values)
        view = await self._engine.store.read(provider_views.account, provider, call.now)
        return Answer({"success": True, "provider": view["provider"]})

    async def wallet(self, call: Call) -> Answer:
        """Where payouts to a chain would go; null takes it back."""
        body = call.json if isinstance(call.json, dict) else {}
        address = body.get("wallet_address")
        if address is not None and (not isinstance(address, str) or not _WALLET.fullmatch(address)):
            raise Fault(400, "wallet_address must be a valid EVM address (0x followed by 40 hex characters)")
        changed = {"wallet_address": address, "wallet_updated_at": call.now}
        await self._engine.store.run(note, call.provider.id, call.now, {}, **changed)
        told = {"success": True, "wallet_address": address, "wallet_address_updated_at": wire.iso(call.now)}
        return Answer(told)

    def _add(self, connection: Connection, /, key: str, now: int, *, email: str, **values: Any) -> int:
        if provider_rows.by_email(connection, email) is not None:
            raise Fault(409, "A provider with this email already exists")
        if self._engine.settings.dc1.auto_approve:
            values |= {"approval": "approved", "approved_at": now}
        provider_id = provider_rows.add(connection, email=email, now=now, **values)
        key_rows.add(connection, key_rows.PROVIDER, provider_id, key, hint=key[-4:], now=now)
        sealed = self._engine.vault.seal(key.encode(), provider_rows.key_context(provider_id))
        provider_rows.change(connection, provider_id, now, sealed_key=sealed)
        return provider_id


def note(connection: Connection, /, provider_id: int, now: int, told: dict[str, Any], **values: Any) -> Row[Any]:
    """Lay what was told over the profile, and set columns."""
    provider = provider_access.known(connection, provider_id)
    if told:
        kept = {name: value for name, value in told.items() if value is not None}
        values["profile"] = wire.text({**provider_rows.profile(provider), **kept})
    provider_rows.change(connection, provider_id, now, **values)
    return provider_access.known(connection, provider_id)


def _next_step(provider: Row[Any], checks: dict[str, Any]) -> str:
    if provider.approval != "approved":
        return "wait_for_approval"
    if not checks["network_reachable"]:
        return "start_daemon"
    return "activate" if checks["gpu_detected"] else "install_gpu_driver"
