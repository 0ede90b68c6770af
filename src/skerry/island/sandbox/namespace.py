"""The default driver: Linux namespaces, an overlay and one resident agent per sandbox, as root or as anyone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from skerry.island.sandbox import runlog
from skerry.island.sandbox.build import Builder, Built
from skerry.island.sandbox.driver import ImageSource, SandboxError
from skerry.island.sandbox.egress import EgressProxy
from skerry.island.sandbox.handle import AgentSandbox
from skerry.island.sandbox.live import LiveAgent, Retired
from skerry.island.sandbox.spares import SpareFiles
from skerry.island.sandbox.spec import (
    Barriers,
    ExecResult,
    ForkReport,
    Limits,
    NetworkPolicy,
    RunFiles,
    SandboxSpec,
    Usage,
)
from skerry.island.sandbox.warm import WarmShells

T = TypeVar("T")

_log = logging.getLogger(__name__)

_START_SECONDS = 30.0
_GONE_SECONDS = 20.0
_ANSWER_SECONDS = 30.0
_THREADS = 8
# More at once only makes each of them slower.
_STARTS_AT_ONCE = max(4, 2 * (os.cpu_count() or 1))


class NamespaceDriver:
    """Implements `driver.Driver`.

    Args:
        state_dir: where sandboxes and layers live; made when missing, closed to other users.
        images: read-only roots.
        egress: serves the sandboxes that may reach a network; without it none can.
        max_layers: chain length at which a sandbox is flattened in the background.
        builder: what puts a sandbox up; drivers with other walls bring their own.
    """

    name = "namespace"

    def __init__(
        self,
        state_dir: Path,
        images: ImageSource,
        *,
        egress: EgressProxy | None = None,
        max_layers: int = 48,
        builder: type[Builder] = Builder,
    ) -> None:
        self._builder = builder(Path(os.path.realpath(state_dir)), images)
        self._egress = egress
        self._max_layers = max_layers
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="skerry-sandbox")
        self._live: dict[str, LiveAgent] = {}
        self._built: dict[str, Built] = {}
        self._handles: dict[str, AgentSandbox] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._starting: dict[str, asyncio.Task[LiveAgent]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._whole_tasks: set[asyncio.Task[Any]] = set()
        self._start_slots = asyncio.Semaphore(_STARTS_AT_ONCE)
        self._lost: list[Callable[[str, str], Awaitable[None]]] = []
        self._stopping = False
        self._files = SpareFiles(self._builder.state_dir, self._threads)
        self._shells = WarmShells()

    async def _thread(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what must not stop half-way: a caller that is cancelled goes away, the work is carried through."""
        task = asyncio.get_running_loop().create_task(work)
        self._whole_tasks.add(task)
        task.add_done_callback(self._carried_through)
        return await asyncio.shield(task)

    def _carried_through(self, task: asyncio.Task[Any]) -> None:
        self._whole_tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen by the caller, unless it went away

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("work in the background failed", exc_info=error)

    def _lock(self, sandbox_id: str) -> asyncio.Lock:
        return self._locks.setdefault(sandbox_id, asyncio.Lock())

    async def start(self) -> None:
        """Finish or undo what a crash left half done, drop what belongs to nothing, adopt what lives."""
        sockets = await self._thread(self._builder.recover)
        for sandbox_id in sockets:
            async with self._lock(sandbox_id):
                try:
                    if await self._adopt(sandbox_id) is None:
                        await self._thread(self._builder.clean, sandbox_id)
                except SandboxError as error:
                    _log.error("sandbox %s is left as it is: %s", sandbox_id, error)

    async def stop(self, *, kill: bool = True) -> None:
        """Stop helpers; with `kill`, end every sandbox's processes first."""
        self._stopping = True
        starting = list(self._starting.values())
        await asyncio.gather(*starting, *self._whole_tasks, return_exceptions=True)
        if kill:
            ids = set(self._live) | set(await self._thread(self._builder.with_socket))
            await asyncio.gather(*(self.kill(sandbox_id) for sandbox_id in ids))
        for live in list(self._live.values()):
            self._detach(live.id)
            live.release()
        self._live.clear()
        for task in list(self._background):
            await asyncio.gather(task, return_exceptions=True)
        await self._builder.launcher.stop()
        await self._thread(self._builder.close)
        self._threads.shutdown(wait=True)
        self._files.close()

    def barriers(self) -> Barriers:
        """The walls this driver gives on this machine."""
        return self._builder.barriers()

    async def create(self, spec: SandboxSpec) -> None:
        """Prepare a sandbox on disk; starts no process.

        Raises:
            SandboxError: `exists`, `unknown_image`, `path` (the id).
        """
        await self._thread(self._builder.create, spec)

    async def fork(self, parent_id: str, spec: SandboxSpec) -> ForkReport:
        """Make `spec.id` a copy-on-write child of the parent's files as of now; its image is the parent's.

        An idle parent (no process alive) is re-layered in constant time; a running one stands still while its
        writable layer is copied.

        Raises:
            SandboxError: `unknown_sandbox`, `exists`, `disk_full`.
        """
        return await self._whole(self._fork(parent_id, spec))

    async def _fork(self, parent_id: str, spec: SandboxSpec) -> ForkReport:
        layers = self._builder.layers
        async with self._lock(parent_id):
            files = await self._thread(self._builder.child_files, parent_id, spec)
            live = await self._known(parent_id)
            if live is not None and not await self._retire(live):
                report = await self._fork_running(live, spec.id, files)
            else:
                await self._thread(lambda: layers.relayer(parent_id, spec.id, files=files))
                depth = await self._thread(layers.depth, spec.id)
                report = ForkReport(method="relayer", frozen_ns=0, depth=depth)
        if report.depth >= self._max_layers and not self._stopping:
            self._spawn(self._flatten(parent_id))
            self._spawn(self._flatten(spec.id))
        return report

    async def _fork_running(self, live: LiveAgent, child_id: str, files: dict[str, bytes]) -> ForkReport:
        layers = self._builder.layers
        await self._thread(layers.precopy, live.id, child_id)
        built = self._built[live.id]
        by_group = False
        try:
            async with live.writes.closed():
                began = time.monotonic_ns()
                by_group = await self._thread(built.freeze)
                if not by_group:
                    await live.request("freeze", within=_ANSWER_SECONDS)
                try:
                    method = await self._thread(lambda: layers.copy(live.id, child_id, files=files))
                finally:
                    if by_group:
                        await asyncio.shield(self._thread(built.thaw))
                    else:
                        await asyncio.shield(live.request("thaw"))
                    frozen = time.monotonic_ns() - began
        except BaseException:
            await self._thread(layers.forget_copy, child_id)
            raise
        depth = await self._thread(layers.depth, child_id)
        return ForkReport(method=method, frozen_ns=frozen, depth=depth)

    async def _flatten(self, sandbox_id: str) -> None:
        async with self._lock(sandbox_id):
            with contextlib.suppress(SandboxError):
                await self._thread(self._builder.layers.flatten, sandbox_id)

    async def open(self, sandbox_id: str) -> AgentSandbox:
        """The live sandbox, starting its agent if needed; concurrent calls share one start.

        Raises:
            SandboxError: `unknown_sandbox`, `unknown_image`, `limits`, `start`.
        """
        await self.live(sandbox_id)
        return self._handle(sandbox_id)

    def _handle(self, sandbox_id: str) -> AgentSandbox:
        handle = self._handles.get(sandbox_id)
        if handle is None:
            handle = self._handles[sandbox_id] = AgentSandbox(sandbox_id, self, self._builder.runs(sandbox_id))
        return handle

    async def live(self, sandbox_id: str) -> LiveAgent:
        """The agent of a sandbox, found or started. Raises as `open`."""
        live = self._live.get(sandbox_id)
        if live is not None and live.usable and not (live.outdated and await self.suspend(sandbox_id)):
            return live
        task = self._starting.get(sandbox_id)
        if task is None:
            if self._stopping:
                raise SandboxError("start", "the driver is stopping")
            task = asyncio.get_running_loop().create_task(self._bring_up(sandbox_id))
            self._starting[sandbox_id] = task
            task.add_done_callback(lambda task: self._started(sandbox_id, task))
        return await asyncio.shield(task)

    def _started(self, sandbox_id: str, task: asyncio.Task[LiveAgent]) -> None:
        del self._starting[sandbox_id]
        if not task.cancelled():
            task.exception()  # everyone who waited may have gone away

    async def _bring_up(self, sandbox_id: str) -> LiveAgent:
        async with self._lock(sandbox_id):
            live = await self._known(sandbox_id)
            if live is not None:
                return live
            async with self._start_slots:
                return await self._start(sandbox_id)

    async def _known(self, sandbox_id: str) -> LiveAgent | None:
        """The usable agent that runs already, with the sandbox's lock held; whatever is dying is waited for."""
        live = self._live.get(sandbox_id)
        if live is not None:
            if live.usable:
                return live
            await self._bury(live)
        return await self._adopt(sandbox_id)

    async def _start(self, sandbox_id: str) -> LiveAgent:
        built = await self._thread(self._builder.prepare, sandbox_id)
        live = LiveAgent(sandbox_id, built.runs, built.take_control(), self._ended, self._files, self._shells)
        self._live[sandbox_id] = live
        self._built[sandbox_id] = built
        try:
            try:
                await self._builder.launcher.build(built.request, built.fds())
            finally:
                built.close_fds()
            # What the zygote says of the agent's process, and that the agent is ready: either may come first.
            for _ in range(2):
                told = await live.startup(_START_SECONDS)
                if "pid" in told:
                    live.own(int(told["pid"]))
            await self._connect(live, built)
        except BaseException as error:
            live.killed = True
            live.kill()
            await self._bury(live)
            if isinstance(error, OSError):
                raise SandboxError("start", f"sandbox {sandbox_id}: {error}") from error
            raise
        return live

    async def _adopt(self, sandbox_id: str) -> LiveAgent | None:
        """Connect to an agent that an earlier server left running, with the sandbox's lock held."""
        found = await self._thread(self._builder.connect, sandbox_id)
        if found is None:
            return None
        connection, pid, built = found
        live = LiveAgent(sandbox_id, built.runs, connection, self._ended, self._files, self._shells)
        self._live[sandbox_id] = live
        self._built[sandbox_id] = built
        try:
            live.own(pid)
            await live.hello()
            await self._connect(live, built)
        except (SandboxError, TimeoutError, ProcessLookupError):
            # It neither works nor will: nothing that a caller could do with it is lost by ending it.
            live.killed = True
            live.kill()
            await self._bury(live)
            return None
        return live

    async def _connect(self, live: LiveAgent, built: Built) -> None:
        if self._egress is not None and built.spec.network.mode != "none":
            self._egress.attach(live.id, await live.listener(), built.spec.network)

    def _ended(self, live: LiveAgent) -> None:
        if not (live.retiring or live.killed):
            self._spawn(self._mourn(live))

    async def _mourn(self, live: LiveAgent) -> None:
        """An agent died unasked: clean up after it and tell those who want to know."""
        built = self._built.get(live.id)
        cause = "out_of_memory" if built is not None and await self._thread(built.ran_out_of_memory) else "died"
        async with self._lock(live.id):
            if self._live.get(live.id) is live:
                await self._bury(live)
        for callback in self._lost:
            await callback(live.id, cause)

    async def _bury(self, live: LiveAgent) -> None:
        """Wait until nothing of an agent lives and drop what stood around it, with the sandbox's lock held."""
        gone = await live.ended(_GONE_SECONDS)
        if not gone:
            live.kill()
            gone = await live.ended(_GONE_SECONDS)
        self._detach(live.id)
        live.release(ended=gone)
        if self._live.get(live.id) is live:
            del self._live[live.id]
        self._built.pop(live.id, None)
        await self._thread(self._builder.clean, live.id)

    def _detach(self, sandbox_id: str) -> None:
        if self._egress is not None:
            self._egress.detach(sandbox_id)

    async def _retire(self, live: LiveAgent) -> bool:
        """End an agent if nothing else lives in its sandbox, with the sandbox's lock held."""
        # A file that is being written is finished first: half of it must not stay behind, nor reach a child.
        async with live.writes.closed():
            if live.busy:
                return False
            live.retiring = True
            try:
                answer, _ = await live.channel.request("retire", within=_ANSWER_SECONDS)
            except SandboxError:
                await self._bury(live)
                return True
            except TimeoutError:
                live.retiring = False
                return False
            if not answer["idle"]:
                live.retiring = False
                return False
            await self._bury(live)
            return True

    async def find(self, sandbox_id: str) -> AgentSandbox | None:
        """The live sandbox if its agent already runs, else None."""
        live = self._live.get(sandbox_id)
        if (live is None or not live.usable) and not await self._whole(self._runs_already(sandbox_id)):
            return None
        return self._handle(sandbox_id)

    async def _runs_already(self, sandbox_id: str) -> bool:
        async with self._lock(sandbox_id):
            return await self._known(sandbox_id) is not None

    async def result(self, sandbox_id: str, run_id: str) -> ExecResult | None:
        """The end of a run from its record on disk; None if it has not ended, or nobody lived to tell."""
        files = self.run_files(sandbox_id, run_id)
        return await self._thread(runlog.read_record, files)

    async def suspend(self, sandbox_id: str) -> bool:
        """End the agent if no process lives beside it; files stay. True if nothing of the sandbox lives now."""
        return await self._whole(self._suspend(sandbox_id))

    async def _suspend(self, sandbox_id: str) -> bool:
        async with self._lock(sandbox_id):
            live = await self._known(sandbox_id)
            return live is None or await self._retire(live)

    async def kill(self, sandbox_id: str) -> None:
        """End every process of the sandbox at once; files stay."""
        await self._whole(self._kill(sandbox_id))

    async def _kill(self, sandbox_id: str) -> None:
        async with self._lock(sandbox_id):
            live = self._live.get(sandbox_id) or await self._adopt(sandbox_id)
            if live is None:
                await self._thread(self._builder.clean, sandbox_id)
                return
            live.killed = True
            live.kill()
            built = self._built.get(sandbox_id)
            if built is not None:
                # A group that an interrupted fork left frozen takes no signal.
                await self._thread(built.thaw)
            await self._bury(live)

    async def remove(self, sandbox_id: str) -> None:
        """End it and drop its writable layer; layers shared with others stay.

        Raises:
            SandboxError: `unknown_sandbox`.
        """
        await self._whole(self._remove(sandbox_id))

    async def _remove(self, sandbox_id: str) -> None:
        await self._kill(sandbox_id)
        async with self._lock(sandbox_id):
            self._handles.pop(sandbox_id, None)
            await self._thread(self._builder.layers.remove, sandbox_id)
        if not self._lock(sandbox_id).locked():
            self._locks.pop(sandbox_id, None)

    async def reconfigure(
        self, sandbox_id: str, *, limits: Limits | None = None, network: NetworkPolicy | None = None
    ) -> None:
        """Apply new bounds or policy, to a live sandbox at once (a descriptor bound at its next start; so, without
        the right to raise limits, a larger file size bound, as soon as nothing lives in it).

        Raises:
            SandboxError: `unknown_sandbox`, `limits`.
        """
        await self._whole(self._reconfigure(sandbox_id, limits, network))

    async def _reconfigure(self, sandbox_id: str, limits: Limits | None, network: NetworkPolicy | None) -> None:
        async with self._lock(sandbox_id):
            live = await self._known(sandbox_id)
            built = self._built.get(sandbox_id)
            if limits is not None and built is not None:
                await self._thread(built.limit, limits)
            spec = await self._thread(self._builder.rewrite, sandbox_id, limits, network)
            if built is None or live is None:
                return
            before, built.spec = built.spec.limits.disk_bytes, spec
            told = before == spec.limits.disk_bytes or _bound_files(live, spec.limits.disk_bytes)
            # Only the privileged can raise what others are held to, but a fresh agent begins with the new bound.
            if not told:
                live.outdated = True
                if await self._retire(live):
                    return
            if network is not None and self._egress is not None:
                if live.proxy_port is None:
                    await self._connect(live, built)
                else:
                    self._egress.update(sandbox_id, network)

    async def usage(self, sandbox_id: str) -> Usage:
        """What a live sandbox uses now; one without an agent uses disk only."""
        disk = await self._thread(self._builder.layers.disk_bytes, sandbox_id)
        live = self._live.get(sandbox_id)
        built = self._built.get(sandbox_id)
        if live is None or built is None or not live.usable:
            return Usage(processes=0, memory_bytes=0, cpu_ns=None, disk_bytes=disk)
        try:
            answer, _ = await live.request("status")
        except Retired:
            return Usage(processes=0, memory_bytes=0, cpu_ns=None, disk_bytes=disk)
        memory, cpu = await self._thread(built.consumption)
        return Usage(processes=int(answer["processes"]), memory_bytes=memory, cpu_ns=cpu, disk_bytes=disk)

    def spec(self, sandbox_id: str) -> SandboxSpec:
        """What a live sandbox was asked to be."""
        return self._built[sandbox_id].spec

    async def ids(self) -> list[str]:
        """Every sandbox on disk, live or not."""
        return await self._thread(self._builder.layers.ids)

    def run_files(self, sandbox_id: str, run_id: str) -> RunFiles:
        """Where the logs of a run are (or would be)."""
        return runlog.run_files(self._builder.runs(sandbox_id), run_id)

    def on_lost(self, callback: Callable[[str, str], Awaitable[None]]) -> None:
        """Call back with (sandbox id, cause `died` or `out_of_memory`) when a sandbox's agent dies unasked."""
        self._lost.append(callback)


def _bound_files(live: LiveAgent, most: int | None) -> bool:
    """Hold what an agent starts from now on to files of that size; False without the right to."""
    if live.pid is None:
        return False
    bound = resource.RLIM_INFINITY if most is None else most
    try:
        resource.prlimit(live.pid, resource.RLIMIT_FSIZE, (bound, bound))
    except OSError:
        return False
    return True
