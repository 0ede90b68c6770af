"""The models of the catalogue (section 3.6): data alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from skerry.island.faces.dc1.money.gpu_tiers import elsewhere, for_memory, short
from skerry.island.faces.dc1.providers import provider_rows

_SAR = 3.75


@dataclass(frozen=True, slots=True)
class Entry:
    """A model.

    Args:
        model_id: its name at the hub.
        display_name: for people.
        family: whose.
        vram_gb: memory that it takes.
        context_window: tokens.
        rate_per_minute: halala.
        use_cases: words.
        arabic: whether it was taught Arabic.
        tier: `tier_a`, `tier_b` or `tier_c`.
        prewarm_class: `hot`, `warm` or `cold`.
        template_id: of the template that runs it.
        quantization: of its weights.
        cold_start_ms: how long it takes to load where it is not.
    """

    model_id: str
    display_name: str
    family: str
    vram_gb: int
    context_window: int
    rate_per_minute: int
    use_cases: tuple[str, ...]
    arabic: bool
    tier: str
    prewarm_class: str
    template_id: str | None
    quantization: str = "fp16"
    cold_start_ms: int = 6_800


_CHAT = ("chat", "general")
MODELS = (
    Entry(
        "ALLaM-AI/ALLaM-7B-Instruct-preview",
        "ALLaM 7B Instruct",
        "allam",
        24,
        8_192,
        22,
        ("arabic", "chat", "enterprise"),
        True,
        "tier_a",
        "hot",
        "arabic-llm",
        "bf16",
    ),
    Entry(
        "BAAI/bge-m3",
        "BGE M3 Embeddings",
        "embedding",
        8,
        8_192,
        12,
        ("embedding", "rag", "retrieval"),
        True,
        "tier_b",
        "warm",
        "arabic-embeddings",
    ),
    Entry(
        "BAAI/bge-reranker-v2-m3",
        "BGE Reranker v2 M3",
        "reranker",
        8,
        4_096,
        14,
        ("reranking", "rag", "search"),
        True,
        "tier_b",
        "warm",
        "arabic-reranker",
    ),
    Entry(
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
        "DeepSeek R1 Distill Qwen 7B",
        "deepseek",
        16,
        32_768,
        18,
        ("reasoning", "code"),
        False,
        "tier_b",
        "warm",
        None,
    ),
    Entry(
        "tiiuae/Falcon-H1-7B-Instruct",
        "Falcon H1 7B Instruct",
        "falcon",
        24,
        8_192,
        20,
        _CHAT,
        True,
        "tier_b",
        "warm",
        None,
    ),
    Entry(
        "inceptionai/jais-13b-chat",
        "Jais 13B Chat",
        "jais",
        24,
        4_096,
        27,
        ("arabic", "chat"),
        True,
        "tier_a",
        "warm",
        "jais-13b-chat",
    ),
    Entry(
        "meta-llama/Meta-Llama-3-8B-Instruct",
        "Llama 3 8B Instruct",
        "llama",
        16,
        8_192,
        17,
        _CHAT,
        False,
        "tier_a",
        "hot",
        "llama3-8b",
    ),
    Entry(
        "mistralai/Mistral-7B-Instruct-v0.2",
        "Mistral 7B Instruct",
        "mistral",
        16,
        32_768,
        15,
        _CHAT,
        False,
        "tier_a",
        "hot",
        "mistral-7b",
    ),
    Entry(
        "microsoft/Phi-3-mini-4k-instruct",
        "Phi-3 Mini",
        "phi",
        6,
        4_096,
        8,
        ("chat", "edge"),
        False,
        "tier_b",
        "warm",
        "ollama",
    ),
    Entry(
        "Qwen/Qwen2-7B-Instruct", "Qwen2 7B Instruct", "qwen", 16, 32_768, 14, _CHAT, True, "tier_a", "hot", "qwen25-7b"
    ),
    Entry(
        "stabilityai/stable-diffusion-xl-base-1.0",
        "Stable Diffusion XL",
        "sdxl",
        16,
        2_048,
        30,
        ("image", "art"),
        False,
        "tier_b",
        "warm",
        "sdxl",
    ),
)
USUAL_RATE = 15
USUAL_MEMORY_GB = 8


def find(model_id: str) -> Entry | None:
    """A model of the catalogue."""
    return next((entry for entry in MODELS if entry.model_id.lower() == model_id.lower()), None)


def rate_of(model_id: str) -> int:
    """Halala per minute of any model."""
    entry = find(model_id)
    return USUAL_RATE if entry is None else entry.rate_per_minute


def capable(providers: Iterable[Row[Any]], vram_gb: int, now: int) -> list[Row[Any]]:
    """Those that may work now and have the memory."""
    return [it for it in providers if provider_rows.may_work(it, now) and it.vram_mib >= vram_gb * 1_000]


def warm(providers: Iterable[Row[Any]], model_id: str) -> list[Row[Any]]:
    """Those that have a model's files already."""
    return [it for it in providers if model_id in (provider_rows.profile(it).get("cached_models") or [])]


def status(able: int, ready: int) -> str:
    """How soon a model could be served."""
    return "available" if ready else "cold" if able else "no_providers"


def view(entry: Entry, able: int, ready: int) -> dict[str, Any]:
    """A model as it is sent.

    Args:
        able: how many providers could serve it.
        ready: how many of them have it.
    """
    asked = elsewhere(for_memory(entry.vram_gb), riyals=False)
    riyals = {name.removesuffix("_usd"): short(usd * _SAR) for name, usd in asked.items()}
    hourly = entry.rate_per_minute * 60 / 100
    cheaper = short((1 - hourly / riyals["vast_ai"]) * 100, 0)
    return {
        "model_id": entry.model_id,
        "display_name": entry.display_name,
        "family": entry.family,
        "vram_gb": entry.vram_gb,
        "quantization": entry.quantization,
        "context_window": entry.context_window,
        "use_cases": list(entry.use_cases),
        "min_gpu_vram_gb": entry.vram_gb,
        "arabic_capability": entry.arabic,
        "providers_online": able,
        "avg_price_sar_per_min": entry.rate_per_minute / 100,
        "status": status(able, ready),
        "tier": entry.tier,
        "prewarm_class": entry.prewarm_class,
        "template_id": entry.template_id,
        "competitor_prices": {**riyals, **asked},
        "savings_pct": cheaper if cheaper > 0 else None,
        "pricing_per_hour": short(hourly),
    }
