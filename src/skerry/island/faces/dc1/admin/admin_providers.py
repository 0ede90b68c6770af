"""The operator's side of providers: who may work, and what they shall have ready (section 3.9)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import limits, wire
from skerry.island.faces.dc1.access import ADMIN
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.providers import provider_access, provider_keys, provider_rows, provider_views, reputation
from skerry.island.faces.dc1.tables import providers

_MOST_BULK = 500
_MOST_REASON = 500
_MOST_MODEL = 256

Change = Callable[[Connection, int, int], None]


class AdminProviders:
    """Answers the operator about providers.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Reads, decisions, orders."""

        def route(method: str, path: str, handler: Any) -> Route:
            limit = (limits.ADMIN,)
            return Route(method=method, path=f"/api/admin/{path}", handler=handler, access=ADMIN, limits=limit)

        return [
            route("GET", "providers", self.list),
            route("GET", "providers/{id}", self.get),
            route("PATCH", "providers/{id}/approve", self.approve),
            route("PATCH", "providers/{id}/reject", self.reject),
            route("POST", "providers/{id}/suspend", self.suspend),
            route("POST", "providers/{id}/unsuspend", self.unsuspend),
            route("PATCH", "providers/{id}/status", self.status),
            route("PATCH", "providers/{id}/preload-model", self.preload),
            route("POST", "providers/{id}/rotate-key", self.rotate_key),
            route("POST", "bulk/providers", self.bulk),
        ]

    async def list(self, call: Call) -> Answer:
        """Providers by page, the newest first; `status` is a comma list, `search` looks at names, addresses, GPUs."""
        page, limit = call.whole("page", 1, 1, 1_000_000), call.whole("limit", 50, 1, 200)
        words = [word for word in call.query.get("status", "").split(",") if word]
        search = call.query.get("search", "").strip()[:100]
        found, total = await self._engine.store.read(_page, words, search, page, limit)
        views = [view(provider, call.now) for provider in found]
        told = {"providers": views, "total": total, "page": page, "limit": limit, "pages": -(-total // limit)}
        return Answer({**told, "pagination": {"page": page, "limit": limit, "total": total}})

    async def get(self, call: Call, provider_id: str) -> Answer:
        """One, with its latest jobs."""

        def read(connection: Connection) -> dict[str, Any]:
            provider = provider_access.known(connection, provider_access.number(provider_id))
            recent = provider_views.account(connection, provider, call.now)["recent_jobs"]
            return {"provider": view(provider, call.now), "recent_jobs": recent}

        return Answer(await self._engine.store.read(read))

    async def approve(self, call: Call, provider_id: str) -> Answer:
        """It may work."""
        number = await self._change(provider_id, approve, call.now)
        told = {"success": True, "provider_id": number, "approval_status": "approved"}
        return Answer({**told, "approved_at": wire.iso(call.now)})

    async def reject(self, call: Call, provider_id: str) -> Answer:
        """It may not, for a reason that it is told."""
        reason = _reason(call)
        if reason is None:
            raise Fault(400, "reason is required")

        def reject(connection: Connection, number: int, now: int) -> None:
            provider_rows.change(
                connection, number, now, approval="rejected", rejected_reason=reason, status="offline", approved_at=None
            )

        number = await self._change(provider_id, reject, call.now)
        told = {"success": True, "provider_id": number, "approval_status": "rejected"}
        return Answer({**told, "rejected_reason": reason})

    async def suspend(self, call: Call, provider_id: str) -> Answer:
        """It gets no more work; what it carries out goes on."""
        number = await self._change(provider_id, suspend, call.now)
        return Answer({"success": True, "message": f"Provider {number} suspended"})

    async def unsuspend(self, call: Call, provider_id: str) -> Answer:
        """It may work again, as soon as it is heard of."""
        number = await self._change(provider_id, unsuspend, call.now)
        return Answer({"success": True, "message": f"Provider {number} unsuspended"})

    async def status(self, call: Call, provider_id: str) -> Answer:
        """Either of the two, by `status`."""
        word = call.json.get("status") if isinstance(call.json, dict) else None
        if word not in ("suspended", "active"):
            raise Fault(400, "status must be one of: suspended, active")
        number = await self._change(provider_id, suspend if word == "suspended" else unsuspend, call.now)
        told = {"success": True, "message": f"Provider {number} is {word}", "provider_id": number}
        return Answer({**told, "status": word})

    async def preload(self, call: Call, provider_id: str) -> Answer:
        """Have a model fetched before a job needs it: the next heartbeat is told."""
        body = call.json if isinstance(call.json, dict) else {}
        model = body.get("model_name", body.get("model"))
        if not isinstance(model, str) or not 0 < len(model) <= _MOST_MODEL or "\x00" in model:
            raise Fault(400, f"model_name is required, of at most {_MOST_MODEL} characters")

        def order(connection: Connection, number: int, now: int) -> None:
            provider = provider_access.known(connection, number)
            there = model in provider_rows.profile(provider).get("cached_models", [])
            word = "ready" if there else "downloading"
            provider_rows.change(connection, number, now, preload_model=model, preload_status=word)

        number = await self._change(provider_id, order, call.now)
        provider = await self._engine.store.read(provider_access.known, number)
        told = {"success": True, "provider_id": number, "preload_model": model}
        return Answer({**told, "preload_status": provider.preload_status})

    async def rotate_key(self, call: Call, provider_id: str) -> Answer:
        """A new key for a provider; the old one is dead at once."""
        number = provider_access.number(provider_id)
        key = await provider_keys.rotate(self._engine, number, now=call.now, limited=False)
        told = {"success": True, "provider_id": number, "new_key": key, "api_key": key}
        return Answer({**told, "message": "Provider API key rotated; the old key no longer works."})

    async def bulk(self, call: Call) -> Answer:
        """One decision over many; those that are not there count as failed."""
        body = call.json if isinstance(call.json, dict) else {}
        action, ids = body.get("action"), body.get("ids")
        changes: dict[str, Change] = {"suspend": suspend, "unsuspend": unsuspend, "approve": approve}
        if not isinstance(action, str) or action not in changes:
            raise Fault(400, f"action must be one of: {', '.join(changes)}")
        if not isinstance(ids, list) or not 0 < len(ids) <= _MOST_BULK:
            raise Fault(400, f"ids must be a list of 1 to {_MOST_BULK} provider ids")

        def each(connection: Connection) -> int:
            done = 0
            for ident in ids:
                usable = isinstance(ident, int) and not isinstance(ident, bool) and 0 < ident < 2**31
                if usable and provider_rows.find(connection, ident) is not None:
                    changes[action](connection, ident, call.now)
                    done += 1
            return done

        done = await self._engine.store.run(each)
        told = {"success": True, "action": action, "processed": done}
        return Answer({**told, "failed": len(ids) - done, "total": len(ids)})

    async def _change(self, provider_id: str, change: Change, now: int) -> int:
        number = provider_access.number(provider_id)

        def work(connection: Connection) -> None:
            provider_access.known(connection, number)
            change(connection, number, now)

        await self._engine.store.run(work)
        return number


def approve(connection: Connection, provider_id: int, now: int) -> None:
    """Let a provider work."""
    provider_rows.change(connection, provider_id, now, approval="approved", approved_at=now, rejected_reason=None)


def suspend(connection: Connection, provider_id: int, now: int) -> None:
    """Give a provider no more work."""
    provider_rows.change(connection, provider_id, now, suspended=1, status="suspended")


def unsuspend(connection: Connection, provider_id: int, now: int) -> None:
    """Let it work again; its next heartbeat brings it online."""
    provider = provider_access.known(connection, provider_id)
    if provider.suspended:
        status = "paused" if provider.paused else "offline"
        provider_rows.change(connection, provider_id, now, suspended=0, status=status)


def view(provider: Row[Any], now: int) -> dict[str, Any]:
    """A provider as the operator sees it; never its keys."""
    known = provider_rows.profile(provider)
    return {
        "id": provider.id,
        "name": provider.name,
        "email": provider.email,
        "phone": provider.phone,
        "gpu_model": provider_rows.model_of(provider),
        "registered_gpu_model": provider.gpu_model,
        "os": provider.os,
        "location": provider.location,
        "status": provider.status,
        "approval_status": provider.approval,
        "approved_at": wire.maybe_iso(provider.approved_at),
        "rejected_reason": provider.rejected_reason,
        "is_paused": bool(provider.paused),
        "is_suspended": bool(provider.suspended),
        "is_live": provider_rows.is_live(provider, now),
        "is_local": provider.node_id is not None,
        "readiness_status": provider.readiness,
        "vram_mib": provider.vram_mib,
        "gpu_count": provider.gpu_count,
        "slots": provider.slots,
        "supported_compute_types": json.loads(provider.compute_types),
        "gpu_status": known.get("gpu_status"),
        "provider_ip": known.get("provider_ip"),
        "provider_hostname": known.get("provider_hostname"),
        "cached_models": known.get("cached_models", []),
        "preload_model": provider.preload_model,
        "preload_status": provider.preload_status,
        "last_heartbeat": wire.maybe_iso(provider.last_heartbeat),
        "total_jobs": provider.total_jobs,
        "failed_jobs": provider.failed_jobs,
        "total_earnings_halala": provider.total_earned,
        "uptime_percent": reputation.long_uptime(provider, now),
        "created_at": wire.iso(provider.created_at),
    }


def _page(
    connection: Connection, words: Sequence[str], search: str, page: int, limit: int
) -> tuple[list[Row[Any]], int]:
    query = select(providers)
    if words:
        query = query.where(or_(providers.c.status.in_(words), providers.c.approval.in_(words)))
    if search:
        columns = (providers.c.name, providers.c.email, providers.c.gpu_model)
        query = query.where(or_(*(func.lower(column).contains(search.lower(), autoescape=True) for column in columns)))
    total = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    rows = connection.execute(query.order_by(providers.c.id.desc()).limit(limit).offset((page - 1) * limit))
    return list(rows), int(total)


def _reason(call: Call) -> str | None:
    reason = call.json.get("reason") if isinstance(call.json, dict) else None
    if not isinstance(reason, str) or not reason.strip() or "\x00" in reason:
        return None
    return reason.strip()[:_MOST_REASON]
