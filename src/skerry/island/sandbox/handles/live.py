"""One running agent as the server sees it: its channel, its process, its runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from skerry.island.sandbox.agent.agent import VERSION
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.handles import runlog
from skerry.island.sandbox.handles.channel import LONGEST_TAIL, AgentChannel, ChannelClosed, memory_file
from skerry.island.sandbox.handles.commands import AgentPiped, AgentProcess, AgentTerminal
from skerry.island.sandbox.handles.spares import SpareFiles
from skerry.island.sandbox.handles.warm import WarmShells
from skerry.island.sandbox.space import NO_SPACE
from skerry.island.sandbox.spec import ExecResult, ExecSpec

_log = logging.getLogger(__name__)

SOCKET = "agent.sock"
# Whoever does not answer within this is ended with all that runs there, and a busy machine may stand still for long.
_HELLO_SECONDS = 60.0
_WRITE_SECONDS = 60.0
# Event loops count in milliseconds: one is often none.
_PAUSE_SECONDS = 0.002


class Retired(Exception):
    """The agent was sent to rest before it read this request; ask a new one."""


class WriteGate:
    """Lets file writes pass side by side, and none while somebody needs the files to hold still."""

    def __init__(self) -> None:
        self._passing = 0
        self._open = asyncio.Event()
        self._still = asyncio.Event()
        self._open.set()
        self._still.set()

    @contextlib.asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """For as long as one write takes."""
        while not self._open.is_set():
            await self._open.wait()
        self._passing += 1
        self._still.clear()
        try:
            yield
        finally:
            self._passing -= 1
            if not self._passing:
                self._still.set()

    @contextlib.asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Entered once no write is under way; for one caller at a time, which the sandbox's lock sees to.

        A write that goes on for `_WRITE_SECONDS` is not waited for any longer, because nothing else of the sandbox
        can be changed meanwhile.
        """
        self._open.clear()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WRITE_SECONDS):
                    await self._still.wait()
            yield
        finally:
            self._open.set()


class LiveAgent:
    """A connection to an agent that answers, until it ends.

    Args:
        sandbox_id: whose agent it is.
        runs: the directory of its logs and records.
        connection: a connected socket.
        on_end: called once when the agent is gone.
        files: new files for logs and records.
        shells: counts what waits for work in all sandboxes.
    """

    def __init__(
        self,
        sandbox_id: str,
        runs: Path,
        connection: socket.socket,
        on_end: Callable[[LiveAgent], None],
        files: SpareFiles,
        shells: WarmShells,
    ) -> None:
        self.id = sandbox_id
        self.pid: int | None = None
        self.pidfd: int | None = None
        self.proxy_port: int | None = None
        self.retiring = False
        self.killed = False
        self.outdated = False
        self.writes = WriteGate()
        # Runs that have begun, whether or not a record tells of it. Not known of an agent that was started from here:
        # whatever it has begun was asked for, and is heard of, here.
        self._told_of: set[str] | None = None
        self._runs = runs
        self._on_end = on_end
        self._files = files
        self._shells = shells
        self._program: dict[str, object] | None = None
        self._processes: dict[str, AgentProcess | AgentTerminal | AgentPiped] = {}
        self._early: dict[str, tuple[dict[str, Any], bytes]] | None = None
        self._startup: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.channel = AgentChannel(connection, on_event=self._event, on_close=self._closed)

    @property
    def usable(self) -> bool:
        """Whether requests may be sent to it."""
        return not (self.channel.closed or self.retiring or self.killed)

    @property
    def busy(self) -> bool:
        """Whether a run that we know of goes on."""
        return bool(self._processes)

    def own(self, pid: int) -> None:
        """Remember the agent's process on this machine. Raises ProcessLookupError if it is gone."""
        self.pidfd = os.pidfd_open(pid)
        self.pid = pid

    async def startup(self, timeout: float) -> dict[str, Any]:
        """The next packet of a sandbox that is being built.

        Raises:
            SandboxError: `start`: the builder failed, or nothing came in time; `disk_full`.
        """
        try:
            async with asyncio.timeout(timeout):
                message = await self._startup.get()
        except TimeoutError:
            raise SandboxError("start", f"the sandbox did not start within {timeout:.0f} seconds") from None
        if "error" in message:
            if message.get("errno") in NO_SPACE:
                raise SandboxError("disk_full", "no space left to start the sandbox")
            raise SandboxError("start", str(message["error"]))
        return message

    async def hello(self) -> None:
        """Greet an agent that was found running, and expect the ends of its runs.

        Raises:
            SandboxError, TimeoutError: it does not answer.
        """
        # A run may end in the moment after the answer: both packets are then read before whoever waits for it goes on.
        self._early = {}
        try:
            answer, _ = await self.channel.request("hello", within=_HELLO_SECONDS)
            going = [str(run_id) for run_id in answer["runs"]]
            for run_id in going:
                self._expect(run_id)
            if "unrecorded" in answer:
                # Those that go on may end, and find no room for a record, before anybody asks.
                self._told_of = {*going, *answer["unrecorded"]}
        finally:
            early, self._early = self._early, None
        for message, tail in early.values():
            self._event(message, tail)
        # One of an older release goes on with what it has, and is followed by one of ours as soon as it is idle.
        self.outdated = answer["version"] != VERSION

    async def listener(self) -> socket.socket:
        """The socket on which the sandbox's outgoing connections arrive."""
        answer, fds = await self.request("listen")
        self.proxy_port = int(answer["port"])
        return socket.socket(fileno=fds[0])

    async def request(self, op: str, fds: tuple[int, ...] = (), **fields: Any) -> tuple[dict[str, Any], list[int]]:
        """As `AgentChannel.request`, but an agent that went to rest raises Retired."""
        if self.retiring or self.killed:
            raise Retired
        try:
            return await self.channel.request(op, fds, **fields)
        except ChannelClosed:
            if self.retiring or self.killed:
                raise Retired from None
            raise

    async def exec(self, spec: ExecSpec, *, env: dict[str, str], output_bytes: int, warm: bool = False) -> AgentProcess:
        """Start a command with its logs in place; `warm` lets it go on with a program that waits for it.

        Raises:
            SandboxError: `limits`, `exists`, `disk_full`, `unsupported`, `lost`.
            Retired: nothing was started.
        """
        files = runlog.run_files(self._runs, spec.id)
        if spec.id in self._processes:
            raise SandboxError("exists", f"run {spec.id} is going on")
        program: dict[str, object] = {"argv": spec.argv, "env": env, "cwd": spec.cwd, "keep": spec.keep_state}
        named = self._named(program)
        if named is program:
            # What was told before was checked before.
            _check_strings(spec, env)
        process = AgentProcess(spec.id, files, self)
        if warm:
            process.shell = program
        fds = runlog.open_new(files, self._files)
        self._processes[spec.id] = process
        try:
            if spec.stdin:
                fds.append(memory_file(spec.stdin))
            tail = spec.state or b""
            if len(tail) > LONGEST_TAIL or self.outdated:
                tail = b""
            if spec.state is not None and not tail:
                fds.append(memory_file(spec.state))
            await self.request(
                "exec",
                tuple(fds),
                tail=tail,
                run=spec.id,
                timeout=spec.timeout,
                grace=spec.grace,
                cap=output_bytes,
                stdin=bool(spec.stdin),
                state=spec.state is not None and not tail,
                warm=warm,
                merge=spec.merge_output,
                user=None if spec.user is None else [spec.user.uid, spec.user.gid, *spec.user.groups],
                **named,
            )
        except (SandboxError, Retired, OSError):
            self._processes.pop(spec.id, None)
            process.discard()
            raise
        finally:
            for fd in fds:
                os.close(fd)
        return process

    def prepare_shell(self, shell: dict[str, object]) -> None:
        """Have a shell wait for the next run: `argv`, `env`, `cwd`, `keep`."""
        self.channel.tell("warm", **self._named(shell))
        self._program = shell

    def _named(self, program: dict[str, object]) -> dict[str, object]:
        """A program as the agent is told of it: the one that it was last told to have waiting is not told again."""
        return {"like": True} if program == self._program and not self.outdated else program

    async def terminal(self, spec: ExecSpec, columns: int, rows: int, *, env: dict[str, str]) -> AgentTerminal:
        """Start a command on a pseudo-terminal. Raises as `exec`, and `not_found`."""
        terminal = AgentTerminal(spec.id, self)
        await self._hold(terminal, "terminal", spec, env, columns=columns, rows=rows)
        return terminal

    async def piped(self, spec: ExecSpec, *, env: dict[str, str]) -> AgentPiped:
        """Start a command on pipes. Raises as `terminal`."""
        piped = AgentPiped(spec.id, self)
        await self._hold(piped, "piped", spec, env)
        return piped

    async def _hold(
        self, held: AgentTerminal | AgentPiped, op: str, spec: ExecSpec, env: dict[str, str], **fields: Any
    ) -> None:
        if spec.id in self._processes:
            raise SandboxError("exists", f"run {spec.id} is going on")
        _check_strings(spec, env)
        self._processes[spec.id] = held
        try:
            _, fds = await self.request(
                op,
                run=spec.id,
                argv=spec.argv,
                env=env,
                cwd=spec.cwd,
                timeout=spec.timeout,
                grace=spec.grace,
                **fields,
            )
        except (SandboxError, Retired, OSError, asyncio.CancelledError):
            self._processes.pop(spec.id, None)
            held.discard()
            raise
        try:
            held.hold(fds)
        except ValueError:
            # The kernel drops descriptors for which this process has no room.
            for fd in fds:
                os.close(fd)
            await held.cancel()
            raise SandboxError("limits", "the island has no room for more descriptors") from None

    def attach(self, run_id: str) -> AgentProcess | None:
        """The process of a run that goes on here and was started from here or found by `hello`."""
        found = self._processes.get(run_id)
        return found if isinstance(found, AgentProcess) else None

    def may_have_begun(self, run_id: str) -> bool:
        """Whether a run of an earlier server, which nobody has seen end, may have begun.

        It has not if this agent is older than the run's files, and knows nothing of it: that server died between making
        them and asking for it.
        """
        if self._told_of is None or run_id in self._told_of or run_id in self._processes:
            return True
        try:
            record = runlog.run_files(self._runs, run_id).record.stat()
        except FileNotFoundError:
            return False
        socket_made = (self._runs.parent / SOCKET).stat().st_ctime_ns
        return record.st_size > 0 or record.st_ctime_ns <= socket_made

    def _expect(self, run_id: str) -> None:
        """A run that an adopted agent says is going on."""
        if run_id not in self._processes:
            self._processes[run_id] = AgentProcess(run_id, runlog.run_files(self._runs, run_id), self)

    def _event(self, message: dict[str, Any], tail: bytes) -> None:
        if message.get("event") == "exit":
            process = self._processes.pop(str(message["run"]), None)
            if process is None and self._early is not None:
                self._early[str(message["run"])] = (message, tail)
            elif process is not None:
                process.finish(runlog.from_event(message, tail, process.files))
                if isinstance(process, AgentProcess):
                    # The end of the run is recorded and told first: this would take the processor from that.
                    asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._prepare, process.shell)
        elif message.get("event") == "fault":
            _log.error("the agent of sandbox %s failed at something and went on: %s", self.id, message.get("text"))
        else:
            self._startup.put_nowait(message)

    def _prepare(self, shell: dict[str, object] | None) -> None:
        """After a run: what the next one will need."""
        self._files.refill()
        if shell is not None and self.usable:
            self._shells.start(self, shell)

    def _closed(self) -> None:
        self._startup.put_nowait({"error": "the sandbox's first process ended while it was being set up"})
        processes, self._processes = self._processes, {}
        for process in processes.values():
            process.finish(self._unseen_end(process))
        self._on_end(self)

    def _unseen_end(self, process: AgentProcess | AgentTerminal | AgentPiped) -> ExecResult:
        if process.files is not None:
            recorded = runlog.read_record(process.files)
            if recorded is not None:
                return recorded
            if not self.killed:
                return runlog.from_logs(process.files, exit_code=-1, cause="lost")
            return runlog.from_logs(process.files, exit_code=137, cause="cancelled")
        if self.killed:
            return ExecResult(exit_code=137, cause="cancelled")
        return ExecResult(exit_code=-1, cause="lost")

    def kill(self) -> None:
        """SIGKILL to the agent, with which the kernel ends everything in its process namespace."""
        if self.pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    async def ended(self, timeout: float) -> bool:
        """Wait until every process of the sandbox is gone; False if that took longer than `timeout` seconds."""
        if self.pidfd is None:
            return True
        if select.select([self.pidfd], [], [], 0)[0]:
            return True
        loop = asyncio.get_running_loop()
        gone: asyncio.Future[None] = loop.create_future()
        watched = os.dup(self.pidfd)
        loop.add_reader(watched, _settle, gone)
        try:
            async with asyncio.timeout(timeout):
                await gone
            return True
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(watched)
            os.close(watched)

    def release(self, *, ended: bool = False) -> None:
        """Let go of the agent, without ending it; one that `ended` is first heard out."""
        if ended:
            self.channel.drain()
        self.channel.close()
        self._shells.forget(self)
        processes, self._processes = self._processes, {}
        for process in processes.values():
            if ended:
                process.finish(self._unseen_end(process))
            else:
                process.discard()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def peer_pid(connection: socket.socket) -> int:
    """The process that listens at the other end of a connected unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def _check_strings(spec: ExecSpec, env: dict[str, str]) -> None:
    if not spec.argv:
        raise SandboxError("unsupported", "a command needs at least its program")
    if any("\0" in text for text in (*spec.argv, *env, *env.values(), spec.cwd)):
        raise SandboxError("unsupported", "a command, its environment or its directory holds a NUL character")
    if any(not name or "=" in name for name in env):
        raise SandboxError("unsupported", "a variable name is empty or holds '='")
