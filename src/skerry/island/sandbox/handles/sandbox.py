"""What callers hold of a sandbox. It outlives the agent: one that went to rest is started again when needed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from skerry.island.sandbox import gpu_devices
from skerry.island.sandbox.driver import SandboxError
from skerry.island.sandbox.handles import runlog
from skerry.island.sandbox.handles.commands import AgentPiped, AgentProcess, AgentTerminal
from skerry.island.sandbox.handles.live import LiveAgent, Retired
from skerry.island.sandbox.handles.warm import has_room
from skerry.island.sandbox.spec import Barriers, ExecSpec, SandboxSpec, Usage

# Each try waits for a whole stop and start, so this many mean that someone does nothing else.
_TRIES = 100
_COPY_CHUNK = 1 << 20
_SMALL_FILE = 65_536


class Host(Protocol):
    """The driver, as far as its sandboxes need it."""

    async def live(self, sandbox_id: str) -> LiveAgent:
        """The agent, started if need be."""

    async def usage(self, sandbox_id: str) -> Usage:
        """What the sandbox uses."""

    def spec(self, sandbox_id: str) -> SandboxSpec:
        """What the live sandbox was asked to be."""

    def barriers(self) -> Barriers:
        """Its walls."""


class AgentSandbox:
    """A sandbox behind an agent; implements `driver.Sandbox`.

    Args:
        sandbox_id: which one.
        host: the driver.
        runs: its directory of logs.
    """

    def __init__(self, sandbox_id: str, host: Host, runs: Path) -> None:
        self.id = sandbox_id
        self.barriers = host.barriers()
        self._host = host
        self._runs = runs

    async def exec(self, spec: ExecSpec) -> AgentProcess:
        """Start a command; returns once it runs, or is known to be impossible (then it has ended already).

        Raises:
            SandboxError: `limits` (no room for a process), `exists` (the run id is in use), `disk_full`,
                `unsupported`, `lost`, and as `Driver.open`.
        """
        for _ in range(_TRIES):
            live = await self._host.live(self.id)
            asked = self._host.spec(self.id)
            if "mapped-ids" not in self.barriers.active:
                spec = replace(spec, user=None)
            try:
                return await live.exec(
                    spec,
                    env=_environment(spec, asked, live),
                    output_bytes=asked.limits.output_bytes,
                    warm=_may_wait(spec) and has_room(asked.limits),
                )
            except Retired:
                continue
        raise SandboxError("lost", "the sandbox is being stopped again and again")

    async def attach(self, run_id: str) -> AgentProcess | None:
        """The process of a run started earlier: going on, or ended with its record on disk."""
        live = await self._host.live(self.id)
        going = live.attach(run_id)
        if going is not None:
            return going
        files = runlog.run_files(self._runs, run_id)
        result = runlog.read_record(files)
        if result is None:
            return None
        process = AgentProcess(run_id, files, None)
        process.finish(result)
        return process

    async def begun(self, run_id: str) -> bool:
        """Whether a run of an earlier server, which nobody has seen end, may have begun."""
        return (await self._host.live(self.id)).may_have_begun(run_id)

    async def terminal(self, spec: ExecSpec, columns: int, rows: int) -> AgentTerminal:
        """Start a command on a new pseudo-terminal. Raises as `exec`, and `not_found` for a missing program."""
        for _ in range(_TRIES):
            live = await self._host.live(self.id)
            env = {"TERM": "xterm-256color", **_environment(spec, self._host.spec(self.id), live)}
            try:
                return await live.terminal(spec, columns, rows, env=env)
            except Retired:
                continue
        raise SandboxError("lost", "the sandbox is being stopped again and again")

    async def piped(self, spec: ExecSpec) -> AgentPiped:
        """Start a command on pipes that the caller pumps. Raises as `terminal`."""
        for _ in range(_TRIES):
            live = await self._host.live(self.id)
            try:
                return await live.piped(spec, env=_environment(spec, self._host.spec(self.id), live))
            except Retired:
                continue
        raise SandboxError("lost", "the sandbox is being stopped again and again")

    async def dial(self, port: int, host: str = "127.0.0.1", *, udp: bool = False) -> socket.socket:
        """A connected, non-blocking socket to a port inside the sandbox.

        Args:
            port: 1 to 65535.
            host: seen from inside.
            udp: a datagram socket instead of a TCP connection.

        Raises:
            SandboxError: `refused`.
        """
        if not 0 < port < 65_536:
            raise SandboxError("refused", f"{port} is no port")
        _, fds = await self._request("dial", host=host, port=port, udp=udp)
        connection = socket.socket(fileno=fds[0])
        connection.setblocking(False)
        return connection

    async def open_read(self, path: str, *, beneath: str) -> tuple[BinaryIO, int]:
        """A regular file inside the sandbox opened for reading, and its size.

        Args:
            path: absolute, or relative to `beneath`.
            beneath: directory outside of which nothing is resolved; `/` for the whole sandbox.

        Raises:
            SandboxError: `path`, `not_found`, `not_a_file`, `is_a_directory`.
        """
        answer, fds = await self._request("open", path=path, beneath=beneath)
        return os.fdopen(fds[0], "rb"), int(answer["size"])

    async def write_file(self, path: str, source: BinaryIO, size: int, *, beneath: str, mode: int = 0o644) -> None:
        """Copy `size` bytes of `source` to `path` atomically, making parents.

        Raises:
            SandboxError: `path`, `is_a_directory`, `not_a_file`, `disk_full`; `limits` for a file beyond the
                sandbox's disk; `unsupported` when `source` ends early.
        """
        begin = source.tell()
        for _ in range(_TRIES):
            live = await self._host.live(self.id)
            most = self._host.spec(self.id).limits.disk_bytes
            if most is not None and size > most:
                raise SandboxError("limits", f"{size} bytes do not fit the sandbox's disk of {most}")
            try:
                return await _write(live, path, source, size, beneath, mode)
            except Retired:
                source.seek(begin)
        raise SandboxError("lost", "the sandbox is being stopped again and again")

    async def usage(self) -> Usage:
        """What it uses now."""
        return await self._host.usage(self.id)

    async def _request(self, op: str, **fields: Any) -> tuple[dict[str, Any], list[int]]:
        for _ in range(_TRIES):
            live = await self._host.live(self.id)
            try:
                return await live.request(op, **fields)
            except Retired:
                continue
        raise SandboxError("lost", "the sandbox is being stopped again and again")


def _may_wait(spec: ExecSpec) -> bool:
    """Whether a shell that waits could be for this: they are root's, with two outputs, a state and no input."""
    return spec.warm and spec.keep_state and not spec.stdin and not spec.merge_output and spec.user is None


def _environment(spec: ExecSpec, asked: SandboxSpec, live: LiveAgent) -> dict[str, str]:
    env = gpu_devices.environment(asked.gpus, spec.env)
    if live.proxy_port is None or asked.network.mode == "none":
        return env
    url = f"http://127.0.0.1:{live.proxy_port}"
    proxies = {"http_proxy": url, "https_proxy": url, "all_proxy": f"socks5h://127.0.0.1:{live.proxy_port}"}
    proxies["no_proxy"] = "localhost,127.0.0.1,::1"
    return {**proxies, **{name.upper(): value for name, value in proxies.items()}, **env}


async def _write(live: LiveAgent, path: str, source: BinaryIO, size: int, beneath: str, mode: int) -> None:
    async with live.writes.passing():
        await _write_now(live, path, source, size, beneath, mode)


async def _write_now(live: LiveAgent, path: str, source: BinaryIO, size: int, beneath: str, mode: int) -> None:
    answer, fds = await live.request("create", path=path, beneath=beneath, mode=mode)
    token = answer["token"]
    try:
        if size <= _SMALL_FILE:
            _copy(source, fds[0], size)
        else:
            await asyncio.to_thread(_copy, source, fds[0], size)
    except BaseException:
        # An agent that went to rest has dropped what was begun.
        with contextlib.suppress(Retired):
            await asyncio.shield(live.request("abort", token=token))
        raise
    await live.request("commit", token=token)


def _copy(source: BinaryIO, fd: int, size: int) -> None:
    """Copy exactly `size` bytes and close the descriptor."""
    try:
        left = size
        while left:
            chunk = source.read(min(left, _COPY_CHUNK))
            if not chunk:
                raise SandboxError("unsupported", f"the source ended {left} bytes early")
            left -= len(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(fd, view) :]
    except OSError as error:
        raise SandboxError("disk_full", f"cannot write the file: {error.strerror}") from None
    finally:
        os.close(fd)
