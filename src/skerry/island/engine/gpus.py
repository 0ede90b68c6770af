"""Accelerators of this machine: what its own tools say, and nothing when they say nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from skerry.island.engine.records import Gpu
from skerry.units import MIB

_TIMEOUT = 10.0


def detect(proc: Path = Path("/proc/driver/nvidia/gpus")) -> tuple[Gpu, ...]:
    """The NVIDIA GPUs that can be used now; empty when there are none or the driver does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        try:
            answer = subprocess.run(
                [tool, "--query-gpu=index,name,memory.total,uuid", "--format=csv,noheader,nounits"],
                capture_output=True,
                timeout=_TIMEOUT,
                check=True,
                text=True,
            )
            return parse(answer.stdout)
        except (OSError, subprocess.SubprocessError):
            pass
    return from_proc(proc)


def parse(table: str) -> tuple[Gpu, ...]:
    """GPUs from lines of `index, name, MiB, uuid`; lines of another form are left out."""
    found = []
    for line in table.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 4 and parts[0].isdigit() and parts[2].isdigit():
            found.append(Gpu(index=int(parts[0]), name=parts[1], memory_bytes=int(parts[2]) * MIB, uuid=parts[3]))
    return tuple(found)


def from_proc(directory: Path) -> tuple[Gpu, ...]:
    """GPUs from the kernel module's own files, which do not tell the memory (0)."""
    found = []
    for index, information in enumerate(sorted(directory.glob("*/information"))):
        text = information.read_text(errors="replace")
        model = re.search(r"^Model:\s*(.+)$", text, re.MULTILINE)
        uuid = re.search(r"^GPU UUID:\s*(\S+)$", text, re.MULTILINE)
        if model and uuid:
            found.append(Gpu(index=index, name=model[1].strip(), memory_bytes=0, uuid=uuid[1]))
    return tuple(found)
