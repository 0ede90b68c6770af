"""The types of the wire, under the names of section 4.1.

Answers are tolerant (unknown fields in `extra`, everything in `raw`); states and other open words are plain text.
Request types are for those who like to build a request before it is sent: fields left out stay out, None is `null`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NotRequired, TypedDict

from skerry._kernel.model import NOT_GIVEN, Model, NotGiven
from skerry.networks.arker.encoding import decode_text, listed


class OpenPolicy(TypedDict):
    """Everything may be reached."""

    type: Literal["open"]


class BlockedPolicy(TypedDict):
    """Nothing may be reached."""

    type: Literal["blocked"]


class AllowPolicy(TypedDict):
    """Only the listed hosts may be reached."""

    type: Literal["allow"]
    allow: list[str]


class BlockPolicy(TypedDict):
    """All but the listed hosts may be reached."""

    type: Literal["block"]
    block: list[str]


NetworkPolicy = OpenPolicy | BlockedPolicy | AllowPolicy | BlockPolicy
NetworkPolicyInput = bool | str | NetworkPolicy
"""A policy, `True` for open, `False` for blocked, or the name of a policy or host."""


class MountRequest(TypedDict):
    """Something to mount for one run."""

    uri: str
    mount_point: str
    format: NotRequired[str]


class RunInboundPortRequest(TypedDict):
    """How a port is to be reachable."""

    visibility: NotRequired[str]
    protocol: NotRequired[str]


class RunInboundRequest(TypedDict):
    """Ports by number, written as text."""

    ports: dict[str, RunInboundPortRequest]


class RunNetworkRequest(TypedDict):
    """Which ports to open while a run lasts."""

    inbound: NotRequired[RunInboundRequest]


class ForkRequest(Model, frozen=True, kw_only=True):
    """Body of a fork (section 3.3)."""

    name: str | NotGiven | None = NOT_GIVEN
    image: str | NotGiven | None = NOT_GIVEN
    network: Any = NOT_GIVEN
    disk: bool | NotGiven | None = NOT_GIVEN
    vcpu_count: int | NotGiven | None = NOT_GIVEN
    memory_mib: int | NotGiven | None = NOT_GIVEN
    max_memory_mib: int | NotGiven | None = NOT_GIVEN
    disk_mib: int | NotGiven | None = NOT_GIVEN
    durable: bool | NotGiven | None = NOT_GIVEN


ForkOptions = ForkRequest


class RunRequest(Model, frozen=True, kw_only=True):
    """Body of a run (section 3.4); `timeout` is in milliseconds."""

    command: str
    session_id: str | NotGiven | None = NOT_GIVEN
    background: bool | NotGiven | None = NOT_GIVEN
    timeout: int | NotGiven | None = NOT_GIVEN
    end_symbol: str | NotGiven | None = NOT_GIVEN
    mounts: list[Any] | NotGiven | None = NOT_GIVEN
    vcpu_count: int | NotGiven | None = NOT_GIVEN
    memory_mib: int | NotGiven | None = NOT_GIVEN
    disk_mib: int | NotGiven | None = NOT_GIVEN
    network: Any = NOT_GIVEN
    release: str | NotGiven | None = NOT_GIVEN
    signal: str | NotGiven | None = NOT_GIVEN
    runtime: str | NotGiven | None = NOT_GIVEN
    runtime_override: str | NotGiven | None = NOT_GIVEN


RunOptions = RunRequest


class CreateSessionRequest(Model, frozen=True, kw_only=True):
    """Body of a session's creation (section 3.6)."""

    env: dict[str, str] | NotGiven | None = NOT_GIVEN
    cwd: str | NotGiven | None = NOT_GIVEN


class ResizePtyRequest(Model, frozen=True, kw_only=True):
    """Size of a terminal in characters."""

    cols: int
    rows: int


class ResizeRequest(Model, frozen=True, kw_only=True):
    """New size of a VM."""

    vcpu_count: int | NotGiven | None = NOT_GIVEN
    memory_mib: int | NotGiven | None = NOT_GIVEN
    disk_mib: int | NotGiven | None = NOT_GIVEN


class SessionInfo(Model, frozen=True, kw_only=True):
    """A persistent shell."""

    session_id: str
    state: str
    cwd: str


class GoldenInfo(Model, frozen=True, kw_only=True):
    """A public, read-only VM to fork from."""

    vm_id: str
    name: str
    source_golden: str
    memory_mib: int | None = None
    vcpu_count: int | None = None
    disk_mib: int | None = None


class ListGoldensResponse(Model, frozen=True, kw_only=True):
    """All goldens of an endpoint; iterate over it, or read `items`."""

    goldens: list[GoldenInfo]

    @property
    def items(self) -> list[GoldenInfo]:
        """The goldens; an answer without any counts as none."""
        return listed(self.goldens)

    def __iter__(self) -> Iterator[GoldenInfo]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class VmInfo(Model, frozen=True, kw_only=True):
    """A VM as the service lists it; `state` is an open word (`idle`, `running`, `suspended` ...)."""

    vm_id: str
    owner_id: str
    created_at: str
    state: str
    sessions: list[SessionInfo]
    name: str | None = None
    source_golden: str | None = None
    last_activity: str | None = None
    vcpu_count: int | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None


VmSummary = VmInfo


class ListVmsResponse(Model, frozen=True, kw_only=True):
    """The caller's VMs on an endpoint; iterate over it, or read `items` and `total`."""

    vms: list[VmInfo]

    @property
    def items(self) -> list[VmInfo]:
        """The VMs; an answer without any counts as none."""
        return listed(self.vms)

    @property
    def total(self) -> int:
        """How many there are in all; more than `items` only when the server said so of a filtered list."""
        total = self.extra.get("total")
        return total if isinstance(total, int) else len(self.items)

    def __iter__(self) -> Iterator[VmInfo]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


VmList = ListVmsResponse
ListSessionsResponse = list[SessionInfo]


class RunTunnelStatus(Model, frozen=True, kw_only=True):
    """A port that is being opened to the outside."""

    port: int
    visibility: str
    protocol: str
    status: str
    run_id: str = ""
    url: str | None = None
    message: str | None = None


class RunPortStatus(Model, frozen=True, kw_only=True):
    """What was asked of a port, and what became of it."""

    requested: str
    observed: str
    effective: str
    protocol: str
    url: str | None = None


class RunInboundStatus(Model, frozen=True, kw_only=True):
    """Ports by number, written as text."""

    ports: dict[str, RunPortStatus]


class RunNetworkStatus(Model, frozen=True, kw_only=True):
    """State of the ports a run asked for."""

    inbound: RunInboundStatus


class ForkVmResponse(Model, frozen=True, kw_only=True):
    """Answer to a fork."""

    vm_id: str
    owner_id: str
    created_at: str
    sessions: list[SessionInfo]
    ssh_private_key: str | None = None
    tunnels: list[RunTunnelStatus] | None = None
    network: RunNetworkStatus | None = None


class DeleteVmResponse(Model, frozen=True, kw_only=True):
    """Answer to a VM's deletion."""

    deleted: bool


class DeleteSessionResponse(Model, frozen=True, kw_only=True):
    """Answer to a session's deletion."""

    deleted: bool


class CancelRunResponse(Model, frozen=True, kw_only=True):
    """Whether a run was still running and is now stopped."""

    cancelled: bool


class ResizePtyResponse(Model, frozen=True, kw_only=True):
    """Answer to a terminal's resizing."""

    resized: bool


class ResizeResponse(Model, frozen=True, kw_only=True):
    """Answer to a VM's resizing."""

    ok: bool


class CompletedRunResponse(Model, frozen=True, kw_only=True):
    """A finished foreground run, as the wire has it."""

    stdout: str
    stdout_encoding: str
    stderr: str
    stderr_encoding: str
    exit_code: int
    completed: Literal[True] = True


class BackgroundRunResponse(Model, frozen=True, kw_only=True):
    """A run that goes on, as the wire has it."""

    run_id: str
    completed: bool
    tunnels: list[RunTunnelStatus] | None = None
    network: RunNetworkStatus | None = None


class PtyRunResponse(Model, frozen=True, kw_only=True):
    """A terminal to attach to, as the wire has it."""

    session_id: str
    ws_url: str
    pty: Literal[True] = True


RunResponse = CompletedRunResponse | BackgroundRunResponse | PtyRunResponse


class RunStatusResponse(Model, frozen=True, kw_only=True):
    """State and output so far of a background run; output is encoded as the wire has it."""

    run_id: str
    stdout: str
    stdout_encoding: str
    stderr: str
    stderr_encoding: str
    exit_code: int | None
    completed: bool
    tunnels: list[RunTunnelStatus]
    network: RunNetworkStatus | None = None
    retry_count: int = 0

    @property
    def stdout_bytes(self) -> bytes:
        """Standard output, decoded."""
        return decode_text(self.stdout, self.stdout_encoding)

    @property
    def stderr_bytes(self) -> bytes:
        """Standard error, decoded."""
        return decode_text(self.stderr, self.stderr_encoding)


class RunSummary(Model, frozen=True, kw_only=True):
    """A run in a list of runs (an island's addition)."""

    run_id: str
    state: str | None = None
    command: str | None = None
    session_id: str | None = None
    exit_code: int | None = None
    completed: bool | None = None
    created_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    retry_count: int = 0


class ListRunsResponse(Model, frozen=True, kw_only=True):
    """Runs of a VM, newest first; iterate over it."""

    runs: list[RunSummary]

    def __iter__(self) -> Iterator[RunSummary]:
        return iter(listed(self.runs))

    def __len__(self) -> int:
        return len(listed(self.runs))


class PtyTicket(Model, frozen=True, kw_only=True):
    """A one-time right to attach to a terminal (section 6)."""

    ticket: str
    expires_in: int | None = None


class HealthResponse(Model, frozen=True, kw_only=True):
    """Whether the service is well."""

    status: str
    timestamp: str | None = None


class SyncReadRequest(Model, frozen=True, kw_only=True):
    """Body of a file's reading (section 3.5)."""

    path: str
    op: Literal["read"] = "read"


class SyncChunk(Model, frozen=True, kw_only=True):
    """One piece of a file: the base64 of bytes `start` to `end`, end excluded."""

    path: str
    size: int
    upload_id: str
    content: str
    start: int
    end: int
    sha256: str | NotGiven | None = NOT_GIVEN
    is_secret: bool | NotGiven = NOT_GIVEN


class SyncPresignRequest(Model, frozen=True, kw_only=True):
    """Asks where to put a large file."""

    path: str
    size: int
    presigned: Literal[True] = True
    is_secret: bool | NotGiven = NOT_GIVEN


class SyncPresignCommit(Model, frozen=True, kw_only=True):
    """Says that a large file was put there."""

    path: str
    size: int
    upload_id: str
    sha256: str | NotGiven | None = NOT_GIVEN


SyncWriteEntry = SyncChunk | SyncPresignRequest | SyncPresignCommit


class SyncWriteRequest(Model, frozen=True, kw_only=True):
    """Body of a file's writing."""

    writes: list[SyncWriteEntry]
    op: Literal["write"] = "write"


SyncRequest = SyncReadRequest | SyncWriteRequest


class SyncReadResponse(Model, frozen=True, kw_only=True):
    """A file's content, or where to fetch it."""

    path: str
    size: int
    op: str = "read"
    ok: bool = True
    content: str | NotGiven = NOT_GIVEN
    encoding: str | NotGiven = NOT_GIVEN
    presigned_url: str | NotGiven = NOT_GIVEN
    expires_in: int | NotGiven = NOT_GIVEN
    method: str | NotGiven = NOT_GIVEN


class SyncRange(Model, frozen=True, kw_only=True):
    """Bytes `start` to `end` of a file, end excluded."""

    start: int
    end: int


class SyncEntryError(Model, frozen=True, kw_only=True):
    """Why one entry of a write failed."""

    code: str
    message: str


class SyncWriteResult(Model, frozen=True, kw_only=True):
    """What became of one entry of a write."""

    path: str
    size: int
    complete: bool
    written: bool
    received_bytes: int | NotGiven = NOT_GIVEN
    ranges: list[SyncRange] | NotGiven = NOT_GIVEN
    presigned_url: str | NotGiven = NOT_GIVEN
    upload_id: str | NotGiven = NOT_GIVEN
    expires_in: int | NotGiven = NOT_GIVEN
    method: str | NotGiven = NOT_GIVEN
    error: SyncEntryError | NotGiven | None = NOT_GIVEN


class SyncWriteResponse(Model, frozen=True, kw_only=True):
    """What became of each entry, in order."""

    results: list[SyncWriteResult]
    op: str = "write"
    ok: bool = True


SyncResponse = SyncReadResponse | SyncWriteResponse


class ErrorResponse(Model, frozen=True, kw_only=True):
    """The flat error envelope."""

    code: str
    message: str
