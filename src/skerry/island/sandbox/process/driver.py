"""The driver of last resort: Landlock, system call filters and resource limits, where namespaces are forbidden.

What differs for commands, besides the walls that `barriers()` says are missing:

* The sandbox's files keep their real path. `HOME` and the working directory are right, and `/home/user` and `/tmp`
  in working directories, in variables, in the text of a session's command and in file transfers are translated, but
  a program that itself opens `/home/user/...` or `/tmp/...` is refused; `TMPDIR` names a private directory.
* Of the machine, `/usr` and the harmless part of `/etc` can be read. Images but `host` cannot be used.
* No port can be opened or dialled. Outgoing connections go through the egress proxy.
* A fork copies the files, sharing extents where the file system can.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from skerry.island.sandbox.driver import ImageSource
from skerry.island.sandbox.egress.proxy import EgressProxy
from skerry.island.sandbox.handles.commands import AgentPiped, AgentProcess, AgentTerminal
from skerry.island.sandbox.handles.sandbox import AgentSandbox, Host
from skerry.island.sandbox.namespace.driver import NamespaceDriver
from skerry.island.sandbox.process.build import TEMPORARY, ProcessBuilder
from skerry.island.sandbox.spec import ExecSpec, ForkReport, SandboxSpec


class Paths:
    """Translates the paths that callers use into those that a sandbox's files really have.

    Args:
        root: the sandbox's writable directory.
        home: what callers take for its home directory.
    """

    def __init__(self, root: Path, home: str) -> None:
        self._root = str(root)
        self._all = str(root.parent.parent)
        self._shown = (home, f"/{TEMPORARY}")
        # A fork's session remembers paths of its parent.
        others = re.escape(self._all) + r"/[A-Za-z0-9_-]{1,64}/" + re.escape(root.name) + r"(?=[/:\s'\"]|$)"
        self._relative = re.compile(others)
        shown = "|".join(map(re.escape, self._shown))
        # The data directory may itself lie below `/tmp`, so a path that is real already is looked for first.
        self._in_text = re.compile(rf"(?:{others})|(?<![\w./-])(?P<shown>{shown})(?=[/\s'\":;,)]|$)".encode())

    def directory(self, path: str) -> str:
        """A working directory, or the value of a variable that names one."""
        # The data directory itself may lie below one that is shown as the sandbox's.
        if path.startswith(f"{self._all}/"):
            return self._relative.sub(lambda _: self._root, path)
        if any(path == shown or path.startswith(f"{shown}/") for shown in self._shown):
            return self._root + path
        return path

    def variable(self, value: str) -> str:
        """The value of a variable: a path, or several with colons between them."""
        return ":".join(map(self.directory, value.split(":"))) if value.startswith("/") else value

    def state(self, state: bytes | None) -> bytes | None:
        """A session's state and command, in which the paths of callers, and of a fork's parent, stand as text."""
        if state is None:
            return None
        return self._in_text.sub(lambda match: self._root.encode() + (match["shown"] or b""), state)

    def file(self, path: str) -> str:
        """A path of a file transfer, where `/` is the sandbox's own root."""
        if not path.startswith("/") or path == self._root or path.startswith(f"{self._root}/"):
            return path
        return self._root if path == "/" else self._root + path


class ProcessSandbox(AgentSandbox):
    """A sandbox whose files have other paths than its callers think."""

    def __init__(self, sandbox_id: str, host: Host, runs: Path, paths: Paths) -> None:
        super().__init__(sandbox_id, host, runs)
        self._paths = paths

    async def exec(self, spec: ExecSpec) -> AgentProcess:
        """Start a command, with its paths translated. Raises as `AgentSandbox.exec`."""
        return await super().exec(self._translated(spec))

    async def terminal(self, spec: ExecSpec, columns: int, rows: int) -> AgentTerminal:
        """Start a command on a terminal, with its paths translated. Raises as `AgentSandbox.terminal`."""
        return await super().terminal(self._translated(spec), columns, rows)

    async def piped(self, spec: ExecSpec) -> AgentPiped:
        """Start a command on pipes, with its paths translated. Raises as `AgentSandbox.piped`."""
        return await super().piped(self._translated(spec))

    async def open_read(self, path: str, *, beneath: str) -> tuple[BinaryIO, int]:
        """A file of the sandbox's own, not of the machine's. Raises as `AgentSandbox.open_read`."""
        return await super().open_read(self._paths.file(path), beneath=self._paths.file(beneath))

    async def write_file(self, path: str, source: BinaryIO, size: int, *, beneath: str, mode: int = 0o644) -> None:
        """Write a file of the sandbox's own. Raises as `AgentSandbox.write_file`."""
        await super().write_file(self._paths.file(path), source, size, beneath=self._paths.file(beneath), mode=mode)

    def _translated(self, spec: ExecSpec) -> ExecSpec:
        env = {"TMPDIR": f"/{TEMPORARY}", **spec.env}
        return replace(
            spec,
            cwd=self._paths.directory(spec.cwd),
            env={name: self._paths.variable(value) for name, value in env.items()},
            state=self._paths.state(spec.state),
        )


class ProcessDriver(NamespaceDriver):
    """Implements `driver.Driver` without namespaces.

    Args:
        state_dir: where sandboxes live; made when missing. As root, each sandbox gets a user id of its own if other
            users may pass through the directories above it.
        images: read-only roots; only `host` can be used.
        egress: serves the sandboxes that may reach a network; without it none can.
    """

    name = "process"

    def __init__(self, state_dir: Path, images: ImageSource, *, egress: EgressProxy | None = None) -> None:
        super().__init__(state_dir, images, egress=egress, builder=ProcessBuilder)

    async def fork(self, parent_id: str, spec: SandboxSpec) -> ForkReport:
        """Make `spec.id` a copy of the parent's files as of now; a running parent stands still meanwhile.

        Raises:
            SandboxError: `unknown_sandbox`, `exists`, `disk_full`.
        """
        layers = self._builder.layers
        async with self._lock(parent_id):
            files = await self._thread(self._builder.child_files, parent_id, spec)
            live = await self._known(parent_id)
            if live is not None and not await self._retire(live):
                return await self._fork_running(live, spec.id, files)
            method = await self._thread(lambda: layers.copy(parent_id, spec.id, files=files))
        return ForkReport(method=method, frozen_ns=0, depth=0)

    def _handle(self, sandbox_id: str) -> AgentSandbox:
        handle = self._handles.get(sandbox_id)
        if handle is None:
            builder = self._builder
            paths = Paths(builder.layers.upper(sandbox_id), self.spec(sandbox_id).home)
            handle = ProcessSandbox(sandbox_id, self, builder.runs(sandbox_id), paths)
            self._handles[sandbox_id] = handle
        return handle
