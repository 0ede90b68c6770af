"""What a sandbox is asked to be, and what it reports: plain values shared by every driver."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

NetworkMode = Literal["none", "open", "allow", "block"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """What a sandbox may reach. Enforced outside the sandbox, never inside it.

    Args:
        mode: `none` (loopback of its own only), `open` (any public address), `allow` (only `hosts`),
            `block` (any public address except `hosts`).
        hosts: host names, `*.suffix` patterns, addresses or CIDR blocks, each with an optional `:port`.
    """

    mode: NetworkMode = "none"
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper bounds of one sandbox; None leaves that resource to the machine.

    Args:
        cpu_millis: thousandths of a CPU; 1500 is one and a half.
        memory_bytes: resident memory and page cache of all its processes together.
        pids: processes and threads.
        disk_bytes: bytes in the writable layer; a single file can never exceed it, the sum is checked often.
        open_files: descriptors per process.
        output_bytes: kept bytes of each output stream of one run; the rest is counted and dropped.
    """

    cpu_millis: int | None = None
    memory_bytes: int | None = None
    pids: int | None = 512
    disk_bytes: int | None = None
    open_files: int | None = 4096
    output_bytes: int = 16 << 20


@dataclass(frozen=True, slots=True)
class Volume:
    """Another image's files in a sandbox, read-only.

    Args:
        image_id: id of a local image.
        path: absolute directory inside; made when missing.
    """

    image_id: str
    path: str


@dataclass(frozen=True, slots=True)
class GpuDevice:
    """A GPU of this machine: its number among those of the node, and its UUID, empty where unknown."""

    index: int
    uuid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """A sandbox to be.

    Args:
        id: unique name, `[A-Za-z0-9_-]{1,64}`; also its directory and, lower-cased, its host name.
        image: id of a local image, such as `host`.
        limits: bounds applied whenever its processes live.
        network: egress policy.
        home: home directory, made in the writable layer and used as the first working directory.
        volumes: trees of other images; a fork has its parent's.
        gpus: whose device nodes it has.
    """

    id: str
    image: str
    limits: Limits = field(default_factory=Limits)
    network: NetworkPolicy = field(default_factory=NetworkPolicy)
    home: str = "/home/user"
    volumes: tuple[Volume, ...] = ()
    gpus: tuple[GpuDevice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserIds:
    """Numeric ids inside a sandbox, 0 to 65535."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSpec:
    """One command to run in a sandbox.

    Args:
        id: run id; log files and the exit record carry it, so a run is found again after a restart.
        argv: program and arguments; the program is looked up in the sandbox's PATH.
        env: the whole environment of the command.
        cwd: working directory inside the sandbox.
        stdin: bytes given on standard input, which then ends.
        timeout: seconds until the command's process session gets SIGTERM and, after `grace`, SIGKILL.
        grace: seconds between the two.
        state: bytes readable by the command at descriptor 8 (session state), or None.
        keep_state: give the command a writable descriptor 9 and keep what it writes there (at most 1 MiB).
        warm: its program may be started before it is asked for: it waits for descriptor 8 to end, and then writes to
            descriptor 9 before it does anything that another start of it must not do again.
        merge_output: standard error goes into standard output's log, in the order written.
        user: as whom it runs; None is root. Ignored where a sandbox has a single id (barrier `mapped-ids` missing).
    """

    id: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/home/user"
    stdin: bytes = b""
    timeout: float | None = None
    grace: float = 2.0
    state: bytes | None = None
    keep_state: bool = False
    warm: bool = False
    merge_output: bool = False
    user: UserIds | None = None


Cause = Literal["exited", "signaled", "timeout", "cancelled", "out_of_memory", "disk_full", "not_found", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """How a command ended.

    Args:
        exit_code: its status; 128+n for signal n; 124 for a timeout; 127 when the program is missing;
            -1 when the sandbox was lost and the end is unknown.
        cause: why it ended.
        stdout_bytes, stderr_bytes: bytes kept in the log files.
        dropped_bytes: output beyond the limit.
        cpu_ns: processor time of the command and its waited-for children.
        max_rss_bytes: largest resident set of the command.
        wall_ns: time from start to end.
        state: what it wrote to descriptor 9, when asked.
    """

    exit_code: int
    cause: Cause
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    dropped_bytes: int = 0
    cpu_ns: int = 0
    max_rss_bytes: int = 0
    wall_ns: int = 0
    state: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Barriers:
    """Which walls stand around a sandbox, told truthfully.

    Args:
        driver: `namespace`, `process` or `gvisor`.
        active: names such as `user-namespace`, `pid-namespace`, `network-namespace`, `mount-namespace`,
            `overlay`, `pivot-root`, `seccomp`, `no-new-privileges`, `landlock`, `cgroup-v1`, `cgroup-v2`, `rlimits`.
        missing: walls this machine or driver does not give, each with the reason.
    """

    driver: str
    active: tuple[str, ...]
    missing: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkReport:
    """What a fork carried over and how.

    Args:
        method: `relayer` (constant time), `reflink`, `copy`.
        frozen_ns: time for which a running parent stood still; 0 for an idle one.
        depth: layers under the child.
    """

    method: Literal["relayer", "reflink", "copy"]
    frozen_ns: int
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a sandbox uses now; None where this machine cannot tell."""

    processes: int
    memory_bytes: int | None
    cpu_ns: int | None
    disk_bytes: int | None


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where the driver keeps one run, on the host, outside the sandbox's reach."""

    directory: Path
    run_id: str

    @property
    def stdout(self) -> Path:
        """Its standard output."""
        return self.directory / f"{self.run_id}.out"

    @property
    def stderr(self) -> Path:
        """Its standard error."""
        return self.directory / f"{self.run_id}.err"

    @property
    def record(self) -> Path:
        """How it ended, as its agent wrote it."""
        return self.directory / f"{self.run_id}.json"
