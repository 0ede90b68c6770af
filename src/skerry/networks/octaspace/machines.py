"""Nodes and what they offer, as the wire has them (sections 3.4 to 3.6 and 3.9); conventions as in `models`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from skerry._kernel.model import Model
from skerry.money import Money
from skerry.networks.octaspace.values import mbits, octa, octa_of_coins, usd, usd_of_parts

Number = int | float
Count = int | str
"""An integer that may come as text when it is large."""


class Location(Model, frozen=True, kw_only=True):
    """Where a node is; most of it only when the node is asked for by id."""

    city: str | None = None
    country: str | None = None
    latitude: Number | None = None
    longitude: Number | None = None
    isocode: str | None = None
    continent: str | None = None
    continentcode: str | None = None
    hostname: str | None = None
    ip: str | None = None
    organisation: str | None = None
    provider: str | None = None
    proxy: str | None = None
    risk: Number | None = None
    type: str | None = None
    devices: dict[str, Any] | None = None


class NodePrices(Model, frozen=True, kw_only=True):
    """What a node costs, in Wei: per hour, per GB and hour of disk, and per GB of traffic."""

    base: int | None = None
    storage: int | None = None
    traffic: int | None = None

    @property
    def base_price(self) -> Money | None:
        """`base` as money, per hour."""
        return octa(self.base)

    @property
    def storage_price(self) -> Money | None:
        """`storage` as money, per GB and hour."""
        return octa(self.storage)

    @property
    def traffic_price(self) -> Money | None:
        """`traffic` as money, per GB."""
        return octa(self.traffic)


class Gpu(Model, frozen=True, kw_only=True):
    """One GPU; most of it only where a node reports it."""

    model: str | None = None
    mem_total_mb: Number | None = None
    mem_free_mb: Number | None = None
    idx: int | None = None
    bus_id: str | None = None
    pcie_link_gen: Number | None = None
    pcie_link_width: Number | None = None
    gpu_utilization: Number | None = None
    gpu_temperature: Number | None = None
    fan_speed: Number | None = None
    power_limit_watt: Number | None = None
    power_limit_default_watt: Number | None = None
    pstate: str | None = None
    driver_version: str | None = None


class Disk(Model, frozen=True, kw_only=True):
    """A node's disk."""

    free: int | None = None
    size: int | None = None
    used_percent: Number | None = None


class Memory(Model, frozen=True, kw_only=True):
    """A node's memory, in short as lists have it or at length as details have it."""

    free: int | None = None
    size: int | None = None
    total_memory: int | None = None
    free_memory: int | None = None
    available_memory: int | None = None
    cached_memory: int | None = None
    buffered_memory: int | None = None
    total_swap: int | None = None
    free_swap: int | None = None


class NodeSystem(Model, frozen=True, kw_only=True):
    """A node's machine in short."""

    arch: str | None = None
    cpu_cores: int | None = None
    cpu_load_percent: Number | None = None
    cpu_model_name: str | None = None
    os_version: str | None = None
    disk: Disk | None = None
    gpus: list[Gpu] | None = None
    memory: Memory | None = None


class Node(Model, frozen=True, kw_only=True):
    """A machine of the account, as the list has it (section 3.4). `state` is `idle`, `busy`, or else offline."""

    id: int | None = None
    ip: str | None = None
    state: str | None = None
    osn: str | None = None
    uptime: Number | None = None
    vrf_dt: str | None = None
    location: Location | None = None
    prices: NodePrices | None = None
    system: NodeSystem | None = None


class Rating(Model, frozen=True, kw_only=True):
    """What users think, from 1 to 5."""

    count: int | None = None
    score: Number | None = None


class Reliability(Model, frozen=True, kw_only=True):
    """How a node has behaved (section 3.6); percentages and counts of sessions."""

    uptime: Number | None = None
    stability: Number | None = None
    s_avg_d: Number | None = None
    s_max_d: Number | None = None
    s_normal: int | None = None
    s_failed: int | None = None
    rating: Rating | None = None


class NodeDetailData(Model, frozen=True, kw_only=True):
    """A node's machine at length, as its daemon reports it."""

    arch: str | None = None
    cpu_cores: int | None = None
    cpu_load_percent: Number | None = None
    cpu_model_name: str | None = None
    cpu_vendor_id: str | None = None
    cuda_version: str | None = None
    os_version: str | None = None
    kernel_version: str | None = None
    linux_distro: str | None = None
    linux_release: str | None = None
    is_hive_os: bool | None = None
    is_wsl: bool | None = None
    virt: str | None = None
    gpu_pt: bool | None = None
    gpu_vendor: str | None = None
    gpu_driver_version: str | None = None
    gpus: list[Gpu] | None = None
    gpu: Any = None
    disk: Disk | None = None
    memory: Memory | None = None
    version: str | None = None
    uptime: Number | None = None


class NodeDetail(Model, frozen=True, kw_only=True):
    """A machine of the account at length; without the prices, which only the list has (section 3.4)."""

    id: int | None = None
    account_id: int | None = None
    state: str | None = None
    ip: str | None = None
    vrf_dt: str | None = None
    features: list[str] | None = None
    reliability: Reliability | float | None = None
    location: Location | None = None
    data: NodeDetailData | None = None


class MrMachine(Model, frozen=True, kw_only=True):
    """A machine for rent (section 3.5)."""

    node_id: int | None = None
    country: str | None = None
    country_iso: str | None = None
    city: str | None = None
    cpu_model_name: str | None = None
    cpu_vendor_id: str | None = None
    cpu_cores: int | None = None
    cpu_speed: Number | None = None
    total_memory: int | None = None
    memory_type: str | None = None
    memory_speed: Number | None = None
    free_disk: int | None = None
    arch: str | None = None
    os_version: str | None = None
    virt: str | None = None
    cuda_version: str | None = None
    is_hive_os: bool | None = None
    is_wsl: bool | None = None
    gpus: list[Gpu] | None = None
    gpu: Any = None
    is_has_gpu: bool | None = None
    ai_score: Number | None = None
    blender_score: Number | None = None
    blender_cuda_score: Number | None = None
    net_down_mbits: Number | None = None
    net_up_mbits: Number | None = None
    total_price_usd: Decimal | None = None
    total_price_wei: Count | None = None
    total_price_ether: Decimal | None = None
    base: Count | None = None
    storage: Count | None = None
    traffic: Count | None = None
    base_ether: Decimal | None = None
    storage_ether: Decimal | None = None
    traffic_ether: Decimal | None = None
    base_usd: Number | None = None
    storage_usd: Number | None = None
    traffic_usd: Number | None = None
    currency_usd: bool | None = None
    market_price: Decimal | None = None
    reliability: Reliability | float | None = None
    features: list[str] | None = None
    available_ports: int | None = None

    @property
    def total_price(self) -> Money | None:
        """`total_price_wei` as money, per hour with one GB of disk and of traffic."""
        return octa(self.total_price_wei)

    @property
    def total_price_in_usd(self) -> Money | None:
        """`total_price_usd` as money, rounded to the micro."""
        return usd(self.total_price_usd)

    @property
    def base_price(self) -> Money | None:
        """`base`, which is in Wei, as money, per hour."""
        return octa(self.base)

    @property
    def storage_price(self) -> Money | None:
        """`storage`, which is in Wei, as money, per GB and hour."""
        return octa(self.storage)

    @property
    def traffic_price(self) -> Money | None:
        """`traffic`, which is in Wei, as money, per GB."""
        return octa(self.traffic)

    @property
    def base_price_in_usd(self) -> Money | None:
        """`base_usd`, which is in 1/10,000 USD, as money, per hour."""
        return usd_of_parts(self.base_usd)

    @property
    def down_mbits(self) -> float | None:
        """Mbit/s to the node, also when the service sent bytes per second."""
        return mbits(self.net_down_mbits)

    @property
    def up_mbits(self) -> float | None:
        """Mbit/s from the node, also when the service sent bytes per second."""
        return mbits(self.net_up_mbits)


class RenderMachine(MrMachine, frozen=True, kw_only=True):
    """A machine for rendering: the same words as a machine for rent."""


class VpnNode(Model, frozen=True, kw_only=True):
    """A node that relays traffic (section 3.9); prices are per GB."""

    node_id: int | None = None
    country: str | None = None
    country_iso: str | None = None
    city: str | None = None
    latitude: Number | None = None
    longitude: Number | None = None
    net_down_mbits: Number | None = None
    net_up_mbits: Number | None = None
    residential: bool | None = None
    traffic_price_usd: Decimal | None = None
    traffic_price_ether: Decimal | None = None

    @property
    def traffic_price(self) -> Money | None:
        """`traffic_price_ether` as money, per GB."""
        return octa_of_coins(self.traffic_price_ether)

    @property
    def traffic_price_in_usd(self) -> Money | None:
        """`traffic_price_usd` as money, per GB, rounded to the micro."""
        return usd(self.traffic_price_usd)

    @property
    def down_mbits(self) -> float | None:
        """Mbit/s to the node, also when the service sent bytes per second."""
        return mbits(self.net_down_mbits)

    @property
    def up_mbits(self) -> float | None:
        """Mbit/s from the node, also when the service sent bytes per second."""
        return mbits(self.net_up_mbits)
