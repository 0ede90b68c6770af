"""Fixtures of tests that run real sandboxes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.island.sandbox import sandbox_lab


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory for state and images."""
    with sandbox_lab.scratch() as directory:
        yield directory


@pytest.fixture
async def lab(scratch: Path) -> AsyncIterator[sandbox_lab.Lab]:
    """A driver of its own for one test."""
    async with sandbox_lab.lab(scratch) as it:
        yield it


@pytest.fixture
async def box(lab: sandbox_lab.Lab) -> sandbox_lab.AgentSandbox:
    """A live sandbox."""
    return await lab.box()


@pytest.fixture
def gpu_machine(scratch: Path) -> Path:
    """The tree of a machine with two GPUs, whose nodes are numbered against the order of their buses."""
    root = scratch / "machine"
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-caps/nvidia-cap1", "sda"):
        path = root / "dev" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for bus, uuid, minor in (("0000:01:00.0", "GPU-a", 1), ("0000:02:00.0", "GPU-b", 0)):
        information = root / "proc/driver/nvidia/gpus" / bus / "information"
        information.parent.mkdir(parents=True)
        information.write_text(f"Model: \t\t X\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n")
    libraries = root / "usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    for name in ("libcuda.so.550.1", "libnvidia-ml.so.550.1", "libnvidia-ptxjitcompiler.so.550.1", "libc.so.6"):
        (libraries / name).write_text(name)
    (libraries / "libcuda.so.1").symlink_to("libcuda.so.550.1")
    (libraries / "libcuda.so").symlink_to("libcuda.so.1")
    (libraries / "libnvidia-broken.so.1").symlink_to("nowhere")
    (libraries / "libnvidia-ml.so.1").symlink_to("libnvidia-ml.so.550.1")
    (root / "usr/bin").mkdir()
    (root / "usr/bin/nvidia-smi").write_text("#!/bin/sh\necho smi\n")
    (root / "usr/bin/nvidia-smi").chmod(0o755)
    return root
