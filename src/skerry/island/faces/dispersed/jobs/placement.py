"""Which node a job goes to (section 5.1). Pure.

A node fits when it is assignable, lies in an allowed region, and has enough processors, memory, storage and GPUs of one
model free. Of those that fit, the cheapest wins, then the best reputation, then the oldest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from skerry.island.faces.dispersed.nodes.gpu_names import key_of

GB = 1_000_000_000
"""The unit of the wire's `_gb` for memory and storage: decimal, so that a machine sold as 16 GB has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one run of a job asks of a node.

    Args:
        cores: processors that it may use and pays for, at least one.
        memory_bytes: that it may use.
        any_cpu, any_memory: it did not say how much; see `Offer.floor`.
        gpu_count: GPUs of one model.
        min_vram_gb: of each.
        gpu_name: model by name, None for any.
        gpu_registry_uuid: model by its entry in the registry, None for any.
        region_codes: where; empty for anywhere.
    """

    cores: int = 1
    memory_bytes: int = 0
    disk_bytes: int = 0
    gpu_count: int = 0
    min_vram_gb: int = 0
    gpu_name: str | None = None
    gpu_registry_uuid: str | None = None
    region_codes: tuple[str, ...] = ()
    any_cpu: bool = False
    any_memory: bool = False

    def accepts(self, card: Card) -> bool:
        """Whether a GPU is one of those that are asked for."""
        if card.vram_gb < self.min_vram_gb:
            return False
        if self.gpu_registry_uuid is not None:
            return card.registry_uuid == self.gpu_registry_uuid
        return self.gpu_name is None or key_of(card.name) == key_of(self.gpu_name)

    def gpu_words(self) -> str:
        """The GPUs asked for, for a person."""
        model = self.gpu_name or ("of that registry entry" if self.gpu_registry_uuid else "")
        size = f" with {self.min_vram_gb} GB" if self.min_vram_gb else ""
        return f"{self.gpu_count} GPU{'s' if self.gpu_count != 1 else ''} {model}".rstrip() + size


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One GPU of a node.

    Args:
        index: its place in the node.
        name: of its model.
        registry_uuid: of its model's entry, None when the registry does not know it.
        rate: micros of a dollar per hour.
        idle: whether something that does nothing has it, and would have to leave first.
    """

    index: int
    name: str
    vram_gb: int
    rate: int
    registry_uuid: str | None = None
    idle: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Processor time, in thousandths of a processor, and memory."""

    cpu_millis: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What of a node is free, and what it has in all.

    Args:
        node_uuid: which node.
        local: whether it is this machine.
        region_code: where it is, None when nobody said.
        assignable: whether it was seen lately.
        all_*: with nothing running.
        core_rate: micros of a dollar per processor and hour, for jobs without GPUs.
        floor: what is set aside for a run that does not say how much it needs; None where that is all it may use.
    """

    node_uuid: str
    local: bool
    region_code: str | None
    reputation: int
    assignable: bool
    cpu_millis: int
    memory_bytes: int
    disk_bytes: int
    cards: tuple[Card, ...]
    all_cores: int
    all_memory_bytes: int
    all_disk_bytes: int
    all_cards: tuple[Card, ...]
    core_rate: int
    floor: Share | None = None

    @property
    def cores(self) -> int:
        """Whole processors that are free."""
        return self.cpu_millis // 1_000

    @property
    def full(self) -> bool:
        """Whether not even the smallest run has room."""
        return not self.assignable or self.cpu_millis < (1_000 if self.floor is None else self.floor.cpu_millis)

    @property
    def lasting(self) -> tuple[object, ...]:
        """All of it that does not come and go with runs."""
        whole = (self.all_cores, self.all_memory_bytes, self.all_disk_bytes, self.all_cards)
        return self.node_uuid, self.region_code, self.assignable, *whole

    def share(self, need: Need) -> Share:
        """What is set aside for a run."""
        cpu, memory = need.cores * 1_000, need.memory_bytes
        if self.floor is not None and need.any_cpu:
            cpu = min(cpu, self.floor.cpu_millis)
        if self.floor is not None and need.any_memory:
            memory = min(memory, self.floor.memory_bytes)
        return Share(cpu_millis=cpu, memory_bytes=memory)

    def without(self, need: Need, placement: Placement) -> Offer:
        """What is left once a run has been placed here."""
        return replace(
            self,
            cpu_millis=self.cpu_millis - placement.share.cpu_millis,
            memory_bytes=self.memory_bytes - placement.share.memory_bytes,
            disk_bytes=self.disk_bytes - need.disk_bytes,
            cards=tuple(card for card in self.cards if card not in placement.cards),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where one run goes.

    Args:
        node_uuid: which node.
        local: whether it is this machine.
        cards: the GPUs it gets.
        rate: micros of a dollar per hour, for the whole run.
        share: what is set aside for it.
    """

    node_uuid: str
    local: bool
    cards: tuple[Card, ...]
    rate: int
    share: Share


def place(need: Need, offers: Iterable[Offer]) -> Placement | None:
    """The best node for one run now; None when none has room."""
    found = []
    for offer in offers:
        if not (offer.assignable and _allowed(need, offer) and _roomy(need, offer)):
            continue
        cards = _choose(need, offer.cards)
        if cards is None:
            continue
        rate = cards[0].rate * len(cards) if cards else offer.core_rate * need.cores
        share = offer.share(need)
        placement = Placement(node_uuid=offer.node_uuid, local=offer.local, cards=cards, rate=rate, share=share)
        found.append(((rate, -offer.reputation, offer.node_uuid), placement))
    return min(found, key=lambda one: one[0])[1] if found else None


def why_not(need: Need, offers: Sequence[Offer]) -> str:
    """Why no node takes a job now, truthfully: none ever could, or those that could are busy or away."""
    allowed = [offer for offer in offers if _allowed(need, offer)]
    if not allowed:
        return f"No node is in {', '.join(need.region_codes)}" if need.region_codes else "There is no node"
    if need.gpu_count and not any(_choose(need, offer.all_cards) is not None for offer in allowed):
        return f"No node has {need.gpu_words()}"
    able = [
        offer
        for offer in allowed
        if _choose(need, offer.all_cards) is not None
        and need.cores <= offer.all_cores
        and need.memory_bytes <= offer.all_memory_bytes
        and need.disk_bytes <= offer.all_disk_bytes
    ]
    if not able:
        largest = max(allowed, key=lambda offer: (offer.all_cores, offer.all_memory_bytes))
        return (
            f"No node is large enough; the largest has {largest.all_cores} processors,"
            f" {largest.all_memory_bytes // GB} GB of memory and {largest.all_disk_bytes // GB} GB of storage"
        )
    if not any(offer.assignable for offer in able):
        return "Every node that could take it is away"
    return "Every node that could take it is busy"


def _allowed(need: Need, offer: Offer) -> bool:
    return not need.region_codes or offer.region_code in need.region_codes


def _roomy(need: Need, offer: Offer) -> bool:
    share = offer.share(need)
    roomy = share.cpu_millis <= offer.cpu_millis and share.memory_bytes <= offer.memory_bytes
    return roomy and need.disk_bytes <= offer.disk_bytes


def _choose(need: Need, cards: Iterable[Card]) -> tuple[Card, ...] | None:
    """GPUs of the cheapest model of which there are enough; none when none are needed; None when it cannot be."""
    if not need.gpu_count:
        return ()
    models: dict[tuple[int, str], list[Card]] = {}
    for card in cards:
        if need.accepts(card):
            models.setdefault((card.rate, card.name), []).append(card)
    for _, found in sorted(models.items()):
        if len(found) >= need.gpu_count:
            return tuple(sorted(found, key=lambda card: (card.idle, card.index))[: need.gpu_count])
    return None
