"""The DC1 face as an ASGI application: who asks, which row answers, and every answer's headers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from skerry.island.admin.auth import owner_key
from skerry.island.asgi import ClientGone, Receive, Scope, Send, raw_path
from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import Unreadable
from skerry.island.faces.dc1 import errors, key_rows, limits, requests, wire
from skerry.island.faces.dc1.authentication import Authentication, presented
from skerry.island.faces.dc1.call import Answer, Call, Caller, Route
from skerry.island.faces.dc1.limits import Limit, RateLimits
from skerry.island.faces.dc1.renters import renter_rows
from skerry.island.faces.dc1.routes import Resource, Routes
from skerry.island.faces.dc1.service import Service
from skerry.island.faces.dc1.system import System
from skerry.island.gateway import Tunnel, refuse
from skerry.island.ground.answers import Header, reply
from skerry.island.ground.requests import root_of
from skerry.island.ground.waiting import client_gone, give_up
from skerry.island.store import ledger
from skerry.island.store.values import micros

NETWORK = key_rows.NETWORK
STALLED_SECONDS = 30.0
"""For how long a reader of a stream may take nothing, before others get what it has taken."""

_NO_SNIFFING: Header = (b"x-content-type-options", b"nosniff")

log = logging.getLogger("skerry.island.dc1")


class DC1Face:
    """Speaks DC1's protocol: `/api` and, in the manner of OpenAI, `/v1`.

    Args:
        engine: open.
    """

    name = NETWORK

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        settings = engine.settings.dc1
        self._limits = RateLimits(settings.rate_limits, dict(settings.rates), engine.clock.monotonic)
        # Whatever comes of a start, what it had begun ends, the last first.
        self._begun = AsyncExitStack()
        self._routes: Routes
        self._authentication: Authentication
        self.service: Service

    async def start(self) -> None:
        """Have the first account's key and renter; take up jobs."""
        engine = self._engine
        key = await engine.bearer_key(NETWORK, key_rows.RENTER_PREFIX, key_rows.MASTER_LENGTH)
        await engine.store.run(self._first, key, micros(engine.clock.now()))
        owner, chosen = await asyncio.to_thread(owner_key, engine.settings.data_dir), engine.settings.dc1.admin_token
        self._authentication = Authentication(engine, [owner] if chosen is None else [owner, chosen])
        self.service = await Service.opened(engine, self._authentication)
        self._routes = Routes(self._resources())
        self._begun.push_async_callback(self.service.stop)
        await self.service.start()

    async def stop(self) -> None:
        """End what was begun; jobs go on and are found again."""
        await self._begun.aclose()

    async def busy(self) -> bool:
        """Whether any job goes on or waits."""
        return await self.service.busy()

    async def tunnel(self, label: str, port: int) -> Tunnel | None:
        """None: this network has no tunnels by host name."""
        return None

    def admits(self, tunnel: Tunnel, token: str) -> bool:
        """False, for the same reason."""
        return False

    def recognises(self, scope: Scope) -> bool:
        """None: its clients keep their base URL's path."""
        return False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await refuse(scope, receive, send, 404, "There is nothing here.\n")
            return
        told = _Told()
        try:
            answer = await self._answer(scope, receive, told)
            # Here, because what cannot be encoded is a defect like any other.
            body = answer.value if _ready(answer) else wire.encode(answer.value)
        except ClientGone:
            return
        except Exception as error:
            fault = errors.fault_of(error)
            # A refusal for too many requests tells of the limit itself.
            answer = Answer(fault.body, fault.status)
            told.headers = fault.headers if fault.status == 429 and fault.headers else (*told.headers, *fault.headers)
            body = wire.encode(answer.value)
        await _reply(scope, receive, send, answer, body, told.headers)

    def _resources(self) -> Sequence[Resource]:
        return [System(self._engine), *self.service.resources()]

    async def _answer(self, scope: Scope, receive: Receive, told: _Told) -> Answer:
        raw = raw_path(scope)
        address = requests.address_of(scope)
        headers = requests.headers_of(scope)
        query = requests.query_of(scope)
        served = await self.service.served(scope, receive, raw)
        if served is not None:
            return served
        self._limits.take(limits.CROWD, address)
        who = headers.get("x-renter-key") or headers.get("x-provider-key") or address
        told.headers = self._limits.take(limits.EVERYTHING, who)
        route, values = self._routes.find(scope["method"], raw)
        body, json = await requests.read(scope, receive)
        where = {**query, "key": values.pop(0)} if route.keyed else query
        shown = presented(route.access, headers, where, json) if route.access.role != "anybody" else ""
        nobody = Caller(key_id=key_rows.digest(shown) if shown else "")
        told.headers = self._take(route, nobody, address, raw, early=True) or told.headers
        caller = await self._authentication.admit(route.access, headers, where, json)
        told.headers = self._take(route, caller, address, raw, early=False) or told.headers
        call = Call(
            caller=caller,
            address=address,
            query=query,
            headers=headers,
            raw=body,
            json=json,
            root=root_of(scope),
            now=micros(self._engine.clock.now()),
        )
        return await route.handler(call, *values)

    def _take(self, route: Route, caller: Caller, address: str, raw: bytes, *, early: bool) -> tuple[Header, ...]:
        """Count a request against its route's limits: by address or by what was presented before anybody is known."""
        told: tuple[Header, ...] = ()
        for limit in route.limits:
            if (limit.by in ("address", "presented")) == early:
                told = self._limits.take(limit, _who(limit, caller, address, raw))
        return told

    def _first(self, connection: Connection, key: str, now: int) -> None:
        engine = self._engine
        known = renter_rows.of_account(connection, engine.account_id)
        sealed = None if known is None else known.sealed_key
        renter = renter_rows.ensure(connection, engine.account_id, "local", now)
        if known is None:
            # Once: another setting at another start changes nothing.
            opening = engine.settings.dc1.opening_balance
            entries = {"grant": -opening, ledger.owner(engine.account_id): opening}
            ledger.transfer(connection, f"grant:dc1:{engine.account_id}", entries, memo="opening balance", now=now)
        context = renter_rows.key_context(renter.id)
        if sealed is None or not self._holds(sealed, context, key):
            # The credentials are what every client reads, so callbacks are signed with that key.
            renter_rows.change(connection, renter.id, now, sealed_key=engine.vault.seal(key.encode(), context))

    def _holds(self, sealed: bytes, context: str, key: str) -> bool:
        try:
            return self._engine.vault.open(sealed, context) == key.encode()
        except Unreadable:
            return False


@dataclass(slots=True)
class _Told:
    """Headers about the limit that a request counted against, the narrowest so far, whatever becomes of it."""

    headers: Sequence[Header] = ()


def _who(limit: Limit, caller: Caller, address: str, raw: bytes) -> str:
    # Whose key it is counts, so that another key of the same owner has no turns of its own.
    renter, provider = caller.renter, caller.provider
    owner = f"renter {renter.id}" if renter is not None else f"provider {provider.id}" if provider is not None else ""
    key = owner or caller.key_id or address
    return address if limit.by == "address" else f"{key} {raw!r}" if limit.by == "path" else key


def _ready(answer: Answer) -> bool:
    return isinstance(answer.value, bytes) or hasattr(answer.value, "__aiter__")


async def _reply(
    scope: Scope, receive: Receive, send: Send, answer: Answer, body: Any, extra: Sequence[Header]
) -> None:
    headers = [_NO_SNIFFING, *answer.headers, *extra]
    if isinstance(body, bytes):
        await reply(scope, send, answer.status, headers, body, answer.media)
        return
    headers.append((b"content-type", answer.media.encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if scope["method"] == "HEAD":
        await body.aclose()
        await send({"type": "http.response.body", "body": b""})
        return
    gone = asyncio.ensure_future(client_gone(receive))
    try:
        async with aclosing(body):
            while True:
                part = asyncio.ensure_future(anext(body, None))
                try:
                    await asyncio.wait((part, gone), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    # A generator that is still at work cannot be closed.
                    left = not part.done()
                    if left:
                        await give_up(part)
                if left:
                    return
                found = part.result()
                if found is None:
                    break
                try:
                    async with asyncio.timeout(STALLED_SECONDS):
                        await send({"type": "http.response.body", "body": found, "more_body": True})
                except TimeoutError:
                    # The server closes the connection, because this was not the end.
                    log.warning("an answer is cut off: its reader took nothing for %g seconds", STALLED_SECONDS)
                    return
    finally:
        await give_up(gone)
    await send({"type": "http.response.body", "body": b""})
