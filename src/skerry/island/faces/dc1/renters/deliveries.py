"""Sends what `callbacks` wrote down, until it was taken or was tried often enough (section 5.9).

A renter's own `webhook_url` gets one direct try, whose signature is bare, and then up to three of the background's,
whose signature has a prefix and whose event is in the body alone; webhooks that were registered get the same form each
time. A try is counted before it is made: one that a crash interrupts is followed by the next, never by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select

from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError, Forbidden, Unreadable
from skerry.island.faces.dc1.renters import callbacks, renter_rows
from skerry.island.faces.dc1.renters.webhook_urls import WebhookUrls, parsed
from skerry.island.faces.dc1.tables import deliveries, jobs, renters, webhooks
from skerry.island.ground.rounds import Rounds
from skerry.island.store.values import micros
from skerry.networks.dc1 import signing

SECONDS = 5.0
"""How long a server may take to answer."""

PAUSES = (1, 2, 4)
"""Seconds to wait before the second try, the third and the fourth, which is the last."""

_MOST = len(PAUSES) + 1
_LOOK = 1.0
_LEASE = 30 * 1_000_000
_AT_ONCE = 64
_SECOND = 1_000_000

log = logging.getLogger("skerry.island.dc1")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a callback goes.

    Args:
        url: the address.
        key: what it is signed with.
        registered: it is one of the renter's webhooks, not its `webhook_url`.
    """

    url: str
    key: str = field(repr=False)
    registered: bool


def webhook_context(webhook_id: str) -> str:
    """Under what a webhook's secret is sealed."""
    return f"dc1 webhook:{webhook_id}:secret"


class Deliveries:
    """The background that calls renters' servers.

    Args:
        engine: open.
        urls: judges where they are.
    """

    def __init__(self, engine: Engine, urls: WebhookUrls) -> None:
        self._engine = engine
        self._urls = urls
        self._rounds = Rounds(self.sweep, engine.clock, _LOOK, log, "callbacks could not be sent")
        self._sweeping = asyncio.Lock()

    async def start(self) -> None:
        """Take up what is due, also what an earlier process left."""
        self._rounds.start()

    async def stop(self) -> None:
        """Let go; what was not told is told after the next start."""
        await self._rounds.stop()
        await self._urls.aclose()

    async def sweep(self) -> int:
        """Try everything that is due now, once; how many tries that were."""
        tried = 0
        async with self._sweeping:
            while await self._engine.store.read(_due, self._now()):
                claimed = await self._engine.store.run(_claim, self._now())
                tried += len(claimed)
                ends = await asyncio.gather(*(self._deliver(row) for row in claimed), return_exceptions=True)
                for end in ends:
                    if isinstance(end, BaseException):
                        raise end
        return tried

    async def _deliver(self, row: Row[Any]) -> None:
        """One try, and what came of it."""
        try:
            target = await self._engine.store.read(self._target, row)
        except Unreadable as error:
            await self._engine.store.run(_end, row.id, f"not signed: {error.message}"[:200], self._now())
            return
        if target is None:
            await self._engine.store.run(_end, row.id, "nobody is to be told any more", self._now())
            return
        outcome = await self._send(target, row.event, row.body.encode(), row.attempts)
        await self._engine.store.run(_record, row.id, row.attempts, outcome, self._now())

    async def _send(self, target: Target, event: str, body: bytes, attempt: int) -> str:
        """Ask the server once; `delivered`, or what went wrong in a few words."""
        import httpx2

        url = parsed(target.url, private_ok=self._urls.private_ok)
        if url is None:
            return "the address is not one that callbacks may be sent to"
        signature = signing.sign_callback(target.key, body)
        direct = attempt == 1 and not target.registered
        headers = {
            "content-type": "application/json",
            "user-agent": "skerry-island",
            # Connections are made to addresses, and must not be shared by the names that lead to one.
            "connection": "close",
            "x-dcp-signature": signature if direct else f"sha256={signature}",
        }
        if direct or target.registered:
            headers["x-dcp-event"] = event
        request = httpx2.Request("POST", url, headers=headers, content=body)
        try:
            async with asyncio.timeout(SECONDS):
                answer = await self._urls.transport.handle_async_request(request)
                await answer.aclose()
        except TimeoutError:
            return f"no answer within {SECONDS:.0f} s"
        except Forbidden:
            return "the address belongs to this machine or to a private network"
        except (httpx2.HTTPError, EngineError, OSError, ValueError) as error:
            return f"not reached: {type(error).__name__}"
        return callbacks.DELIVERED if answer.is_success else f"HTTP {answer.status_code}"

    def _target(self, connection: Connection, row: Row[Any]) -> Target | None:
        """Where a callback goes now, and what it is signed with now; None when nobody wants it any more."""
        engine = self._engine
        renter = connection.execute(select(renters).where(renters.c.id == row.renter_id)).one()
        if renter.status == "deleted":
            return None
        if row.webhook_id is not None:
            hook = connection.execute(select(webhooks).where(webhooks.c.id == row.webhook_id)).first()
            if hook is None:
                return None
            secret = engine.vault.open(hook.sealed_secret, webhook_context(hook.id)).decode()
            return Target(hook.url, secret, True)
        if not renter.webhook_url:
            return None
        shared = engine.settings.dc1.webhook_secret
        if shared is not None:
            return Target(renter.webhook_url, shared, False)
        if renter.sealed_key is None:
            raise Unreadable("the renter's key is not kept; have it rotated")
        key = engine.vault.open(renter.sealed_key, renter_rows.key_context(renter.id)).decode()
        return Target(renter.webhook_url, key, False)

    def _now(self) -> int:
        return micros(self._engine.clock.now())


def _due(connection: Connection, now: int) -> bool:
    return connection.execute(select(deliveries.c.id).where(deliveries.c.next_at <= now).limit(1)).first() is not None


def _claim(connection: Connection, now: int) -> Sequence[Row[Any]]:
    """Count a try of each callback that is due, and keep it from everybody else for the time that a try can take."""
    query = select(deliveries).where(deliveries.c.next_at <= now).order_by(deliveries.c.id).limit(_AT_ONCE)
    ids = []
    for row in connection.execute(query).all():
        if row.attempts >= _MOST:
            _end(connection, row.id, "interrupted at the last try", now)
            continue
        ids.append(row.id)
        change = deliveries.update().where(deliveries.c.id == row.id)
        connection.execute(change.values(attempts=row.attempts + 1, next_at=now + _LEASE))
    return connection.execute(select(deliveries).where(deliveries.c.id.in_(ids)).order_by(deliveries.c.id)).all()


def _record(connection: Connection, delivery: int, attempt: int, outcome: str, now: int) -> None:
    """What came of a try; unless it is the end, when the next one is due."""
    if outcome == callbacks.DELIVERED or attempt >= _MOST:
        _end(connection, delivery, outcome, now)
        return
    values = {"outcome": outcome[:200], "next_at": now + PAUSES[attempt - 1] * _SECOND, "updated_at": now}
    connection.execute(deliveries.update().where(deliveries.c.id == delivery).values(values))
    _tell_job(connection, delivery, callbacks.PENDING, now)


def _end(connection: Connection, delivery: int, outcome: str, now: int) -> None:
    values = {"outcome": outcome[:200], "next_at": None, "updated_at": now}
    connection.execute(deliveries.update().where(deliveries.c.id == delivery).values(values))
    _tell_job(connection, delivery, callbacks.DELIVERED if outcome == callbacks.DELIVERED else callbacks.FAILED, now)


def _tell_job(connection: Connection, delivery: int, status: str, now: int) -> None:
    """The row of a job says how the callback to the account's own address stands."""
    row = connection.execute(select(deliveries).where(deliveries.c.id == delivery)).one()
    if row.job is None or row.webhook_id is not None:
        return
    values = {"webhook_status": status, "webhook_attempts": row.attempts, "webhook_notified_at": now}
    connection.execute(jobs.update().where(jobs.c.id == row.job).values(values))
