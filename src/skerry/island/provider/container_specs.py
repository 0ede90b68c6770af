"""The container of a job in its normal form (protocol section 5.6). Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from skerry.island.provider.params import environment

COMPUTE_TYPES = ("inference", "training", "rendering")
PRICING_CLASSES = ("priority", "standard", "economy")
MOST_GPUS = 64
MOST_VRAM_MB = 1_000_000 << 10
"""Of all GPUs together, in MiB: what a submission may ask for at most."""

_USUAL = {
    "llm_inference": ("llm", "inference"),
    "llm-inference": ("llm", "inference"),
    "vllm": ("llm", "inference"),
    "image_generation": ("image_generation", "rendering"),
    "training": ("training", "training"),
    "rendering": ("rendering", "rendering"),
}


class ContainerSpecError(ValueError):
    """The container spec cannot be: the message is what the network answers with."""


def default_spec(job_type: str, pricing_class: str = "standard") -> dict[str, Any]:
    """The container of a job that asks for none in particular."""
    image_type, compute_type = _USUAL.get(job_type, (job_type, "inference"))
    return {
        "image_type": image_type,
        "vram_required_mb": 0,
        "gpu_count": 1,
        "compute_type": compute_type,
        "pricing_class": pricing_class,
    }


def normal_spec(given: Mapping[str, Any], approved: Callable[[str], bool]) -> dict[str, Any]:
    """A container spec with its defaults, members in the network's order.

    Args:
        given: as submitted; null members count as absent.
        approved: whether an image may be used.

    Raises:
        ContainerSpecError: something is missing, of the wrong kind, or the image is not approved.
    """
    known = {name: value for name, value in given.items() if value is not None}
    image_type = known.get("image_type")
    if not isinstance(image_type, str) or not image_type.strip():
        raise ContainerSpecError("container_spec.image_type is required")
    found: dict[str, Any] = {
        "image_type": image_type.strip(),
        "vram_required_mb": _whole(known, "vram_required_mb", 0, 0, MOST_VRAM_MB),
        "gpu_count": _whole(known, "gpu_count", 1, 1, MOST_GPUS),
        "compute_type": _one_of(known, "compute_type", COMPUTE_TYPES, "inference"),
        "pricing_class": _one_of(known, "pricing_class", PRICING_CLASSES, "standard"),
    }
    if "model_id" in known:
        found["model_id"] = _text(known, "model_id")
    image = known.get("image", known.get("image_override"))
    if image is not None:
        if not isinstance(image, str) or not approved(image):
            raise ContainerSpecError(
                "container_spec.image is not approved. Use GET /api/containers/registry for allowed images."
            )
        found["image"] = image
    if "env" in known:
        if not isinstance(known["env"], Mapping):
            raise ContainerSpecError("container_spec.env must be an object")
        found["env"] = environment(known["env"])
    for name in ("enable_checkpoint", "prewarm_requested"):
        if name in known:
            if not isinstance(known[name], bool):
                raise ContainerSpecError(f"container_spec.{name} must be a boolean")
            found[name] = known[name]
    return found


def _text(known: Mapping[str, Any], name: str) -> str:
    if not isinstance(known[name], str):
        raise ContainerSpecError(f"container_spec.{name} must be a string")
    return str(known[name])


def _one_of(known: Mapping[str, Any], name: str, words: tuple[str, ...], default: str) -> str:
    value = known.get(name, default)
    if value not in words:
        raise ContainerSpecError(f"container_spec.{name} must be one of {', '.join(words)}")
    return str(value)


def _whole(known: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = known.get(name, default)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < low or value > high:
        raise ContainerSpecError(f"container_spec.{name} must be a whole number between {low} and {high}")
    return value
