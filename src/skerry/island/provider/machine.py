"""What a provider's machine is and how it does at this moment, by its own tools (protocol section 3.7.1)."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from skerry.island.provider.records import Card, HostStatus
from skerry.units import MIB

_SECONDS = 10.0
_FULL = "index,name,memory.total,memory.free,utilization.gpu,temperature.gpu,power.draw,driver_version,compute_cap"
_BASIC = "index,name,memory.total,memory.free,utilization.gpu,temperature.gpu,power.draw,driver_version"
_CUDA = re.compile(r"CUDA Version:\s*([\d.]+)")


async def measure(disk: Path) -> HostStatus:
    """GPUs as their driver tells, or processor and memory where there are none.

    Args:
        disk: a directory of the disk that jobs write to.
    """
    return await asyncio.to_thread(_measure, disk)


def _measure(disk: Path) -> HostStatus:
    cards, driver, compute = cards_of(_ask(_FULL) or _ask(_BASIC))
    free_disk = shutil.disk_usage(disk).free
    if cards:
        return HostStatus(
            cards=cards,
            name=cards[0].name,
            memory_mib=cards[0].memory_mib,
            free_mib=cards[0].free_mib,
            all_memory_mib=sum(card.memory_mib for card in cards),
            busy_percent=cards[0].busy_percent,
            driver_version=driver,
            cuda_version=_cuda_version(),
            compute_capability=compute,
            free_disk_bytes=free_disk,
        )
    total, free = memory()
    return HostStatus(
        name=processor(),
        memory_mib=total // MIB,
        free_mib=free // MIB,
        all_memory_mib=total // MIB,
        busy_percent=min(100.0, round(100 * os.getloadavg()[0] / len(os.sched_getaffinity(0)), 1)),
        free_disk_bytes=free_disk,
    )


def cards_of(table: str) -> tuple[tuple[Card, ...], str | None, str | None]:
    """GPUs, driver version and compute capability from the driver's table; lines of another form are left out.

    Example:
        >>> cards_of("0, NVIDIA H100, 81559, 80994, 3, 41, 70.5, 550.54.14, 9.0")[0][0].free_mib
        80994
    """
    cards, driver, compute = [], None, None
    for line in table.splitlines():
        words = [word.strip() for word in line.split(",")]
        if len(words) not in (8, 9) or not words[0].isdigit() or _number(words[2]) is None:
            continue
        total = int(_number(words[2]) or 0)
        free = _number(words[3])
        cards.append(
            Card(
                index=int(words[0]),
                name=words[1],
                memory_mib=total,
                free_mib=total if free is None else int(free),
                busy_percent=_number(words[4]),
                celsius=_number(words[5]),
                watts=_number(words[6]),
            )
        )
        driver = driver or words[7] or None
        compute = compute or (words[8] if len(words) == 9 and _number(words[8]) is not None else None)
    return tuple(cards), driver, compute


def memory(proc: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> tuple[int, int]:
    """Bytes of memory that programs here may use at most, and that are free; a control group's bound counts."""
    told = {}
    for line in proc.read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            told[name] = int(words[0]) * 1024
    total, free = told["MemTotal"], told.get("MemAvailable", told.get("MemFree", 0))
    limit, used = _bytes(group / "memory.max"), _bytes(group / "memory.current")
    if limit is None:
        limit, used = _bytes(group / "memory/memory.limit_in_bytes"), _bytes(group / "memory/memory.usage_in_bytes")
    if limit is None or limit >= total:
        return total, free
    return limit, min(free, max(0, limit - (used or 0)))


@cache
def processor(proc: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", proc.read_text(errors="replace"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else f"{os.uname().machine} processor"


@cache
def _cuda_version() -> str | None:
    found = _CUDA.search(_run([]))
    return found[1] if found else None


def _ask(fields: str) -> str:
    return _run([f"--query-gpu={fields}", "--format=csv,noheader,nounits"])


def _run(arguments: list[str]) -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    try:
        asked = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return asked.stdout


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _bytes(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
