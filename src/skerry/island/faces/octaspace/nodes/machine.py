"""This machine as it measures itself: processors, load, memory, disk, GPUs, system (protocol section 7.1)."""

from __future__ import annotations

import csv
import os
import platform
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry.island.engine.records import Gpu

_PROC = Path("/proc")
_FRESH_SECONDS = 1.0
_SMI_SECONDS = 5.0
_SMI_TIMEOUT = 10.0
_GPU_FIELDS = (
    ("index", "idx"),
    ("pci.bus_id", "bus_id"),
    ("driver_version", "driver_version"),
    ("pstate", "pstate"),
    ("pcie.link.gen.max", "pcie_link_gen"),
    ("pcie.link.width.max", "pcie_link_width"),
    ("temperature.gpu", "gpu_temperature"),
    ("utilization.gpu", "gpu_utilization"),
    ("memory.total", "mem_total_mb"),
    ("memory.free", "mem_free_mb"),
    ("display_mode", "display_mode"),
    ("display_active", "display_active"),
    ("fan.speed", "fan_speed"),
    ("power.limit", "power_limit_watt"),
    ("power.default_limit", "power_limit_default_watt"),
)
_WORDS = ("bus_id", "driver_version", "pstate", "display_mode", "display_active")


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """What does not change while the island runs."""

    arch: str
    cpu_model_name: str
    cpu_vendor_id: str
    cpu_speed: float
    os_version: str
    linux_distro: str
    linux_release: str
    kernel_version: str
    is_hive_os: bool
    is_wsl: bool
    virt: str


def system() -> System:
    """Read it; blocks."""
    cpu = _fields(_PROC / "cpuinfo", ":")
    release = {name: value.strip("\"'") for name, value in _fields(Path("/etc/os-release"), "=").items()}
    kernel = platform.release()
    vendor = cpu.get("vendor_id", "")
    return System(
        arch=platform.machine(),
        cpu_model_name=cpu.get("model name", "unknown"),
        cpu_vendor_id={"AuthenticAMD": "AMD", "GenuineIntel": "INTEL"}.get(vendor, vendor),
        cpu_speed=_float(cpu.get("cpu MHz", "0")),
        os_version=release.get("PRETTY_NAME", platform.system()),
        linux_distro=release.get("ID", ""),
        linux_release=release.get("VERSION_ID", ""),
        kernel_version=kernel,
        is_hive_os=kernel.endswith("hiveos"),
        is_wsl=kernel.endswith("WSL2"),
        virt=_virtualization(cpu.get("flags", "")),
    )


def memory() -> dict[str, int]:
    """Bytes, under the network's names."""
    found = _fields(_PROC / "meminfo", ":")

    def size(name: str) -> int:
        return int(found.get(name, "0").split()[0]) * 1024

    return {
        "total_memory": size("MemTotal"),
        "free_memory": size("MemFree"),
        "available_memory": size("MemAvailable"),
        "cached_memory": size("Cached"),
        "buffered_memory": size("Buffers"),
        "total_swap": size("SwapTotal"),
        "free_swap": size("SwapFree"),
    }


def disk(directory: Path) -> dict[str, int | float]:
    """Size and room of the file system that holds a directory, in bytes."""
    usage = shutil.disk_usage(directory)
    return {"free": usage.free, "size": usage.total, "used_percent": round(100 * usage.used / max(1, usage.total), 2)}


class Load:
    """How busy the processors were since it was last asked, a second ago at least.

    Args:
        monotonic: seconds of the island's clock.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._counts = _cpu_counts()
        self._at = monotonic()
        self._last: float | None = None

    def percent(self) -> float:
        """Of all processors, 0 to 100."""
        with self._lock:
            now = self._monotonic()
            if self._last is not None and now - self._at < _FRESH_SECONDS:
                return self._last
            busy, total = _cpu_counts()
            spent = total - self._counts[1]
            self._last = 0.0 if spent <= 0 else round(100 * (busy - self._counts[0]) / spent, 2)
            self._counts, self._at = (busy, total), now
            return self._last


class Gpus:
    """The GPUs' own figures, asked of their driver a few seconds apart.

    Args:
        known: those of the engine's node.
        ask: gives the lines of the driver's tool; another one in tests.
    """

    def __init__(self, known: tuple[Gpu, ...], ask: Callable[[str], str] | None = None) -> None:
        self._known = known
        self._ask = ask or _ask_smi
        self._lock = threading.Lock()
        self._at: float | None = None
        self._figures: dict[int, dict[str, Any]] = {}
        self._cuda = "0"

    def views(self, indices: tuple[int, ...] | None = None) -> list[dict[str, Any]]:
        """GPUs in the network's words, all unless some are named."""
        figures = self._fresh() if self._known else {}
        return [
            {
                "model": gpu.name,
                "mem_total_mb": gpu.memory_bytes >> 20,
                "mem_free_mb": gpu.memory_bytes >> 20,
                **figures.get(gpu.index, {}),
                "idx": gpu.index,
            }
            for gpu in self._known
            if indices is None or gpu.index in indices
        ]

    @property
    def cuda_version(self) -> str:
        """Of the driver, `0` without one."""
        if self._known:
            self._fresh()
        return self._cuda

    def _fresh(self) -> dict[int, dict[str, Any]]:
        with self._lock:
            if self._at is None or time.monotonic() - self._at > _SMI_SECONDS:
                names = ",".join(name for name, _ in _GPU_FIELDS)
                rows = csv.reader(self._ask(f"--query-gpu={names}").splitlines(), skipinitialspace=True)
                views = [gpu_view(row) for row in rows if len(row) == len(_GPU_FIELDS)]
                self._figures = {int(view["idx"]): view for view in views}
                found = re.search(r"CUDA Version\s*:?\s*([\d.]+)", self._ask("")) if self._at is None else None
                self._cuda = found[1] if found else self._cuda
                self._at = time.monotonic()
            return self._figures


def gpu_view(row: list[str]) -> dict[str, Any]:
    """A line of the driver's tool in the network's words; what it does not know is 0."""
    view: dict[str, Any] = {}
    for (_, name), value in zip(_GPU_FIELDS, row, strict=True):
        if name == "bus_id":
            view[name] = value.partition(":")[2]
        elif name in _WORDS:
            view[name] = value
        else:
            number = _float(value)
            view[name] = int(number) if number == int(number) else number
    return view


def _ask_smi(query: str) -> str:
    command = ["nvidia-smi", *([query, "--format=csv,noheader,nounits"] if query else [])]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_SMI_TIMEOUT, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _cpu_counts() -> tuple[int, int]:
    """Ticks that all processors spent working, and all ticks."""
    try:
        values = [int(word) for word in (_PROC / "stat").read_text().partition("\n")[0].split()[1:9]]
    except (OSError, ValueError):
        return 0, 0
    return sum(values) - values[3] - values[4], sum(values)


def _virtualization(flags: str) -> str:
    try:
        command = ["systemd-detect-virt"]
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=_SMI_TIMEOUT, check=False
        ).stdout.strip()
        if found:
            return found
    except (OSError, subprocess.TimeoutExpired):
        pass
    return "kvm" if "hypervisor" in flags.split() and os.path.exists("/dev/kvm") else "none"


def _fields(path: Path, mark: str) -> dict[str, str]:
    """The first value of each name in a file of lines."""
    found: dict[str, str] = {}
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        name, between, value = line.partition(mark)
        if between:
            found.setdefault(name.strip(), value.strip())
    return found


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
