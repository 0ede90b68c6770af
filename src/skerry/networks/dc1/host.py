"""What this machine can offer as a provider (section 4.3): found out with the driver's own tool where there is one."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from typing import Any

from skerry.units import MIB

_QUERY = "name,memory.total,temperature.gpu,utilization.gpu"
_SECONDS = 10


def os_name() -> str:
    """The system's name as the network's provider SDK writes it: `Linux`, `Windows` or `Mac`."""
    return {"Darwin": "Mac", "Windows": "Windows"}.get(platform.system(), "Linux")


def build_resource_spec() -> dict[str, Any]:
    """System, processors, memory and the first NVIDIA GPU of this machine, as `announce` takes them.

    What cannot be found out is left out; a machine without a GPU has no `gpu_model`.
    """
    spec: dict[str, Any] = {"os": os_name(), "cpu_cores": os.cpu_count() or 1}
    memory = _memory_mib()
    if memory is not None:
        spec["ram_mib"] = memory
    return {**spec, **gpu_of(_ask_driver())}


def gpu_of(text: str) -> dict[str, Any]:
    """The first GPU in the driver's answer; nothing where it names none.

    Args:
        text: lines of name, memory in MiB, temperature and use in percent, with commas between.

    Example:
        >>> gpu_of("NVIDIA GeForce RTX 4090, 24564, 41, 3")
        {'gpu_model': 'NVIDIA GeForce RTX 4090', 'vram_mib': 24564, 'gpu_temp_c': 41, 'gpu_util_pct': 3}
    """
    words = [word.strip() for word in text.strip().partition("\n")[0].split(",")]
    if len(words) != len(_QUERY.split(",")) or not words[0]:
        return {}
    found: dict[str, Any] = {"gpu_model": words[0]}
    for name, word in zip(("vram_mib", "gpu_temp_c", "gpu_util_pct"), words[1:], strict=True):
        if word.isdecimal():
            found[name] = int(word)
    return found


def _ask_driver() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    command = [tool, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout


def _memory_mib() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB
    except (AttributeError, OSError, ValueError):
        return None
