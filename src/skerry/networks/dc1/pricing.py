"""What a job will cost, worked out beforehand (section 5.1), and how it is settled afterwards (section 5.3).

The network computes prices with binary floating point and rounds the result to whole halala. To land on the same
halala the same operations are done here in the same order; amounts of money are integers before and after.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from skerry.errors import InvalidRequestError
from skerry.money import Money

Mode = Literal["flat", "gpu"]
"""`flat`: one price per minute and job type; `gpu`: by the model of the GPU and the pricing class."""

FLAT_RATES = {
    "llm_inference": 15,
    "llm-inference": 15,
    "training": 25,
    "rendering": 20,
    "image_generation": 20,
    "vllm_serve": 20,
}
"""Halala per minute."""

FLAT_OTHER = 10

GPU_RATES: tuple[tuple[tuple[str, ...], float], ...] = (
    (("h200",), 0.000681),
    (("h100",), 0.000525),
    (("a100",), 0.000333),
    (("rtx 4090", "rtx4090"), 0.0000742),
    (("rtx 4080", "rtx4080"), 0.0000494),
    (("rtx 3090", "rtx3090"), 0.0000372),
)
"""US dollars per second, by what a model's name contains."""

GPU_OTHER = 0.0000247

JOB_RATES = {
    "llm_inference": 9,
    "llm-inference": 9,
    "training": 7,
    "rendering": 10,
    "image_generation": 10,
    "vllm_serve": 9,
    "rag-pipeline": 15,
    "custom_container": 7,
}
"""Halala per minute in mode `gpu` where no GPU is known."""

JOB_OTHER = 6

CLASSES = {"priority": 1.2, "standard": 1.0, "economy": 0.9}
HALALA_PER_USD = 375
PROVIDER_SHARE = (3, 4)

_STORAGE_HALALA, _GB_MONTH_SECONDS = 50, 2_592_000
_BANDWIDTH_HALALA, _GIB = 10, 1 << 30


def round_half_up(value: float) -> int:
    """The nearest integer, the greater one of two that are equally near, as JavaScript rounds.

    Example:
        >>> round_half_up(22.5), round_half_up(0.49999999999999994)
        (23, 0)
    """
    below = math.floor(value)
    return below + (value - below >= 0.5)


def hold_for(
    job_type: str,
    duration_minutes: float,
    *,
    mode: Mode = "flat",
    gpu_model: str | None = None,
    pricing_class: str = "standard",
) -> Money:
    """What is held when a job is submitted, which is the most that it will cost.

    Args:
        job_type: such as `llm_inference`.
        duration_minutes: as submitted.
        mode: how the server prices; hosted servers of the target version use `gpu`.
        gpu_model: of the provider, for mode `gpu`; None while no provider is known.
        pricing_class: `priority`, `standard` or `economy`, for mode `gpu`; any other word counts as standard.

    Raises:
        InvalidRequestError: the duration is no finite positive number.

    Example:
        >>> str(hold_for("llm_inference", 1.5))
        '0.23 SAR'
    """
    if not 0 < duration_minutes < math.inf:
        raise InvalidRequestError("duration_minutes must be a positive number", network="dc1")
    if mode == "flat":
        return Money(round_half_up(FLAT_RATES.get(job_type, FLAT_OTHER) * duration_minutes), "SAR")
    multiplier = CLASSES.get(pricing_class, 1.0)
    if not gpu_model:
        return Money(math.ceil(JOB_RATES.get(job_type, JOB_OTHER) * duration_minutes * multiplier), "SAR")
    seconds = duration_minutes * 60
    return Money(math.ceil(_usd_per_second(gpu_model) * seconds * HALALA_PER_USD * multiplier), "SAR")


def _usd_per_second(gpu_model: str) -> float:
    name = gpu_model.lower()
    return next((rate for words, rate in GPU_RATES if any(word in name for word in words)), GPU_OTHER)


@dataclass(frozen=True, slots=True)
class ComponentPrice:
    """What work, storage and traffic cost by themselves.

    Attributes:
        compute: time on the GPU.
        storage: gigabytes kept.
        bandwidth: bytes sent out.
    """

    compute: Money
    storage: Money
    bandwidth: Money

    @property
    def total(self) -> Money:
        """All three."""
        return self.compute + self.storage + self.bandwidth


def component_price(
    job_type: str,
    duration_seconds: float,
    *,
    storage_gb_seconds: float = 0,
    bandwidth_bytes_out: int = 0,
    gpu_model: str | None = None,
    pricing_class: str = "standard",
) -> ComponentPrice:
    """The price of some settlement paths, each part rounded up by itself.

    Args:
        job_type: such as `training`.
        duration_seconds: of work.
        storage_gb_seconds: gigabytes times seconds.
        bandwidth_bytes_out: bytes.
        gpu_model: of the provider, None when it is not known.
        pricing_class: see `hold_for`.
    """
    minutes, multiplier = duration_seconds / 60, CLASSES.get(pricing_class, 1.0)
    if not gpu_model:
        compute = JOB_RATES.get(job_type, JOB_OTHER) * minutes * multiplier
    else:
        compute = _usd_per_second(gpu_model) * duration_seconds * HALALA_PER_USD * multiplier
    storage = storage_gb_seconds / _GB_MONTH_SECONDS * _STORAGE_HALALA
    bandwidth = bandwidth_bytes_out / _GIB * _BANDWIDTH_HALALA
    return ComponentPrice(*(Money(math.ceil(part), "SAR") for part in (compute, storage, bandwidth)))


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a job's hold is divided when it has ended.

    Attributes:
        actual: what the work is worth by its time.
        charged: what the renter pays, never more than the hold.
        refund: what goes back to the renter.
        provider: the provider's share of what is charged.
        fee: the platform's share.
    """

    actual: Money
    charged: Money
    refund: Money
    provider: Money
    fee: Money


def settle(hold: Money, gpu_seconds: float, rate_per_gpu_second: float, *, success: bool = True) -> Settlement:
    """Divide a hold: time times rate, capped by the hold, three quarters of it to the provider; nothing for failures.

    Args:
        hold: what was held at submission.
        gpu_seconds: seconds times GPUs.
        rate_per_gpu_second: halala; 0.25 unless the provider has its own.
        success: whether the job completed.
    """
    actual = max(0, round_half_up(gpu_seconds * rate_per_gpu_second))
    charged = min(hold.amount, actual) if success else 0
    share, whole = PROVIDER_SHARE
    provider = charged * share // whole
    amounts = (actual, charged, hold.amount - charged, provider, charged - provider)
    return Settlement(*(Money(amount, "SAR") for amount in amounts))
