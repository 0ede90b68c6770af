"""Arker's rules for runs: what a request may ask, where it goes, which of three shapes answers it (section 3.4)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import dataclass
from urllib.parse import parse_qs

import msgspec

from skerry.ids import new_ulid
from skerry.island.engine.engine import Engine
from skerry.island.engine.errors import EngineError, NotFound
from skerry.island.engine.idempotency import IdempotencyKey
from skerry.island.engine.records import RunRecord, SandboxRecord
from skerry.island.faces.arker import sizes, tables, views
from skerry.island.faces.arker.errors import ArkerFault
from skerry.island.faces.arker.pty import Pty
from skerry.island.faces.arker.schemas import (
    BackgroundAnswer,
    CompletedAnswer,
    LegacyCompletedAnswer,
    LegacyRunRequest,
    RunRequest,
    RunsAnswer,
    RunStatusAnswer,
    TerminalAnswer,
)
from skerry.island.faces.arker.service import Service, check_ceiling
from skerry.island.faces.arker.tunnels import Place, Tunnels, wanted_ports
from skerry.island.faces.arker.wire import fingerprint, number

RUNTIMES = ("auto", "shell", "bash", "sh", "linux")
MOST_LISTED = 1_000
LONGEST_TIMEOUT_MS = 30 * 86_400_000

SIGNALLED = "signalled"
NOTHING_RAN = CompletedAnswer(stdout="", stdout_encoding="utf-8", stderr="", stderr_encoding="utf-8", exit_code=0)

AnyRunRequest = RunRequest | LegacyRunRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """How the caller reached the island, for URLs in answers.

    Args:
        place: of tunnels.
        ws_base: of terminals, such as `ws://127.0.0.1:4242/arker/v1`.
    """

    place: Place
    ws_base: str


class Running:
    """Runs of every VM.

    Args:
        engine: runs them.
        service: knows VMs and sessions.
        tunnels: opens what runs ask for.
        pty: issues tickets.
    """

    def __init__(self, engine: Engine, service: Service, tunnels: Tunnels, pty: Pty) -> None:
        self._engine = engine
        self._service = service
        self._tunnels = tunnels
        self._pty = pty
        self._naming = asyncio.Lock()

    async def run(
        self,
        account_id: str,
        vm_id: str,
        request: AnyRunRequest,
        *,
        key: str | None,
        legacy: bool,
        where: Where,
    ) -> CompletedAnswer | BackgroundAnswer | TerminalAnswer:
        """Accept a run and answer it: at once in the background, at its end in the foreground.

        Args:
            account_id: who asks.
            vm_id: where.
            request: the decoded body.
            key: the idempotency key, checked.
            legacy: whether 0.2.0 markers are understood.
            where: how the caller reached the island.

        Raises:
            ArkerFault: a refusal in Arker's words.
            EngineError: the engine's.
        """
        vm = await self._service.vm(account_id, vm_id)
        _check_offered(request)
        ports = wanted_ports(request.network)
        limits = sizes.override(
            self._engine.driver.barriers(),
            vcpu_count=request.vcpu_count,
            memory_mib=request.memory_mib,
            disk_mib=request.disk_mib,
        )
        if limits is not None:
            check_ceiling(vm.labels, limits.memory_bytes)
        number = _signal_number(request.signal)
        bound = None
        if key is not None:
            digest = fingerprint(f"/v1/vms/{vm.id}/run", request)
            bound = IdempotencyKey(scope=f"arker:{account_id}:{vm.id}", key=key, fingerprint=digest)
        told = None
        try:
            session_id, told = await self._session(account_id, vm, request, legacy=legacy)
            if _wants_terminal(request):
                return await self._terminal(account_id, vm, session_id, request, where)
            if number is not None:
                await self._signal(account_id, vm, session_id, number, bound)
                if not request.command:
                    return await self._signalled(bound)
            run = await self._engine.runs.submit(
                account_id,
                vm.id,
                id=new_ulid(),
                command=request.command,
                session_id=session_id,
                background=bool(request.background),
                timeout=request.timeout / 1000 if request.timeout else None,
                limits=limits,
                idempotency=bound,
            )
        except (ArkerFault, EngineError):
            # What was accepted once is answered again even if its session is gone or its sizes no longer fit.
            earlier = await self._earlier(account_id, vm.id, bound)
            if earlier is None:
                raise
            run = earlier
        rows = await self._tunnels.open(account_id, vm.id, run.id, ports) if ports else []
        if request.background:
            answer = BackgroundAnswer(
                run_id=run.id,
                completed=views.ended(run),
                tunnels=[self._tunnels.info(row, where.place) for row in rows],
            )
            network = self._tunnels.network(rows, where.place)
            return answer if network is None else msgspec.structs.replace(answer, network=network)
        # The client may leave meanwhile; the run is the engine's and goes on.
        run = await self._engine.runs.wait(run.id)
        stdout, stderr = await self._engine.runs.output(run)
        completed = views.completed_answer(run, stdout, stderr)
        if told is None:
            return completed
        return await self._legacy(account_id, vm, run, completed, told)

    async def _earlier(self, account_id: str, vm_id: str, key: IdempotencyKey | None) -> RunRecord | None:
        """The run that this key has started before. Raises Conflict when that was another request's."""
        run_id = None if key is None else await self._engine.idempotency.find(key)
        if run_id is None:
            return None
        try:
            return await self._engine.runs.get(account_id, vm_id, run_id)
        except NotFound:
            return None

    async def _signalled(self, key: IdempotencyKey | None) -> CompletedAnswer:
        """The answer to a request that only signals, remembered so that its repetition does not signal again."""
        if key is not None:
            await self._engine.idempotency.bind(key, SIGNALLED)
        return NOTHING_RAN

    async def status(self, account_id: str, vm_id: str, run_id: str, where: Where) -> RunStatusAnswer:
        """How a run stands, with its output so far."""
        run = await self._find(account_id, vm_id, run_id)
        stdout, stderr = await self._engine.runs.output(run)
        rows = await self._tunnels.of_run(run.id)
        return views.status_answer(
            run,
            stdout,
            stderr,
            [self._tunnels.info(row, where.place) for row in rows],
            self._tunnels.network(rows, where.place),
        )

    async def list(self, account_id: str, vm_id: str, query: bytes) -> RunsAnswer:
        """A page of a VM's runs, newest first."""
        limit, cursor = _page_of(query)
        await self._service.vm(account_id, vm_id)
        runs = await self._engine.runs.list(account_id, vm_id, limit=MOST_LISTED)
        if cursor is not None:
            position = next((place for place, run in enumerate(runs) if run.id == cursor), None)
            if position is None:
                raise ArkerFault("bad_request", "this cursor leads nowhere; begin again without one")
            runs = runs[position + 1 :]
        page = runs[:limit]
        return RunsAnswer(
            runs=[views.run_summary(run) for run in page], next_cursor=page[-1].id if len(runs) > limit else None
        )

    async def cancel(self, account_id: str, vm_id: str, run_id: str) -> bool:
        """End a run; False when it had ended by itself."""
        await self._find(account_id, vm_id, run_id)
        return await self._engine.runs.cancel(account_id, vm_id, run_id)

    async def _find(self, account_id: str, vm_id: str, run_id: str) -> RunRecord:
        await self._service.vm(account_id, vm_id)
        try:
            return await self._engine.runs.get(account_id, vm_id, run_id)
        except NotFound:
            raise ArkerFault("not_found", f"run not found: {run_id[:100]}") from None

    async def _session(
        self, account_id: str, vm: SandboxRecord, request: AnyRunRequest, *, legacy: bool
    ) -> tuple[str | None, str | int | None]:
        """The session to run in, and what a 0.2.0 client calls it (None when it is not one)."""
        wanted = request.session_id
        if wanted is None:
            return None, None
        if isinstance(wanted, int):
            if wanted == 0:
                return None, 0
            return await self._named(account_id, vm.id, str(wanted)), wanted
        if legacy and vm.labels.get(views.LEGACY_LABEL):
            known = {session.id for session in await self._engine.sessions.list(account_id, vm.id)}
            if wanted not in known:
                return await self._named(account_id, vm.id, wanted), wanted
        return (await self._service.session(account_id, vm.id, wanted)).id, None

    async def _named(self, account_id: str, vm_id: str, name: str) -> str:
        """The session of that name, made on first use as 0.2.0 has it (section 3.8)."""
        if not 1 <= len(name) <= 128:
            raise ArkerFault("bad_request", "a session name is 1 to 128 characters")
        # Callers that use a name for the first time at once must end up in one session.
        async with self._naming:
            session_id = await self._engine.store.read(tables.get_named_session, vm_id, name)
            if session_id is not None:
                with contextlib.suppress(NotFound):
                    return (await self._engine.sessions.get(account_id, vm_id, session_id)).id
            session = await self._engine.sessions.create(account_id, vm_id)
            await self._engine.store.run(tables.put_named_session, vm_id, name, session.id)
            return session.id

    async def _legacy(
        self, account_id: str, vm: SandboxRecord, run: RunRecord, answer: CompletedAnswer, told: str | int
    ) -> LegacyCompletedAnswer:
        begun = run.started_at or run.created_at
        spent = (run.ended_at or begun) - begun
        if run.session_id is None:
            session = await self._engine.sessions.default(vm.id)
        else:
            session = await self._service.session(account_id, vm.id, run.session_id)
        return LegacyCompletedAnswer(
            stdout=answer.stdout,
            stdout_encoding=answer.stdout_encoding,
            stderr=answer.stderr,
            stderr_encoding=answer.stderr_encoding,
            exit_code=answer.exit_code,
            duration_ms=round(spent.total_seconds() * 1000),
            session_id=told,
            cwd=session.cwd,
        )

    async def _terminal(
        self, account_id: str, vm: SandboxRecord, session_id: str | None, request: AnyRunRequest, where: Where
    ) -> TerminalAnswer:
        if session_id is None:
            session_id = (await self._engine.sessions.default(vm.id)).id
        ticket = await self._pty.issue(account_id, vm.id, session_id, request.command or None)
        return TerminalAnswer(
            session_id=session_id, ws_url=f"{where.ws_base}/vms/{vm.id}/sessions/{session_id}/pty?ticket={ticket}"
        )

    async def _signal(
        self, account_id: str, vm: SandboxRecord, session_id: str | None, number: int, key: IdempotencyKey | None
    ) -> None:
        """Send a signal to what the session executes now, unless the key says that this was done."""
        if key is not None and await self._engine.idempotency.find(key) is not None:
            return
        if session_id is None:
            session_id = (await self._engine.sessions.default(vm.id)).id
        for run in await self._engine.runs.list(account_id, vm.id, active=True):
            if run.session_id in (session_id, None) and run.state == "running":
                # It is running from when its turn has come; what it begins then may take a moment.
                await self._engine.runs.begun(run.id, patient=False)
                if await self._engine.runs.signal(account_id, vm.id, run.id, number):
                    return
        raise ArkerFault("conflict", "nothing runs in this session, so nothing can be signalled")


def _page_of(query: bytes) -> tuple[int, str | None]:
    try:
        fields = parse_qs(query.decode("ascii"), errors="strict")
    except ValueError:
        raise ArkerFault("bad_request", "the query is not valid") from None
    return number("limit", fields.get("limit", ["100"])[-1], 1, MOST_LISTED), fields.get("cursor", [None])[-1]


def _wants_terminal(request: AnyRunRequest) -> bool:
    return (request.runtime_override or request.runtime) == "pty"


def _check_offered(request: AnyRunRequest) -> None:
    """Refuse what this island cannot honour, saying why (section 3.3: never silently ignored)."""
    if request.mounts:
        raise ArkerFault(
            "unsupported_operation",
            "mounts: this island has no network file systems to attach; copy files in through sync",
        )
    if request.release:
        raise ArkerFault(
            "unsupported_operation", "release: this island runs one release and holds no lease between runs"
        )
    if request.end_symbol not in (None, "auto", ""):
        raise ArkerFault(
            "unsupported_operation", "end_symbol: sessions here run a shell, which needs no marker; use auto"
        )
    for runtime in (request.runtime_override, request.runtime):
        if runtime and runtime != "pty" and runtime not in RUNTIMES:
            offered = ", ".join((*RUNTIMES, "pty"))
            raise ArkerFault("unsupported_operation", f"runtime {runtime[:50]!r}: this island offers {offered}")
    if request.timeout is not None and request.timeout > LONGEST_TIMEOUT_MS:
        raise ArkerFault("bad_request", f"timeout is in milliseconds, at most {LONGEST_TIMEOUT_MS}")


def _signal_number(name: str | None) -> int | None:
    if not name:
        return None
    if name[0].isdigit():
        return number("signal", name, 1, 64)
    upper = name.upper()
    try:
        return int(signal.Signals[upper if upper.startswith("SIG") else f"SIG{upper}"])
    except KeyError:
        raise ArkerFault("bad_request", f"{name[:50]!r} is no signal") from None
