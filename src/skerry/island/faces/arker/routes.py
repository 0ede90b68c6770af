"""Every endpoint of the face: which path, which schema, which rule (protocol sections 3.1, 3.7 and 3.8)."""

from __future__ import annotations

import re

from skerry.island.asgi import Scope
from skerry.island.engine.engine import Engine
from skerry.island.faces.arker import legacy, wire
from skerry.island.faces.arker.call import Call, Route, Router
from skerry.island.faces.arker.pty import TICKET_SECONDS, Pty
from skerry.island.faces.arker.running import Running, Where
from skerry.island.faces.arker.schemas import (
    BackgroundAnswer,
    CancelAnswer,
    CompletedAnswer,
    DeletedAnswer,
    ForkAnswer,
    ForkRequest,
    GoldensAnswer,
    HealthAnswer,
    InlineRead,
    LegacyForkAnswer,
    LegacyForkRequest,
    LegacyListAnswer,
    LegacyNamedForkRequest,
    LegacyRunRequest,
    Nothing,
    OkAnswer,
    PresignedRead,
    ResizedAnswer,
    ResizeRequest,
    ResizeTerminalRequest,
    RunRequest,
    RunsAnswer,
    RunStatusAnswer,
    SessionInfo,
    SessionRequest,
    SyncRead,
    SyncRequest,
    TerminalAnswer,
    TicketAnswer,
    VmInfo,
    VmsAnswer,
    WriteAnswer,
)
from skerry.island.faces.arker.service import Service
from skerry.island.faces.arker.sync import Sync
from skerry.island.faces.arker.tunnels import Place, Tunnels
from skerry.island.faces.arker.views import fork_answer, golden_info, session_info, vm_info
from skerry.island.ground.requests import host_of, server_of
from skerry.times import rfc3339
from skerry.units import MIB

RUN_BODY = 4 * MIB
SYNC_BODY = 16 * MIB
_HOST = re.compile(r"[A-Za-z0-9._-]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")


class Handlers:
    """The endpoints, bound to their rules."""

    def __init__(
        self, engine: Engine, service: Service, running: Running, sync: Sync, tunnels: Tunnels, pty: Pty
    ) -> None:
        self._engine = engine
        self._service = service
        self._running = running
        self._sync = sync
        self._tunnels = tunnels
        self._pty = pty

    async def health(self, call: Call) -> HealthAnswer:
        """GET /v1/health."""
        return HealthAnswer(status="ok", timestamp=rfc3339(self._engine.clock.now()))

    async def goldens(self, call: Call) -> GoldensAnswer:
        """GET /v1/goldens."""
        return GoldensAnswer(goldens=[golden_info(golden) for golden in await self._service.goldens()])

    async def vms(self, call: Call) -> VmsAnswer:
        """GET /v1/vms: all of them, unless the query asks for a page."""
        page = legacy.page_of(call.scope.get("query_string", b""))
        found, _ = await self._service.vms(call.account, **page)  # type: ignore[arg-type]
        return VmsAnswer(vms=[vm_info(vm, sessions) for vm, sessions in found])

    async def vm(self, call: Call, vm_id: str) -> VmInfo:
        """GET /v1/vms/{id}."""
        vm = await self._service.vm(call.account, vm_id)
        return vm_info(vm, await self._engine.sessions.list(call.account, vm.id))

    async def delete_vm(self, call: Call, vm_id: str) -> DeletedAnswer:
        """DELETE /v1/vms/{id}: its terminals, tunnels and uploads go with it."""
        vm = await self._service.vm(call.account, vm_id)
        await self._pty.terminals.close(vm.id)
        await self._tunnels.drop_vm(vm.id)
        deleted = await self._engine.sandboxes.delete(call.account, vm.id)
        await self._sync.drop_vm(vm.id)
        return DeletedAnswer(deleted=deleted)

    async def fork(self, call: Call, source: str) -> ForkAnswer:
        """POST /v1/vms/{id}/fork."""
        old = False
        if call.legacy:
            marked = await call.decode(LegacyForkRequest, empty_ok=True)
            old = legacy.check_fork(marked)
            source = legacy.source_of(source) if old else source
            request: ForkRequest = marked
        else:
            request = await call.decode(ForkRequest, empty_ok=True)
        return fork_answer(*await self._service.fork(call.account, source, request, legacy=old))

    async def run(self, call: Call, vm_id: str) -> CompletedAnswer | BackgroundAnswer | TerminalAnswer:
        """POST /v1/vms/{id}/run."""
        request: RunRequest | LegacyRunRequest
        request = await (call.decode(LegacyRunRequest) if call.legacy else call.decode(RunRequest))
        key = wire.idempotency_key(call.headers)
        return await self._running.run(
            call.account, vm_id, request, key=key, legacy=call.legacy, where=self._where(call)
        )

    async def runs(self, call: Call, vm_id: str) -> RunsAnswer:
        """GET /v1/vms/{id}/runs (section 6, adopted early)."""
        return await self._running.list(call.account, vm_id, call.scope.get("query_string", b""))

    async def run_status(self, call: Call, vm_id: str, run_id: str) -> RunStatusAnswer:
        """GET /v1/vms/{id}/runs/{run_id}."""
        return await self._running.status(call.account, vm_id, run_id, self._where(call))

    async def cancel_run(self, call: Call, vm_id: str, run_id: str) -> CancelAnswer:
        """DELETE /v1/vms/{id}/runs/{run_id}."""
        return CancelAnswer(cancelled=await self._running.cancel(call.account, vm_id, run_id))

    async def sync(self, call: Call, vm_id: str) -> InlineRead | PresignedRead | WriteAnswer:
        """POST /v1/vms/{id}/sync."""
        request: SyncRequest = await call.decode(SyncRequest)  # type: ignore[arg-type]
        vm = await self._service.vm(call.account, vm_id)
        store = f"{base_url(call.scope)}{call.scope.get('root_path', '')}/_store/"
        if isinstance(request, SyncRead):
            return await self._sync.read(call.account, vm.id, request.path, store)
        return await self._sync.write(call.account, vm.id, request.writes, store)

    async def sessions(self, call: Call, vm_id: str) -> list[SessionInfo]:
        """GET /v1/vms/{id}/sessions: a bare array."""
        vm = await self._service.vm(call.account, vm_id)
        return [session_info(session) for session in await self._engine.sessions.list(call.account, vm.id)]

    async def new_session(self, call: Call, vm_id: str) -> SessionInfo:
        """POST /v1/vms/{id}/sessions."""
        request = await call.decode(SessionRequest, empty_ok=True)
        return session_info(await self._service.new_session(call.account, vm_id, cwd=request.cwd, env=request.env))

    async def delete_session(self, call: Call, vm_id: str, session_id: str) -> DeletedAnswer:
        """DELETE /v1/vms/{id}/sessions/{sid}: its terminal ends, its runs are cancelled."""
        vm = await self._service.vm(call.account, vm_id)
        session = await self._service.session(call.account, vm.id, session_id)
        deleted = await self._engine.sessions.delete(call.account, vm.id, session.id)
        await self._pty.terminals.close(vm.id, session.id)
        return DeletedAnswer(deleted=deleted)

    async def resize_session(self, call: Call, vm_id: str, session_id: str) -> ResizedAnswer:
        """POST /v1/vms/{id}/sessions/{sid}/resize: false where no terminal lives."""
        request = await call.decode(ResizeTerminalRequest)
        vm = await self._service.vm(call.account, vm_id)
        session = await self._service.session(call.account, vm.id, session_id)
        live = self._pty.terminals.find(vm.id, session.id)
        if live is None or not request.cols or not request.rows:
            return ResizedAnswer(resized=False)
        await live.resize(request.cols, request.rows)
        return ResizedAnswer(resized=True)

    async def ticket(self, call: Call, vm_id: str, session_id: str) -> TicketAnswer:
        """POST /v1/vms/{id}/sessions/{sid}/pty-ticket (section 6)."""
        await call.decode(Nothing, empty_ok=True)
        vm = await self._service.vm(call.account, vm_id)
        session = await self._service.session(call.account, vm.id, session_id)
        return TicketAnswer(ticket=await self._pty.issue(call.account, vm.id, session.id), expires_in=TICKET_SECONDS)

    async def resize(self, call: Call, vm_id: str) -> OkAnswer:
        """POST /v1/vms/{id}/resize."""
        await self._service.resize(call.account, vm_id, await call.decode(ResizeRequest, empty_ok=True))
        return OkAnswer()

    async def legacy_list(self, call: Call) -> LegacyListAnswer:
        """GET /api/v1/vms/list."""
        return await legacy.list_vms(self._service, call.account, call.scope.get("query_string", b""))

    async def legacy_fork(self, call: Call) -> LegacyForkAnswer:
        """POST /api/v1/vms/fork: the source by name, in the body."""
        request = await call.decode(LegacyNamedForkRequest)
        legacy.check_fork(request)
        vm, _ = await self._service.fork(call.account, request.source, request, legacy=True)
        return LegacyForkAnswer(vm_id=vm.id)

    def _where(self, call: Call) -> Where:
        scope = call.scope
        base = base_url(scope)
        prefix = "/api/v1" if call.legacy else "/v1"
        public = self._engine.settings.public_host
        place = Place(scheme=scope.get("scheme", "http"), suffix=public or f"localhost:{server_of(scope)[1]}")
        return Where(place=place, ws_base="ws" + base.removeprefix("http") + scope.get("root_path", "") + prefix)


def base_url(scope: Scope) -> str:
    """Scheme and host by which this request came, without a path; a Host header that is none is not repeated."""
    host = host_of(scope)
    if not _HOST.fullmatch(host):
        address, port = server_of(scope)
        host = f"{address}:{port}"
    return f"{scope.get('scheme', 'http')}://{host}"


def build(handlers: Handlers, *, old: bool) -> Router:
    """The router of one mount: `/v1`, or `/api/v1` with what 0.2.0 clients need besides."""
    router = Router()
    router.add("GET", "/health", Route(handler=handlers.health, auth=False))
    router.add("GET", "/goldens", Route(handler=handlers.goldens))
    router.add("GET", "/vms", Route(handler=handlers.vms))
    router.add("GET", "/vms/{id}", Route(handler=handlers.vm))
    router.add("DELETE", "/vms/{id}", Route(handler=handlers.delete_vm))
    router.add("POST", "/vms/{id}/fork", Route(handler=handlers.fork))
    router.add("POST", "/vms/{id}/run", Route(handler=handlers.run, body_limit=RUN_BODY))
    router.add("GET", "/vms/{id}/runs", Route(handler=handlers.runs))
    router.add("GET", "/vms/{id}/runs/{run}", Route(handler=handlers.run_status))
    router.add("DELETE", "/vms/{id}/runs/{run}", Route(handler=handlers.cancel_run))
    router.add("POST", "/vms/{id}/sync", Route(handler=handlers.sync, body_limit=SYNC_BODY))
    router.add("GET", "/vms/{id}/sessions", Route(handler=handlers.sessions))
    router.add("POST", "/vms/{id}/sessions", Route(handler=handlers.new_session))
    router.add("DELETE", "/vms/{id}/sessions/{sid}", Route(handler=handlers.delete_session))
    router.add("POST", "/vms/{id}/sessions/{sid}/resize", Route(handler=handlers.resize_session))
    router.add("POST", "/vms/{id}/sessions/{sid}/pty-ticket", Route(handler=handlers.ticket))
    router.add("POST", "/vms/{id}/resize", Route(handler=handlers.resize))
    if old:
        router.add("GET", "/vms/list", Route(handler=handlers.legacy_list))
        router.add("POST", "/vms/fork", Route(handler=handlers.legacy_fork))
    return router
