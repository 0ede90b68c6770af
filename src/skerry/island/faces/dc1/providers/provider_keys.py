"""Keys of providers: the account's own, and those beside it (sections 2.2 and 3.7).

The account's key can be replaced three times in a day. What counts are the rows of keys that were replaced, so that
neither a restart nor the new key begins a new count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import key_rows, limits, wire
from skerry.island.faces.dc1.access import PROVIDER, PROVIDER_BY_ID
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.providers import provider_access, provider_rows
from skerry.island.faces.dc1.tables import keys

MOST_KEYS = 20
_MOST_LABEL = 80
_SHOWN = len("dcp_prov_") + 8


class ProviderKeys:
    """Answers for keys of providers.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> Sequence[Route]:
        """Make, list, revoke, replace."""
        path = "/api/providers/{id}/keys"
        return [
            Route(method="POST", path=path, handler=self.create, access=PROVIDER_BY_ID),
            Route(method="GET", path=path, handler=self.list, access=PROVIDER_BY_ID),
            Route(method="DELETE", path=f"{path}/{{key_id}}", handler=self.revoke, access=PROVIDER_BY_ID),
            Route(method="POST", path="/api/providers/rotate-key", handler=self.rotate, access=PROVIDER),
            Route(method="POST", path="/api/providers/me/rotate-key", handler=self.rotate, access=PROVIDER),
        ]

    async def create(self, call: Call, provider_id: str) -> Answer:
        """A key beside the account's; shown this once."""
        number = self._master(call, provider_id)
        label = call.json.get("label") if isinstance(call.json, dict) else None
        if label is not None and (not isinstance(label, str) or len(label) > _MOST_LABEL or "\x00" in label):
            raise Fault(400, f"label must be a text of at most {_MOST_LABEL} characters")
        key = key_rows.make(key_rows.PAYOUTS)
        key_id = await self._engine.store.run(_create, number, key, label, call.now)
        told = {"key": key, "key_id": key_id, "prefix": key[:_SHOWN], "label": label}
        return Answer({**told, "message": "Save this key — it will not be shown again."}, 201)

    async def list(self, call: Call, provider_id: str) -> Answer:
        """Keys beside the account's, without the keys."""
        number = provider_access.own(call, provider_id)
        rows = await self._engine.store.read(key_rows.live, key_rows.PAYOUTS, number, call.now)
        found = [
            {
                "id": row.id,
                "key_prefix": row.hint,
                "label": row.label,
                "last_used_at": wire.maybe_iso(row.last_used_at),
                "created_at": wire.iso(row.created_at),
            }
            for row in rows
        ]
        return Answer({"keys": found, "count": len(found)})

    async def revoke(self, call: Call, provider_id: str, key_id: str) -> Answer:
        """A key works no longer."""
        number = self._master(call, provider_id)
        ended = await self._engine.store.run(key_rows.revoke, key_rows.PAYOUTS, number, call.now, key_id)
        if not ended:
            raise Fault(404, "Key not found or already revoked")
        return Answer({"success": True, "revoked_at": wire.iso(call.now)})

    async def rotate(self, call: Call) -> Answer:
        """Replace the account's key."""
        number = self._master(call, str(call.provider.id))
        key = await rotate(self._engine, number, now=call.now)
        message = "API key rotated. Update your daemon: the old key no longer works."
        return Answer(
            {"success": True, "message": message, "new_key": key, "api_key": key, "provider_id": call.provider.id}
        )

    def _master(self, call: Call, provider_id: str) -> int:
        """The provider's number, for what only the account's own key may do.

        Raises:
            Fault: 403.
        """
        number = provider_access.own(call, provider_id)
        if call.caller.scopes is not None:
            raise Fault(403, "Only the account's own key may do this")
        return number


async def rotate(engine: Engine, provider_id: int, *, now: int, limited: bool = True) -> str:
    """Replace an account's key: the new one, which is told this once.

    Args:
        engine: open.
        provider_id: whose.
        now: microseconds since 1970.
        limited: whether the daily limit counts.

    Raises:
        Fault: 404; 429 when it was replaced too often within a day.
    """
    key = f"{key_rows.PROVIDER_PREFIX}{uuid4()}"
    sealed = engine.vault.seal(key.encode(), provider_rows.key_context(provider_id))
    await engine.store.run(_replace, provider_id, key, sealed, now, limited)
    return key


def _replace(connection: Connection, provider_id: int, key: str, sealed: bytes, now: int, limited: bool) -> None:
    provider_access.known(connection, provider_id)
    if limited:
        _within_limit(connection, provider_id, now)
    key_rows.revoke(connection, key_rows.PROVIDER, provider_id, now)
    key_rows.add(connection, key_rows.PROVIDER, provider_id, key, hint=key[-4:], now=now)
    provider_rows.change(connection, provider_id, now, sealed_key=sealed)


def _within_limit(connection: Connection, provider_id: int, now: int) -> None:
    limit = limits.ROTATION
    since = now - limit.seconds * 1_000_000
    query = select(keys.c.revoked_at).where(
        keys.c.kind == key_rows.PROVIDER, keys.c.owner_id == provider_id, keys.c.revoked_at > since
    )
    replaced = sorted(int(row.revoked_at) for row in connection.execute(query))
    if len(replaced) >= limit.most:
        wait = max(1, math.ceil((replaced[-limit.most] - since) / 1_000_000))
        told: dict[str, Any] = {"retryAfterSeconds": wait, "retryAfterMs": wait * 1_000}
        raise Fault(429, "Rate limit exceeded", headers=((b"retry-after", str(wait).encode()),), **told)


def _create(connection: Connection, provider_id: int, key: str, label: str | None, now: int) -> str:
    if len(key_rows.live(connection, key_rows.PAYOUTS, provider_id, now)) >= MOST_KEYS:
        raise Fault(400, f"A provider has at most {MOST_KEYS} keys; revoke one first")
    return key_rows.add(
        connection, key_rows.PAYOUTS, provider_id, key, hint=key[:_SHOWN], label=label, scopes=["payouts"], now=now
    )
