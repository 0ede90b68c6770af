"""The closed schemas of Arker's wire: what a request may hold and exactly what an answer holds.

They are not the client's models on purpose: those tolerate what a newer server adds, these refuse what is not agreed
(protocol section 3), and a mistake in one is not mirrored by the other.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Cpus = Annotated[int, Meta(ge=0, le=255)]
Dimension = Annotated[int, Meta(ge=0, le=65535)]


class Closed(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A request body that refuses every field it does not know."""


class PolicyBody(Closed, kw_only=True):
    """Egress policy object of a fork (section 3.3)."""

    type: Literal["open", "blocked", "allow", "block"]
    allow: list[str] | None = None
    block: list[str] | None = None


class ForkRequest(Closed, kw_only=True):
    """Body of POST fork (section 3.3)."""

    name: str | None = None
    image: str | None = None
    network: bool | str | PolicyBody | None = None
    disk: bool | None = True
    vcpu_count: Cpus | None = None
    memory_mib: Count | None = None
    max_memory_mib: Count | None = None
    disk_mib: Count | None = None
    durable: bool | None = False


class LegacyForkRequest(ForkRequest, kw_only=True):
    """Body of POST fork below `/api/v1`, where 0.2.0 clients add two fields (section 3.8)."""

    is_public: bool | None = None
    region: str | None = None


class LegacyNamedForkRequest(LegacyForkRequest, kw_only=True):
    """Body of POST `/api/v1/vms/fork`: the source travels in the body (section 3.8)."""

    source: str = msgspec.field(name="from")


class MountBody(Closed, kw_only=True):
    """One file system to mount for a run."""

    uri: str
    mount_point: str
    format: str | None = "dir"


class InboundPort(Closed, kw_only=True):
    """One port that a run asks to be reachable."""

    visibility: str | None = "private"
    protocol: str | None = "http"


class Inbound(Closed, kw_only=True):
    """The inbound half of a run's network request."""

    ports: dict[str, InboundPort] | None = None


class RunNetwork(Closed, kw_only=True):
    """What a run asks of the network."""

    inbound: Inbound | None = None


class _RunFields(Closed, kw_only=True):
    """What both generations of a run's body share."""

    command: str
    background: bool | None = False
    timeout: Count | None = None
    end_symbol: str | None = "auto"
    mounts: list[MountBody] | None = msgspec.field(default_factory=list)
    vcpu_count: Cpus | None = None
    memory_mib: Count | None = None
    disk_mib: Count | None = None
    network: RunNetwork | None = None
    release: str | None = None
    signal: str | None = None
    runtime: str | None = None
    runtime_override: str | None = None


class RunRequest(_RunFields, kw_only=True):
    """Body of POST run (section 3.4)."""

    session_id: str | None = None


class LegacyRunRequest(_RunFields, kw_only=True):
    """Body of POST run below `/api/v1`: 0.2.0 clients number their sessions (section 3.8)."""

    session_id: str | int | None = None


class SyncEntry(Closed, kw_only=True):
    """One entry of a write; its kind follows from which keys are present (section 3.5)."""

    path: str
    size: Count
    upload_id: str | None = None
    content: str | None = None
    start: Count | None = None
    end: Count | None = None
    presigned: bool | None = None
    sha256: str | None = None
    is_secret: bool | None = False


class SyncRead(Closed, kw_only=True, tag_field="op", tag="read"):
    """Read one file."""

    path: str


class SyncWrite(Closed, kw_only=True, tag_field="op", tag="write"):
    """Write files, each entry on its own."""

    writes: list[SyncEntry]


SyncRequest = SyncRead | SyncWrite


class SessionRequest(Closed, kw_only=True):
    """Body of POST sessions (section 3.6)."""

    env: dict[str, str] | None = None
    cwd: str | None = None


class ResizeTerminalRequest(Closed, kw_only=True):
    """Body of POST session resize (section 3.6)."""

    cols: Dimension
    rows: Dimension


class ResizeRequest(Closed, kw_only=True):
    """Body of POST VM resize (section 3.6)."""

    vcpu_count: Cpus | None = None
    memory_mib: Count | None = None
    disk_mib: Count | None = None


class Nothing(Closed, kw_only=True):
    """The empty body."""


class Answer(msgspec.Struct, kw_only=True):
    """What the face says; fields left UNSET do not appear."""


class SessionInfo(Answer, kw_only=True):
    """A session as clients see it."""

    session_id: str
    state: str
    cwd: str


class GoldenInfo(Answer, kw_only=True):
    """A public source of forks."""

    vm_id: str
    name: str
    source_golden: str
    memory_mib: int | None
    vcpu_count: int | None
    disk_mib: int | None


class GoldensAnswer(Answer, kw_only=True):
    """Answer of GET goldens."""

    goldens: list[GoldenInfo]


class VmInfo(Answer, kw_only=True):
    """A VM as clients see it."""

    vm_id: str
    owner_id: str
    created_at: str
    state: str
    sessions: list[SessionInfo]
    name: str | None
    source_golden: str | None
    last_activity: str | None
    vcpu_count: int | None
    memory_mib: int | None
    disk_mib: int | None


class VmsAnswer(Answer, kw_only=True):
    """Answer of GET vms."""

    vms: list[VmInfo]


class ForkAnswer(Answer, kw_only=True):
    """Answer of POST fork."""

    vm_id: str
    owner_id: str
    created_at: str
    sessions: list[SessionInfo]


class TunnelInfo(Answer, kw_only=True):
    """An inbound port that is open."""

    port: int
    visibility: str
    protocol: str
    status: str
    run_id: str
    url: str | None
    message: str | None


class PortInfo(Answer, kw_only=True):
    """How one asked-for port turned out."""

    requested: str
    observed: str
    effective: str
    protocol: str
    url: str | None


class InboundInfo(Answer, kw_only=True):
    """The ports of a network answer."""

    ports: dict[str, PortInfo]


class NetworkInfo(Answer, kw_only=True):
    """The network part of a run's answer."""

    inbound: InboundInfo


class CompletedAnswer(Answer, kw_only=True):
    """A foreground run that ended: exactly six keys."""

    stdout: str
    stdout_encoding: str
    stderr: str
    stderr_encoding: str
    exit_code: int
    completed: bool = True


class LegacyCompletedAnswer(CompletedAnswer, kw_only=True):
    """The same for a 0.2.0 client, which also wants to know where its session stands."""

    duration_ms: int
    session_id: str | int
    cwd: str


class BackgroundAnswer(Answer, kw_only=True):
    """A run that goes on by itself."""

    run_id: str
    completed: bool
    tunnels: list[TunnelInfo]
    network: NetworkInfo | UnsetType = UNSET


class TerminalAnswer(Answer, kw_only=True):
    """A run that became an interactive terminal."""

    session_id: str
    ws_url: str
    pty: bool = True


class RunStatusAnswer(Answer, kw_only=True):
    """Answer of GET run."""

    run_id: str
    stdout: str
    stdout_encoding: str
    stderr: str
    stderr_encoding: str
    exit_code: int | None
    completed: bool
    tunnels: list[TunnelInfo]
    retry_count: int
    network: NetworkInfo | UnsetType = UNSET


class RunSummary(Answer, kw_only=True):
    """A run in a list; its output is asked for by id."""

    run_id: str
    state: str
    command: str
    session_id: str | None
    exit_code: int | None
    completed: bool
    created_at: str
    started_at: str | None
    ended_at: str | None
    retry_count: int


class RunsAnswer(Answer, kw_only=True):
    """Answer of GET runs, newest first (adopted from later generations, section 6)."""

    runs: list[RunSummary]
    next_cursor: str | None


class CancelAnswer(Answer, kw_only=True):
    """Answer of DELETE run."""

    cancelled: bool


class DeletedAnswer(Answer, kw_only=True):
    """Answer of DELETE VM and DELETE session."""

    deleted: bool


class ResizedAnswer(Answer, kw_only=True):
    """Answer of POST session resize."""

    resized: bool


class OkAnswer(Answer, kw_only=True):
    """Answer of POST VM resize."""

    ok: bool = True


class InlineRead(Answer, kw_only=True):
    """A small file: exactly six keys."""

    path: str
    size: int
    content: str
    encoding: str
    ok: bool = True
    op: str = "read"


class PresignedRead(Answer, kw_only=True):
    """A large file: exactly seven keys."""

    path: str
    size: int
    presigned_url: str
    expires_in: int
    ok: bool = True
    op: str = "read"
    method: str = "GET"


class EntryError(Answer, kw_only=True):
    """Why one entry of a write failed."""

    code: str
    message: str


class RangeInfo(Answer, kw_only=True):
    """Half-open byte range `[start, end)`."""

    start: int
    end: int


class ChunkResult(Answer, kw_only=True):
    """What became of a chunk."""

    path: str
    size: int
    received_bytes: int
    ranges: list[RangeInfo]
    complete: bool
    written: bool
    error: EntryError | None


class PresignResult(Answer, kw_only=True):
    """Where to PUT a large file."""

    path: str
    size: int
    presigned_url: str
    upload_id: str
    expires_in: int
    method: str
    complete: bool
    written: bool
    error: EntryError | None


class CommitResult(Answer, kw_only=True):
    """What became of a commit."""

    path: str
    size: int
    complete: bool
    written: bool
    error: EntryError | None


class WriteAnswer(Answer, kw_only=True):
    """Answer of a write: one result per entry, in order."""

    results: list[ChunkResult | PresignResult | CommitResult]
    ok: bool = True
    op: str = "write"


class HealthAnswer(Answer, kw_only=True):
    """Answer of GET health."""

    status: str
    timestamp: str


class TicketAnswer(Answer, kw_only=True):
    """A single-use ticket for a terminal (section 6)."""

    ticket: str
    expires_in: int


class LegacyVm(Answer, kw_only=True):
    """A VM in the 0.2.0 list."""

    vm_id: str
    name: str | None
    base_image: str
    region: str
    created_at: str


class LegacyListAnswer(Answer, kw_only=True):
    """Answer of GET `/api/v1/vms/list`."""

    items: list[LegacyVm]
    total: int
    ok: bool = True


class LegacyForkAnswer(Answer, kw_only=True):
    """Answer of POST `/api/v1/vms/fork`."""

    vm_id: str
    ok: bool = True
