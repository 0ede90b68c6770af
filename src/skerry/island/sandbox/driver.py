"""The one interface between the engine and whatever isolates its sandboxes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from skerry.island.sandbox.spec import (
    Barriers,
    ExecResult,
    ExecSpec,
    ForkReport,
    Limits,
    NetworkPolicy,
    RunFiles,
    SandboxSpec,
    Usage,
)


class SandboxError(Exception):
    """A driver could not do what was asked; `reason` is a short machine-readable word.

    Reasons: `unknown_sandbox`, `unknown_image`, `exists`, `limits`, `path` (outside the rules), `not_found`
    (file), `not_a_file`, `is_a_directory`, `disk_full`, `lost` (agent died), `refused` (dial), `unsupported`, `start`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Process(Protocol):
    """A command that was started."""

    id: str
    files: RunFiles

    async def wait(self) -> ExecResult:
        """Return once the command has ended and its output is in the log files; repeatable, cancel-safe."""

    async def signal(self, number: int) -> None:
        """Send a signal to the command's whole session."""

    async def cancel(self, grace: float = 2.0) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds, to the whole session."""

    def follow(self, stream: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Bytes of `stdout` or `stderr` from `offset` as they appear, ending with the command."""


class Terminal(Protocol):
    """A command on a pseudo-terminal."""

    fd: int

    async def resize(self, columns: int, rows: int) -> None:
        """Set the window size."""

    async def wait(self) -> ExecResult:
        """The end of the command."""

    async def signal(self, number: int) -> None:
        """Send a signal to the command's whole session."""

    async def cancel(self) -> None:
        """Hang up, then kill."""

    def close(self) -> None:
        """Close the master descriptor."""


class Piped(Protocol):
    """A command whose standard streams are pipes in the caller's hands; nothing of its output is kept.

    Attributes:
        stdin, stdout, stderr: our non-blocking ends, -1 once closed.
    """

    stdin: int
    stdout: int
    stderr: int

    async def wait(self) -> ExecResult:
        """The end of the command; what it wrote may still be in the pipes."""

    async def signal(self, number: int) -> None:
        """Send a signal to the command's whole session."""

    async def cancel(self) -> None:
        """Hang up, then kill."""

    def close_stdin(self) -> None:
        """End the command's standard input."""

    def close(self) -> None:
        """Close what is left of the pipes."""


class Sandbox(Protocol):
    """A live sandbox: its agent answers. Obtained from `Driver.open`, cheap to hold, shared by all callers."""

    id: str
    barriers: Barriers

    async def exec(self, spec: ExecSpec) -> Process:
        """Start a command; returns once it is running (or known to be impossible, see `ExecResult.cause`)."""

    async def attach(self, run_id: str) -> Process | None:
        """The process of a run started before this server did, if the agent still knows it."""

    async def begun(self, run_id: str) -> bool:
        """Whether a run that no longer goes on, and of whose end there is no record, may have begun."""

    async def terminal(self, spec: ExecSpec, columns: int, rows: int) -> Terminal:
        """Start a command on a new pseudo-terminal."""

    async def piped(self, spec: ExecSpec) -> Piped:
        """Start a command on pipes that the caller pumps, whatever the spec says of standard input and state."""

    async def dial(self, port: int, host: str = "127.0.0.1", *, udp: bool = False) -> socket.socket:
        """A connected, non-blocking TCP (or datagram) socket to a port inside the sandbox."""

    async def open_read(self, path: str, *, beneath: str) -> tuple[BinaryIO, int]:
        """A regular file inside the sandbox opened for reading, and its size; never resolves outside `beneath`."""

    async def write_file(self, path: str, source: BinaryIO, size: int, *, beneath: str, mode: int = 0o644) -> None:
        """Copy `size` bytes of `source` to `path` atomically, making parents; never resolves outside `beneath`."""

    async def usage(self) -> Usage:
        """What it uses now."""


class Driver(Protocol):
    """Makes, forks, finds again and removes sandboxes below one state directory."""

    name: str

    async def start(self) -> None:
        """Start helpers (zygote), finish or undo what a crash left half done, remove what belongs to nothing."""

    async def stop(self, *, kill: bool = True) -> None:
        """Stop helpers; with `kill`, end every sandbox's processes first. Leaves no process and no mount."""

    def barriers(self) -> Barriers:
        """The walls this driver gives on this machine."""

    async def create(self, spec: SandboxSpec) -> None:
        """Prepare a sandbox on disk; starts no process."""

    async def fork(self, parent_id: str, spec: SandboxSpec) -> ForkReport:
        """Make `spec.id` a copy-on-write child of the parent's file system as of now; starts no process."""

    async def open(self, sandbox_id: str) -> Sandbox:
        """The live sandbox, starting its agent if needed (idempotent, concurrent calls share one start)."""

    async def find(self, sandbox_id: str) -> Sandbox | None:
        """The live sandbox if its agent already runs (after a restart: adopted through its socket), else None."""

    async def result(self, sandbox_id: str, run_id: str) -> ExecResult | None:
        """The end of a run from its record on disk; None if it has not ended, or nobody lived to tell."""

    async def suspend(self, sandbox_id: str) -> bool:
        """End the agent if no command runs; files stay. True if nothing of it lives now."""

    async def kill(self, sandbox_id: str) -> None:
        """End every process of the sandbox at once; files stay."""

    async def remove(self, sandbox_id: str) -> None:
        """End it and drop its writable layer; layers shared with others stay."""

    async def reconfigure(
        self, sandbox_id: str, *, limits: Limits | None = None, network: NetworkPolicy | None = None
    ) -> None:
        """Apply new bounds or policy, to a live sandbox at once."""

    async def ids(self) -> list[str]:
        """Every sandbox on disk, live or not."""

    def run_files(self, sandbox_id: str, run_id: str) -> RunFiles:
        """Where the logs of a run are (or would be)."""

    def on_lost(self, callback: Callable[[str, str], Awaitable[None]]) -> None:
        """Call back with (sandbox id, cause) when a sandbox's agent dies unasked."""


class ImageSource(Protocol):
    """What a driver needs to know of images: read-only lower directories and bind mounts."""

    def rootfs(self, image_id: str) -> RootFs:
        """The root file system of a local image.

        Raises:
            SandboxError: reason `unknown_image`.
        """


class RootFs(Protocol):
    """A read-only root: one directory to overlay, plus host trees to show read-only."""

    directory: Path
    binds: tuple[tuple[Path, str], ...]
    env: dict[str, str]
