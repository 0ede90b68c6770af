"""Prices, models, templates and the OpenAI-style routes as the wire has them (sections 3.6 and 3.8)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from skerry._kernel.model import Model, Moment
from skerry.money import Money
from skerry.networks.dc1.values import halala, halala_or_none

Number = int | float


class Estimate(Model, frozen=True, kw_only=True):
    """What a job would cost."""

    job_type: str | None = None
    model: str | None = None
    duration_minutes: Number | None = None
    cost_halala: int | None = None
    cost_sar: Decimal | None = None
    rate_halala_per_min: Number | None = None
    provider_earnings_halala: int | None = None
    mode: str | None = None

    @property
    def cost(self) -> Money | None:
        """As money."""
        return halala_or_none(self.cost_halala)


class DeployCost(Model, frozen=True, kw_only=True):
    """The price in an estimate for a model."""

    duration_minutes: Number | None = None
    rate_halala_per_min: Number | None = None
    estimated_cost_halala: int | None = None
    estimated_cost_sar: Decimal | None = None
    estimated_cold_start_ms: Number | None = None
    providers_online: int | None = None
    providers_warm: int | None = None

    @property
    def cost(self) -> Money:
        """As money."""
        return halala(self.estimated_cost_halala)


class DeployEstimate(Model, frozen=True, kw_only=True):
    """What serving a model would cost, and whether anybody can."""

    model_id: str | None = None
    display_name: str | None = None
    availability: dict[str, Any] | None = None
    estimate: DeployCost | None = None


class CatalogueModel(Model, frozen=True, kw_only=True):
    """A model that providers can serve."""

    model_id: str = ""
    display_name: str | None = None
    family: str | None = None
    vram_gb: Number | None = None
    quantization: str | None = None
    context_window: int | None = None
    use_cases: list[str] | None = None
    min_gpu_vram_gb: Number | None = None
    arabic_capability: bool | None = None
    providers_online: int | None = None
    avg_price_sar_per_min: Decimal | None = None
    status: str | None = None
    tier: str | None = None
    prewarm_class: str | None = None
    template_id: str | None = None


class Template(Model, frozen=True, kw_only=True):
    """A job that is filled in beforehand."""

    id: str = ""
    name: str | None = None
    description: str | None = None
    image: str | None = None
    job_type: str | None = None
    env_vars: list[Any] | None = None
    params: Any = None
    min_vram_gb: Number | None = None
    estimated_price_sar_per_hour: Decimal | None = None
    tags: list[str] | None = None
    difficulty: str | None = None


class ContainerImage(Model, frozen=True, kw_only=True):
    """An image that jobs may use."""

    id: int | str | None = None
    image_ref: str | None = None
    image_type: str | None = None
    description: str | None = None
    approved_at: Moment | None = None
    source: str | None = None


class ContainerImages(Model, frozen=True, kw_only=True):
    """The images that jobs may use."""

    images: list[ContainerImage] = msgspec.field(default_factory=list)


class GpuPrice(Model, frozen=True, kw_only=True):
    """A row of the public price list. Its halala are for display and not what is charged; see `rate_usd_per_hour`."""

    gpu_model: str | None = None
    rate_halala_per_hour: Number | None = None
    rate_usd_per_hour: Decimal | None = None
    updated_at: Moment | None = None


class PriceList(Model, frozen=True, kw_only=True):
    """The public price list."""

    success: bool | None = None
    pricing: list[GpuPrice] = msgspec.field(default_factory=list)
    count: int | None = None
    timestamp: Moment | None = None
    note: str | None = None


class PriceTiers(Model, frozen=True, kw_only=True):
    """Prices by GPU and pricing class."""

    generated_at: Moment | None = None
    sar_usd_rate: Decimal | None = None
    anchor_gpu: str | None = None
    anchor_rate_usd: Decimal | None = None
    pricing_classes: dict[str, Decimal] | None = None
    tiers: list[Any] = msgspec.field(default_factory=list)


class OpenAIModel(Model, frozen=True, kw_only=True):
    """A model that can be asked."""

    id: str = ""
    object: str | None = None
    created: int | None = None
    owned_by: str | None = None


class OpenAIModels(Model, frozen=True, kw_only=True):
    """The models that can be asked."""

    object: str | None = None
    data: list[OpenAIModel] = msgspec.field(default_factory=list)


class ChatMessage(Model, frozen=True, kw_only=True):
    """What was said; in a stream, what is added to it."""

    role: str | None = None
    content: str | None = None
    tool_calls: list[Any] | None = None


class ChatChoice(Model, frozen=True, kw_only=True):
    """One answer, or in a stream one piece of it as `delta`."""

    index: int = 0
    message: ChatMessage | None = None
    delta: ChatMessage | None = None
    text: str | None = None
    finish_reason: str | None = None


class Usage(Model, frozen=True, kw_only=True):
    """Tokens."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class Completion(Model, frozen=True, kw_only=True):
    """A model's answer, or in a stream one piece of it."""

    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    choices: list[ChatChoice] = msgspec.field(default_factory=list)
    usage: Usage | None = None
    cost_halala: int | None = None
    latency_ms: Number | None = None

    @property
    def text(self) -> str:
        """The first answer's text; nothing where it has none."""
        first = next(iter(self.choices), None) if isinstance(self.choices, list) else None
        if not isinstance(first, ChatChoice):
            return ""
        said = first.message or first.delta
        text = said.content if isinstance(said, ChatMessage) else first.text
        return text if isinstance(text, str) else ""

    @property
    def cost(self) -> Money | None:
        """What it cost, where that is told."""
        return halala_or_none(self.cost_halala)
