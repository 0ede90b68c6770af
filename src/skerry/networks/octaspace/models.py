"""The objects of OctaSpace as the wire has them (section 3), under the wire's own names; nodes are in `machines`.

Answers are tolerant: unknown fields are kept (`extra`, `raw`), a field that is missing is None, and where the service
is known to send text in place of numbers both are accepted. Amounts stay as they came, as exact integers of Wei or as
`Decimal`; beside them stand properties that are `Money`, aware moments, and plain lists. Units that the names do not
say: `uptime`, `duration` and what ends in `_d` are seconds, memory and disk are bytes, GPU memory is MiB, prices are
per hour (`traffic` per GB).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from skerry._kernel.model import Model
from skerry.money import Money
from skerry.networks.octaspace.machines import Count, Gpu, Number
from skerry.networks.octaspace.values import moment_of, numbers, octa, texts, usd, usd_of_parts, whole

READY = frozenset({"service configured", "configured", "running", "ready"})
"""Words of `progress` that mean ready, for answers that do not say it by `is_ready` (section 1.1)."""

TERMINATION = {
    0: "ended normally",
    1: "idle limit reached",
    2: "node lost",
    3: "balance exhausted",
    4: "start failed",
}
"""What `termination_reason` says; every other value is an error too (section 1.1)."""


class Account(Model, frozen=True, kw_only=True):
    """The owner of balance, sessions and nodes (section 3.1)."""

    account_uuid: str | None = None
    avatar: str | None = None
    balance: Count | None = None
    email: str | None = None
    ref_code: str | None = None
    uid: int | None = None
    wallet: str | None = None

    @property
    def funds(self) -> Money | None:
        """`balance`, which is in Wei, as money."""
        return octa(self.balance)


class Balance(Model, frozen=True, kw_only=True):
    """What an account has to spend."""

    balance: Count | None = None

    @property
    def funds(self) -> Money | None:
        """`balance`, which is in Wei, as money."""
        return octa(self.balance)


class Wallet(Model, frozen=True, kw_only=True):
    """A deposit address."""

    address: str | None = None


class BlockchainInfo(Model, frozen=True, kw_only=True):
    """The state of the chain; `era` is a number or a name."""

    height: int | None = None
    difficulty: Number | None = None
    hashrate: Number | None = None
    total_supply: Number | None = None
    circulating_supply: Number | None = None
    era: int | float | str | None = None
    blocktime: Number | None = None


class NetworkNodes(Model, frozen=True, kw_only=True):
    """How many nodes there are."""

    count: int | None = None
    vpn: int | None = None
    locations: int | None = None
    vpn_locations: int | None = None


class NetworkPower(Model, frozen=True, kw_only=True):
    """What all nodes have together."""

    cpus: int | None = None
    gpus: int | None = None
    disk: int | None = None
    mem: int | None = None
    tflops: Number | None = None


class NetworkStats(Model, frozen=True, kw_only=True):
    """The network at large (section 3.2)."""

    blockchain: BlockchainInfo | None = None
    market_price: Decimal | None = None
    mm_roi: Number | None = msgspec.field(default=None, name="mmROI")
    nodes: NetworkNodes | None = None
    power: NetworkPower | None = None
    staked: Number | None = None
    marketplace: dict[str, Any] | None = None
    platform: dict[str, Any] | None = None
    render: dict[str, Any] | None = None

    @property
    def octa_price(self) -> Money | None:
        """`market_price` as money: what one OCTA costs."""
        return usd(self.market_price)


class App(Model, frozen=True, kw_only=True):
    """A template: image, environment, ports and start command (section 3.3)."""

    uuid: str | None = None
    name: str | None = None
    category: str | None = None
    description: str | None = None
    image: str | None = None
    envs: dict[str, Any] | None = None
    extra_info: dict[str, Any] | None = msgspec.field(default=None, name="extra")
    ports: Any = None
    http_ports: Any = None
    personal: bool | None = None
    start_command: str | None = None

    @property
    def port_list(self) -> list[int]:
        """`ports` as a list, whatever form it came in."""
        return numbers(self.ports)

    @property
    def http_port_list(self) -> list[int]:
        """`http_ports` as a list, whatever form it came in."""
        return numbers(self.http_ports)

    @property
    def environment(self) -> dict[str, str]:
        """`envs` with every value as text."""
        return texts(self.envs)


class Started(Model, frozen=True, kw_only=True):
    """The answer to the start of a service."""

    uuid: str | None = None


class SshAccess(Model, frozen=True, kw_only=True):
    """Where SSH answers; the user is `root`."""

    host: str | None = None
    port: int | None = None


class SessionNodeHw(Model, frozen=True, kw_only=True):
    """The machine that a session runs on."""

    cpu: str | None = None
    cpu_cores: int | None = None
    gpu: list[Gpu] | None = None
    total_memory: int | None = None
    disk: Number | None = None


class SessionPrices(Model, frozen=True, kw_only=True):
    """The prices of a session, as they were when it started."""

    base_usd: Number | None = None
    currency_usd: bool | None = None
    market_price: Decimal | None = None

    @property
    def base_price_in_usd(self) -> Money | None:
        """`base_usd`, which is in 1/10,000 USD, as money, per hour."""
        return usd_of_parts(self.base_usd)


class ServiceInfo(Model, frozen=True, kw_only=True):
    """A session: one run of a service on a node (section 3.10); which fields there are depends on the service."""

    uuid: str | None = None
    service: str | None = None
    kind: str | None = None
    app_name: str | None = None
    app_logo: str | None = None
    node_id: int | None = None
    progress: str | None = None
    is_ready: bool | None = None
    duration: Number | str | None = None
    started_at: Count | None = None
    finished_at: Count | None = None
    termination_reason: Count | None = None
    public_ip: str | None = None
    ip: str | None = None
    country: str | None = None
    country_iso: str | None = None
    city: str | None = None
    ports_matrix: dict[str, int] | None = None
    urls: dict[str, str] | None = None
    ssh_direct: SshAccess | None = None
    ssh_proxy: SshAccess | None = None
    ssh_web: str | None = None
    config: str | dict[str, Any] | None = None
    tx: Count | None = None
    rx: Count | None = None
    charge_amount: Count | None = None
    node_hw: SessionNodeHw | None = None
    prices: SessionPrices | None = None
    container_id: list[str] | str | None = None
    user_envs: dict[str, Any] | None = None

    @property
    def ready(self) -> bool:
        """Whether it can be used; by `is_ready`, or by `progress` where that is missing."""
        if isinstance(self.is_ready, bool):
            return self.is_ready
        return isinstance(self.progress, str) and self.progress.lower() in READY

    @property
    def finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.finished_at is not None or self.termination_reason is not None

    @property
    def charge_amount_wei(self) -> int | None:
        """`charge_amount` as an exact integer, however it came."""
        return whole(self.charge_amount)

    @property
    def charge(self) -> Money | None:
        """`charge_amount`, which is in Wei, as money."""
        return octa(self.charge_amount)

    @property
    def seconds(self) -> int | None:
        """`duration` as a number."""
        return whole(self.duration)

    @property
    def bytes_sent(self) -> int | None:
        """`tx` as a number: what the user sent."""
        return whole(self.tx)

    @property
    def bytes_received(self) -> int | None:
        """`rx` as a number: what the user received."""
        return whole(self.rx)

    @property
    def started(self) -> datetime | None:
        """`started_at`, which is in milliseconds, as a moment."""
        return moment_of(self.started_at)

    @property
    def ended(self) -> datetime | None:
        """`finished_at`, which is in milliseconds, as a moment."""
        return moment_of(self.finished_at)

    @property
    def termination(self) -> str | None:
        """Why it ended, in words; None when that is not said."""
        if self.termination_reason is None:
            return None
        reason = whole(self.termination_reason)
        return TERMINATION.get(-1 if reason is None else reason, f"termination reason {self.termination_reason}")

    def host_port(self, port: int) -> int | None:
        """The port of the host that leads to a port of the container, None when it is not mapped."""
        matrix: Any = self.ports_matrix
        return matrix.get(str(port)) if isinstance(matrix, dict) else None


class SystemLogEntry(Model, frozen=True, kw_only=True):
    """One event of the platform."""

    msg: str | None = None
    ts: Count | None = None

    @property
    def time(self) -> datetime | None:
        """`ts`, which is in milliseconds, as a moment."""
        return moment_of(self.ts)


class SessionLogs(Model, frozen=True, kw_only=True):
    """Logs of a session: events of the platform, and what the container wrote (section 3.11)."""

    system: list[SystemLogEntry] | None = None
    container: str | None = None


class IdleJob(Model, frozen=True, kw_only=True):
    """A container of the operator on an idle node (section 3.13)."""

    is_up: bool | None = None
    uptime: Number | None = None
    error: str | None = None


class IdleJobLogs(Model, frozen=True, kw_only=True):
    """Logs of an idle job as they travel: gzip, then base64."""

    data: str | None = None
