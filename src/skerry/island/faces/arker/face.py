"""The Arker face as an ASGI application: authentication, dispatch, envelopes, presigned transfers, terminals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import msgspec

from skerry.island.asgi import ClientGone, Receive, Scope, Send, header, raw_path
from skerry.island.engine.engine import Engine
from skerry.island.engine.records import Caller
from skerry.island.faces.arker import routes, tables
from skerry.island.faces.arker.call import Call, Route, Router
from skerry.island.faces.arker.errors import ArkerFault, envelope, fault_of
from skerry.island.faces.arker.patience import Patience
from skerry.island.faces.arker.pty import Pty, wish_of
from skerry.island.faces.arker.running import Running
from skerry.island.faces.arker.service import NETWORK, Service
from skerry.island.faces.arker.sync import COPY_BYTES, Sync
from skerry.island.faces.arker.tokens import GetGrant, PutGrant, TokenRefused, TokenSigner
from skerry.island.faces.arker.tunnels import Tunnels
from skerry.island.gateway import Tunnel
from skerry.island.ground.requests import bearer
from skerry.island.ground.rounds import Rounds

COLLECT_SECONDS = 600.0
KEY_PREFIX = "ark_live_"
_JSON = (b"content-type", b"application/json")
_log = logging.getLogger("skerry.island.arker")


class ArkerFace:
    """Speaks Arker's protocol below `/v1`, `/api/v1` and `/_store`.

    Args:
        engine: open; the face keeps nothing it could not find again.
    """

    name = NETWORK

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sync: Sync
        self._tunnels: Tunnels
        self._pty: Pty
        self._service: Service
        self._signer: TokenSigner
        self._mounts: list[tuple[bytes, Router, bool]] = []
        self._sockets = Router()
        self._sockets.add("GET", "/vms/{id}/sessions/{sid}/pty", Route(handler=self._terminal))
        # Whatever comes of a start, what it had begun ends, the last first.
        self._begun = AsyncExitStack()

    async def start(self) -> None:
        """Have the first account's key, load the signing key, listen for TCP tunnels again, collect what expired."""
        await self._engine.bearer_key(NETWORK, KEY_PREFIX)
        self._signer = TokenSigner(await self._engine.store.run(tables.signing_key))
        self._service = Service(self._engine)
        self._sync = Sync(self._engine, self._signer)
        self._tunnels = Tunnels(self._engine, self._signer)
        self._pty = Pty(self._engine)
        running = Running(self._engine, self._service, self._tunnels, self._pty)
        handlers = routes.Handlers(self._engine, self._service, running, self._sync, self._tunnels, self._pty)
        self._mounts = [
            (b"/v1/", routes.build(handlers, old=False), False),
            (b"/api/v1/", routes.build(handlers, old=True), True),
        ]
        self._begun.push_async_callback(self._tunnels.stop)
        await self._tunnels.start()
        self._begun.push_async_callback(self._pty.stop)
        trouble = "expired uploads could not be collected"
        collecting = Rounds(self._sync.collect_expired, self._engine.clock, COLLECT_SECONDS, _log, trouble)
        self._begun.push_async_callback(collecting.stop)
        collecting.start()

    async def stop(self) -> None:
        """End terminals and tunnels."""
        await self._begun.aclose()

    async def busy(self) -> bool:
        """False: all of its work is runs of the engine."""
        return False

    async def tunnel(self, label: str, port: int) -> Tunnel | None:
        """The open tunnel behind a host name of the gateway."""
        return await self._tunnels.find(label, port)

    def admits(self, tunnel: Tunnel, token: str) -> bool:
        """Whether a pass opens a private tunnel."""
        return self._tunnels.admits(tunnel, token)

    def recognises(self, scope: Scope) -> bool:
        """None: its clients keep their base URL's path."""
        return False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        raw = raw_path(scope)
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send, raw)
        elif raw.startswith(b"/_store/"):
            await self._store(scope, receive, send, raw)
        elif raw.endswith(b"/run"):
            # In the foreground it takes as long as its caller wishes.
            async with Patience(send) as patience:
                await self._api(scope, receive, patience.send, raw)
        else:
            await self._api(scope, receive, send, raw)

    async def _api(self, scope: Scope, receive: Receive, send: Send, raw: bytes) -> None:
        legacy = raw.startswith(b"/api/")
        try:
            answer = await self._answer(scope, receive, raw)
        except ClientGone:
            return
        except Exception as error:
            await _refuse(send, fault_of(error), legacy=legacy)
            return
        await _reply(send, 200, msgspec.json.encode(answer))

    async def _answer(self, scope: Scope, receive: Receive, raw: bytes) -> Any:
        for prefix, router, legacy in self._mounts:
            if raw.startswith(prefix):
                route, values = router.find(scope["method"], raw[len(prefix) :])
                caller = await self._caller(scope) if route.auth else None
                call = Call(scope, receive, legacy, route.body_limit, caller)
                return await route.handler(call, *values)
        raise ArkerFault("not_found", "no such path; the API is below /v1")

    async def _caller(self, scope: Scope) -> Caller:
        token = bearer(header(scope["headers"], b"authorization"))
        if not token:
            raise ArkerFault("unauthorized", "send your key as: authorization: Bearer <key>")
        return await self._engine.accounts.authenticate(NETWORK, token)

    async def _store(self, scope: Scope, receive: Receive, send: Send, raw: bytes) -> None:
        """Presigned transfers: the token in the path is the whole authority."""
        token = raw[len(b"/_store/") :].decode("latin-1")
        now = self._engine.clock.now().timestamp()
        try:
            if scope["method"] == "PUT":
                await self._upload(scope, receive, self._signer.open(token, PutGrant, now))
                await _reply(send, 200, b"{}")
            elif scope["method"] == "GET":
                await self._download(send, self._signer.open(token, GetGrant, now))
            else:
                raise ArkerFault("method_not_allowed", "presigned URLs answer GET or PUT", allow="GET, PUT")
        except ClientGone:
            return
        except TokenRefused as error:
            text = "this URL has expired" if error.reason == "expired" else "this URL grants nothing"
            await _refuse(send, ArkerFault("forbidden", text), legacy=False)
        except Exception as error:
            await _refuse(send, fault_of(error), legacy=False)

    async def _upload(self, scope: Scope, receive: Receive, grant: PutGrant) -> None:
        announced = header(scope["headers"], b"content-length")
        size = int(announced[:20]) if announced is not None and announced.isdigit() else None

        async def body() -> AsyncIterator[bytes]:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                if message.get("body"):
                    yield message["body"]
                if not message.get("more_body", False):
                    return

        await self._sync.receive(grant, size, body())

    async def _download(self, send: Send, grant: GetGrant) -> None:
        file, size = await self._sync.download(grant)
        with contextlib.closing(file):
            headers = [(b"content-type", b"application/octet-stream"), (b"content-length", str(size).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            left = size
            while left:
                data = await asyncio.to_thread(file.read, min(left, COPY_BYTES))
                if not data:
                    # The file shrank: ending early tells the client that its copy is not whole.
                    return
                left -= len(data)
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, raw: bytes) -> None:
        try:
            await self._terminal(scope, receive, send, raw)
        except Exception as error:
            fault = fault_of(error)
            await receive()
            body = envelope(fault.code, fault.message, legacy=raw.startswith(b"/api/"))
            headers = [_JSON, (b"content-length", str(len(body)).encode())]
            if "websocket.http.response" not in scope.get("extensions", {}):
                await send({"type": "websocket.close", "code": 1008, "reason": fault.code})
                return
            await send({"type": "websocket.http.response.start", "status": fault.status, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": body})

    async def _terminal(self, scope: Scope, receive: Receive, send: Send, raw: bytes) -> None:
        for prefix, _, _ in self._mounts:
            if raw.startswith(prefix):
                _, (vm_id, session_id) = self._sockets.find("GET", raw[len(prefix) :])
                break
        else:
            raise ArkerFault("not_found", "no such path; terminals are below /v1")
        wish = wish_of(scope.get("query_string", b""))
        if wish.ticket is not None:
            account_id, command = await self._pty.redeem(wish.ticket, vm_id, session_id)
            wish = replace(wish, command=command or wish.command)
        else:
            account_id = (await self._caller(scope)).account_id
        vm = await self._service.vm(account_id, vm_id)
        session = await self._service.session(account_id, vm.id, session_id)
        await self._pty.attach(account_id, vm.id, session.id, wish, receive, send)


async def _refuse(send: Send, fault: ArkerFault, *, legacy: bool) -> None:
    extra = [] if fault.allow is None else [(b"allow", fault.allow.encode())]
    await _reply(send, fault.status, envelope(fault.code, fault.message, legacy=legacy), extra)


async def _reply(send: Send, status: int, body: bytes, extra: list[tuple[bytes, bytes]] | None = None) -> None:
    headers = [_JSON, (b"content-length", str(len(body)).encode()), *(extra or ())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
