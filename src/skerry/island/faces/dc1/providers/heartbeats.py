"""Heartbeats: a provider says that it is there, how it is, and what it has (sections 3.7 and 3.7.1).

Example:
    POST /api/providers/heartbeat
    {"api_key": "dc1-provider-...", "gpu_status": {"gpu_name": "RTX 4090", "gpu_vram_mib": 24564}}
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import limits, wire
from skerry.island.faces.dc1.access import HEARTBEAT, PROVIDER_BY_ID
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.providers import heartbeat_bodies, provider_rows, reputation
from skerry.island.faces.dc1.providers.heartbeat_bodies import Heartbeat
from skerry.island.faces.dc1.providers.provider_access import own
from skerry.networks.dc1.signing import HEARTBEAT_HEADER, verify_callback

LATEST_DAEMON = "3.3.0"
"""The version of the network's daemon below which hosts are asked to update."""

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
_MOST_RESTARTS = 10

log = logging.getLogger("skerry.island.dc1")


class Heartbeats:
    """Takes heartbeats.

    Args:
        engine: open.
        secret: signs heartbeats.
    """

    def __init__(self, engine: Engine, secret: str) -> None:
        self._engine = engine
        self._secret = secret

    def routes(self) -> Sequence[Route]:
        """The daemon's and the SDK's heartbeat, and the short one."""
        limit = (limits.HEARTBEAT,)
        return [
            Route(
                method="POST", path="/api/providers/heartbeat", handler=self.beat, access=HEARTBEAT, limits=limit
            ),
            Route(
                method="POST", path="/api/providers/{id}/heartbeat", handler=self.short, access=PROVIDER_BY_ID,
                limits=limit,
            ),
        ]  # fmt: skip

    async def beat(self, call: Call) -> Answer:
        """A whole heartbeat of any form; what it does not say stays as it was."""
        self._verify(call)
        body = call.json if isinstance(call.json, dict) else {}
        found = heartbeat_bodies.read(body, _address(call))
        provider = await self._engine.store.run(record, call.provider.id, found, now=call.now)
        return Answer(answer(provider, found.daemon_version, call.now))

    async def short(self, call: Call, provider_id: str) -> Answer:
        """Only that it is there, and a few numbers."""
        own(call, provider_id)
        found = heartbeat_bodies.read_short(call.json if isinstance(call.json, dict) else {})
        provider = await self._engine.store.run(record, call.provider.id, found, now=call.now)
        told = {"success": True, "provider_id": provider.id, "status": provider.status}
        return Answer({**told, "timestamp": wire.iso(call.now)})

    def _verify(self, call: Call) -> None:
        """A signature that is wrong is refused where heartbeats must be signed, and written down where not."""
        given = call.headers.get(HEARTBEAT_HEADER, "")
        required = self._engine.settings.dc1.require_heartbeat_hmac
        if not given and not required:
            return
        if verify_callback(self._secret, call.raw, given) and given.strip().startswith("sha256="):
            return
        if required:
            detail = "X-DC1-Signature does not sign this body" if given else "X-DC1-Signature is missing"
            raise Fault(401, "Invalid heartbeat signature", detail=f"{detail}; it is sha256=<HMAC-SHA256 of the body>")
        log.warning("a heartbeat of provider %d has a wrong signature", call.provider.id)


def _address(call: Call) -> str:
    """Where a heartbeat came from; empty where somebody between us would be taken for the host."""
    return "" if any(name in call.headers for name in _FORWARDED) else call.address


def record(connection: Connection, provider_id: int, said: Heartbeat, *, now: int) -> Row[Any]:
    """Take note of a heartbeat; the provider's row after it.

    Args:
        provider_id: which.
        said: what it says.
        now: microseconds since 1970.

    Raises:
        Fault: 401 for a provider that is gone, 403 for one that is not approved or is suspended.
    """
    provider = provider_rows.find(connection, provider_id)
    if provider is None:
        raise Fault(401, "Invalid API key")
    if provider.approval != "approved":
        raise Fault(403, "Provider is not approved yet")
    if provider.suspended:
        raise Fault(403, "Provider is suspended")
    degraded = said.restarts > _MOST_RESTARTS
    status = "paused" if provider.paused else "degraded" if degraded else "online"
    profile = {**provider_rows.profile(provider), **said.profile, "minutes": list(reputation.minutes(provider, now))}
    profile["degraded_since"] = (profile.get("degraded_since") or now) if degraded else None
    if set(said.profile) & {"gpu_name", "gpu_vram_mib", "gpu_info", "gpu_status"}:
        profile |= {"profile_source": "daemon", "profile_updated_at": now}
    values: dict[str, Any] = {
        "status": status,
        "last_heartbeat": now,
        "online_ms": provider.online_ms + _since(provider, now) // 1_000,
    }
    if said.vram_mib is not None:
        values["vram_mib"] = said.vram_mib
    if said.gpu_count is not None:
        values["gpu_count"] = said.gpu_count
    if said.slots is not None and provider.node_id is None:
        values["slots"] = said.slots
    if said.compute_types is not None:
        values["compute_types"] = wire.text(said.compute_types)
        profile["compute_types"] = list(said.compute_types)
    if said.resource_spec is not None:
        values["resource_spec"] = said.resource_spec
    if said.endpoint_url is not None:
        values["endpoint_url"] = said.endpoint_url or None
    if provider.preload_status == "downloading" and provider.preload_model in profile.get("cached_models", ()):
        values["preload_status"] = "ready"
    provider_rows.change(connection, provider_id, now, profile=wire.text(profile), **values)
    found = provider_rows.find(connection, provider_id)
    assert found is not None
    return found


def answer(provider: Row[Any], daemon_version: str | None, now: int) -> dict[str, Any]:
    """What a heartbeat is answered."""
    outdated = is_older(daemon_version, LATEST_DAEMON)
    waiting = provider.preload_model is not None and provider.preload_status == "downloading"
    return {
        "success": True,
        "message": "Heartbeat received",
        "timestamp": wire.iso(now),
        "needs_update": outdated,
        "latest_version": LATEST_DAEMON,
        "update_available": outdated,
        "min_version": LATEST_DAEMON,
        "approval_status": provider.approval,
        "approved": provider.approval == "approved",
        "preload_model": {"model_name": provider.preload_model, "status": "downloading"} if waiting else None,
    }


def is_older(version: str | None, than: str) -> bool:
    """Whether a dotted version is lower than another; none at all is, and words such as `sdk/0.1.0` are not.

    Example:
        >>> is_older("3.2.10", "3.3.0"), is_older("3.10", "3.3.0"), is_older("sdk/0.1", "3.3.0")
        (True, False, False)
    """
    if not version:
        return True
    parts = version.split(".")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        return False
    mine, other = [int(part) for part in parts], [int(part) for part in than.split(".")]
    width = max(len(mine), len(other))
    return mine + [0] * (width - len(mine)) < other + [0] * (width - len(other))


def _since(provider: Row[Any], now: int) -> int:
    """Microseconds since the heartbeat before, if it was there all the while."""
    if provider.last_heartbeat is None or provider.status not in ("online", "degraded"):
        return 0
    passed = max(0, now - provider.last_heartbeat)
    return passed if passed <= provider_rows.OFFLINE_SECONDS * 1_000_000 else 0
