"""Where a renter's servers are told about jobs and the balance (sections 3.1 and 5.9)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import limits, wire
from skerry.island.faces.dc1.access import ACCOUNT, OWN
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.renters import callbacks, renter_rows
from skerry.island.faces.dc1.renters.deliveries import webhook_context
from skerry.island.faces.dc1.renters.renter_keys import own
from skerry.island.faces.dc1.renters.webhook_urls import WebhookUrls
from skerry.island.faces.dc1.tables import webhooks

_MOST = 5
_LEAST_SECRET, _MOST_SECRET = 16, 256


class RenterWebhooks:
    """Webhooks, and the one address of the account's settings.

    Args:
        engine: open.
        urls: judges addresses.
    """

    def __init__(self, engine: Engine, urls: WebhookUrls) -> None:
        self._engine = engine
        self._urls = urls

    def routes(self) -> Sequence[Route]:
        """What a renter chooses."""
        hooks = "/api/renters/{renter_id}/webhooks"
        return [
            Route(method="PATCH", path="/api/renters/settings", handler=self.settings, access=ACCOUNT),
            Route(method="POST", path=hooks, handler=self.create, access=OWN, limits=(limits.WEBHOOKS,)),
            Route(method="GET", path=hooks, handler=self.list, access=OWN),
            Route(method="DELETE", path=f"{hooks}/{{webhook_id}}", handler=self.delete, access=OWN),
        ]

    async def settings(self, call: Call) -> Answer:
        """Set or, with null, forget where the account's job callbacks go.

        Raises:
            Fault: 400 for an address that callbacks must not be sent to, or nothing to set.
        """
        body = call.json if isinstance(call.json, dict) else {}
        if "webhook_url" not in body:
            raise Fault(400, "Nothing to update: give webhook_url, or null to remove it")
        url = body["webhook_url"]
        if url is not None and not await self._urls.accepts(url):
            raise Fault(400, "webhook_url must be a valid HTTPS URL pointing to a public host")

        def work(connection: Connection) -> None:
            renter = renter_rows.active(connection, call.renter.id)
            renter_rows.change(connection, renter.id, call.now, webhook_url=url)

        await self._engine.store.run(work)
        return Answer({"success": True, "webhook_url": url})

    async def create(self, call: Call, renter_id: str) -> Answer:
        """Another webhook, with its own secret, which is never told again.

        Raises:
            Fault: 400 for what it must not be, or when there are five.
        """
        own(call, renter_id)
        body = call.json if isinstance(call.json, dict) else {}
        secret, events = body.get("secret"), body.get("events")
        if not isinstance(secret, str) or not _LEAST_SECRET <= len(secret) <= _MOST_SECRET:
            raise Fault(400, f"secret must be a string of {_LEAST_SECRET} to {_MOST_SECRET} characters")
        if not isinstance(events, list) or not events or not all(event in callbacks.EVENTS for event in events):
            raise Fault(400, f"events must be a non-empty array of: {', '.join(callbacks.EVENTS)}")
        if not await self._urls.accepts(body.get("url")):
            raise Fault(400, "url must be an HTTPS URL on port 443 that points to a publicly accessible host")
        webhook_id = str(uuid4())
        row = {
            "id": webhook_id,
            "renter_id": call.renter.id,
            "url": body["url"],
            "sealed_secret": self._engine.vault.seal(secret.encode(), webhook_context(webhook_id)),
            "events": json.dumps([event for event in callbacks.EVENTS if event in events]),
            "created_at": call.now,
        }

        def work(connection: Connection) -> dict[str, Any]:
            renter = renter_rows.active(connection, call.renter.id)
            if len(_of(connection, renter.id)) >= _MOST:
                raise Fault(400, f"Maximum of {_MOST} webhooks reached. Delete an existing webhook first.")
            connection.execute(webhooks.insert().values(row))
            return _view(connection.execute(select(webhooks).where(webhooks.c.id == webhook_id)).one())

        return Answer(await self._engine.store.run(work), 201)

    async def list(self, call: Call, renter_id: str) -> Answer:
        """Them, without secrets."""
        own(call, renter_id)
        found = await self._engine.store.read(_of, call.renter.id)
        return Answer({"webhooks": [_view(row) for row in found]})

    async def delete(self, call: Call, renter_id: str, webhook_id: str) -> Answer:
        """Forget one; what it was to be told is not sent any more.

        Raises:
            Fault: 404, there is none.
        """
        own(call, renter_id)

        def work(connection: Connection) -> int:
            gone = webhooks.delete().where(webhooks.c.id == webhook_id, webhooks.c.renter_id == call.renter.id)
            return int(connection.execute(gone).rowcount)

        if not await self._engine.store.run(work):
            raise Fault(404, "Webhook not found")
        return Answer({"success": True})


def _of(connection: Connection, renter_id: int) -> Sequence[Row[Any]]:
    query = select(webhooks).where(webhooks.c.renter_id == renter_id)
    return connection.execute(query.order_by(webhooks.c.created_at, webhooks.c.id)).all()


def _view(row: Row[Any]) -> dict[str, Any]:
    return {"id": row.id, "url": row.url, "events": json.loads(row.events), "created_at": wire.iso(row.created_at)}
