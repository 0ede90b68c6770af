"""The composition root: one ASGI application that is every face, the owner's API and the gateway, on one port."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from skerry.island import admin, browsers
from skerry.island.asgi import Receive, Scope, Send
from skerry.island.engine.engine import Engine
from skerry.island.gateway import Face, TunnelProxy, host_of, refuse, split_label
from skerry.times import rfc3339


def default_faces(engine: Engine) -> list[Face]:
    """Every face this release has."""
    from skerry.island.faces.arker.face import ArkerFace
    from skerry.island.faces.dc1.face import DC1Face
    from skerry.island.faces.dispersed.face import DispersedFace
    from skerry.island.faces.octaspace.face import OctaSpaceFace
    from skerry.island.faces.octaspace.sessions.helpers import of_machine

    return [ArkerFace(engine), DispersedFace(engine), OctaSpaceFace(engine, of_machine(engine)), DC1Face(engine)]


class App:
    """The island as an ASGI application.

    A request is for a face by host (`arker.localhost`) or by path (`/arker/...`), for a sandbox by host
    (`8000-<sandbox>.localhost`), or for the island itself.

    Attributes:
        engine: what every face works with.
        faces: by network.
        active: requests and connections being served now.
        last_active: the engine clock's monotonic time of the last end or begin of one.
    """

    def __init__(self, engine: Engine, faces: Sequence[Face]) -> None:
        self.engine = engine
        self.faces = {face.name: face for face in faces}
        self.active = 0
        self.last_active = engine.clock.monotonic()
        self._proxy = TunnelProxy(engine, faces)
        self._suffixes = ["localhost"]
        public = engine.settings.public_host
        if public:
            self._suffixes.append(public.lower().rpartition(":")[0] or public.lower())
        self._pages = browsers.Pages(engine.settings.origins, self._suffixes)
        self._own = Starlette(
            routes=[
                Route("/", self._index),
                Route("/healthz", self._health),
                *admin.routes(engine),
            ],
            exception_handlers={404: self._nothing},
        )

    async def start(self) -> None:
        """Start every face."""
        for face in self.faces.values():
            await face.start()

    async def stop(self) -> None:
        """Stop every face, the last started first."""
        for face in reversed(self.faces.values()):
            await face.stop()

    async def busy(self) -> bool:
        """Whether anything goes on that a server must not be stopped for when nobody asks."""
        if await self.engine.runs.busy():
            return True
        for face in self.faces.values():
            if await face.busy():
                return True
        return False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[App]:
        """Start and, whatever happens, stop."""
        try:
            await self.start()
            yield self
        finally:
            await self.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer anything a server hands over."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        self.active += 1
        self.last_active = self.engine.clock.monotonic()
        try:
            await self._dispatch(scope, receive, send)
        finally:
            self.active -= 1
            self.last_active = self.engine.clock.monotonic()

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        label = split_label(host_of(scope), self._suffixes)
        if label is not None and label not in self.faces:
            # Which pages an application in a sandbox lets in is its own affair.
            await self._proxy(scope, receive, send, label)
            return
        if refusal := self._pages.refusal(scope):
            await refuse(scope, receive, send, 403, refusal)
            return
        if label is not None:
            await self._ask(self.faces[label], scope, receive, send)
            return
        # By the undecoded path, because faces cut their prefix from that.
        head = scope["raw_path"].split(b"?")[0].removeprefix(b"/").partition(b"/")[0].decode("latin-1")
        if head in self.faces:
            below = {**scope, "root_path": scope.get("root_path", "") + "/" + head}
            await self._ask(self.faces[head], below, receive, send)
        elif face := next((face for face in self.faces.values() if face.recognises(scope)), None):
            await self._ask(face, scope, receive, send)
        elif scope["type"] == "websocket":
            await refuse(scope, receive, send, 404, "There is nothing here.\n")
        else:
            await self._own(scope, receive, send)

    async def _ask(self, face: Face, scope: Scope, receive: Receive, send: Send) -> None:
        if browsers.asks_first(scope):
            await self._pages.consent(scope, send)
        else:
            await face(scope, receive, self._pages.open(scope, send))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _index(self, request: Request) -> Response:
        lines = ["This is an island: your own compute network.", ""]
        lines += [f"{name}: {base}" for name, base in self._bases(request).items()]
        return PlainTextResponse("\n".join(lines) + "\n")

    async def _nothing(self, request: Request, _: Exception) -> Response:
        """404 in the words of every network at once: most likely a client's base URL lacks its network."""
        bases = ", ".join(self._bases(request).values())
        text = f"There is no such path here; every network has a base URL of its own: {bases}"
        body = {"code": "not_found", "message": text, "detail": text, "error": text}
        return Response(msgspec.json.encode(body), 404, media_type="application/json")

    def _bases(self, request: Request) -> dict[str, str]:
        return {name: f"{request.url.scheme}://{request.url.netloc}/{name}" for name in self.faces}

    async def _health(self, request: Request) -> Response:
        state: dict[str, Any] = {"status": "ok", "timestamp": rfc3339(self.engine.clock.now())}
        return Response(msgspec.json.encode(state), media_type="application/json")


def create_app(engine: Engine, *, faces: Sequence[Face] | None = None) -> App:
    """The application over an open engine.

    Args:
        engine: opened by the caller, who also closes it.
        faces: which networks to speak; all by default.
    """
    return App(engine, default_faces(engine) if faces is None else faces)
