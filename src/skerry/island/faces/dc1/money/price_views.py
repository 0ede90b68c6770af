"""What things cost, asked before anything is bought (sections 3.1 and 3.6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from skerry.island.engine.engine import Engine
from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.access import ANYBODY
from skerry.island.faces.dc1.call import Answer, Call, Route
from skerry.island.faces.dc1.errors import Fault
from skerry.island.faces.dc1.models import model_registry
from skerry.island.faces.dc1.money import gpu_tiers
from skerry.island.faces.dc1.money.gpu_tiers import Tier, short
from skerry.networks.dc1.pricing import CLASSES, FLAT_OTHER, FLAT_RATES, PROVIDER_SHARE, hold_for

_MOST_MINUTES = 1_440
_TOKENS_PER_MINUTE = 350
_NOTE = "DCP floor prices - Saudi energy arbitrage passed directly to you"


class PriceViews:
    """The price lists, and an estimate by the very function that a submission is priced with.

    Args:
        engine: open.
    """

    def __init__(self, engine: Engine) -> None:
        self._mode = engine.settings.dc1.pricing

    def routes(self) -> Sequence[Route]:
        """Three reads."""
        return [
            Route(method="GET", path="/api/pricing/tiers", handler=self.tiers, access=ANYBODY),
            Route(method="GET", path="/api/pricing/estimate", handler=self.estimate, access=ANYBODY),
            Route(method="GET", path="/api/renters/pricing", handler=self.floor, access=ANYBODY),
        ]

    async def tiers(self, call: Call) -> Answer:
        """GPUs by price."""
        return Answer(
            {
                "generated_at": wire.iso(call.now),
                "sar_usd_rate": gpu_tiers.SAR_PER_USD,
                "anchor_gpu": gpu_tiers.ANCHOR.gpu_model,
                "anchor_rate_usd": gpu_tiers.ANCHOR.usd_per_hour,
                "pricing_classes": {name: short(factor) for name, factor in CLASSES.items()},
                "tiers": [_tier(tier) for tier in gpu_tiers.TIERS],
            }
        )

    async def floor(self, call: Call) -> Answer:
        """The list of floor prices, for show."""
        updated = wire.stamp(call.now, millis=False)
        pricing = [
            {"gpu_model": name, "rate_halala_per_hour": figure, "rate_usd_per_hour": usd, "updated_at": updated}
            for name, figure, usd in gpu_tiers.FLOOR_PRICES
        ]
        stamp = wire.iso(call.now)
        return Answer({"success": True, "pricing": pricing, "count": len(pricing), "timestamp": stamp, "note": _NOTE})

    async def estimate(self, call: Call) -> Answer:
        """What a job would hold: by its type and time, or by a model and its tokens."""
        query = call.query
        model = query.get("model")
        if "job_type" not in query and model:
            return Answer(self._by_tokens(call, model))
        job_type = query.get("job_type", "llm_inference")
        minutes = _minutes(query.get("duration_minutes", "1"))
        gpu, pricing_class = query.get("gpu_model"), query.get("pricing_class", "standard")
        cost = hold_for(job_type, minutes, mode=self._mode, gpu_model=gpu, pricing_class=pricing_class).amount
        rate: int | float = FLAT_RATES.get(job_type, FLAT_OTHER)
        if self._mode == "gpu":
            rate = short(cost / minutes, 4)
        return Answer(
            {
                "job_type": job_type,
                "duration_minutes": _plain(minutes),
                "gpu_model": gpu,
                "pricing_class": pricing_class,
                "cost_halala": cost,
                "cost_sar": wire.sar(cost),
                "provider_earnings_halala": cost * PROVIDER_SHARE[0] // PROVIDER_SHARE[1],
                "rate_halala_per_min": rate,
                "mode": self._mode,
            }
        )

    def _by_tokens(self, call: Call, model: str) -> dict[str, Any]:
        tokens = call.whole("max_tokens", 512, 1, 8_192)
        cost = token_hold(model, tokens)
        return {
            "model": model,
            "max_tokens": tokens,
            "cost_halala": cost,
            "cost_sar": wire.sar(cost),
            "provider_earnings_halala": cost * PROVIDER_SHARE[0] // PROVIDER_SHARE[1],
            "rate_halala_per_min": model_registry.rate_of(model),
            "mode": self._mode,
        }


def token_hold(model: str, max_tokens: int) -> int:
    """What an answer of a model holds (section 3.8), in halala.

    Example:
        >>> token_hold("mistralai/Mistral-7B-Instruct-v0.2", 512)
        30
    """
    return max(1, math.ceil(max_tokens / _TOKENS_PER_MINUTE) * model_registry.rate_of(model))


def _minutes(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.0 < found <= _MOST_MINUTES:
        raise Fault(400, f"duration_minutes must be a number above 0, {_MOST_MINUTES} at most")
    return found


def _plain(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def _tier(tier: Tier) -> dict[str, Any]:
    return {
        "gpu_model": tier.gpu_model,
        "display_name": tier.display_name,
        "tier": tier.tier,
        "min_vram_gb": tier.min_vram_gb,
        "pricing": {
            "rate_per_hour_usd": tier.usd_per_hour,
            "rate_per_hour_sar": short(tier.usd_per_hour * gpu_tiers.SAR_PER_USD),
            "rate_per_second_usd": tier.usd_per_second,
        },
        "competitor_prices": gpu_tiers.elsewhere(tier),
        "savings_vs_vast_ai_pct": short((1 - tier.usd_per_hour / tier.elsewhere[0]) * 100, 0),
    }
