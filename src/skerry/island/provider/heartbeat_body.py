"""A machine's measurements in the network's words (protocol section 3.7.1). Pure functions."""

from __future__ import annotations

import platform
import socket
from typing import Any

import skerry
from skerry.island.provider.records import HostStatus

DAEMON_VERSION = "3.4.0"
"""The network's daemon whose contract is kept here; servers ask older ones to update."""

_INFO = ("gpu_name", "vram_mb", "driver_version", "cuda_version")


def heartbeat_body(status: HostStatus) -> dict[str, Any]:
    """What a heartbeat says of a machine; what is not known is left out."""
    gpu = gpu_status(status)
    return {
        "gpu_status": gpu,
        "gpu_info": {name: gpu[name] for name in _INFO if name in gpu},
        "provider_hostname": socket.gethostname()[:200],
        "cached_models": list(status.models),
        "gpu_slots": {
            "total": status.slots,
            "active": status.active,
            "free": max(0, status.slots - status.active),
        },
        "uptime": status.uptime,
        "draining": status.draining,
    }


def gpu_status(status: HostStatus) -> dict[str, Any]:
    """Of its GPUs, or of the processor that stands in for one."""
    card = status.cards[0] if status.cards else None
    told: dict[str, Any] = {
        "gpu_name": status.name[:200],
        "gpu_vram_mib": status.memory_mib,
        "vram_mb": status.all_memory_mib,
        "free_vram_mib": status.free_mib,
        "memory_used_mb": max(0, status.memory_mib - status.free_mib),
        "gpu_util_pct": status.busy_percent,
        "temp_c": None if card is None else card.celsius,
        "power_w": None if card is None else card.watts,
        "driver_version": status.driver_version,
        "daemon_version": DAEMON_VERSION,
        "python_version": platform.python_version(),
        "os_info": f"{platform.system()} {platform.release()} skerry/{skerry.__version__}"[:120],
        "gpu_count": status.gpu_count,
        "compute_capability": status.compute_capability,
        "cuda_version": status.cuda_version,
        "all_gpus": [
            {
                "index": one.index,
                "gpu_name": one.name,
                "gpu_vram_mib": one.memory_mib,
                "free_vram_mib": one.free_mib,
            }
            for one in status.cards[:32]
        ],
    }
    return {name: value for name, value in told.items() if value is not None}
