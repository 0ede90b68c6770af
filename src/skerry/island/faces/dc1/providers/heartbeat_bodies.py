"""What a heartbeat says, in each of the forms that hosts send it (section 3.7.1). Pure functions.

The network's daemon measures in `gpu_status` and `gpu_info`, the official SDK in `gpu_spec` and `resource_spec`, and
the documentation has four members of the body itself. A value out of its range, or of a wrong kind, counts as not
said: a host with one broken sensor is there all the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from skerry.island.faces.dc1 import wire
from skerry.island.faces.dc1.errors import Fault

MOST_GPUS = 32
MOST_SLOTS = 64
MOST_RAW = 32_768
"""Characters of `gpu_status` up to which it is kept as it came."""

MOST_SPEC = 4_096
_MOST_MODELS = 500
_MOST_URL = 512
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MIB = (0, 1_048_576)
_NUMBERS: tuple[tuple[str, float, float], ...] = (
    ("gpu_vram_mib", *_MIB),
    ("vram_mb", 0, _MIB[1] * MOST_GPUS),
    ("free_vram_mib", *_MIB),
    ("memory_used_mb", *_MIB),
    ("gpu_util_pct", 0, 100),
    ("temp_c", -40, 150),
    ("power_w", 0, 2_000),
    ("gpu_count", 1, 64),
)
_TEXTS: tuple[tuple[str, int], ...] = (
    ("gpu_name", 200),
    ("driver_version", 80),
    ("daemon_version", 32),
    ("python_version", 80),
    ("os_info", 200),
    ("compute_capability", 16),
    ("cuda_version", 32),
)
_WORDS = {"rendering": ("render",), "training": ("train",), "inference": ("infer", "llm", "serve")}
_SCANNED = ("compute_environments", "resources", "compute_types", "capabilities")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What was said; None for what was not.

    Args:
        profile: measurements, to be laid over those before.
        vram_mib: memory of one GPU.
        gpu_count: how many it has.
        slots: jobs at once.
        compute_types: kinds of computing.
        resource_spec: as JSON text, or the text that came.
        endpoint_url: of a model that it serves by itself; empty to take it back.
        restarts: how often its container was begun anew.
        daemon_version: of what speaks.
    """

    profile: Mapping[str, Any] = field(default_factory=dict)
    vram_mib: int | None = None
    gpu_count: int | None = None
    slots: int | None = None
    compute_types: tuple[str, ...] | None = None
    resource_spec: str | None = None
    endpoint_url: str | None = None
    restarts: int = 0
    daemon_version: str | None = None


def read(body: Mapping[str, Any], address: str) -> Heartbeat:
    """A heartbeat of whichever form.

    Args:
        body: JSON.
        address: where it came from: a host can offer an endpoint at its own address alone.

    Raises:
        Fault: 400 for `gpu_status` or `gpu_info` that are no objects.
    """
    status, info = _status(body.get("gpu_status")), _info(body.get("gpu_info"))
    spec, resources = _object(body.get("gpu_spec")), _object(body.get("resource_spec"))
    profile = {**_sdk(resources), **_sdk(spec), **_documented(body), **_measured(status)}
    if status:
        raw = wire.text(status)
        profile["gpu_status"] = status if len(raw) <= MOST_RAW else _measured(status)
    if info:
        told = _measured(info)
        profile["gpu_info"] = told
        profile |= {
            name: told[name] for name in ("gpu_name", "driver_version", "cuda_version", "vram_mb") if name in told
        }
        profile.setdefault("gpu_vram_mib", told.get("vram_mb"))
    profile.setdefault("gpu_vram_mib", profile.get("vram_mb"))
    for name, most in (("provider_ip", 64), ("provider_hostname", 255), ("peer_id", 200)):
        profile[name] = text(body, name, most)
    for name in ("cached_models", "vllm_models"):
        profile[name] = _names(body.get(name))
    profile["model_cache"] = _cache(body.get("model_cache"))
    profile["declared_daemon"] = text(body, "daemon_version", 32)
    if isinstance(body.get("draining"), bool):
        profile["draining"] = body["draining"]
    slots = number(_object(body.get("gpu_slots")), "total", 1, MOST_SLOTS)
    kept = {name: value for name, value in profile.items() if value is not None}
    return Heartbeat(
        profile=kept,
        vram_mib=_whole(kept.get("gpu_vram_mib")),
        gpu_count=_whole(kept.get("gpu_count")),
        slots=_whole(slots),
        compute_types=compute_types(body.get("resource_spec")),
        resource_spec=spec_text(body.get("resource_spec")),
        endpoint_url=_endpoint(body.get("vllm_endpoint_url"), address),
        restarts=_whole(number(body, "container_restart_count", 0, 1_000_000)) or 0,
        daemon_version=text(status, "daemon_version", 32) or text(body, "daemon_version", 32),
    )


def read_short(body: Mapping[str, Any]) -> Heartbeat:
    """The short heartbeat, which goes to the provider's own address (section 3.7)."""
    metrics = {
        "utilization_pct": _first(body, ("gpu_utilization", "gpu_utilization_pct"), 0, 100),
        "vram_used_mib": _first(body, ("vram_used_mb", "vram_used_mib"), *_MIB),
        "temperature_c": _first(body, ("temperature_c", "temp_c"), -40, 150),
    }
    kept = {name: value for name, value in metrics.items() if value is not None}
    return Heartbeat(profile={"metrics": kept} if kept else {})


def number(source: Mapping[str, Any], name: str, least: float, most: float) -> int | float | None:
    """A finite number within bounds; None for anything else."""
    found = source.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return found if least <= found <= most else None


def text(source: Mapping[str, Any], name: str, most: int) -> str | None:
    """A text that says something and is not too long; None for anything else."""
    found = source.get(name)
    if not isinstance(found, str) or "\x00" in found:
        return None
    found = found.strip()
    return found if 0 < len(found) <= most else None


def spec_text(value: Any) -> str | None:
    """A resource spec as it is kept; None for what is none, or is too long."""
    if not isinstance(value, dict | str) or not value:
        return None
    found = value if isinstance(value, str) else wire.text(value)
    return found if len(found) <= MOST_SPEC and "\x00" not in found else None


def compute_types(resource_spec: Any) -> tuple[str, ...] | None:
    """Kinds of computing that a resource spec speaks of; None when it speaks of none.

    Example:
        >>> compute_types({"compute_types": ["LLM serving"], "resources": {"kind": "render farm"}})
        ('inference', 'rendering')
    """
    spec = _object(resource_spec)
    said = " ".join(wire.text(spec[name]) for name in _SCANNED if name in spec).lower()
    found = tuple(kind for kind, words in sorted(_WORDS.items()) if any(word in said for word in words))
    return found or None


def _status(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        # Some daemons send it as the text of JSON; another text says nothing.
        return _object(value)
    if value is not None and not isinstance(value, dict):
        raise Fault(400, "gpu_status must be an object")
    return value or {}


def _info(value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise Fault(400, "gpu_info must be an object")
    return value or {}


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str) and len(value) <= MOST_RAW:
        try:
            value = wire.decode(value.encode("utf-8", "surrogatepass"))
        except wire.Unreadable:
            return {}
    return value if isinstance(value, dict) else {}


def _measured(source: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: number(source, name, least, most) for name, least, most in _NUMBERS}
    found |= {name: text(source, name, most) for name, most in _TEXTS}
    cards = source.get("all_gpus")
    if isinstance(cards, list):
        found["all_gpus"] = [_card(card) for card in cards[:MOST_GPUS] if isinstance(card, dict)]
    return {name: value for name, value in found.items() if value is not None}


def _card(card: Mapping[str, Any]) -> dict[str, Any]:
    index = number(card, "index", 0, 1_024)
    return {**({} if index is None else {"index": index}), **_measured({**card, "all_gpus": None})}


def _sdk(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What the official SDK calls otherwise."""
    found = {
        "gpu_name": text(spec, "gpu_model", 200),
        "gpu_vram_mib": number(spec, "vram_mib", *_MIB),
        "memory_used_mb": number(spec, "vram_used_mib", *_MIB),
        "gpu_util_pct": number(spec, "gpu_util_pct", 0, 100),
        "temp_c": _first(spec, ("temp_c", "gpu_temp_c"), -40, 150),
    }
    return {name: value for name, value in found.items() if value is not None}


def _documented(body: Mapping[str, Any]) -> dict[str, Any]:
    """The four members of the documentation."""
    found: dict[str, Any] = {"driver_version": text(body, "driver_version", 80)}
    metrics = {
        "utilization_pct": _first(body, ("gpu_utilization", "gpu_utilization_pct"), 0, 100),
        "vram_used_mib": number(body, "vram_used_mib", *_MIB),
        "temperature_c": number(body, "temperature_c", -40, 150),
    }
    kept = {name: value for name, value in metrics.items() if value is not None}
    if kept:
        found["metrics"] = kept
    return {name: value for name, value in found.items() if value is not None}


def _cache(value: Any) -> dict[str, Any] | None:
    cache = _object(value)
    found = {
        "used_mb": _first(cache, ("used_mb", "cache_mb"), 0, 2**40),
        "total_mb": _first(cache, ("total_mb", "capacity_mb"), 0, 2**40),
        "used_pct": _first(cache, ("used_pct", "pct_used"), 0, 100),
    }
    return found if any(value is not None for value in found.values()) else None


def _first(source: Mapping[str, Any], names: Iterable[str], least: float, most: float) -> int | float | None:
    return next((found for name in names if (found := number(source, name, least, most)) is not None), None)


def _names(value: Any) -> list[str] | None:
    if not isinstance(value, list):
        return None
    usable = (name for name in value[:_MOST_MODELS] if isinstance(name, str) and 0 < len(name) <= 256)
    return list(dict.fromkeys(usable))


def _whole(value: int | float | None) -> int | None:
    return None if value is None or not math.isfinite(value) else int(value)


def _endpoint(value: Any, address: str) -> str | None:
    """A URL of the host itself. Another machine's would turn this one into a door to whatever it can reach."""
    if value == "":
        return ""
    if not isinstance(value, str) or len(value) > _MOST_URL:
        return None
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        return None
    own = host == address or (address in _LOOPBACK and host in _LOOPBACK)
    return value if own else None


def decoded(raw: str | None) -> Any:
    """A resource spec as it is shown: what it means as JSON, else the text."""
    if raw is None:
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw
