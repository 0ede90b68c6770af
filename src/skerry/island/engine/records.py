"""The engine's nouns as immutable values, as they are stored and handed to faces."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from skerry.island.sandbox.spec import Limits, NetworkPolicy, Volume
from skerry.money import Money

SandboxState = Literal["idle", "running", "suspended"]
RunState = Literal["pending", "running", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who owns things and pays for them."""

    id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An authenticated request: which account, through which key of which network."""

    account_id: str
    key_id: str
    network: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key as it may be shown: never the key itself, only its first characters."""

    id: str
    account_id: str
    network: str
    hint: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One accelerator of a node."""

    index: int
    name: str
    memory_bytes: int
    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine that offers capacity."""

    id: str
    name: str
    cpu_millis: int
    memory_bytes: int
    disk_bytes: int
    gpus: tuple[Gpu, ...]
    state: Literal["ready", "draining", "lost"]
    cpu_hour: Money
    memory_gib_hour: Money
    gpu_hour: Money
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A read-only root file system that sandboxes start from."""

    id: str
    name: str
    source: str
    size_bytes: int
    created_at: datetime
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What an image runs when nothing else is said.

    `argv` is complete; `env` is the image's own; `user` is as in the image's configuration, empty for root.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRecord:
    """A forkable machine of an account.

    `public_id` and `name` are the network's own words for it; `root_image` is the image at the root of the chain;
    `gpus` are indices of the node's.
    """

    id: str
    account_id: str
    network: str
    name: str | None
    image: str
    parent_id: str | None
    node_id: str
    state: SandboxState
    durable: bool
    limits: Limits
    policy: NetworkPolicy
    created_at: datetime
    last_active_at: datetime
    labels: dict[str, str] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """A persistent shell of a sandbox: working directory, environment and shell state, between runs."""

    id: str
    sandbox_id: str
    default: bool
    state: Literal["idle", "running"]
    cwd: str
    env: dict[str, str]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One command in a sandbox."""

    id: str
    sandbox_id: str
    session_id: str | None
    account_id: str
    command: str
    background: bool
    state: RunState
    cause: str | None
    exit_code: int | None
    attempts: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cpu_ns: int
    max_rss_bytes: int
    stdout_bytes: int
    stderr_bytes: int
    dropped_bytes: int
    cost: Money | None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Capacity of a node held for a run or a session, metered and priced, until it is closed."""

    id: str
    account_id: str
    node_id: str
    sandbox_id: str
    purpose: str
    cpu_millis: int
    memory_bytes: int
    gpus: int
    held: Money
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """A part of a node set aside for work that asked for it; `gpus` are indices of the node's."""

    id: str
    account_id: str
    node_id: str
    cpu_millis: int
    memory_bytes: int
    disk_bytes: int
    gpus: tuple[int, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """What of a node is not set aside."""

    cpu_millis: int
    memory_bytes: int
    disk_bytes: int
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPort:
    """A port of a sandbox that is reached by a port of this machine.

    Args:
        port: inside; 0 stands for the island's SSH server, which answers for the sandbox.
        host: address that the machine listens on.
        host_port: port that it listens on.
        allowed: CIDR blocks whose addresses may connect; none means this machine's own loopback addresses.
        ssh: where nothing listens inside, the island's SSH server answers.
        udp: datagrams to the same host port are carried too.
        listening: False when no port of this machine could be had; publishing it again tries again.
    """

    sandbox_id: str
    account_id: str
    port: int
    host: str
    host_port: int
    allowed: tuple[str, ...]
    ssh: bool
    udp: bool = False
    listening: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SshGrants:
    """Who may log in to a sandbox, and how.

    Args:
        public_keys: OpenSSH public keys by fingerprint (`SHA256:...`).
        metered: whether what is run is charged by the second.
        env: variables of every command beside the sandbox's own.
    """

    sandbox_id: str
    account_id: str
    public_keys: dict[str, str]
    metered: bool
    env: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One line of the ledger; the postings of one `transfer_id` sum to zero per currency."""

    id: int
    transfer_id: str
    account: str
    amount: Money
    memo: str
    created_at: datetime
