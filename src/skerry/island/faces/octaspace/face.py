"""The OctaSpace face as an ASGI application: who asks, which row answers, and every answer's headers."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from sqlalchemy import Connection, Row

from skerry.island.asgi import ClientGone, Receive, Scope, Send, raw_path
from skerry.island.engine.engine import Engine
from skerry.island.faces.octaspace import errors, profiles, requests, wire
from skerry.island.faces.octaspace.accounts import Accounts
from skerry.island.faces.octaspace.admin.account_admin import AccountAdmin
from skerry.island.faces.octaspace.admin.administration import Administration
from skerry.island.faces.octaspace.admin.market_admin import MarketAdmin
from skerry.island.faces.octaspace.authentication import KEY_LENGTH, NETWORK, authenticate, presented
from skerry.island.faces.octaspace.call import Route
from skerry.island.faces.octaspace.nodes import node_rows, verification
from skerry.island.faces.octaspace.nodes.hardware import Hardware
from skerry.island.faces.octaspace.nodes.network import Network
from skerry.island.faces.octaspace.nodes.nodes import Nodes
from skerry.island.faces.octaspace.nodes.operating import Operating
from skerry.island.faces.octaspace.openapi import ApiDocs
from skerry.island.faces.octaspace.routes import Resource, Routes
from skerry.island.faces.octaspace.sessions import session_rows, states
from skerry.island.faces.octaspace.sessions.apps import Apps
from skerry.island.faces.octaspace.sessions.carrier import Carrier
from skerry.island.faces.octaspace.sessions.helpers import Helpers
from skerry.island.faces.octaspace.sessions.mr_work import MrWork
from skerry.island.faces.octaspace.sessions.offers import Offers
from skerry.island.faces.octaspace.sessions.render_work import RenderWork
from skerry.island.faces.octaspace.sessions.rendering import Rendering
from skerry.island.faces.octaspace.sessions.services import Services
from skerry.island.faces.octaspace.sessions.session_views import SessionViews
from skerry.island.faces.octaspace.sessions.sessions import Sessions
from skerry.island.faces.octaspace.sessions.starting import Starting
from skerry.island.faces.octaspace.sessions.vpn_work import VpnWork
from skerry.island.gateway import Tunnel
from skerry.island.ground.answers import Answer, Header, reply
from skerry.island.ground.windows import PerMinute
from skerry.island.store.values import micros

_NO_STORE: Header = (b"cache-control", b"no-store")
_REQUEST_ID_BYTES = 8


class OctaSpaceFace:
    """Speaks OctaSpace's protocol.

    Args:
        engine: open.
        helpers: behind VPN and render sessions.
    """

    name = NETWORK

    def __init__(self, engine: Engine, helpers: Helpers | None = None) -> None:
        self._engine = engine
        self._helpers = helpers or Helpers()
        self._limit = PerMinute(engine.settings.octaspace.requests_per_minute, engine.clock.monotonic, errors.too_many)
        # Whatever comes of a start, what it had begun ends, the last first.
        self._begun = AsyncExitStack()
        self._routes: Routes
        self._administration: Administration
        self.operating: Operating
        self.rendering: Rendering
        self.carrier: Carrier

    async def start(self) -> None:
        """Have the first account's key, profile and nodes; take up sessions."""
        engine, helpers = self._engine, self._helpers
        await engine.bearer_key(NETWORK, "", KEY_LENGTH)
        await engine.store.run(_first, engine, micros(engine.clock.now()))
        reached = await verification.reachable(engine.settings)
        await engine.store.run(node_rows.verified, reached, micros(engine.clock.now()))
        hardware = await Hardware.measured(engine)
        # It is slow the first time only.
        await asyncio.to_thread(helpers.subkinds)
        if helpers.relays is not None:
            engine.on_close(helpers.relays.rest)
        self.rendering = await Rendering.opened(engine, helpers)
        self._begun.push_async_callback(self.rendering.close)
        machines = MrWork(engine)
        self.carrier = Carrier(
            engine,
            {
                "mr": machines,
                "vpn": VpnWork(engine, helpers.relays, helpers.relay_failure),
                "render": RenderWork(engine, self.rendering.workers),
            },
        )
        self.operating = Operating(engine, self.carrier, hardware, machines)
        self._administration = await Administration.of(
            engine, [AccountAdmin(engine, machines), MarketAdmin(engine), *self.operating.administration()]
        )
        docs = ApiDocs()
        self._routes = Routes([*self._resources(hardware), docs])
        docs.table = self._routes.table
        self._begun.push_async_callback(self.carrier.stop)
        await self.carrier.start()
        self._begun.push_async_callback(self.operating.stop)
        await self.operating.start()

    def _resources(self, hardware: Hardware) -> Sequence[Resource]:
        engine, helpers = self._engine, self._helpers
        offers = Offers(engine, hardware, self.rendering.score)
        starting = Starting(engine, hardware, offers)

        def kinds() -> int:
            return sum(1 for reason in helpers.subkinds().values() if reason is None)

        return [
            Accounts(engine),
            Network(engine, hardware, kinds, self.rendering.figures),
            Apps(engine),
            Nodes(engine, hardware),
            Services(engine, self.carrier, offers, starting, helpers.subkinds, self.rendering.unready),
            Sessions(engine, self.carrier, SessionViews(engine, self.operating.terminal.url)),
            *self.operating.resources(),
        ]

    async def stop(self) -> None:
        """End what was begun; sessions go on and are found again."""
        await self._begun.aclose()

    async def busy(self) -> bool:
        """Whether any session goes on."""
        return bool(await self._engine.store.read(session_rows.active))

    async def tunnel(self, label: str, port: int) -> Tunnel | None:
        """The open HTTP port of a session whose label this is."""
        session = await self._engine.store.read(session_rows.by_label, label)
        if session is None or session.state != states.READY or port not in http_ports(session):
            return None
        return Tunnel(account_id=session.account_id, sandbox_id=session.sandbox_id, port=port, public=True)

    def admits(self, tunnel: Tunnel, token: str) -> bool:
        """False: every HTTP port is public."""
        return False

    def recognises(self, scope: Scope) -> bool:
        """None: its clients keep their base URL's path."""
        return False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await self.operating.websocket(scope, receive, send)
            return
        raw = raw_path(scope)
        if self.rendering.farm is not None and (raw == b"/farm" or raw.startswith(b"/farm/")):
            await self.rendering.farm({**scope, "root_path": f"{scope.get('root_path', '')}/farm"}, receive, send)
            return
        extra: Sequence[Header] = ()
        try:
            answer = await self._answer(scope, receive)
            # Here, because what cannot be encoded is a defect like any other.
            body = _encoded(answer)
        except ClientGone:
            return
        except Exception as error:
            fault = errors.fault_of(error)
            answer, extra = Answer(errors.envelope(fault), fault.status), fault.headers
            body = _encoded(answer)
        headers = [_request_id(), _NO_STORE, *answer.headers, *extra]
        await reply(scope, send, answer.status, headers, body, answer.media)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        raw = raw_path(scope)
        if raw.startswith(b"/admin/"):
            return await self._administration.answer(scope, receive, raw)
        route, values = self._routes.find(scope["method"], raw)
        query = requests.query_of(scope)
        account = await self._account(route, scope, query)
        return await route.handler(await requests.call_of(self._engine, scope, receive, route, account, query), *values)

    async def _account(self, route: Route, scope: Scope, query: Mapping[str, str]) -> str:
        """Who asks; empty for nobody, where nobody may ask."""
        key = presented(scope["headers"], query)
        if route.access == "public" or (route.access == "optional" and not key):
            return ""
        caller = await authenticate(self._engine.accounts, key)
        self._limit.take(caller.key_id)
        return caller.account_id


def http_ports(session: Row[Any]) -> list[int]:
    """The ports of a session that have public URLs."""
    found = json.loads(session.request).get("http_ports", [])
    return [port for port in found if isinstance(port, int)]


def _first(connection: Connection, engine: Engine, now: int) -> None:
    profiles.open_first(connection, engine.account_id, engine.settings.octaspace.opening_balance, now)
    node_rows.ensure(connection, engine, now)


def _encoded(answer: Answer) -> bytes:
    return answer.value if isinstance(answer.value, bytes) else wire.encode(answer.value)


def _request_id() -> Header:
    return b"x-request-id", secrets.token_hex(_REQUEST_ID_BYTES).encode()
