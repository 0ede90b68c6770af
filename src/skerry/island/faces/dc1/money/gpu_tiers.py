"""GPUs by price, and what they cost elsewhere, as the network tells it (section 3.6); not what is billed.

What others ask is a table of the network's own documents, by the memory that a job needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from skerry.networks.dc1.pricing import CLASSES, GPU_OTHER, GPU_RATES

SAR_PER_USD = 3.75


@dataclass(frozen=True, slots=True)
class Tier:
    """A model of GPU.

    Args:
        gpu_model: part of its name, in lower case.
        display_name: for people.
        tier: `enterprise`, `high`, `standard` or `budget`.
        min_vram_gb: its memory.
        usd_per_hour: its price here.
        elsewhere: US dollars an hour at three others.
    """

    gpu_model: str
    display_name: str
    tier: str
    min_vram_gb: int
    usd_per_hour: float
    elsewhere: tuple[float, float, float]

    @property
    def usd_per_second(self) -> float:
        """The price that counts."""
        return next((rate for words, rate in GPU_RATES if self.gpu_model in words), GPU_OTHER)


TIERS = (
    Tier("h200", "NVIDIA H200", "enterprise", 141, 2.45, (4.5, 5.49, 8.0)),
    Tier("h100", "NVIDIA H100", "enterprise", 80, 1.89, (2.5, 3.49, 5.67)),
    Tier("a100", "NVIDIA A100", "high", 40, 1.2, (1.89, 2.29, 3.06)),
    Tier("rtx 4090", "NVIDIA RTX 4090", "standard", 24, 0.267, (0.35, 0.44, 0.75)),
    Tier("rtx 4080", "NVIDIA RTX 4080", "standard", 16, 0.178, (0.23, 0.29, 0.5)),
    Tier("rtx 3090", "NVIDIA RTX 3090", "standard", 24, 0.134, (0.35, 0.44, 0.75)),
    Tier("rtx 3080", "NVIDIA RTX 3080", "budget", 8, 0.089, (0.13, 0.16, 0.28)),
)
ANCHOR = TIERS[3]

FLOOR_PRICES = (
    ("RTX 3090", 10_500, "0.105"),
    ("RTX 4080", 13_100, "0.131"),
    ("RTX 4090", 26_700, "0.267"),
    ("RTX 5090", 39_400, "0.394"),
    ("A100 SXM", 78_600, "0.786"),
    ("H100 SXM", 142_100, "1.421"),
)
"""What `/api/renters/pricing` shows; its "halala" are hundred-thousandths of a dollar, a slip that clients know."""


def of_model(gpu_model: str | None) -> Tier:
    """The tier of a GPU by its name; the last one for whatever is not known."""
    name = (gpu_model or "").lower()
    return next(
        (tier for tier in TIERS if tier.gpu_model in name or tier.gpu_model.replace(" ", "") in name), TIERS[-1]
    )


def for_memory(vram_gb: int) -> Tier:
    """The smallest tier with so much memory, the cheapest of several; the largest where none has."""
    enough = [tier for tier in TIERS if tier.min_vram_gb >= vram_gb]
    return min(enough, key=lambda tier: (tier.min_vram_gb, tier.usd_per_hour), default=TIERS[0])


def elsewhere(tier: Tier, *, riyals: bool = True) -> dict[str, float]:
    """What three others ask for it."""
    names = ("vast_ai", "runpod", "aws")
    found: dict[str, float] = {f"{name}_usd": short(price) for name, price in zip(names, tier.elsewhere, strict=True)}
    if riyals:
        for name, price in zip(names, tier.elsewhere, strict=True):
            found[f"{name}_sar"] = short(price * SAR_PER_USD)
    return found


def short(value: float, digits: int = 2) -> float:
    """Rounded half up by the exact value of the number, as JavaScript's `toFixed`; whole numbers without a point."""
    found = Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return int(found) if found == found.to_integral() else float(found)


def snapshot(gpu_model: str | None, pricing_class: str) -> dict[str, Any]:
    """What a job's row keeps of the price that was in force."""
    tier = of_model(gpu_model)
    return {
        "gpu_model": gpu_model,
        "display_name": tier.display_name,
        "tier": tier.tier,
        "rate_per_hour_usd": tier.usd_per_hour,
        "rate_per_hour_sar": short(tier.usd_per_hour * SAR_PER_USD, 4),
        "pricing_class": pricing_class,
        "multiplier": short(CLASSES.get(pricing_class, 1.0)),
        "sar_usd_rate": SAR_PER_USD,
    }
